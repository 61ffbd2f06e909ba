package messages

import (
	"bufio"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/netquorum/netquorum"
)

// Tests with processes that are killed: this binary runs again as a sender or a
// receiver, which talk over loopback and tell the test on their output.

func TestMain(m *testing.M) {
	if role := os.Getenv("NQ_MESSAGES_ROLE"); role != "" {
		if err := roles[role](); err != nil {
			fmt.Fprintln(os.Stderr, role+":", err)
			os.Exit(1)
		}
		os.Exit(0)
	}
	os.Exit(m.Run())
}

var roles = map[string]func() error{"sender": runSender, "receiver": runReceiver, "body": runBody}

// A tcpNetwork is two filers on loopback, which say who they are in a line.
type tcpNetwork struct {
	self  netquorum.FilerID
	ports map[netquorum.FilerID]string
	net.Listener
}

func (n *tcpNetwork) Open(ctx context.Context, to netquorum.FilerID, _ Class) (net.Conn, error) {
	c, err := (&net.Dialer{}).DialContext(ctx, "tcp", n.ports[to])
	if err == nil {
		_, err = fmt.Fprintln(c, n.self)
	}
	return c, err
}

func (n *tcpNetwork) Accept() (net.Conn, netquorum.FilerID, error) {
	c, err := n.Listener.Accept()
	if err != nil {
		return nil, "", err
	}
	var name []byte
	for b := make([]byte, 1); ; name = append(name, b[0]) {
		if _, err := io.ReadFull(c, b); err != nil {
			c.Close()
			return nil, "", err
		}
		if b[0] == '\n' {
			return c, netquorum.FilerID(name), nil
		}
	}
}

// processNode opens the node that the environment describes and runs it.
func processNode() (*Node, error) {
	self := netquorum.FilerID(os.Getenv("NQ_SELF"))
	ports := map[netquorum.FilerID]string{"sender": os.Getenv("NQ_SENDER"), "receiver": os.Getenv("NQ_RECEIVER")}
	ln, err := net.Listen("tcp", ports[self])
	if err != nil {
		return nil, err
	}
	n, err := Open(Config{
		Dir: os.Getenv("NQ_DIR"), Self: self, Network: &tcpNetwork{self, ports, ln}, Hosts: fixedHosts{},
		RetryMin: 5 * time.Millisecond, RetryMax: 50 * time.Millisecond,
	})
	if err == nil {
		go func() {
			fmt.Fprintln(os.Stderr, n.Run(context.Background()))
			os.Exit(2)
		}()
	}
	return n, err
}

type fixedHosts struct{}

func (fixedHosts) Host(string) (Place, bool)     { return Place{}, false }
func (fixedHosts) Hosting(string) (uint64, bool) { return 0, false }
func (fixedHosts) Epoch(string) uint64           { return 0 }
func (fixedHosts) Member(netquorum.FilerID) bool { return true }
func (fixedHosts) Changed() <-chan struct{}      { return nil }

var says sync.Mutex

// say tells the test something that stays said when this process is killed.
func say(format string, a ...any) {
	says.Lock()
	defer says.Unlock()
	fmt.Fprintf(os.Stdout, format+"\n", a...)
}

func runReceiver() error {
	n, err := processNode()
	if err != nil {
		return err
	}
	if _, err = n.ServeTx("tx", ledger); err != nil {
		return err
	}
	_, err = n.Serve("plain", func(_ context.Context, m *Message) ([]byte, error) {
		say("handled %s", m.ID)
		return nil, nil
	})
	if err != nil {
		return err
	}
	_, err = n.Serve("body", func(_ context.Context, m *Message) ([]byte, error) {
		r, err := m.Body.Open()
		if err != nil {
			return nil, err
		}
		defer r.Close()
		h := sha256.New()
		size, err := io.CopyBuffer(h, r, make([]byte, 64<<10))
		say("body %d %x", size, h.Sum(nil))
		return nil, err
	})
	say("ready")
	if err != nil {
		return err
	}
	select {}
}

