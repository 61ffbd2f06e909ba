package netapply_test

import (
	"log/slog"
	"os"
	"os/exec"
	"strconv"
	"strings"
	"testing"

	"github.com/netquorum/netquorum/netapply"
)

// TestKernelDomainPortsMadeAgain has ports of a server in a VRF made again and
// again, by changes and by somebody who removes them while they are made. Each
// pass may meet such a change in the middle; none may end with a failure while
// nobody changes anything, and what failed in between must not be left.
func TestKernelDomainPortsMadeAgain(t *testing.T) {
	if !inNamespace(t, netapply.FeatureMacvlan, netapply.FeatureVRF) {
		return
	}
	cards(t, "eth0")
	k := openKernel(t)
	in, out := parse(t, overlapping), parse(t, strings.Replace(overlapping, "vrf: true, ", "", 1))
	times := 3
	if n, err := strconv.Atoi(os.Getenv("NQ_KERNEL_DOMAIN")); err == nil {
		times = n
	}
	var said lockedBuffer
	log := slog.New(slog.NewTextHandler(&said, &slog.HandlerOptions{Level: slog.LevelWarn}))
	inside := want(t, in, "filer1", "inside", "beside")
	changes := []struct {
		what string
		want netapply.Desired
		sh   string
	}{
		{"the server leaves", want(t, in, "filer1", "beside"), ""},
		{"it comes", inside, ""},
		{"without a VRF", want(t, out, "filer1", "inside", "beside"), ""},
		{"with one again", inside, ""},
		{"a port is removed", inside, "ip link del data0-inside"},
		{"the VRF is removed", inside, "ip link del vrf-inside"},
		{"a port is taken out", inside, "ip link set data1-inside nomaster"},
		{"a port is set down", inside, "ip link set data1-inside down"},
		{"an address is removed", inside, "ip addr del 10.2.2.3/24 dev data1-inside"},
		{"all is removed", inside, "ip link del data0-inside; ip link del data1-inside; ip link del vrf-inside"},
	}
	for range times {
		a := netapply.Applier{Kernel: k, Log: log} // a new one: this is no fight
		for _, c := range changes {
			if c.sh != "" {
				run(t, "sh", "-c", c.sh)
			}
			r, err := a.Apply(t.Context(), c.want)
			if err != nil || r.Err() != nil {
				t.Fatalf("%s: %v, %v\nsteps:\n%s\nsaid:\n%s", c.what, err, r.Err(), lines(r.Steps), said.String())
			}
		}
		if strings.Contains(said.String(), "network change failed") {
			t.Fatalf("steps failed although nobody interfered:\n%s", said.String())
		}
	}
	// And with somebody who interferes while it is made.
	for i := range times {
		c := changes[4+i%6]
		cmd := exec.Command("sh", "-c", c.sh+"; sleep 0.00"+strconv.Itoa(i%10)+"; "+c.sh)
		if err := cmd.Start(); err != nil {
			t.Fatal(err)
		}
		a := netapply.Applier{Kernel: k, Log: log}
		if _, err := a.Apply(t.Context(), inside); err != nil {
			t.Fatal(err)
		}
		_ = cmd.Wait() // what is gone cannot be removed again
		mustApply(t, k, inside)
		mustBeSettled(t, k, inside)
	}
}
