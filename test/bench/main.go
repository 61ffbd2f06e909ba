// Command bench measures the product beside what it is built on and what it is
// judged by, in one run on one machine, and prints a table of ratios.
//
//	go run ./test/bench            beside bare raft and a bare netlink loop
//	PEERS=1 go run ./test/bench    beside etcd too (Debian's etcd-server)
//
// It runs in a network namespace of its own, where only the loopback exists:
// the filers it starts change no interface of the machine. It needs root.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"time"
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	var o options
	flag.StringVar(&o.bin, "bin", "", "folder with the netquorum binary; built when empty")
	flag.StringVar(&o.dir, "dir", ".bench", "folder for the disks of filers and peers, on a real disk")
	flag.StringVar(&o.only, "only", "", "only figures whose name contains this")
	flag.DurationVar(&o.span, "for", 5*time.Second, "how long a throughput figure is measured")
	flag.IntVar(&o.clients, "clients", 64, "of a throughput figure")
	flag.BoolVar(&o.inside, "inside", false, "already in the namespace")
	flag.Parse()
	o.peers = os.Getenv("PEERS") == "1"
	if err := run(ctx, o, os.Stdout); err != nil {
		fmt.Fprintln(os.Stderr, "bench:", err)
		os.Exit(1)
	}
}

type options struct {
	bin, dir, only string
	span           time.Duration
	clients        int
	peers, inside  bool
}

func (o options) wants(name string) bool { return strings.Contains(name, o.only) }

func run(ctx context.Context, o options, w io.Writer) error {
	if !o.inside {
		return reexec(ctx, o)
	}
	if err := loopbackUp(); err != nil {
		return err
	}
	fmt.Fprintln(w, machine(o.dir))
	var rows []row
	var errs []error
	for _, f := range figures {
		if !slices.ContainsFunc(f.names, o.wants) {
			continue
		}
		fmt.Fprintf(os.Stderr, "measuring %s\n", strings.Join(f.names, ", "))
		got, err := f.measure(ctx, o)
		rows = append(rows, got...)
		if err != nil {
			errs = append(errs, fmt.Errorf("%s: %w", f.names[0], err))
		}
	}
	print(w, rows)
	return errors.Join(errs...)
}

// A figure measures one or more rows of the table.
type figure struct {
	names   []string
	measure func(ctx context.Context, o options) ([]row, error)
}

var figures = []figure{
	{[]string{"commit", "throughput", "etcd", "reads"}, measureStore},
	{[]string{"failover"}, measureFailover},
	{[]string{"kernel", "replan"}, measureKernel},
	{[]string{"link-down"}, measureLinkDown},
	{[]string{"transport", "requests"}, measureTransport},
	{[]string{"messages"}, measureMessages},
	{[]string{"boot"}, measureBoot},
	{[]string{"documents"}, measureDocuments},
	{[]string{"restore"}, measureRestore},
	{[]string{"memory", "binary"}, measureSize},
}

// reexec prepares what needs the machine's own network (building), then runs
// the figures in a namespace without one.
func reexec(ctx context.Context, o options) error {
	if os.Getuid() != 0 {
		return errors.New("root is needed for a network namespace; run it with sudo")
	}
	var err error
	if o.dir, err = filepath.Abs(o.dir); err != nil {
		return err
	}
	if err := os.MkdirAll(o.dir, 0o700); err != nil {
		return err
	}
	defer os.RemoveAll(o.dir)
	if o.bin == "" {
		o.bin = filepath.Join(o.dir, "bin")
		if err := build(ctx, o); err != nil {
			return err
		}
	}
	self, err := os.Executable()
	if err != nil {
		return err
	}
	cmd := exec.CommandContext(ctx, self, "-inside", "-bin", o.bin, "-dir", o.dir, "-only", o.only,
		"-for", o.span.String(), "-clients", fmt.Sprint(o.clients))
	cmd.Stdout, cmd.Stderr = os.Stdout, os.Stderr
	cmd.SysProcAttr = &syscall.SysProcAttr{Cloneflags: syscall.CLONE_NEWNET | syscall.CLONE_NEWNS, Pdeathsig: syscall.SIGKILL}
	cmd.Cancel = func() error { return cmd.Process.Signal(syscall.SIGTERM) }
	return cmd.Run()
}

// build compiles all that is run: nothing can be fetched in the namespace.
func build(ctx context.Context, o options) error {
	type job struct {
		dir  string
		args []string
	}
	jobs := []job{
		{".", []string{"build", "-trimpath", "-ldflags", "-s -w", "-o", o.bin + "/", "./cmd/netquorum"}},
		{".", []string{"test", "-c", "-o", o.bin + "/", "./netapply"}},
		{".", []string{"test", "-c", "-o", o.bin + "/", "./monitor"}},
		{".", []string{"test", "-c", "-o", o.bin + "/", "./calls"}},
		{".", []string{"test", "-c", "-o", o.bin + "/", "./transport"}},
		{".", []string{"test", "-c", "-o", o.bin + "/", "./transport/link"}},
		{".", []string{"test", "-c", "-o", o.bin + "/", "./messages"}},
	}
	if o.peers {
		jobs = append(jobs, job{"test/bench/etcd", []string{"build", "-o", filepath.Join(o.bin, "etcd-load"), "."}})
	}
	for _, j := range jobs {
		cmd := exec.CommandContext(ctx, "go", j.args...)
		cmd.Dir = j.dir
		cmd.Env = append(os.Environ(), "CGO_ENABLED=0")
		cmd.Stderr = os.Stderr
		if err := cmd.Run(); err != nil {
			return fmt.Errorf("go %s: %w", strings.Join(j.args, " "), err)
		}
	}
	return nil
}