// runSender sends the messages that it is told of on its input, and tells which
// are sent and which are completed.
func runSender() error {
	n, err := processNode()
	if err != nil {
		return err
	}
	b, err := n.Box("client")
	if err != nil {
		return err
	}
	go func() {
		for after := uint64(0); ; {
			done, err := b.Completions(context.Background(), after, 100)
			if err != nil {
				return
			}
			ids := []ID{}
			for _, c := range done {
				say("completed %s %s", c.ID, c.Outcome)
				ids, after = append(ids, c.ID), c.Position
			}
			if b.Forget(context.Background(), ids...) != nil {
				return
			}
		}
	}()
	say("ready")
	var wg sync.WaitGroup
	in := bufio.NewScanner(os.Stdin)
	for in.Scan() {
		i, err := strconv.Atoi(in.Text())
		if err != nil {
			return err
		}
		wg.Go(func() {
			id, err := b.Send(context.Background(), Message{
				To: Target{Service: []string{"tx", "plain"}[i%2], Filer: "receiver"}, Stream: strconv.Itoa(i % 7), Priority: Priority(i % 3 / 2),
				Body: Bytes(make([]byte, i%5000)),
			})
			if err == nil {
				say("sent %d %s", i, id)
			}
		})
	}
	wg.Wait()
	return in.Err()
}

// bodySize is that of the largest body which must not need memory.
const bodySize = 64 << 20

// pattern is a body that anybody can make again.
func pattern(seed uint64) io.Reader {
	var key [32]byte
	key[0] = byte(seed)
	return io.LimitReader(rand.NewChaCha8(key), bodySize)
}

func runBody() error {
	n, err := processNode()
	if err != nil {
		return err
	}
	b, err := n.Box("client")
	if err != nil {
		return err
	}
	say("ready")
	in := bufio.NewScanner(os.Stdin)
	for in.Scan() {
		seed, err := strconv.Atoi(in.Text())
		if err != nil {
			return err
		}
		if seed >= 0 {
			id, err := b.Send(context.Background(), Message{To: Target{Service: "body", Filer: "receiver"}, Priority: Bulk, Body: Reader(pattern(uint64(seed)), bodySize)})
			if err != nil {
				return err
			}
			say("sent %d %s", seed, id)
		}
		for len(b.Pending(1)) > 0 {
			<-time.After(time.Millisecond)
		}
		say("idle")
	}
	return in.Err()
}

// A process is one life of this binary in a role.
type process struct {
	cmd   *exec.Cmd
	in    io.WriteCloser
	lines sync.WaitGroup
}

// A stage starts processes and hears them.
type stage struct {
	t    *testing.T
	dir  string
	env  []string
	hear func(role string, words []string)
}

func newStage(t *testing.T, hear func(role string, words []string)) *stage {
	s := &stage{t: t, dir: t.TempDir(), hear: hear}
	for _, name := range []string{"NQ_SENDER", "NQ_RECEIVER"} {
		l, err := net.Listen("tcp", "127.0.0.1:0")
		if err != nil {
			t.Fatal(err)
		}
		s.env = append(s.env, name+"="+l.Addr().String())
		l.Close()
	}
	return s
}

// start runs a role and waits until it is ready.
func (s *stage) start(role, self string) *process {
	s.t.Helper()
	p := &process{cmd: exec.Command(os.Args[0], "-test.run=^$")}
	p.cmd.Env = append(append(os.Environ(), s.env...), "NQ_MESSAGES_ROLE="+role, "NQ_SELF="+self, "NQ_DIR="+filepath.Join(s.dir, self))
	p.cmd.Stderr = os.Stderr
	out, err := p.cmd.StdoutPipe()
	if err != nil {
		s.t.Fatal(err)
	}
	if p.in, err = p.cmd.StdinPipe(); err != nil {
		s.t.Fatal(err)
	}
	if err := p.cmd.Start(); err != nil {
		s.t.Fatal(err)
	}
	ready := make(chan struct{})
	p.lines.Go(func() {
		scan := bufio.NewScanner(out)
		for scan.Scan() {
			words := strings.Fields(scan.Text())
			if words[0] == "ready" {
				close(ready)
				continue
			}
			s.hear(role, words)
		}
	})
	s.t.Cleanup(func() { p.kill() })
	select {
	case <-ready:
	case <-time.After(20 * time.Second):
		s.t.Fatalf("the %s is not ready after 20 s", role)
	}
	return p
}

