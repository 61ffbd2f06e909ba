package lab

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/netip"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

const smallTopology = `
name: small
switches:
- {name: sw1}
- {name: sw2}
links:
- {from: sw1, to: sw2}
filers:
- name: filer1
  ports:
  - {name: eth0, switch: sw1}
- name: filer2
  ports:
  - {name: eth0, switch: sw2}
clients:
- name: client
  ports:
  - {name: eth0, switch: sw1, addresses: [10.9.0.1/24, "fd00:9::1/64"]}
- name: other
  ports:
  - {name: eth0, switch: sw2, addresses: [10.9.0.2/24, "fd00:9::2/64"]}
`

// raise brings a lab up for one test and sees that nothing is left of it.
func raise(t *testing.T, topology string, o Options) *Lab {
	t.Helper()
	top, err := ParseTopology("topology", []byte(topology))
	if err != nil {
		t.Fatal(err)
	}
	if err := Possible(top); err != nil {
		t.Skip(err)
	}
	o.Dir = t.TempDir()
	o.Name = strings.ToLower(t.Name())
	l, err := New(top, o)
	if err != nil {
		t.Fatal(err)
	}
	if err := l.Up(t.Context()); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := l.Down(); err != nil {
			t.Error(err)
		}
		if left, _ := os.ReadDir(nsDir); strings.Contains(strings.Join(names(left), " "), "nq-"+l.name+"-") {
			t.Errorf("namespaces left: %v", names(left))
		}
	})
	return l
}

func names(entries []os.DirEntry) []string {
	var all []string
	for _, e := range entries {
		all = append(all, e.Name())
	}
	return all
}

// eventually waits for something to become true.
func eventually(t *testing.T, what string, holds func() bool) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
	defer cancel()
	tick := time.NewTicker(50 * time.Millisecond)
	defer tick.Stop()
	for !holds() {
		select {
		case <-ctx.Done():
			t.Fatalf("waited in vain: %s", what)
		case <-tick.C:
		}
	}
}

func reaches(t *testing.T, l *Lab, from, to string) bool {
	_, err := l.Exec(t.Context(), from, "ping", "-c1", "-W1", to)
	return err == nil
}

func out(t *testing.T, l *Lab, node string, argv ...string) string {
	t.Helper()
	s, err := l.Exec(t.Context(), node, argv[0], argv[1:]...)
	if err != nil {
		t.Fatal(err)
	}
	return s
}

func TestNodesReachEachOtherOverSwitches(t *testing.T) {
	l := raise(t, smallTopology, Options{})
	for _, to := range []string{"10.9.0.2", "fd00:9::2"} {
		eventually(t, "client reaches "+to, func() bool { return reaches(t, l, "client", to) })
	}
}

func TestAPulledCableTakesTheSignalAway(t *testing.T) {
	l := raise(t, smallTopology, Options{})
	eventually(t, "client reaches other", func() bool { return reaches(t, l, "client", "10.9.0.2") })
	carrier := func() string {
		return strings.TrimSpace(out(t, l, "client", "cat", "/sys/class/net/eth0/carrier"))
	}
	if err := l.SetLink("client", "eth0", false); err != nil {
		t.Fatal(err)
	}
	if carrier() != "0" {
		t.Error("the card has a signal with its cable out")
	}
	if reaches(t, l, "client", "10.9.0.2") {
		t.Error("client reaches other with its cable out")
	}
	if err := l.SetLink("client", "eth0", true); err != nil {
		t.Fatal(err)
	}
	eventually(t, "signal and answers", func() bool { return carrier() == "1" && reaches(t, l, "client", "10.9.0.2") })

	if err := l.SetLink("sw1", "sw2", false); err != nil {
		t.Fatal(err)
	}
	if reaches(t, l, "client", "10.9.0.2") || carrier() != "1" {
		t.Error("the cable between the switches is not out, or more is")
	}
	if err := l.SetCables(true, "sw1"); err != nil {
		t.Fatal(err)
	}
	eventually(t, "client reaches other", func() bool { return reaches(t, l, "client", "10.9.0.2") })
	if err := l.SetLink("client", "eth7", false); err == nil {
		t.Error("an interface that is not there has been unplugged")
	}
}

