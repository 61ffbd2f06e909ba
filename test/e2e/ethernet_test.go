package e2e

import (
	"fmt"
	"strings"
	"testing"
)

// What ethtool sets and the placement on processors, from the file to the
// kernel; a setting that the driver refuses; and all of it given back, by a
// daemon that was started after the settings had been changed.
func TestLabEthernet(t *testing.T) {
	c := formed(t, "single-nic")
	const mgmt = "name: mgmt0, parent: eth0, addresses: [10.1.1.2/24]"
	rps := func() string {
		return strings.TrimLeft(strings.TrimSpace(c.exec("filer1", "cat", "/sys/class/net/eth0/queues/rx-0/rps_cpus")), "0,")
	}
	before := rps()
	c.nq("filer1", interfaces("filer1", mgmt, "name: eth0, ethernet: {offloads: {tso: false}}, cpu: {rps: '0', rpsFlows: 64}"), "apply", "-f", "-", "--wait", "applied")
	if got := rps(); got != "1" {
		t.Errorf("packets are spread over the processors %q", got)
	}
	if got := c.exec("filer1", "cat", "/sys/class/net/eth0/queues/rx-0/rps_flow_cnt"); strings.TrimSpace(got) != "64" {
		t.Errorf("%s flows are followed", got)
	}
	c.noErrors("filer1")

	writes := c.writes("filer1")
	c.nq("filer1", "kind: Record\nname: unrelated\n", "apply", "-f", "-", "--wait", "applied")
	if now := c.writes("filer1"); now != writes {
		t.Errorf("an unrelated change made %d writes", now-writes)
	}

	plan := c.nq("filer2", interfaces("filer1", mgmt, "name: eth0, ethernet: {channels: {rx: 9000}}, cpu: {rps: '0'}"), "apply", "-f", "-", "--dry-run")
	if !strings.Contains(plan, "ethtool -L eth0 rx 9000") {
		t.Errorf("the plan does not have the step:\n%s", plan)
	}
	c.nq("filer2", interfaces("filer1", mgmt, "name: eth0, ethernet: {channels: {rx: 9000}}, cpu: {rps: '0'}"), "apply", "-f", "-")
	c.await("the rollout to stop with the driver's words", patience(), func() error {
		said := c.cli("filer2", "", "rollout", "-o", "json").text()
		if !strings.Contains(said, "requested channel count exceeds maximum") || !strings.Contains(said, "ethernet.channels.rx") {
			return fmt.Errorf("it says %s", said)
		}
		return nil
	})
	t.Log(c.cli("filer2", "", "rollout").text())
	c.nq("filer2", "", "revert")
	c.await("the change to be reverted", patience(), func() error {
		if said := c.cli("filer2", "", "rollout").text(); !strings.Contains(said, "reverted") {
			return fmt.Errorf("it says %s", said)
		}
		return nil
	})
	c.noErrors("filer1")

	c.must(c.KillDaemon("filer1"))
	c.must(c.StartDaemon("filer1"))
	c.settled("filer2")
	c.nq("filer2", interfaces("filer1", mgmt), "apply", "-f", "-", "--wait", "applied")
	c.await("filer1 to give back what it had changed", patience(), func() error {
		if got := rps(); got != before {
			return fmt.Errorf("packets are spread over %q, before it was %q", got, before)
		}
		return nil
	})
	c.noErrors("filer1")
}

// errorsOf lists what a filer says is not as it should be.
func (c *cluster) errorsOf(filer string) []string {
	c.t.Helper()
	var list []string
	for _, f := range c.mustStatus("filer2").Filers {
		if f.Name == filer {
			for _, e := range f.Errors {
				list = append(list, fmt.Sprint(e))
			}
		}
	}
	return list
}

func (c *cluster) noErrors(filer string) {
	c.t.Helper()
	c.await(filer+" to have no errors", patience(), func() error {
		if errs := c.errorsOf(filer); len(errs) > 0 {
			return fmt.Errorf("it has %q", errs)
		}
		return nil
	})
}
