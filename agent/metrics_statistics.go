package agent

import (
	"context"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/netquorum/netquorum/api"
)

// A trafficMetrics shows what virtual servers send and receive on this filer.
// There is a series for each server that is hosted here or was, so their number
// is bounded by the configuration.
type trafficMetrics struct {
	agent *Agent

	known, bytes, packets, connections, retransmits, rtt, unread, unsent *prometheus.Desc
}

func newTrafficMetrics(a *Agent, desc func(name, help string, labels ...string) *prometheus.Desc) *trafficMetrics {
	return &trafficMetrics{
		agent:       a,
		known:       desc("vserver_statistics_known", "1 while this filer's kernel counts for the virtual server; 0 when it cannot.", "vserver"),
		bytes:       desc("vserver_bytes_total", "Bytes of packets, from the IP header on, that this filer received (in) or sent (out) as the virtual server. Protocol ip is all of them.", "vserver", "protocol", "direction"),
		packets:     desc("vserver_packets_total", "Packets likewise. tcp-open are first segments of connections, tcp-reset segments that end one at once.", "vserver", "protocol", "direction"),
		connections: desc("vserver_tcp_sockets", "TCP sockets bound to the virtual server's addresses, by state.", "vserver", "state"),
		retransmits: desc("vserver_tcp_retransmitted_segments", "Segments that open connections have sent again. Falls when they close.", "vserver"),
		rtt:         desc("vserver_tcp_rtt_seconds", "Median round trip time of established connections.", "vserver"),
		unread:      desc("vserver_unread_bytes", "Bytes that wait for programs to read them.", "vserver"),
		unsent:      desc("vserver_unsent_bytes", "Bytes that wait for clients to acknowledge them.", "vserver"),
	}
}

// Describe implements prometheus.Collector.
func (*trafficMetrics) Describe(chan<- *prometheus.Desc) {}

// Collect implements prometheus.Collector.
func (c *trafficMetrics) Collect(out chan<- prometheus.Metric) {
	g, ok := c.agent.follower.current()
	if !ok || c.agent.traffic == nil {
		return
	}
	ctx, cancel := context.WithTimeout(context.Background(), 2*time.Second)
	defer cancel()
	list := c.agent.traffic.local(ctx, g.config, g.filer, "")
	for h := range g.config.Hosted() {
		f, ok := list[h.Key.Fold().String()]
		if !ok {
			continue
		}
		gauge := func(d *prometheus.Desc, v float64, labels ...string) {
			out <- prometheus.MustNewConstMetric(d, prometheus.GaugeValue, v, append([]string{h.Key.Name}, labels...)...)
		}
		gauge(c.known, number(f.Traffic != nil))
		if f.Traffic != nil {
			c.traffic(out, h.Key.Name, *f.Traffic)
		}
		if s := f.Sockets; s != nil {
			for state, n := range s.TCP {
				gauge(c.connections, float64(n), state)
			}
			gauge(c.retransmits, float64(s.Retransmits))
			gauge(c.unread, float64(s.Unread))
			gauge(c.unsent, float64(s.Unsent))
			if s.RTT > 0 {
				gauge(c.rtt, time.Duration(s.RTT).Seconds())
			}
		}
	}
}

func (c *trafficMetrics) traffic(out chan<- prometheus.Metric, server string, t api.Traffic) {
	for _, p := range []struct {
		protocol string
		flow     api.Flow
	}{{"ip", t.IP}, {"tcp", t.TCP}, {"udp", t.UDP}, {"tcp-open", t.TCPOpens}, {"tcp-reset", t.TCPResets}} {
		for _, d := range []struct {
			direction string
			count     api.Count
		}{{"in", p.flow.In}, {"out", p.flow.Out}} {
			out <- prometheus.MustNewConstMetric(c.bytes, prometheus.CounterValue, float64(d.count.Bytes), server, p.protocol, d.direction)
			out <- prometheus.MustNewConstMetric(c.packets, prometheus.CounterValue, float64(d.count.Packets), server, p.protocol, d.direction)
		}
	}
}
