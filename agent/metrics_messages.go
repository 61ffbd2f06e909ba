package agent

import (
	"github.com/prometheus/client_golang/prometheus"
)

// Metrics of messages. Labels are bounded by the kinds of queues and events.
type messageMetrics struct {
	agent *Agent

	held, spool, events, bytes, syncs *prometheus.Desc
}

func newMessageMetrics(a *Agent) *messageMetrics {
	desc := func(name, help string, labels ...string) *prometheus.Desc {
		return prometheus.NewDesc("netquorum_messages_"+name, help, labels, nil)
	}
	return &messageMetrics{
		agent:  a,
		held:   desc("held", "Messages and completions on this filer's disk, by queue.", "queue"),
		spool:  desc("spool_bytes", "Bytes of large bodies on this filer's disk, by direction.", "direction"),
		events: desc("total", "What happened to messages, by event; see docs/messages.md.", "event"),
		bytes:  desc("body_bytes_total", "Bytes of large bodies received."),
		syncs:  desc("syncs_total", "Transactions that were written, each with one sync for all in it."),
	}
}

// Describe implements prometheus.Collector. It describes nothing, because what
// is collected depends on whether the filer is in a cluster.
func (*messageMetrics) Describe(chan<- *prometheus.Desc) {}

// Collect implements prometheus.Collector.
func (c *messageMetrics) Collect(out chan<- prometheus.Metric) {
	node, err := c.agent.Messages()
	if err != nil {
		return
	}
	s := node.Status()
	gauge := func(d *prometheus.Desc, v float64, label string) {
		out <- prometheus.MustNewConstMetric(d, prometheus.GaugeValue, v, label)
	}
	counter := func(d *prometheus.Desc, v uint64, labels ...string) {
		out <- prometheus.MustNewConstMetric(d, prometheus.CounterValue, float64(v), labels...)
	}
	gauge(c.held, float64(s.Pending), "pending")
	gauge(c.held, float64(s.Completions), "completions")
	gauge(c.held, float64(s.Inbox), "inbox")
	gauge(c.held, float64(s.Stored), "stored")
	gauge(c.spool, float64(s.SpoolOut), "out")
	gauge(c.spool, float64(s.SpoolIn), "in")
	k := s.Counts
	for event, v := range map[string]uint64{
		"sent": k.Sent, "completed": k.Completed, "handled": k.Handled, "duplicate": k.Duplicates,
		"refused": k.Refused, "retargeted": k.Retargeted, "abandoned": k.Abandoned, "collected": k.Collected,
		"full": k.Full, "resent": k.Resent, "corrupt": k.Corrupt,
	} {
		counter(c.events, v, event)
	}
	counter(c.bytes, k.BodyBytes)
	counter(c.syncs, k.Syncs)
}
