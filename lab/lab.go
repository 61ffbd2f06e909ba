package lab

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"strings"

	"golang.org/x/sys/unix"
)

// DefaultDir is where labs are kept.
const DefaultDir = "/run/netquorum-lab"

// Options are how a lab is run.
type Options struct {
	// Name of the lab; the topology's when empty.
	Name string
	// Dir holds the directories of all labs; DefaultDir when empty. The
	// filers' disks are in it.
	Dir string
	// Binary is the daemon's; filers run none without it.
	Binary string
	// Command is what a filer runs; netquorum serve when empty.
	Command []string
}

// A Lab is filers, switches and clients on this machine.
type Lab struct {
	name     string
	dir      string
	topology *Topology
	options  Options
}

var labName = regexp.MustCompile(`^[a-z][a-z0-9-]*$`)

// New makes a lab that is not up yet.
func New(t *Topology, o Options) (*Lab, error) {
	if o.Name == "" {
		o.Name = t.Name
	}
	if o.Dir == "" {
		o.Dir = DefaultDir
	}
	if len(o.Command) == 0 {
		o.Command = []string{"netquorum", "serve"}
	}
	if !labName.MatchString(o.Name) {
		return nil, fmt.Errorf("%q is no name for a lab: it starts with a lower-case letter and has only letters, digits and dashes", o.Name)
	}
	if o.Binary != "" {
		path, err := filepath.Abs(o.Binary)
		if err != nil {
			return nil, err
		}
		if _, err := os.Stat(path); err != nil {
			return nil, fmt.Errorf("the daemon's binary: %w (build it with make build)", err)
		}
		o.Binary = path
	}
	dir, err := filepath.Abs(filepath.Join(o.Dir, o.Name))
	return &Lab{name: o.Name, dir: dir, topology: t, options: o}, err
}

// Open finds a lab that is up.
func Open(dir, name string) (*Lab, error) {
	if dir == "" {
		dir = DefaultDir
	}
	path, err := filepath.Abs(filepath.Join(dir, name))
	if err != nil {
		return nil, err
	}
	l := &Lab{name: name, dir: path}
	s, err := l.load()
	if err != nil {
		return nil, err
	}
	l.options = Options{Name: name, Dir: dir, Binary: s.Binary, Command: s.Command}
	l.topology, err = ParseTopology(filepath.Join(path, "lab.json"), []byte(s.Topology))
	return l, err
}

// List names the labs below dir.
func List(dir string) ([]string, error) {
	if dir == "" {
		dir = DefaultDir
	}
	entries, err := os.ReadDir(dir)
	if err != nil && !errors.Is(err, os.ErrNotExist) {
		return nil, err
	}
	var names []string
	for _, e := range entries {
		if e.IsDir() && labName.MatchString(e.Name()) {
			names = append(names, e.Name())
		}
	}
	return names, nil
}

// Name returns the lab's name.
func (l *Lab) Name() string { return l.name }

// Topology returns what the lab was built from.
func (l *Lab) Topology() *Topology { return l.topology }

// Up builds everything and switches it on. When something fails it takes down
// again what there is.
func (l *Lab) Up(ctx context.Context) error {
	if err := Possible(l.topology); err != nil {
		return err
	}
	if _, err := os.Stat(l.dir); err == nil {
		return fmt.Errorf("lab %s is up already, or was not cleared away; netquorum-lab down %s does that", l.name, l.name)
	}
	if err := l.free(); err != nil {
		return err
	}
	if err := l.makeDirs(); err != nil {
		return err
	}
	err := l.locked(func(s *state) error {
		if err := l.bootAll(s, l.topology.nodes()); err != nil {
			return err
		}
		for _, sw := range l.topology.Switches {
			if err := setSysctls(s.Nodes[sw.Name], quietSwitch); err != nil {
				return fmt.Errorf("switch %s: %w", sw.Name, err)
			}
		}
		if err := l.buildDomain(s, 0); err != nil {
			return err
		}
		for _, m := range l.topology.Machines() {
			if err := ctx.Err(); err != nil {
				return err
			}
			if err := l.equip(s, m.Name); err != nil {
				return err
			}
		}
		return nil
	})
	if err != nil {
		return errors.Join(err, Down(filepath.Dir(l.dir), l.name))
	}
	return nil
}