func TestAPartitionIsInvisibleToTheCards(t *testing.T) {
	l := raise(t, smallTopology, Options{})
	dress := func(node, address string) {
		out(t, l, node, "ip", "addr", "add", address, "dev", "eth0")
		out(t, l, node, "ip", "link", "set", "eth0", "up")
	}
	dress("filer1", "10.9.0.11/24")
	dress("filer2", "10.9.0.12/24")
	eventually(t, "client reaches filer2", func() bool { return reaches(t, l, "client", "10.9.0.12") })
	if err := l.Partition("filer1", "filer2"); err != nil {
		t.Fatal(err)
	}
	eventually(t, "filer1 still reaches filer2 over both switches", func() bool { return reaches(t, l, "filer1", "10.9.0.12") })
	if reaches(t, l, "client", "10.9.0.12") {
		t.Error("client reaches filer2 across the partition")
	}
	if !reaches(t, l, "client", "10.9.0.2") {
		t.Error("client does not reach other, on its own side")
	}
	if got := strings.TrimSpace(out(t, l, "filer1", "cat", "/sys/class/net/eth0/carrier")); got != "1" {
		t.Error("the partition took the signal away")
	}
	if err := l.Partition("filer2"); err != nil {
		t.Fatal(err)
	}
	if reaches(t, l, "filer1", "10.9.0.12") {
		t.Error("filer1 reaches filer2 across the second partition")
	}
	if err := l.Heal(); err != nil {
		t.Fatal(err)
	}
	eventually(t, "client reaches filer2", func() bool { return reaches(t, l, "client", "10.9.0.12") })
	if err := l.Partition("nobody"); err == nil {
		t.Error("a node that is not there has been cut off")
	}
}

// daemon makes a stand-in for the daemon's binary.
func daemon(t *testing.T, script string) string {
	t.Helper()
	file := filepath.Join(t.TempDir(), "netquorum")
	if err := os.WriteFile(file, []byte("#!/bin/sh\n"+script), 0o755); err != nil {
		t.Fatal(err)
	}
	return file
}

// counting is a daemon that counts its starts on disk and in /run.
const counting = `
echo "$1" started >> /var/lib/starts
echo started >> /run/starts
echo hello from $(hostname)
exec sleep 1000
`

func TestPowerLossKeepsTheDiskOnly(t *testing.T) {
	l := raise(t, smallTopology, Options{Binary: daemon(t, counting)})
	starts := func(file string) int {
		s, _ := l.Exec(t.Context(), "filer1", "cat", file)
		return strings.Count(s, "started")
	}
	eventually(t, "the daemon's first start", func() bool { return starts("/run/starts") == 1 })
	mac := out(t, l, "filer1", "cat", "/sys/class/net/eth0/address")
	out(t, l, "filer1", "ip", "addr", "add", "10.9.0.11/24", "dev", "eth0")
	orphan := Command(t.Context(), "sleep", "1000")
	ended, err := l.Start("filer1", orphan)
	if err != nil {
		t.Fatal(err)
	}
	if err := l.PowerCycle(false, "filer1", "filer2"); err != nil {
		t.Fatal(err)
	}
	if err := ended(); err == nil {
		t.Error("a process has outlived its machine")
	}
	eventually(t, "the daemon's second start", func() bool { return starts("/var/lib/starts") == 2 })
	if n := starts("/run/starts"); n != 1 {
		t.Errorf("/run remembers %d starts", n)
	}
	if now := out(t, l, "filer1", "cat", "/sys/class/net/eth0/address"); now != mac {
		t.Errorf("the card's address was %s and is %s", mac, now)
	}
	if s := out(t, l, "filer1", "ip", "-4", "addr"); strings.Contains(s, "10.9.0.11") {
		t.Error("an address has outlived the power")
	}
	eventually(t, "both starts in the log", func() bool {
		log, _ := os.ReadFile(l.LogFile("filer1"))
		return strings.Count(string(log), "hello from filer1") == 2
	})
}

