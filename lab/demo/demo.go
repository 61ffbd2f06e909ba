// Package demo shows the product's main job on an example: a cluster forms, a
// virtual server answers, the filer that hosts it loses its power, and the
// virtual server answers again from another.
package demo

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"net/netip"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/netquorum/netquorum"
	"github.com/netquorum/netquorum/api"
	"github.com/netquorum/netquorum/lab"
)

// DefaultName is the name of the demonstration's lab.
const DefaultName = "demo"

// Options are what to show, and how.
type Options struct {
	// Name of the lab; DefaultName when empty.
	Name string
	// Example names the pair of files Example.yaml and Example.topology.yaml
	// in the directory Examples.
	Example  string
	Examples string
	Binary   string // the daemon's
	// Command is what a filer runs; netquorum serve when empty.
	Command []string
	LabDir  string // where the lab is kept
	// Check takes the lab down in the end.
	Check bool
	Out   io.Writer
}

// Config is the configuration of the example.
func (o Options) Config() string { return filepath.Join(o.Examples, o.Example+".yaml") }

// Topology is what the example's configuration is made for.
func (o Options) Topology() string { return filepath.Join(o.Examples, o.Example+".topology.yaml") }

// show is one demonstration.
type show struct {
	Options
	lab    *lab.Lab
	config netquorum.Config
	began  time.Time
}

// Run gives the demonstration. It leaves the lab up, unless Check is asked for
// or something fails.
func Run(ctx context.Context, o Options) (err error) {
	config, err := read(o.Config())
	if err != nil {
		return err
	}
	topology, err := lab.ReadTopology(o.Topology())
	if err != nil {
		return err
	}
	l, err := lab.New(topology, lab.Options{Name: cmp.Or(o.Name, DefaultName), Dir: o.LabDir, Binary: o.Binary, Command: o.Command})
	if err != nil {
		return err
	}
	// An earlier demonstration may still be up, or what is left of one.
	if err := l.Down(); err != nil {
		return err
	}
	s := &show{Options: o, lab: l, config: config, began: time.Now()}
	err = s.run(ctx)
	if err != nil {
		s.logs()
	}
	if err != nil || o.Check {
		return errors.Join(err, l.Down())
	}
	return nil
}

// read returns the configuration of a file.
func read(file string) (netquorum.Config, error) {
	data, err := os.ReadFile(file)
	if err != nil {
		return netquorum.Config{}, err
	}
	docs, err := netquorum.ParseDocuments(file, data)
	if err != nil {
		return netquorum.Config{}, err
	}
	config, problems := netquorum.Config{}.Change(docs, nil)
	if len(problems) > 0 {
		return netquorum.Config{}, fmt.Errorf("%s: %w", file, problems)
	}
	return config, nil
}

// target is a virtual server that can fail over.
type target struct {
	name    string
	address netip.Addr
}

func (s *show) run(ctx context.Context) error {
	to, err := movable(s.config)
	if err != nil {
		return fmt.Errorf("%s: %w", s.Options.Config(), err)
	}
	t := s.lab.Topology()
	filers := t.FilerNames()
	client := clientOf(t)
	s.step("Switching on %s and the rest of %s", strings.Join(filers, ", "), s.Options.Topology())
	if err := s.lab.Up(ctx); err != nil {
		return err
	}
	s.step("Forming a cluster of them with %s", s.Options.Config())
	if err := s.lab.Form(ctx, s.Options.Config(), s.Out); err != nil {
		return err
	}
	if err := s.status(ctx, filers[0]); err != nil {
		return err
	}
	s.step("Pinging %s (%s) from %s", to.name, to.address, client)
	ping, err := s.lab.Ping(client, to.address, pace)
	if err != nil {
		return err
	}
	defer ping.Close()
	if err := s.reply(ctx, ping); err != nil {
		return err
	}
	host, err := s.failover(ctx, ping, to)
	if err != nil {
		return err
	}
	s.step("Switching %s on again", host)
	if err := s.lab.Power(host); err != nil {
		return err
	}
	if err := s.lab.AwaitDaemon(ctx, host); err != nil {
		return err
	}
	if err := s.settle(ctx, other(filers, host)); err != nil {
		return err
	}
	fmt.Fprintf(s.Out, "%s follows the cluster's configuration again.\n", host)
	s.step("Done")
	return nil
}

