package agent

import (
	"net/http"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/promhttp"

	"github.com/netquorum/netquorum/store"
)

// Metrics are read when somebody asks, from what the parts count anyway: there
// is nothing to keep up to date on the hot path, and labels are bounded by the
// number of reasons and roles.
type metrics struct {
	agent *Agent

	leads, term, revision, applied, cached, contact     *prometheus.Desc
	disk, writes, failures, lease                       *prometheus.Desc
	accepted, refused, open, halfOpen, joins, dialsFail *prometheus.Desc
}

func metricsHandler(a *Agent) http.Handler {
	desc := func(name, help string, labels ...string) *prometheus.Desc {
		return prometheus.NewDesc("netquorum_"+name, help, labels, nil)
	}
	r := prometheus.NewRegistry()
	r.MustRegister(newTrafficMetrics(a, desc))
	r.MustRegister(newMonitorMetrics(a))
	r.MustRegister(newLinkMetrics(a, desc))
	r.MustRegister(newMessageMetrics(a))
	r.MustRegister(&metrics{
		agent:     a,
		leads:     desc("leader", "1 on the filer that leads."),
		term:      desc("raft_term", "Raft's term."),
		revision:  desc("revision", "Newest revision in this filer's state."),
		applied:   desc("applied_revision", "Newest revision that this filer's kernel follows."),
		cached:    desc("cached_revision", "Newest revision in this filer's boot cache."),
		contact:   desc("raft_last_contact_seconds", "Seconds since this follower heard of its leader."),
		disk:      desc("disk_write_seconds", "Duration of writes of the log, syncs included."),
		writes:    desc("kernel_writes_total", "Changes asked of the kernel."),
		failures:  desc("kernel_failed_objects", "Configured objects that the kernel does not have."),
		lease:     desc("lease_held", "1 while this filer may host virtual servers."),
		accepted:  desc("connections_accepted_total", "Connections that reached the port for filers."),
		refused:   desc("connections_refused_total", "Connections turned away, by reason.", "reason"),
		open:      desc("connections_open", "Authenticated connections to other filers."),
		halfOpen:  desc("connections_half_open", "Connections whose peer has not proved who it is."),
		joins:     desc("joins_total", "Requests to join, by outcome.", "outcome"),
		dialsFail: desc("dials_failed_total", "Attempts to reach a filer that failed at all its addresses."),
	})
	return promhttp.HandlerFor(r, promhttp.HandlerOpts{})
}

// Describe implements prometheus.Collector. It describes nothing, because what
// is collected depends on whether the filer is in a cluster.
func (*metrics) Describe(chan<- *prometheus.Desc) {}

// Collect implements prometheus.Collector.
func (c *metrics) Collect(out chan<- prometheus.Metric) {
	gauge := func(d *prometheus.Desc, v float64, labels ...string) {
		out <- prometheus.MustNewConstMetric(d, prometheus.GaugeValue, v, labels...)
	}
	counter := func(d *prometheus.Desc, v uint64, labels ...string) {
		out <- prometheus.MustNewConstMetric(d, prometheus.CounterValue, float64(v), labels...)
	}
	counter(c.writes, c.agent.cfg.Kernel.Writes())
	o, _ := c.agent.follower.Outcome()
	gauge(c.applied, float64(appliedOf(o)))
	gauge(c.failures, float64(len(o.errors())))

	t := c.agent.endpoint.Stats()
	counter(c.accepted, t.Accepted)
	counter(c.dialsFail, t.DialsFailed)
	gauge(c.open, float64(t.Open))
	gauge(c.halfOpen, float64(t.HalfOpen))
	for reason, n := range t.Refused {
		counter(c.refused, n, string(reason))
	}
	counter(c.joins, t.JoinsAdmitted, "admitted")
	for code, n := range t.JoinsRefused {
		counter(c.joins, n, string(code))
	}

	m, err := c.agent.running()
	if err != nil {
		return
	}
	s, now := m.store.Status(), m.cfg.Now()
	gauge(c.leads, number(s.Role == store.RoleLeader))
	gauge(c.term, float64(s.Term))
	gauge(c.revision, float64(s.Revision))
	if !s.LastContact.IsZero() && s.Role != store.RoleLeader {
		gauge(c.contact, now.Sub(s.LastContact).Seconds())
	}
	_, held := m.lease.Held(now, s.Revision)
	gauge(c.lease, number(held))
	gauge(c.cached, float64(m.keeper.Status().Revision))
	count, sum, upTo := m.store.Writes().Buckets()
	buckets := map[float64]uint64{}
	for bound, n := range upTo {
		buckets[bound.Seconds()] = n
	}
	out <- prometheus.MustNewConstHistogram(c.disk, count, sum.Seconds(), buckets)
}

func number(b bool) float64 {
	if b {
		return 1
	}
	return 0
}
