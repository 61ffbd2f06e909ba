package lab

import (
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"

	"golang.org/x/sys/unix"
)

// A state is what separate invocations must know of a lab, kept in its
// directory as lab.json.
type state struct {
	Topology string   `json:"topology"` // its YAML
	Binary   string   `json:"binary,omitempty"`
	Command  []string `json:"command,omitempty"`
	// Nodes has every node of the topology.
	Nodes map[string]*node `json:"nodes"`
	// Unplugged has the cables that are out, by cable name.
	Unplugged map[string]bool `json:"unplugged,omitempty"`
	// Domains counts the parts that partitions have made, beside part 0.
	Domains int `json:"domains,omitempty"`
}

// A node is the run-time side of a filer, client or switch.
type node struct {
	Init   process `json:"init"`
	Daemon process `json:"daemon"`
	// Off is for a switch that has lost its power. Its ports are dark; its
	// namespace stays, as the cards at the other ends of its cables would
	// vanish with it.
	Off bool `json:"off,omitempty"`
	// Domain numbers the part of a partitioned network that the node is in.
	Domain int `json:"domain,omitempty"`
}

func (s *state) node(name string) (*node, error) {
	if n, ok := s.Nodes[name]; ok {
		return n, nil
	}
	return nil, fmt.Errorf("there is no node %q in this lab", name)
}

// on reports whether the node has power.
func (n *node) on() bool { return !n.Off && n.Init.alive() }

// locked runs do with the lab's state and saves what it changed. Only one
// process and one goroutine at a time changes a lab.
func (l *Lab) locked(do func(*state) error) error {
	lock, err := os.OpenFile(filepath.Join(l.dir, "lock"), os.O_CREATE|os.O_RDWR, 0o600)
	if errors.Is(err, os.ErrNotExist) {
		return fmt.Errorf("lab %s is not up", l.name)
	}
	if err != nil {
		return fmt.Errorf("lab %s: %w", l.name, err)
	}
	defer lock.Close() // and with it the lock
	if err := unix.Flock(int(lock.Fd()), unix.LOCK_EX); err != nil {
		return fmt.Errorf("lock lab %s: %w", l.name, err)
	}
	s, err := l.load()
	if err != nil {
		return err
	}
	err = do(s)
	return errors.Join(err, l.save(s))
}

func (l *Lab) load() (*state, error) {
	data, err := os.ReadFile(filepath.Join(l.dir, "lab.json"))
	if errors.Is(err, os.ErrNotExist) {
		return nil, fmt.Errorf("lab %s is not up", l.name)
	}
	if err != nil {
		return nil, err
	}
	s := &state{}
	if err := json.Unmarshal(data, s); err != nil {
		return nil, fmt.Errorf("%s is damaged (%w); netquorum-lab down %s clears the lab away", filepath.Join(l.dir, "lab.json"), err, l.name)
	}
	if s.Unplugged == nil {
		s.Unplugged = map[string]bool{}
	}
	return s, nil
}

func (l *Lab) save(s *state) error {
	data, err := json.MarshalIndent(s, "", " ")
	if err != nil {
		return err
	}
	file := filepath.Join(l.dir, "lab.json")
	if err := os.WriteFile(file+".new", data, 0o600); err != nil {
		return err
	}
	return os.Rename(file+".new", file)
}
