package e2e

import (
	"bytes"
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"net/netip"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/netquorum/netquorum/api"
	"github.com/netquorum/netquorum/lab"
)

// Munich and Berlin with the addresses of docs/partners.md: two networks between
// them, and nothing else that they share. berlin-2 is not there today.
const partnersTopology = `
name: partners
switches: [{name: east}, {name: west}]
filers:
- {name: munich-1, ports: [{name: eth0, switch: east}, {name: eth1, switch: west}]}
- {name: munich-2, ports: [{name: eth0, switch: east}, {name: eth1, switch: west}]}
- {name: berlin-1, ports: [{name: eth0, switch: east}, {name: eth1, switch: west}]}
`

const munichConfig = `
kind: Cluster
name: munich
spec: {mac: "00:07:34:04:12:0e"}
---
kind: FilerGroup
name: main
spec: {}
---
kind: Filer
name: munich-1
spec: {group: main, interfaces: [{name: mgmt0, parent: eth0, addresses: [192.0.2.1/24]}, {name: mgmt1, parent: eth1, addresses: [198.51.100.1/24]}]}
---
kind: Filer
name: munich-2
spec: {group: main, interfaces: [{name: mgmt0, parent: eth0, addresses: [192.0.2.2/24]}, {name: mgmt1, parent: eth1, addresses: [198.51.100.2/24]}]}
`

const berlinConfig = `
kind: Cluster
name: berlin
spec: {mac: "00:07:34:04:12:0f"}
---
kind: FilerGroup
name: main
spec: {}
---
kind: Filer
name: berlin-1
spec: {group: main, interfaces: [{name: mgmt0, parent: eth0, addresses: [192.0.2.7/24]}, {name: mgmt1, parent: eth1, addresses: [198.51.100.7/24]}]}
`

// A partnership is two clusters in one lab, and a directory for each operator.
type partnership struct {
	*cluster
	dir string
}

func (p *partnership) in(t *testing.T) *partnership { return &partnership{p.cluster.in(t), p.dir} }

// Two clusters become partners by the commands of docs/partners.md and mirror,
// whatever happens to paths, readers, secrets, addresses and daemons.
func TestLabPartners(t *testing.T) {
	p := &partnership{dir: t.TempDir()}
	top, err := lab.ParseTopology("partners", []byte(partnersTopology))
	if err != nil {
		t.Fatal(err)
	}
	p.cluster = raiseTopology(t, example{}, top)
	p.form("munich", munichConfig, "munich-1", "munich-2")
	p.form("berlin", berlinConfig, "berlin-1")
	type part struct {
		name string
		run  func(*partnership)
	}
	parts := []part{
		{"the page makes them partners", pageMakesPartners},
		{"a mirror outlives its paths", mirrorOutlivesItsPaths},
		{"a reader that stops holds up its writer", readerHoldsUpItsWriter},
		{"the secret is changed under a mirror", secretIsChanged},
		{"who does not share a secret is refused", strangersAreRefused},
		{"addresses change under a mirror", addressesChange},
		{"a daemon dies", daemonDies},
	}
	if mirrorRounds > 0 {
		parts = slices.Insert(parts, 1, part{"a mirror's rate", mirrorBesideTLS})
	}
	for _, test := range parts {
		if !t.Run(test.name, func(t *testing.T) {
			start := time.Now()
			test.run(p.in(t))
			t.Logf("%s: %v", test.name, time.Since(start).Round(10*time.Millisecond))
		}) {
			return // each goes on where the one before has ended
		}
	}
}

func (p *partnership) form(name, config string, filers ...string) {
	p.t.Helper()
	dir := filepath.Join(p.dir, name)
	file := filepath.Join(dir, "config.yaml")
	p.must(os.Mkdir(dir, 0o700))
	p.must(os.WriteFile(file, []byte(config), 0o600))
	p.must(p.Form(p.t.Context(), file, p.t.Output(), filers...))
}

// A pageCommand is a line of a page, like "munich-1# netquorum partner".
type pageCommand struct{ filer, line string }

var prompt = regexp.MustCompile(`^(\w+-\d)# (.*)$`)

