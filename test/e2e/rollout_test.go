package e2e

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"net"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/netquorum/netquorum"
	"github.com/netquorum/netquorum/api"
)

// instants hears of the instants of a rollout on all filers: their daemons wait
// at each until it lets them go on.
type instants struct {
	mu   sync.Mutex
	left int // instants until the cut; none is coming below zero
	cut  chan string
	all  []string
}

const instantsSocket = "/var/lib/i"

// hear listens on all filers. It must be called before they are switched on with
// the environment that names the socket.
func hear(c *cluster) *instants {
	i := &instants{left: -1, cut: make(chan string, 1)}
	for _, f := range c.filers() {
		l, err := net.Listen("unix", filepath.Join(c.Disk(f), filepath.Base(instantsSocket)))
		if err != nil {
			c.t.Fatal(err)
		}
		c.t.Cleanup(func() { l.Close() })
		go func() { // ends with the listener
			for {
				conn, err := l.Accept()
				if err != nil {
					return
				}
				go i.at(f, conn)
			}
		}()
	}
	return i
}

func (i *instants) at(filer string, conn net.Conn) {
	defer conn.Close()
	name, err := bufio.NewReader(conn).ReadString('\n')
	if err != nil {
		return
	}
	name = filer + " " + strings.TrimSpace(name)
	i.mu.Lock()
	i.all = append(i.all, name)
	now := i.left == 0
	i.left--
	i.mu.Unlock()
	if now {
		i.cut <- name
		conn.SetReadDeadline(time.Now().Add(5 * time.Second))
		conn.Read(make([]byte, 1)) // until its power is gone
	}
}

// after sets how many instants pass before the one at which the power is cut.
func (i *instants) after(n int) {
	i.mu.Lock()
	defer i.mu.Unlock()
	select {
	case <-i.cut:
	default:
	}
	i.left, i.all = n, nil
}

func mgmtIn(c *cluster, network, parent string) []api.Put {
	var puts []api.Put
	for n, f := range c.filers() {
		text := fmt.Sprintf("kind: Filer\nname: %s\nspec: {group: main, interfaces: [{name: mgmt0, parent: %s, addresses: [%s.%d/24]}]}\n", f, parent, network, n+2)
		docs, err := netquorum.ParseDocuments("rollout", []byte(text))
		if err != nil {
			c.t.Fatal(err)
		}
		puts = append(puts, api.Put{Document: docs[0]})
	}
	return puts
}

// cuts is how often the power is cut in TestLabManagementMovedThroughPowerCuts:
// NQ_CUTS, or few, so that a run of all tests stays short. NQ_SEED chooses which.
func cuts() (n int, seed uint64) {
	n, _ = strconv.Atoi(os.Getenv("NQ_CUTS"))
	if n == 0 {
		n = 12
	}
	return n, newSeed()
}

// newSeed is NQ_SEED, or one that was never used before.
func newSeed() uint64 {
	seed, err := strconv.ParseUint(os.Getenv("NQ_SEED"), 10, 64)
	if err != nil {
		seed = rand.Uint64() % 1000
	}
	return seed
}

// N37: the management network moves while filers write, and all filers lose their
// power at an instant of it. The cluster forms by itself each time, and what was
// acknowledged is there.
func TestLabManagementMovedThroughPowerCuts(t *testing.T) {
	t.Setenv("NETQUORUM_LAB_INSTANTS", instantsSocket)
	c := formed(t, "single-nic")
	at := hear(c)
	n, seed := cuts()
	rng := rand.New(rand.NewPCG(seed, 0))
	network := "10.1.1"
	// One rollout that nobody disturbs tells how many instants there are.
	at.after(-1)
	network = other(network)
	mustRollOut(c, network)
	at.mu.Lock()
	total := len(at.all)
	t.Logf("seed %d; a rollout has %d instants: %v", seed, total, at.all)
	at.mu.Unlock()
	order := rng.Perm(total)
	var loads []*writers
	ends := map[netquorum.RolloutPhase]int{}
	var slowest time.Duration
	for i := range n {
		k := order[i%total]
		to := other(network)
		load := newWriters(c, 2)
		loads = append(loads, load)
		at.after(k)
		ctx, cancel := context.WithTimeout(t.Context(), patience())
		if _, err := c.client(c.filers()[0]).Apply(ctx, api.ApplyRequest{Puts: mgmtIn(c, to, "eth0")}); err != nil && !errors.Is(err, api.ErrUnknownOutcome) && !errors.Is(err, api.ErrUnreachable) {
			t.Fatalf("cut %d: apply: %v", i, err)
		}
		cancel()
		name := "the end"
		select {
		case name = <-at.cut:
		case <-time.After(10 * time.Second):
		}
		if i >= total { // beside the instants, too
			select { // the instant of the cut, not a wait for something
			case <-time.After(time.Duration(rng.IntN(30)) * time.Millisecond):
			case <-t.Context().Done():
			}
		}
		begin := time.Now()
		if err := c.PowerCycle(false, c.filers()...); err != nil {
			t.Fatal(err)
		}
		at.after(-1)
		load.stop()
		on := time.Now()
		r := c.closedRollout(name)
		took := time.Since(on)
		slowest = max(slowest, took)
		ends[r.Phase]++
		network = c.networkNow()
		t.Logf("cut %d at %q: %s, mgmt in %s, %v after the power was back (cut took %v), %d writes", i, name, r.Phase, network, took.Round(time.Millisecond), on.Sub(begin).Round(time.Millisecond), load.count())
	}
	c.settled(c.filers()[0])
	c.agree(c.filers()[0])
	for _, load := range loads {
		load.find(c, c.filers()[1])
	}
	t.Logf("%d cuts: %v; the cluster was whole again %v after the power was back at the latest", n, ends, slowest.Round(time.Millisecond))
}