func TestPowerCycleWithTheCablesOut(t *testing.T) {
	l := raise(t, smallTopology, Options{Binary: daemon(t, counting)})
	if err := l.PowerCycle(true, "filer1", "filer2"); err != nil {
		t.Fatal(err)
	}
	out(t, l, "filer1", "ip", "link", "set", "eth0", "up")
	if got := strings.TrimSpace(out(t, l, "filer1", "cat", "/sys/class/net/eth0/carrier")); got != "0" {
		t.Error("the card has a signal with its cable out")
	}
	if err := l.SetCables(true); err != nil {
		t.Fatal(err)
	}
	if got := strings.TrimSpace(out(t, l, "filer1", "cat", "/sys/class/net/eth0/carrier")); got != "1" {
		t.Error("the card has no signal with its cable in")
	}
}

func TestNobodyHearsADyingMachine(t *testing.T) {
	l := raise(t, smallTopology, Options{})
	out(t, l, "filer1", "ip", "addr", "add", "10.9.0.11/24", "dev", "eth0")
	out(t, l, "filer1", "ip", "link", "set", "eth0", "up")
	eventually(t, "client reaches filer1", func() bool { return reaches(t, l, "client", "10.9.0.11") })
	// A connection whose far end dies with its machine stays open: no FIN, no
	// RST comes.
	server := Command(t.Context(), os.Args[0])
	server.Env = append(server.Env, "LAB_TEST_LISTEN=10.9.0.11:7000")
	if _, err := l.Start("filer1", server); err != nil {
		t.Fatal(err)
	}
	client := Command(t.Context(), os.Args[0])
	client.Env = append(client.Env, "LAB_TEST_DIAL=10.9.0.11:7000")
	said, stdout := io.Pipe()
	defer said.Close()
	client.Stdout = stdout
	ended, err := l.Start("client", client)
	if err != nil {
		t.Fatal(err)
	}
	lines := bufio.NewScanner(said)
	if !lines.Scan() || lines.Text() != "connected" {
		t.Fatalf("the client says %q", lines.Text())
	}
	if err := l.Kill("filer1"); err != nil {
		t.Fatal(err)
	}
	if !lines.Scan() || lines.Text() != "silence" {
		t.Errorf("the client saw: %q", lines.Text())
	}
	said.Close()
	ended()
	if _, err := l.Exec(t.Context(), "filer1", "true"); err == nil || !strings.Contains(err.Error(), "switched off") {
		t.Errorf("a command in a machine without power: %v", err)
	}
	if err := l.Power("filer1"); err != nil {
		t.Fatal(err)
	}
	out(t, l, "filer1", "true")
}

// TestMain lets the two ends of TestNobodyHearsADyingMachine's connection be
// processes of their machines.
func TestMain(m *testing.M) {
	if address := os.Getenv("LAB_TEST_LISTEN"); address != "" {
		acceptAndWait(address)
		return
	}
	if address := os.Getenv("LAB_TEST_DIAL"); address != "" {
		dialAndWait(address)
		return
	}
	os.Exit(m.Run())
}

func acceptAndWait(address string) {
	ln, err := net.Listen("tcp", address)
	if err != nil {
		fmt.Println(err)
		return
	}
	if conn, err := ln.Accept(); err == nil {
		io.Copy(io.Discard, conn)
	}
}

func dialAndWait(address string) {
	ctx, cancel := context.WithTimeout(context.Background(), 20*time.Second)
	defer cancel()
	var conn net.Conn
	err := await(ctx, func() (err error) {
		conn, err = net.Dial("tcp", address)
		return err
	})
	if err != nil {
		fmt.Println(err)
		return
	}
	fmt.Println("connected")
	conn.SetReadDeadline(time.Now().Add(2 * time.Second))
	if _, err = conn.Read(make([]byte, 1)); errors.Is(err, os.ErrDeadlineExceeded) {
		fmt.Println("silence")
		return
	}
	fmt.Println(err)
}