// partnersPage returns the blocks of docs/partners.md: documents by the partner's
// name, and commands.
func partnersPage(t *testing.T) (documents map[string]string, commands [][]pageCommand) {
	t.Helper()
	documents = map[string]string{}
	for i, block := range strings.Split(read(t, filepath.Join("..", "..", "docs", "partners.md")), "```") {
		language, text, _ := strings.Cut(block, "\n")
		switch {
		case i%2 == 0:
			continue
		case language == "yaml":
			documents[regexp.MustCompile(`(?m)^name: (\w+)$`).FindStringSubmatch(text)[1]] = text
			continue
		}
		var some []pageCommand
		for line := range strings.Lines(text) {
			if m := prompt.FindStringSubmatch(strings.TrimSpace(line)); m != nil {
				some = append(some, pageCommand{m[1], m[2]})
			}
		}
		if len(some) > 0 {
			commands = append(commands, some)
		}
	}
	return documents, commands
}

// follow does what the page says, in the directory of the filer's operator, who
// hands the file with the secret to the other one.
func (p *partnership) follow(c pageCommand) string {
	p.t.Helper()
	at, _, _ := strings.Cut(c.filer, "-")
	out := p.sh(c.filer, "cd "+filepath.Join(p.dir, at)+"; "+c.line)
	if strings.Contains(c.line, "> secret") {
		secret, err := os.ReadFile(filepath.Join(p.dir, at, "secret"))
		p.must(err)
		for _, to := range []string{"munich", "berlin"} {
			p.must(os.WriteFile(filepath.Join(p.dir, to, "secret"), secret, 0o600))
		}
	}
	return out
}

// A file goes from one cluster to the other by the commands of the page alone.
func pageMakesPartners(p *partnership) {
	documents, commands := partnersPage(p.t)
	if len(documents) != 2 || len(commands) < 3 {
		p.t.Fatalf("the page has %d documents and %d blocks of commands", len(documents), len(commands))
	}
	p.must(os.WriteFile(filepath.Join(p.dir, "munich", "berlin.yaml"), []byte(documents["berlin"]), 0o600))
	p.must(os.WriteFile(filepath.Join(p.dir, "berlin", "munich.yaml"), []byte(documents["munich"]), 0o600))
	for _, c := range commands[0] {
		p.follow(c)
	}
	image := make([]byte, 16<<20)
	_, _ = rand.NewChaCha8([32]byte{1}).Read(image)
	p.must(os.WriteFile(filepath.Join(p.dir, "munich", "a.image"), image, 0o600))
	received := make(chan struct{})
	go func() {
		defer close(received)
		p.follow(commands[1][0])
	}()
	p.follow(commands[1][1])
	<-received
	got, err := os.ReadFile(filepath.Join(p.dir, "berlin", "a.image"))
	if err != nil || !bytes.Equal(got, image) {
		p.t.Errorf("%d bytes of %d arrived, %v", len(got), len(image), err)
	}
	p.expect(p.cli("munich-1", "", "partner"), 0, "This cluster is munich", "192.0.2.7", "198.51.100.7", "berlin-2.example.com")
}

// A path between munich-1 and berlin-1, by their addresses there.
type way struct{ munich, berlin string }

var ways = []way{{"192.0.2.1", "192.0.2.7"}, {"198.51.100.1", "198.51.100.7"}}

// deaf drops silently what comes from an address; hears ends that.
func (p *partnership) deaf(filer, from string) {
	p.sh(filer, "nft add table inet deaf; nft add chain inet deaf in '{ type filter hook prerouting priority -500 ; }'; nft add rule inet deaf in ip saddr "+from+" drop")
}

func (p *partnership) hears(filers ...string) {
	for _, f := range filers {
		p.sh(f, "nft delete table inet deaf")
	}
}

