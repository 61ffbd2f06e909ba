package transport_test

import (
	"fmt"
	"math/rand/v2"
	"net"
	"net/netip"
	"os"
	"runtime"
	"slices"
	"strconv"
	"sync"
	"testing"
	"time"

	"github.com/netquorum/netquorum"
	"github.com/netquorum/netquorum/lab/nstest"
	"github.com/netquorum/netquorum/transport"
	"github.com/netquorum/netquorum/transport/link"
	"github.com/netquorum/netquorum/transport/sctpio"
	"github.com/netquorum/netquorum/transport/transporttest"
)

// 200 messages a second each way over two paths, one of which is cut in every way
// there is: none is lost, none comes twice, none waits long; and the path is used
// again. Each way once; with NQ_PATH_CUTS=200 so many, drawn:
//
//	NQ_PATH_CUTS=200 go test -timeout 30m -run TestKernelPathsAreCut ./transport
func TestKernelPathsAreCut(t *testing.T) {
	if !nstest.Enter(t) {
		return
	}
	twoCables(t)
	_, near, far, _ := newFilersOnCables(t)
	out := newPost(t, near, far, "test-out/1", 5*time.Millisecond)
	back := newPost(t, far, near, "test-back/1", 5*time.Millisecond)
	east := func() bool {
		return uses(near, far.ID, "10.1.0.1", link.Control) && uses(far, near.ID, "10.1.0.2", link.Control)
	}
	transporttest.Eventually(t, "the first path to be used, and the second to be there", func() bool {
		return east() && settledPaths(near, far.ID, 2) && settledPaths(far, near.ID, 2)
	})

	rounds := len(cuts)
	if n, err := strconv.Atoi(os.Getenv("NQ_PATH_CUTS")); err == nil {
		rounds = n
	}
	var gaps, returns distribution
	goroutines, descriptors := runtime.NumGoroutine(), openFiles(t)
	for i := range rounds {
		c := cuts[i%len(cuts)]
		if rounds > len(cuts) {
			c = cuts[rand.IntN(len(cuts))]
		}
		out.longest()
		back.longest()
		nstest.Sh(t, c.cut)
		transporttest.Eventually(t, "the second path to be used", func() bool {
			return uses(near, far.ID, "10.2.0.1", link.Control) && uses(far, near.ID, "10.2.0.2", link.Control)
		})
		if hold := patience(rounds, i); hold > 0 {
			<-time.After(hold)
		}
		there, here := out.longest(), back.longest()
		nstest.Sh(t, c.mend)
		mended := time.Now()
		transporttest.Eventually(t, "the first path to be used again", east)
		took := time.Since(mended)
		returning := max(out.longest(), back.longest())
		if rounds == len(cuts) || max(there, here, returning) > 200*time.Millisecond {
			t.Logf("%s: silence of %v there and %v back; used again after %v, silence then %v", c.name,
				there.Round(time.Millisecond), here.Round(time.Millisecond), took.Round(time.Millisecond), returning.Round(time.Millisecond))
		}
		gaps, returns = append(gaps, there, here), append(returns, returning)
	}
	transporttest.Eventually(t, "no connection to be left over", func() bool {
		return runtime.NumGoroutine() <= goroutines && openFiles(t) <= descriptors
	})
	sent := out.end() + back.end()
	for _, l := range append(near.Links(), far.Links()...) {
		t.Logf("%s: %d switches, %d bytes resent, %d came twice", l.Filer, l.Switches, l.Resent, l.Duplicates)
		if l.Switches == 0 {
			t.Errorf("the link to %s counts no switch", l.Filer)
		}
	}
	t.Logf("%d messages; when the path was cut: %v; when it was used again: %v", sent, gaps, returns)
	most := 0.99
	if rounds == len(cuts) { // one of ten that a busy machine made late is no hundredth
		most = 0.8
	}
	if gap := gaps.at(most); gap > 300*time.Millisecond && os.Getenv("NQ_IN_VM") == "" {
		t.Errorf("p%.0f of the gap in delivery is %v", 100*most, gap)
	}
}

