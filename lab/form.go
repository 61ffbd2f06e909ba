package lab

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/netip"
	"os"
	"slices"
	"strings"
	"time"

	"github.com/netquorum/netquorum"
	"github.com/netquorum/netquorum/api"
)

// clusterPort is where filers listen for each other.
const clusterPort = 7480

// formTimeout bounds how long a new cluster may take until all filers follow
// its configuration.
const formTimeout = 90 * time.Second

// Form makes one cluster of all filers, or of those that are named, with the
// configuration of a file, as an operator would with the command line tool. It
// returns when the kernel of each follows the configuration and every virtual
// server that one of them can host is served. What is done is told on out.
func (l *Lab) Form(ctx context.Context, file string, out io.Writer, filers ...string) error {
	ctx, cancel := context.WithTimeout(ctx, formTimeout)
	defer cancel()
	data, err := os.ReadFile(file)
	if err != nil {
		return err
	}
	if len(filers) == 0 {
		filers = l.topology.FilerNames()
	}
	if len(filers) == 0 || !l.HasDaemon() {
		return errors.New("a cluster needs filers and the daemon's binary")
	}
	first, err := firstAddress(file, data, filers[0])
	if err != nil {
		return err
	}
	peer := netip.AddrPortFrom(first, clusterPort)
	const config = "/run/netquorum-lab/config.yaml"
	for _, filer := range filers {
		if err := l.WriteFile(filer, config, data); err != nil {
			return err
		}
		if err := l.AwaitDaemon(ctx, filer); err != nil {
			return err
		}
	}
	fmt.Fprintf(out, "%s: netquorum init --filer %s -f %s\n", filers[0], filers[0], file)
	if _, err := l.Exec(ctx, filers[0], "netquorum", "init", "--filer", filers[0], "-f", config); err != nil {
		return err
	}
	for _, filer := range filers[1:] {
		token, err := l.Exec(ctx, filers[0], "netquorum", "token", "create", "--filer", filer)
		if err != nil {
			return err
		}
		fmt.Fprintf(out, "%s: netquorum join --filer %s --peer %s --token-file - -f %s\n", filer, filer, peer, file)
		if err := l.join(ctx, filer, peer, token, config); err != nil {
			return err
		}
	}
	return l.AwaitSettled(ctx, filers[0], filers...)
}

// join makes a filer a member of the cluster.
func (l *Lab) join(ctx context.Context, filer string, peer netip.AddrPort, token, config string) error {
	cmd := Command(ctx, "netquorum", "join", "--filer", filer, "--peer", peer.String(), "--token-file", "-", "-f", config)
	var said strings.Builder
	cmd.Stdin, cmd.Stdout, cmd.Stderr = strings.NewReader(token), &said, &said
	if err := l.Run(filer, cmd); err != nil {
		return fmt.Errorf("%s: netquorum join: %w: %s", filer, err, strings.TrimSpace(said.String()))
	}
	return nil
}

// firstAddress is where a filer is reached: its first mgmt address.
func firstAddress(file string, data []byte, filer string) (netip.Addr, error) {
	docs, err := netquorum.ParseDocuments(file, data)
	if err != nil {
		return netip.Addr{}, err
	}
	config, problems := netquorum.Config{}.Change(docs, nil)
	if len(problems) > 0 {
		return netip.Addr{}, fmt.Errorf("%s: %w", file, problems)
	}
	for _, i := range config.Interfaces(filer) {
		if i.Name.Stem() == "mgmt" && len(i.Addresses) > 0 {
			return i.Addresses[0].Addr(), nil
		}
	}
	return netip.Addr{}, fmt.Errorf("%s gives filer %s no address on a mgmt alias, so no other filer can reach it to join", file, filer)
}

// Client returns a client of a filer's daemon, to use until the filer loses its
// power.
func (l *Lab) Client(filer string) (*api.Client, error) {
	s, err := l.load()
	if err != nil {
		return nil, err
	}
	if err := l.filer(s, filer); err != nil {
		return nil, err
	}
	if !s.Nodes[filer].on() {
		return nil, fmt.Errorf("%s is switched off", filer)
	}
	return api.NewClient(fmt.Sprintf("/proc/%d/root%s", s.Nodes[filer].Init.PID, api.DefaultSocket)), nil
}

// ClusterStatus asks a filer's daemon how the cluster is.
func (l *Lab) ClusterStatus(ctx context.Context, filer string) (api.Status, error) {
	c, err := l.Client(filer)
	if err != nil {
		return api.Status{}, err
	}
	defer c.Close()
	st, err := c.Status(ctx)
	if err != nil {
		return api.Status{}, fmt.Errorf("%s: status: %w", filer, err)
	}
	return st, nil
}

// AwaitDaemon waits until the daemon of a filer answers.
func (l *Lab) AwaitDaemon(ctx context.Context, filer string) error {
	return await(ctx, func() error {
		_, err := l.ClusterStatus(ctx, filer)
		return err
	})
}

// AwaitSettled waits until a filer reports that its cluster has nothing left to
// do: every filer that has power follows the newest configuration, and every
// virtual server that one of them can host is served. The cluster is of all the
// lab's filers, or of those that are named.
func (l *Lab) AwaitSettled(ctx context.Context, filer string, among ...string) error {
	return await(ctx, func() error {
		st, err := l.ClusterStatus(ctx, filer)
		if err != nil {
			return err
		}
		nodes, err := l.Status()
		if err != nil {
			return err
		}
		on := map[string]bool{}
		for _, n := range nodes {
			ours := n.Kind == "filer" && (len(among) == 0 || slices.Contains(among, n.Name))
			on[n.Name] = ours && n.On && n.Daemon != 0
		}
		return unsettled(st, on)
	})
}

// unsettled tells what a cluster has left to do.
func unsettled(st api.Status, on map[string]bool) error {
	if !st.Quorum {
		return errors.New("the cluster has no quorum")
	}
	joined := map[string]bool{}
	for _, f := range st.Filers {
		if !on[f.Name] {
			continue
		}
		joined[f.Name] = true
		if f.Role != api.RoleLeader && f.Role != api.RoleFollower {
			return fmt.Errorf("%s is %s", f.Name, f.Role)
		}
		if f.Applied < st.Commit {
			errs := make([]string, len(f.Errors))
			for i, e := range f.Errors {
				errs[i] = e.Object + ": " + e.Message
			}
			return fmt.Errorf("%s follows revision %d of %d %s", f.Name, f.Applied, st.Commit, strings.Join(errs, "; "))
		}
	}
	for name, power := range on {
		if power && !joined[name] {
			return fmt.Errorf("%s has not joined", name)
		}
	}
	for _, s := range st.Servers {
		able := false
		for _, c := range s.Candidates {
			able = able || on[c.Filer] && len(c.Missing) == 0
		}
		if able && (s.State != "serving" || !on[s.Host]) {
			return fmt.Errorf("%s %s is %s (host %q)", s.Kind, s.Name, s.State, s.Host)
		}
	}
	return nil
}

// await repeats a check until it finds nothing wrong, or the context ends: then
// it tells what the last check found.
func await(ctx context.Context, check func() error) error {
	tick := time.NewTicker(100 * time.Millisecond)
	defer tick.Stop()
	for {
		err := check()
		if err == nil {
			return nil
		}
		select {
		case <-ctx.Done():
			return fmt.Errorf("%w; still: %w", context.Cause(ctx), err)
		case <-tick.C:
		}
	}
}
