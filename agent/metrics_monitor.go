package agent

import (
	"github.com/prometheus/client_golang/prometheus"

	"github.com/netquorum/netquorum/monitor"
)

// Metrics of the monitor. Labels are bounded by the configured interfaces and
// by the number of probe targets, which the monitor bounds.
type monitorMetrics struct {
	agent *Agent

	state, faults, findings, ports, target *prometheus.Desc
}

func newMonitorMetrics(a *Agent) *monitorMetrics {
	desc := func(name, help string, labels ...string) *prometheus.Desc {
		return prometheus.NewDesc("netquorum_"+name, help, labels, nil)
	}
	return &monitorMetrics{
		agent:    a,
		state:    desc("interface_state", "1 for the state that an interface is in, 0 for the others.", "interface", "state"),
		faults:   desc("interface_faults", "Faults of an interface within the last minute.", "interface"),
		findings: desc("interface_findings", "What the monitor found wrong with an interface.", "interface"),
		ports:    desc("interface_lacp_ports", "Ports in the aggregator that an 802.3ad bond uses.", "interface"),
		target:   desc("probe_target_answers", "1 while a probe target answers.", "interface", "address", "reason"),
	}
}

// Describe implements prometheus.Collector. It describes nothing, because what
// is collected depends on the configuration.
func (*monitorMetrics) Describe(chan<- *prometheus.Desc) {}

// Collect implements prometheus.Collector.
func (c *monitorMetrics) Collect(out chan<- prometheus.Metric) {
	gauge := func(d *prometheus.Desc, v float64, labels ...string) {
		out <- prometheus.MustNewConstMetric(d, prometheus.GaugeValue, v, labels...)
	}
	s := c.agent.monitored()
	found := map[string]int{}
	for _, f := range s.Findings {
		found[f.Interface]++
	}
	for _, i := range s.Interfaces {
		for _, state := range monitor.States {
			gauge(c.state, number(i.State == state), i.Name, string(state))
		}
		gauge(c.faults, float64(i.Faults), i.Name)
		gauge(c.findings, float64(found[i.Name]), i.Name)
		if i.LACP != nil {
			gauge(c.ports, float64(i.LACP.Ports), i.Name)
		}
		for _, t := range i.Targets {
			gauge(c.target, number(t.State == monitor.Answers || t.State == monitor.Here), i.Name, t.Address.String(), string(t.Reason))
		}
	}
}