// pace is how often the client pings.
const pace = 20 * time.Millisecond

// patience bounds each wait.
const patience = 30 * time.Second

// failover cuts the power of the virtual server's host and tells how long its
// address was silent.
func (s *show) failover(ctx context.Context, ping *lab.Pinger, to target) (host string, err error) {
	filers := s.lab.Topology().FilerNames()
	before, err := s.server(ctx, filers[0], to.name)
	if err != nil {
		return "", err
	}
	sofar := ping.Report()
	s.step("Cutting the power of %s, which hosts %s", before.Host, to.name)
	if err := s.lab.Kill(before.Host); err != nil {
		return "", err
	}
	if err := s.reply(ctx, ping); err != nil {
		return "", err
	}
	watcher := other(filers, before.Host)
	if err := s.settle(ctx, watcher); err != nil {
		return "", err
	}
	after, err := s.server(ctx, watcher, to.name)
	if err != nil {
		return "", err
	}
	report := ping.Report()
	fmt.Fprintf(s.Out, "%s answers again, from %s: %d pings lost, silent for %d ms.\n",
		to.name, after.Host, report.Lost-sofar.Lost, report.Gap.Milliseconds())
	return before.Host, s.status(ctx, watcher)
}

// movable chooses the first virtual server that more than one filer can host.
func movable(c netquorum.Config) (target, error) {
	for h := range c.Hosted() {
		able := 0
		for _, candidate := range c.Candidates(h) {
			if len(candidate.Missing) == 0 {
				able++
			}
		}
		if able > 1 && len(h.Addresses) > 0 && h.Key.Kind == netquorum.KindVirtualServer {
			return target{h.Key.Name, h.Addresses[0].Prefix.Addr()}, nil
		}
	}
	return target{}, errors.New("no virtual server in it has an address and can fail over")
}

func clientOf(t *lab.Topology) string {
	for _, c := range t.Clients {
		if c.Name == "client" {
			return c.Name
		}
	}
	return t.Clients[0].Name
}

func other(names []string, not string) string {
	for _, n := range names {
		if n != not {
			return n
		}
	}
	return not
}

func (s *show) server(ctx context.Context, filer, name string) (api.ServerStatus, error) {
	st, err := s.lab.ClusterStatus(ctx, filer)
	if err != nil {
		return api.ServerStatus{}, err
	}
	for _, v := range st.Servers {
		if v.Name == name && v.Host != "" {
			return v, nil
		}
	}
	return api.ServerStatus{}, fmt.Errorf("%s is hosted by no filer", name)
}

func (s *show) reply(ctx context.Context, p *lab.Pinger) error {
	ctx, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	return p.AwaitReply(ctx)
}

func (s *show) settle(ctx context.Context, filer string) error {
	ctx, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	return s.lab.AwaitSettled(ctx, filer)
}

// step tells what comes next.
func (s *show) step(format string, args ...any) {
	fmt.Fprintf(s.Out, "\n[%4.1f s] %s\n", time.Since(s.began).Seconds(), fmt.Sprintf(format, args...))
}

func (s *show) status(ctx context.Context, filer string) error {
	out, err := s.lab.Exec(ctx, filer, "netquorum", "status")
	fmt.Fprintf(s.Out, "%s: netquorum status\n%s", filer, out)
	return err
}

// logs shows the end of what each daemon has logged, after a failure.
func (s *show) logs() {
	for _, filer := range s.lab.Topology().FilerNames() {
		data, err := os.ReadFile(s.lab.LogFile(filer))
		if err != nil {
			continue
		}
		lines := strings.Split(strings.TrimSpace(string(data)), "\n")
		fmt.Fprintf(s.Out, "\nThe last lines of %s's log:\n%s\n", filer, strings.Join(lines[max(0, len(lines)-15):], "\n"))
	}
}