func mirrorOutlivesItsPaths(p *partnership) {
	m := p.mirror("paths", mirrorRate)
	p.awaitWays(2)
	rounds := 1
	if n, err := strconv.Atoi(os.Getenv("NQ_PARTNER_CUTS")); err == nil {
		rounds = n
	}
	both := []string{"munich-1", "berlin-1"}
	var gaps []time.Duration
	before := p.link("munich-1").Switches
	for range rounds {
		for _, cut := range []struct {
			what   string
			filers []string
		}{{"at both ends", both}, {"towards Berlin", both[1:]}, {"towards Munich", both[:1]}} {
			for _, w := range ways {
				m.reset()
				for _, f := range cut.filers {
					p.deaf(f, map[string]string{"munich-1": w.berlin, "berlin-1": w.munich}[f])
				}
				p.await("the path is given up", patience(), func() error { return p.suspects(w) })
				m.flows()
				p.hears(cut.filers...)
				gap := m.longest()
				gaps = append(gaps, gap)
				p.awaitWays(2)
				p.t.Logf("%s cut %s: the longest time in which nothing arrived was %v; %v after the cut was healed",
					w.berlin, cut.what, gap.Round(time.Millisecond), m.longest().Round(time.Millisecond))
			}
		}
	}
	n := m.finish()
	slices.Sort(gaps)
	switches := p.link("munich-1").Switches - before
	p.t.Logf("%d MiB arrived through %d cuts, with %d switches; gaps %v in the middle, %v at most", n>>20, len(gaps), switches,
		gaps[len(gaps)/2].Round(time.Millisecond), gaps[len(gaps)-1].Round(time.Millisecond))
	if most := gaps[len(gaps)-1]; most > 5*time.Second && !emulated {
		p.t.Errorf("nothing arrived for %v", most)
	}
	if switches < uint64(len(gaps))/2 {
		p.t.Errorf("%d cuts, and data went on by another path %d times", len(gaps), switches)
	}
}

// link is the link of a filer to its partner, which must have one only.
func (p *partnership) link(filer string) api.PartnerLink {
	p.t.Helper()
	links := p.linksOf(filer)
	if len(links) != 1 {
		p.t.Fatalf("%s has links %+v", filer, links)
	}
	return links[0]
}

func (p *partnership) linksOf(filer string) []api.PartnerLink {
	p.t.Helper()
	client := p.client(filer)
	defer client.Close()
	l, err := client.Partners(p.t.Context())
	p.must(err)
	return l.Partners[0].Links
}

// awaitWays waits until so many paths work, as both ends see it.
func (p *partnership) awaitWays(n int) {
	p.t.Helper()
	for _, f := range []string{"munich-1", "berlin-1"} {
		p.await(fmt.Sprintf("%d paths of %s work", n, f), patience(), func() error {
			links := p.linksOf(f)
			if len(links) != 1 || len(links[0].Paths) != n || slices.ContainsFunc(links[0].Paths, func(p api.PartnerPath) bool { return p.State != "up" }) {
				return fmt.Errorf("%+v", links)
			}
			return nil
		})
	}
}

// suspects returns nil when Munich does not trust the path.
func (p *partnership) suspects(w way) error {
	at := netip.MustParseAddr(w.berlin)
	for _, path := range p.link("munich-1").Paths {
		if path.Remote.Addr() == at && path.State == "up" {
			return errors.New("it is up")
		}
	}
	return nil
}

// A writer that nobody reads is held up; what the daemons keep of its stream, and
// what the streams beside it get, does not depend on how much it would like to
// write.
func readerHoldsUpItsWriter(p *partnership) {
	memory := func() (kb [2]int) {
		for i, f := range []string{"munich-1", "berlin-1"} {
			kb[i] = p.resident(f)
		}
		return kb
	}
	from, to := p.pair("stuck")
	beside := p.mirror("beside", mirrorRate)
	beside.flows()
	before := memory()
	wrote, buf := 0, make([]byte, 1<<20)
	for {
		_ = from.SetWriteDeadline(time.Now().Add(time.Second))
		n, err := from.Write(buf)
		if wrote += n; err != nil {
			if !errors.Is(err, os.ErrDeadlineExceeded) {
				p.t.Fatalf("after %d bytes: %v", wrote, err)
			}
			break
		}
		if wrote > 256<<20 {
			p.t.Fatal("256 MiB were written that nobody reads")
		}
	}
	for range 3 {
		beside.flows()
	}
	held := memory()
	p.t.Logf("the writer was held up after %.1f MiB; the daemons had %d and %d MiB resident before, %d and %d then",
		float64(wrote)/(1<<20), before[0]>>10, before[1]>>10, held[0]>>10, held[1]>>10)
	for i := range held {
		if grown := held[i] - before[i]; grown > 96<<10 {
			p.t.Errorf("a daemon's memory has grown by %d KiB", grown)
		}
	}
	// The chunk that the writer gave up is not whole: nobody may take the stream for
	// that.
	from.Abort(errors.New("nobody reads"))
	if n, err := io.Copy(io.Discard, to); err == nil {
		p.t.Errorf("a stream of which %d bytes were written ended as if it were whole, after %d", wrote, n)
	}
	beside.finish()
}