// kill ends a process at once and takes all that it has said.
func (p *process) kill() {
	if p.cmd.ProcessState != nil {
		return
	}
	_ = p.cmd.Process.Kill()
	p.lines.Wait()
	_ = p.cmd.Wait()
}

// TestKilledAtAnyInstant: sender and receiver are killed again and again. Each
// message is handled exactly once by the transactional handler and at least once
// by the other; none is lost, and all completions arrive. With 20,000:
//
//	NQ_MESSAGES_LONG=1 go test -timeout 30m -run TestKilledAtAnyInstant -v ./messages
func TestKilledAtAnyInstant(t *testing.T) {
	t.Parallel()
	total := 1000
	if long {
		total = 20_000
	}
	var mu sync.Mutex
	sent, ids, completed, handled := map[int]bool{}, map[string]int{}, map[string]bool{}, map[string]int{}
	s := newStage(t, func(role string, words []string) {
		mu.Lock()
		defer mu.Unlock()
		switch words[0] {
		case "sent":
			i, _ := strconv.Atoi(words[1])
			sent[i], ids[words[2]] = true, i
		case "completed":
			completed[words[1]] = words[2] == "done"
		case "handled":
			handled[words[1]]++
		}
	})
	all := func() bool {
		mu.Lock()
		defer mu.Unlock()
		for id := range ids {
			if !completed[id] {
				return false
			}
		}
		return len(sent) == total
	}
	sender, receiver := s.start("sender", "sender"), s.start("receiver", "receiver")
	tick := time.NewTicker(time.Second / 400)
	defer tick.Stop()
	kills, next := 0, 0
	when := time.Now().Add(100 * time.Millisecond)
	deadline := time.Now().Add(time.Duration(total) * 60 * time.Millisecond)
	for !all() {
		if time.Now().After(deadline) {
			t.Fatalf("%d sent, %d completed of %d ids after %v", len(sent), len(completed), len(ids), time.Duration(total)*60*time.Millisecond)
		}
		<-tick.C
		mu.Lock()
		for tried := 0; tried < total && sent[next%total]; tried++ {
			next++
		}
		i := next % total
		more := !sent[i]
		next++
		mu.Unlock()
		if more {
			fmt.Fprintln(sender.in, i) // a killed one does not hear it
		}
		if more && time.Now().After(when) {
			kills++
			which := rand.IntN(3) // the sender, the receiver, or both
			if which != 1 {
				sender.kill()
			}
			if which != 0 {
				receiver.kill()
				receiver = s.start("receiver", "receiver")
			}
			if which != 1 {
				sender = s.start("sender", "sender")
			}
			when = time.Now().Add(rand.N(150 * time.Millisecond))
		}
	}
	sender.kill()
	receiver.kill()
	w := newWorld(t)
	w.dirs["receiver"] = filepath.Join(s.dir, "receiver")
	effects := map[string]uint64{}
	readLedger(t, []*Node{w.open("receiver")}, "tx", func(_ *Node, id string, count, _ uint64) { effects[id] = count })
	again := 0
	for id, i := range ids {
		switch {
		case i%2 == 0 && effects[id] != 1:
			t.Errorf("%s has %d effects, want 1", id, effects[id])
		case i%2 == 1 && handled[id] < 1:
			t.Errorf("%s was completed and never handled", id)
		}
		again += max(handled[id]-1, 0)
	}
	for id, count := range effects { // also of those whose Send was not seen to return
		if count != 1 {
			t.Errorf("%s has %d effects, want 1", id, count)
		}
	}
	t.Logf("%d messages, %d times killed, %d calls of the plain handler were repeated", len(ids), kills, again)
}