// The same by SCTP, whose kernel chooses the path.
func TestKernelAssociationsPathIsCut(t *testing.T) {
	if !nstest.Enter(t) {
		return
	}
	if err := sctpio.Supported(); err != nil {
		t.Skipf("%v; run with -exec test/vm/vm-exec", err)
	}
	twoCables(t)
	c, near, far, ofFar := newFilersOnCables(t, func(cfg *transport.Config) { cfg.SCTP = true })
	out := newPost(t, near, far, "test-out/1", 5*time.Millisecond)
	back := newPost(t, far, near, "test-back/1", 5*time.Millisecond)
	associated := func() bool {
		for _, f := range c.Filers {
			l := f.Links()[0]
			if l.Kind != "sctp" || len(l.Paths) != 2 || l.Paths[0].State != "up" || l.Paths[1].State != "up" || f.Stats().Open != 2 {
				return false
			}
		}
		return true
	}
	transporttest.Eventually(t, "two associations and nothing else", associated)
	rounds := len(cuts)
	if n, err := strconv.Atoi(os.Getenv("NQ_PATH_CUTS")); err == nil {
		rounds = n
	}
	var gaps distribution
	for i := range rounds {
		way := cuts[i%len(cuts)]
		out.longest()
		back.longest()
		nstest.Sh(t, way.cut)
		sofar := out.count() + back.count()
		transporttest.Eventually(t, "messages by the other path", func() bool { return out.count()+back.count() > sofar+100 })
		there, here := out.longest(), back.longest()
		nstest.Sh(t, way.mend)
		transporttest.Eventually(t, "both paths to be used again", associated)
		t.Logf("%s: silence of %v there and %v back", way.name, there.Round(time.Millisecond), here.Round(time.Millisecond))
		gaps = append(gaps, there, here)
	}
	t.Logf("%d messages; when the path was cut: %v", out.end()+back.end(), gaps)

	// The addresses change: new associations, then the end of the old ones.
	nstest.Sh(t, `
		ip netns exec far ip addr add 10.1.0.8/24 dev east`)
	out = newPost(t, near, far, "test-again/1", 5*time.Millisecond)
	ofFar.set(far, c, "10.1.0.8", "10.2.0.2")
	near.Readdress()
	far.Readdress()
	transporttest.Eventually(t, "an association with the new address", func() bool {
		return associated() && near.Links()[0].Paths[0].Remote == "10.1.0.8"
	})
	t.Logf("%d messages while addresses changed, longest silence %v", out.count(), out.longest())
	out.end()
}

// patience is how long a path stays cut in the long variant: mostly so short that
// its connections live, every tenth time until they are given up.
func patience(rounds, i int) time.Duration {
	switch {
	case rounds <= len(cuts):
		return 0
	case i%10 == 9:
		return 7 * time.Second
	}
	return rand.N(time.Second)
}

// settledPaths reports whether a link has exactly so many carriers, all working.
func settledPaths(f *transporttest.Filer, to netquorum.FilerID, n int) bool {
	ps := pathsOf(f, to)
	return len(ps) == n && !slices.ContainsFunc(ps, func(p transport.PathStatus) bool { return p.State != "up" })
}

// openFiles counts this process's descriptors.
func openFiles(t testing.TB) int {
	t.Helper()
	list, err := os.ReadDir("/proc/self/fd")
	if err != nil {
		t.Fatal(err)
	}
	return len(list)
}