// resident is how much memory a filer's daemon has, in KiB.
func (p *partnership) resident(filer string) int {
	p.t.Helper()
	text := read(p.t, fmt.Sprintf("/proc/%d/status", p.node(filer).Daemon))
	var kb int
	if _, err := fmt.Sscanf(text[strings.Index(text, "VmRSS:"):], "VmRSS: %d kB", &kb); err != nil {
		p.t.Fatalf("%s: %v in %q", filer, err, text)
	}
	return kb
}

// secrets are the ids of a filer's cluster for the partner, the newest last.
func (p *partnership) secrets(filer string) (ids []string) {
	p.t.Helper()
	client := p.client(filer)
	defer client.Close()
	l, err := client.Partners(p.t.Context())
	p.must(err)
	secrets := l.Partners[0].Secrets
	slices.SortFunc(secrets, func(a, b api.Secret) int { return a.Made.Compare(*b.Made) })
	for _, s := range secrets {
		ids = append(ids, s.ID)
	}
	return ids
}

// The commands of the page, in their order, while a mirror goes on.
func secretIsChanged(p *partnership) {
	_, commands := partnersPage(p.t)
	m := p.mirror("rotated", mirrorRate)
	m.flows()
	m.reset()
	old := p.secrets("munich-1")[0]
	p.must(os.Rename(filepath.Join(p.dir, "munich", "secret"), filepath.Join(p.dir, "munich", "old-secret")))
	for _, c := range commands[2] {
		ids := p.secrets(c.filer)
		c.line = strings.NewReplacer("OLD", old, "NEW", ids[len(ids)-1]).Replace(c.line)
		p.follow(c)
		m.flows()
	}
	p.awaitWays(2)
	for _, f := range []string{"munich-1", "berlin-1"} {
		if ids := p.secrets(f); len(ids) != 1 || ids[0] == old {
			p.t.Errorf("%s has the secrets %v; the old one was %s", f, ids, old)
		}
	}
	p.gapWithin(m, 2*time.Second)
	// A mistake: what was removed is used again. What works goes on, the operator
	// is told, and putting it right ends that.
	p.follow(pageCommand{"munich-1", "netquorum partner secret add berlin --use --secret-file old-secret"})
	wrong := "secret " + old + ": the partner does not accept the secret"
	p.awaitSaid("munich-1", wrong, true)
	m.flows()
	p.follow(pageCommand{"munich-1", "netquorum partner secret use berlin " + p.secrets("berlin-1")[0]})
	p.follow(pageCommand{"munich-1", "netquorum partner secret remove berlin " + old})
	p.awaitSaid("munich-1", wrong, false)
	m.flows()
	p.awaitWays(2)
	p.gapWithin(m, 2*time.Second)
	m.finish()
}

// gapWithin checks the longest time in which nothing arrived.
func (p *partnership) gapWithin(m *mirror, most time.Duration) {
	p.t.Helper()
	gap := m.longest()
	p.t.Logf("the longest time in which nothing arrived was %v", gap.Round(time.Millisecond))
	if gap > most && !emulated {
		p.t.Errorf("nothing arrived for %v", gap)
	}
}