// TestABodyIsWholeOrNotThere: the sender of 64 MiB is killed while it spools and
// while it sends. What the handler sees is what was sent. Killed 50 times:
//
//	NQ_MESSAGES_LONG=1 go test -timeout 30m -run TestABodyIsWholeOrNotThere -v ./messages
func TestABodyIsWholeOrNotThere(t *testing.T) {
	t.Parallel()
	kills := 5
	if long {
		kills = 50
	}
	sums := map[string]int{}
	for seed := range kills + 1 {
		h := sha256.New()
		if _, err := io.Copy(h, pattern(uint64(seed))); err != nil {
			t.Fatal(err)
		}
		sums[hex.EncodeToString(h.Sum(nil))] = seed
	}
	var mu sync.Mutex
	sent, seen := map[int]bool{}, map[int]int{}
	idle := make(chan struct{}, 100)
	s := newStage(t, func(role string, words []string) {
		mu.Lock()
		defer mu.Unlock()
		switch words[0] {
		case "sent":
			seed, _ := strconv.Atoi(words[1])
			sent[seed] = true
		case "body":
			seed, ok := sums[words[2]]
			if !ok || words[1] != strconv.Itoa(bodySize) {
				t.Errorf("the handler saw %s bytes of sum %s, which nobody sent", words[1], words[2])
			}
			seen[seed]++
		case "idle":
			idle <- struct{}{}
		}
	})
	receiver, sender := s.start("receiver", "receiver"), s.start("body", "sender")
	before := []int{residentPeak(t, sender), residentPeak(t, receiver)}
	fmt.Fprintln(sender.in, 0)
	awaitIdle(t, idle)
	for i, p := range []*process{sender, receiver} {
		grown := residentPeak(t, p) - before[i]
		t.Logf("the %s needed %.1f MB more for 64 MiB", []string{"sender", "receiver"}[i], float64(grown)/1000)
		if grown > 40_000 {
			t.Errorf("the %s needed %d kB more than when idle; 40,000 are allowed", []string{"sender", "receiver"}[i], grown)
		}
	}
	mu.Lock()
	clear(sent)
	clear(seen)
	mu.Unlock()
	for seed := 1; seed <= kills; seed++ {
		fmt.Fprintln(sender.in, seed)
		<-time.After(rand.N(500 * time.Millisecond)) // the instant at which it is killed
		sender.kill()
		sender = s.start("body", "sender")
	}
	for len(idle) > 0 {
		<-idle
	}
	fmt.Fprintln(sender.in, -1)
	awaitIdle(t, idle)
	sender.kill()
	receiver.kill()
	for seed := range sent {
		if seen[seed] == 0 {
			t.Errorf("body %d was sent and never handled", seed)
		}
	}
	t.Logf("killed %d times: %d bodies were sent, %d handled", kills, len(sent), len(seen))
}

func awaitIdle(t *testing.T, idle <-chan struct{}) {
	t.Helper()
	select {
	case <-idle:
	case <-time.After(2 * time.Minute):
		t.Fatal("the sender still has messages after 2 minutes")
	}
}

// residentPeak returns the most memory that a process has had in use, in kB.
func residentPeak(t *testing.T, p *process) int {
	t.Helper()
	b, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", p.cmd.Process.Pid))
	if err != nil {
		t.Fatal(err)
	}
	for line := range strings.Lines(string(b)) {
		if f := strings.Fields(line); f[0] == "VmHWM:" {
			kb, _ := strconv.Atoi(f[1])
			return kb
		}
	}
	t.Fatal("no VmHWM")
	return 0
}