func other(network string) string {
	if network == "10.1.1" {
		return "10.9.9"
	}
	return "10.1.1"
}

// mustRollOut moves the management network and waits for the end of it.
func mustRollOut(c *cluster, network string) {
	c.t.Helper()
	ctx, cancel := context.WithTimeout(c.t.Context(), patience())
	defer cancel()
	begin := time.Now()
	if _, err := c.client(c.filers()[0]).Apply(ctx, api.ApplyRequest{Puts: mgmtIn(c, network, "eth0"), Wait: api.WaitApplied}); err != nil {
		c.t.Fatalf("moving the management network to %s: %v", network, err)
	}
	c.t.Logf("moved to %s in %v", network, time.Since(begin).Round(time.Millisecond))
}

// closedRollout waits until all filers form a cluster and its rollout has come to
// an end. One that was stopped is taken back.
func (c *cluster) closedRollout(after string) (r api.Rollout) {
	c.t.Helper()
	asked := c.filers()[0]
	c.await("all filers form a cluster after a cut at "+after+", and the rollout ends", patience(), func() error {
		ctx, cancel := context.WithTimeout(c.t.Context(), 3*time.Second)
		defer cancel()
		st, err := c.status(asked)
		if err != nil {
			return err
		}
		for _, f := range st.Filers {
			if f.Role != api.RoleLeader && f.Role != api.RoleFollower || f.Applied < st.Commit {
				return fmt.Errorf("%s is %s and follows revision %d of %d", f.Name, f.Role, f.Applied, st.Commit)
			}
		}
		if !st.Quorum || st.Rollout == nil {
			return errors.New("no quorum")
		}
		if r = *st.Rollout; r.Phase == netquorum.RolloutStopped && !r.Reverting {
			_, err := c.client(asked).SteerRollout(ctx, api.RolloutRequest{Action: api.RolloutRevert})
			return fmt.Errorf("it was stopped (%s) and is taken back: %v", r.Failure, err)
		}
		if r.Open {
			return fmt.Errorf("the rollout is %s, waiting: %s: %+v", r.Phase, r.Waiting, r.Steps)
		}
		return nil
	})
	return r
}

// networkNow is where the management addresses are to be, having checked that all
// kernels have exactly these.
func (c *cluster) networkNow() string {
	c.t.Helper()
	ctx, cancel := context.WithTimeout(c.t.Context(), patience())
	defer cancel()
	d, err := c.client(c.filers()[0]).Get(ctx, netquorum.KindFiler, c.filers()[0], api.Linearizable)
	if err != nil {
		c.t.Fatal(err)
	}
	a := d.Spec.(*netquorum.Filer).Interfaces[0].Addresses[0].Addr().String()
	network := a[:strings.LastIndexByte(a, '.')]
	for n, f := range c.filers() {
		c.await(f+" has its address", patience(), func() error {
			out := c.exec(f, "ip", "-br", "addr", "show", "mgmt0")
			if !strings.Contains(out, fmt.Sprintf("%s.%d/24", network, n+2)) || strings.Contains(out, other(network)+".") {
				return errors.New(out)
			}
			return nil
		})
	}
	return network
}