// awaitSaid waits until `netquorum partner` says something, or does not any more.
func (p *partnership) awaitSaid(filer, words string, said bool) {
	p.t.Helper()
	p.await(fmt.Sprintf("%s says %q: %v", filer, words, said), patience(), func() error {
		if a := p.cli(filer, "", "partner"); strings.Contains(a.text(), words) != said {
			return errors.New(a.text())
		}
		return nil
	})
}

// Who has no secret, another one or a removed one is refused; the operators of
// both sides can see why, and how often.
func strangersAreRefused(p *partnership) {
	refused := func(reason string) float64 {
		return p.metric("berlin-1", `netquorum_connections_refused_total{reason="`+reason+`"}`)
	}
	send := func(partner string) answer {
		return p.cli("munich-1", "", "stream", "send", partner, "nothing", "--timeout", "1s")
	}
	// The one before has used a removed secret.
	before := refused("not-proven")
	if before == 0 {
		p.t.Error("a removed secret was refused, and not counted")
	}
	if log := read(p.t, p.LogFile("berlin-1")); !strings.Contains(log, "which is not accepted here") {
		p.t.Error("Berlin's log does not say that a removed secret was offered")
	}
	p.nq("munich-1", "kind: Partner\nname: paris\nspec: {endpoints: [192.0.2.7, 198.51.100.7]}\n", "apply", "-f", "-")
	p.expect(send("rome"), 1, "there is no partner rome", "apply a Partner document first")
	p.expect(send("paris"), 4, "no secret is in use with the partner; make one with `netquorum partner secret add`")
	if n := refused("not-proven"); n != before {
		p.t.Errorf("Berlin was called %v times without a secret", n-before)
	}
	p.nq("munich-1", "", "partner", "secret", "add", "paris")
	p.expect(send("paris"), 4, "192.0.2.7: secret", "the partner does not accept the secret; add it there, or use one that both have")
	p.expect(p.cli("munich-1", "", "partner"), 0, "PROBLEM", "paris 192.0.2.7 secret")
	if n := refused("not-proven"); n <= before {
		p.t.Error("a secret that Berlin does not have was refused, and not counted")
	}
	p.nq("munich-1", "", "delete", "partner", "paris")

	before = refused("not-proven")
	p.must(p.intrude())
	p.await("who knows no secret is counted", patience(), func() error {
		if n := refused("not-proven"); n <= before {
			return fmt.Errorf("%v", n)
		}
		return nil
	})

	// The secret alone is enough, unless the Partner document names a cluster.
	id := func(filer string) string {
		client := p.client(filer)
		defer client.Close()
		l, err := client.Partners(p.t.Context())
		p.must(err)
		return l.ClusterID
	}
	pin := func(id string) {
		p.nq("berlin-1", "kind: Partner\nname: munich\nspec: {clusterID: "+id+"}\n", "apply", "-f", "-")
	}
	pin(id("berlin-1"))
	p.expect(send("berlin"), 4, "the partner knows the secret and expects another cluster")
	if refused("other-cluster") == 0 {
		p.t.Error("another cluster was refused, and not counted")
	}
	pin(id("munich-1"))
	m := p.mirror("pinned", mirrorRate)
	m.flows()
	m.finish()
}

// intrude calls Berlin as a partner would, with a secret that nobody has.
func (p *partnership) intrude() error {
	s := services{namespaces: map[string]string{"munich-2": p.node("munich-2").Namespace}}
	return s.in("munich-2", func() error {
		raw, err := net.DialTimeout("tcp4", "192.0.2.7:7480", patience())
		if err != nil {
			return err
		}
		defer raw.Close()
		_ = raw.SetDeadline(time.Now().Add(patience()))
		conn := tls.Client(raw, &tls.Config{InsecureSkipVerify: true, NextProtos: []string{"netquorum-partner/1"}})
		if _, err := conn.Write(make([]byte, 10+16+32)); err != nil {
			return err
		}
		reply, err := io.ReadAll(conn)
		if err != nil || slices.ContainsFunc(reply, func(b byte) bool { return b != 0 }) {
			return fmt.Errorf("the answer was %v, %v", reply, err)
		}
		return nil
	})
}