func TestADaemonDiesAloneAndStartsAgain(t *testing.T) {
	l := raise(t, smallTopology, Options{Binary: daemon(t, counting)})
	running := func(node string) bool {
		nodes, err := l.Status()
		if err != nil {
			t.Fatal(err)
		}
		for _, n := range nodes {
			if n.Name == node {
				return n.Daemon != 0
			}
		}
		return false
	}
	out(t, l, "filer1", "ip", "link", "set", "eth0", "up")
	if err := l.KillDaemon("filer1"); err != nil {
		t.Fatal(err)
	}
	if running("filer1") || !running("filer2") {
		t.Error("the wrong daemon died")
	}
	if s := out(t, l, "filer1", "ip", "link", "show", "eth0"); !strings.Contains(s, "UP") {
		t.Errorf("the kernel did not stay as it was: %s", s)
	}
	if err := l.StartDaemon("filer1"); err != nil {
		t.Fatal(err)
	}
	if !running("filer1") {
		t.Error("the daemon does not run")
	}
	if err := l.StopDaemon("filer2"); err != nil {
		t.Fatal(err)
	}
	if running("filer2") {
		t.Error("the daemon runs on")
	}
}

func TestASwitchWithoutPowerIsDark(t *testing.T) {
	l := raise(t, smallTopology, Options{})
	eventually(t, "client reaches other", func() bool { return reaches(t, l, "client", "10.9.0.2") })
	if err := l.Kill("sw2"); err != nil {
		t.Fatal(err)
	}
	if got := strings.TrimSpace(out(t, l, "other", "cat", "/sys/class/net/eth0/carrier")); got != "0" {
		t.Error("there is a signal from a switch without power")
	}
	if err := l.Power("sw2"); err != nil {
		t.Fatal(err)
	}
	eventually(t, "client reaches other", func() bool { return reaches(t, l, "client", "10.9.0.2") })
}

// A lab whose owner crashed half-way, and lost its notes too, still goes away.
func TestDownNeedsNoNotes(t *testing.T) {
	l := raise(t, smallTopology, Options{Binary: daemon(t, counting)})
	if err := os.WriteFile(filepath.Join(l.dir, "lab.json"), []byte("{"), 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := Open(filepath.Dir(l.dir), l.name); err == nil || !strings.Contains(err.Error(), "netquorum-lab down") {
		t.Errorf("damaged notes: %v", err)
	}
	if err := l.Down(); err != nil {
		t.Fatal(err)
	}
	left, err := initProcesses(filepath.Join(l.dir, "nodes"))
	if err != nil || len(left) > 0 {
		t.Errorf("processes left: %v %v", left, err)
	}
	if _, err := os.Stat(l.dir); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("files left: %v", err)
	}
}

// Namespaces are named after the lab alone, so two labs of one name would share
// them, whatever their directories.
func TestALabDoesNotTouchAnotherOfItsName(t *testing.T) {
	l := raise(t, smallTopology, Options{})
	twin, err := New(l.topology, Options{Name: l.name, Dir: t.TempDir()})
	if err != nil {
		t.Fatal(err)
	}
	if err := twin.Up(t.Context()); err == nil || !strings.Contains(err.Error(), "choose another name") {
		t.Errorf("a second lab of the name: %v", err)
	}
	out(t, l, "client", "true")
	if _, err := os.Stat(l.nsFile("client")); err != nil {
		t.Error(err)
	}
}

func TestAPingerMeasuresSilence(t *testing.T) {
	l := raise(t, smallTopology, Options{})
	p, err := l.Ping("client", netip.MustParseAddr("10.9.0.2"), 10*time.Millisecond)
	if err != nil {
		t.Fatal(err)
	}
	defer p.Close()
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
	defer cancel()
	if err := p.AwaitReply(ctx); err != nil {
		t.Fatal(err)
	}
	silent := time.Now()
	if err := l.SetLink("other", "eth0", false); err != nil {
		t.Fatal(err)
	}
	// Requests of the last second may still be answered, so they do not count.
	eventually(t, "twenty lost pings", func() bool { return p.Report().Lost > 20 })
	if err := l.SetLink("other", "eth0", true); err != nil {
		t.Fatal(err)
	}
	if err := p.AwaitReply(ctx); err != nil {
		t.Fatal(err)
	}
	if r, most := p.Report(), time.Since(silent); r.Gap < time.Second || r.Gap > most+100*time.Millisecond {
		t.Errorf("silent for %v, at most %v passed", r.Gap, most)
	}
	six, err := l.Ping("client", netip.MustParseAddr("fd00:9::2"), 10*time.Millisecond)
	if err != nil {
		t.Fatal(err)
	}
	defer six.Close()
	if err := six.AwaitReply(ctx); err != nil {
		t.Fatal(err)
	}
}