// free reports whether the names of the lab's namespaces are: they depend on the
// names of lab and node alone, not on the lab's directory.
func (l *Lab) free() error {
	for _, name := range l.topology.nodes() {
		if _, err := os.Stat(l.nsFile(name)); err == nil {
			return fmt.Errorf("%s exists: a lab like %s is kept in another directory than %s; choose another name", l.nsFile(name), l.name, filepath.Dir(l.dir))
		}
	}
	return nil
}

// makeDirs writes down what the lab is to be before any of it exists, so that
// Down knows whatever happens.
func (l *Lab) makeDirs() error {
	s := &state{
		Topology: string(l.topology.source), Binary: l.options.Binary, Command: l.options.Command,
		Nodes: map[string]*node{},
	}
	for _, name := range l.topology.nodes() {
		s.Nodes[name] = &node{}
		for _, d := range []string{"disk", "run"} {
			if err := os.MkdirAll(filepath.Join(l.nodeDir(name), d), 0o700); err != nil {
				return fmt.Errorf("lab %s: %w", l.name, err)
			}
		}
	}
	return l.save(s)
}

func (l *Lab) nodeDir(name string) string { return filepath.Join(l.dir, "nodes", name) }

// Down takes the lab away.
func (l *Lab) Down() error { return Down(filepath.Dir(l.dir), l.name) }

// Down takes a lab away, whatever state it is in: processes, namespaces, links
// and files. It goes by what exists, not by what was written down.
func Down(dir, name string) error {
	if dir == "" {
		dir = DefaultDir
	}
	if !labName.MatchString(name) {
		return fmt.Errorf("%q is no name for a lab", name)
	}
	path, err := filepath.Abs(filepath.Join(dir, name))
	if err != nil {
		return err
	}
	ctx, cancel := context.WithTimeout(context.Background(), 2*endTimeout)
	defer cancel()
	nodes, err := initProcesses(filepath.Join(path, "nodes"))
	errs := []error{err}
	for _, p := range nodes {
		errs = append(errs, p.end(ctx, unix.SIGKILL))
	}
	entries, _ := os.ReadDir(filepath.Join(path, "nodes"))
	for _, e := range entries {
		errs = append(errs, removeNamespace(filepath.Join(nsDir, "nq-"+name+"-"+e.Name())))
	}
	if err := errors.Join(errs...); err != nil {
		return fmt.Errorf("lab %s: %w", name, err)
	}
	if err := os.RemoveAll(path); err != nil {
		return err
	}
	os.Remove(dir) // when it was the last lab
	return nil
}

// removeNamespace drops the file that keeps a network namespace, and so the
// namespace, once no process is in it.
func removeNamespace(file string) error {
	err := unix.Unmount(file, unix.MNT_DETACH)
	if err != nil && !errors.Is(err, unix.EINVAL) && !errors.Is(err, unix.ENOENT) {
		return fmt.Errorf("unmount %s: %w", file, err)
	}
	if err := os.Remove(file); err != nil && !errors.Is(err, os.ErrNotExist) {
		return err
	}
	os.Remove(filepath.Dir(file)) // if this was the last namespace of the machine
	return nil
}

// initProcesses finds the init processes of the nodes below a directory.
func initProcesses(nodes string) ([]process, error) {
	entries, err := os.ReadDir("/proc")
	if err != nil {
		return nil, err
	}
	var found []process
	for _, e := range entries {
		cmdline, err := os.ReadFile(filepath.Join("/proc", e.Name(), "cmdline"))
		if err != nil {
			continue
		}
		argv := strings.Split(string(cmdline), "\x00")
		if len(argv) < 2 || argv[0] != initName || filepath.Dir(argv[1]) != nodes {
			continue
		}
		var pid int
		fmt.Sscan(e.Name(), &pid)
		if p, err := identify(pid); err == nil {
			found = append(found, p)
		}
	}
	return found, nil
}