// Associations whose callers prove nothing push out only each other, as TCP
// connections do.
func TestKernelHalfOpenAssociations(t *testing.T) {
	if !nstest.Enter(t) {
		return
	}
	if err := sctpio.Supported(); err != nil {
		t.Skipf("%v; run with -exec test/vm/vm-exec", err)
	}
	const flood, room = 200, 32
	twoCables(t)
	_, near, far, _ := newFilersOnCables(t, func(cfg *transport.Config) {
		cfg.SCTP, cfg.MaxHalfOpen, cfg.HandshakeTimeout = true, room, time.Minute
	})
	out := newPost(t, near, far, "test-out/1", 5*time.Millisecond)
	transporttest.Eventually(t, "the link to be carried by SCTP", func() bool { return near.Links()[0].Kind == "sctp" && near.Stats().Open == 2 })
	goroutines, descriptors := runtime.NumGoroutine(), openFiles(t)
	var silent []net.Conn
	for range flood {
		c, err := sctpio.Dial(within(t, 10*time.Second), sctpio.Addr(0, netip.MustParseAddr("127.0.0.1"), netip.MustParseAddr("10.1.0.1")),
			sctpio.Addr(7480, netip.MustParseAddr("10.1.0.1")), sctpio.Control())
		if err != nil {
			t.Fatal(err)
		}
		silent = append(silent, c)
	}
	transporttest.Eventually(t, "all but 32 to be pushed out", func() bool {
		s := near.Stats()
		return s.HalfOpen == room && s.Refused[transport.Crowded] == flood-room
	})
	for _, c := range silent {
		c.Close()
	}
	transporttest.Eventually(t, "nothing to be left", func() bool {
		return near.Stats().HalfOpen == 0 && runtime.NumGoroutine() <= goroutines && openFiles(t) <= descriptors
	})
	if near.Links()[0].Kind != "sctp" || out.longest() > 2*time.Second {
		t.Errorf("the link: %+v", near.Links()[0])
	}
}

// Bulk data goes without a mark from both ends, whoever made the association.
func TestKernelBulkDataIsNotMarked(t *testing.T) {
	if !nstest.Enter(t) {
		return
	}
	if err := sctpio.Supported(); err != nil {
		t.Skipf("%v; run with -exec test/vm/vm-exec", err)
	}
	twoCables(t)
	_, near, far, _ := newFilersOnCables(t, func(cfg *transport.Config) { cfg.SCTP = true })
	newPost(t, near, far, "test-out/1", 5*time.Millisecond)
	transporttest.Eventually(t, "two associations and nothing else", func() bool {
		return near.Links()[0].Kind == "sctp" && near.Stats().Open == 2 && far.Stats().Open == 2
	})
	// What is large and has the mark of control, from an end that was called.
	count := func(in string) {
		nstest.Sh(t, in+`nft add table inet marks
			`+in+`nft 'add chain inet marks out { type filter hook output priority 0; }'
			`+in+`nft 'add rule inet marks out sctp sport 7480 meta length > 1000 ip dscp cs6 counter comment "marked"'
			`+in+`nft 'add rule inet marks out sctp sport 7480 meta length > 1000 ip dscp cs0 counter comment "plain"'`)
	}
	counted := func(comment string) (n int) { // bytes
		for _, in := range []string{"", "ip netns exec far "} {
			var bytes int
			text := nstest.Sh(t, in+`nft list chain inet marks out | grep `+comment+` | grep -o "bytes [0-9]*" | cut -d" " -f2`)
			if _, err := fmt.Sscan(text, &bytes); err != nil {
				t.Fatal(err)
			}
			n += bytes
		}
		return n
	}
	count("")
	count("ip netns exec far ")
	const size = 1 << 20
	for i, way := range [][2]*transporttest.Filer{{near, far}, {far, near}} {
		s := transport.Service("test-bulk" + strconv.Itoa(i) + "/1")
		l := way[1].Service(s)
		conn, err := way[0].Open(within(t, 10*time.Second), way[1].ID, s, link.Bulk)
		if err != nil {
			t.Fatal(err)
		}
		in, err := l.Accept()
		if err != nil {
			t.Fatal(err)
		}
		var wg sync.WaitGroup
		wg.Go(func() { conn.Write(make([]byte, size)) })
		if _, err := readFull(in, make([]byte, size)); err != nil {
			t.Fatal(err)
		}
		wg.Wait()
		conn.Close()
		in.Close()
	}
	marked, plain := counted("marked"), counted("plain")
	t.Logf("in large packets of called ends %d bytes are marked and %d are not", marked, plain)
	// Some goes by control's association while a busy machine lets the other wait.
	if plain < size/2 || marked > size/2 {
		t.Error("bulk data has the mark of control")
	}
}
