package agent

import (
	"github.com/prometheus/client_golang/prometheus"
)

// linkMetrics tell of the links to other filers. Labels are bounded by the
// filers of the cluster and their addresses.
type linkMetrics struct {
	agent *Agent

	up, since, switches, resent, duplicates, streams *prometheus.Desc
	pathUp, roundTrip, sent, received                *prometheus.Desc
}

func newLinkMetrics(a *Agent, desc func(name, help string, labels ...string) *prometheus.Desc) *linkMetrics {
	path := []string{"peer", "kind", "local", "remote"}
	return &linkMetrics{
		agent:      a,
		up:         desc("link_up", "1 while a path to the filer works.", "peer", "kind"),
		since:      desc("link_made_timestamp_seconds", "When the link was made.", "peer"),
		switches:   desc("link_switches_total", "How often data went on by another path.", "peer"),
		resent:     desc("link_resent_bytes_total", "Bytes that were sent again after a path fell silent.", "peer"),
		duplicates: desc("link_duplicate_bytes_total", "Bytes that came again and were dropped.", "peer"),
		streams:    desc("link_streams", "Streams that are open over the link.", "peer"),
		pathUp:     desc("link_path_up", "1 while the path works.", path...),
		roundTrip:  desc("link_path_round_trip_seconds", "Smoothed round trip time of the path.", path...),
		sent:       desc("link_path_sent_bytes", "Bytes sent by the connection that the path has now.", path...),
		received:   desc("link_path_received_bytes", "Bytes received by the connection that the path has now.", path...),
	}
}

// Describe implements prometheus.Collector. It describes nothing, like metrics.
func (*linkMetrics) Describe(chan<- *prometheus.Desc) {}

// Collect implements prometheus.Collector.
func (c *linkMetrics) Collect(out chan<- prometheus.Metric) {
	m, err := c.agent.running()
	if err != nil {
		return
	}
	send := func(d *prometheus.Desc, kind prometheus.ValueType, v float64, labels ...string) {
		out <- prometheus.MustNewConstMetric(d, kind, v, labels...)
	}
	for _, l := range m.links().Links {
		send(c.up, prometheus.GaugeValue, number(l.State != "down"), l.Filer, l.Kind)
		if l.Since != nil {
			send(c.since, prometheus.GaugeValue, float64(l.Since.UnixMilli())/1000, l.Filer)
		}
		send(c.switches, prometheus.CounterValue, float64(l.Switches), l.Filer)
		send(c.resent, prometheus.CounterValue, float64(l.Resent), l.Filer)
		send(c.duplicates, prometheus.CounterValue, float64(l.Duplicates), l.Filer)
		send(c.streams, prometheus.GaugeValue, float64(l.Streams), l.Filer)
		seen := map[[4]string]bool{} // for a moment, a path may have two connections
		for _, p := range l.Paths {
			labels := [4]string{l.Filer, p.Kind, p.Local, p.Remote}
			if seen[labels] {
				continue
			}
			seen[labels] = true
			send(c.pathUp, prometheus.GaugeValue, number(p.State == "up"), labels[:]...)
			send(c.roundTrip, prometheus.GaugeValue, float64(p.RoundTrip)/1e6, labels[:]...)
			send(c.sent, prometheus.GaugeValue, float64(p.Sent), labels[:]...)
			send(c.received, prometheus.GaugeValue, float64(p.Received), labels[:]...)
		}
	}
}