// Both ends get other addresses, one after the other: a secret is no address.
func addressesChange(p *partnership) {
	m := p.mirror("moved", mirrorRate)
	p.awaitWays(2)
	m.reset()
	uses := func(want ...string) {
		p.t.Helper()
		p.await(fmt.Sprintf("the paths are %v", want), patience(), func() error {
			var used []string
			for _, path := range p.link("munich-1").Paths {
				used = append(used, path.Local.Addr().String()+" "+path.Remote.Addr().String())
			}
			slices.Sort(used)
			if !slices.Equal(used, want) {
				return fmt.Errorf("they are %v", used)
			}
			return nil
		})
		m.flows()
	}
	p.nq("berlin-1", strings.ReplaceAll(berlinConfig, "192.0.2.7/24", "192.0.2.77/24"), "apply", "-f", "-")
	m.flows()
	p.nq("munich-1", "kind: Partner\nname: berlin\nspec: {endpoints: [192.0.2.77, 198.51.100.7]}\n", "apply", "-f", "-")
	uses("192.0.2.1 192.0.2.77", "198.51.100.1 198.51.100.7")
	p.nq("munich-1", strings.ReplaceAll(munichConfig, "198.51.100.1/24", "198.51.100.11/24"), "apply", "-f", "-")
	uses("192.0.2.1 192.0.2.77", "198.51.100.11 198.51.100.7")
	p.gapWithin(m, 5*time.Second)
	m.finish()
}

// A process that ends takes its streams along, and both applications learn that
// theirs was cut: at once where it was, and elsewhere as soon as the filer runs
// another one.
func daemonDies(p *partnership) {
	m := p.mirror("killed", mirrorRate)
	sent := p.background("munich-1", "head -c 1G /dev/zero | netquorum stream send berlin zeros")
	from, err := p.client("berlin-1").ListenStreams("zeros").Accept()
	p.must(err)
	_, err = io.CopyN(io.Discard, from, 1<<20)
	p.must(err)

	m.flows()
	start := time.Now()
	p.must(p.KillDaemon("berlin-1"))
	p.cut("reader", m.ended("reader", m.read), start)
	start = time.Now()
	p.must(p.StartDaemon("berlin-1"))
	p.cut("writer", m.ended("writer", m.wrote), start)
	p.expect(<-sent, 3, "the stream was cut", "another one runs there")

	m = p.mirror("killed", mirrorRate)
	p.t.Logf("there was a new stream %v after the daemon's start", time.Since(start).Round(time.Millisecond))
	m.flows()
	start = time.Now()
	p.must(p.KillDaemon("munich-1"))
	p.cut("writer", m.ended("writer", m.wrote), start)
	p.must(p.StartDaemon("munich-1"))
	p.must(p.AwaitSettled(p.t.Context(), "munich-1", "munich-1", "munich-2"))
	start = time.Now()
	next := p.mirror("killed", mirrorRate)
	p.cut("reader", m.ended("reader", m.read), start)
	next.flows()
	next.finish()
}

// cut checks that one side of a mirror has ended as one that was cut.
func (p *partnership) cut(side string, err error, since time.Time) {
	p.t.Helper()
	took := time.Since(since).Round(time.Millisecond)
	p.t.Logf("the %s ended after %v: %v", side, took, err)
	if err == nil || errors.Is(err, errGoesOn) {
		p.t.Errorf("the %s was cut and says %v", side, err)
	}
	if took > 15*time.Second && !emulated {
		p.t.Errorf("that took %v", took)
	}
}

// background runs lines of shell in a node.
func (p *partnership) background(node, script string) <-chan answer {
	p.t.Helper()
	ctx, cancel := context.WithCancel(p.t.Context())
	cmd := lab.Command(ctx, "sh", "-c", script)
	var out, errs strings.Builder
	cmd.Stdout, cmd.Stderr = &out, &errs
	wait, err := p.Start(node, cmd)
	p.must(err)
	ended := make(chan answer, 1)
	go func() {
		defer cancel()
		_ = wait() // the state says it
		ended <- answer{cmd.ProcessState.ExitCode(), out.String(), errs.String()}
	}()
	return ended
}
