package netapply

import (
	"errors"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/netquorum/netquorum/lab/nstest"
)

// Of a batch only the last change is acknowledged. What is refused is told all the
// same, at every place, and what is behind it is carried out.
func TestKernelABatchTellsWhatIsRefused(t *testing.T) {
	if !nstest.Enter(t) {
		return
	}
	c, err := openChanger()
	if err != nil {
		t.Fatal(err)
	}
	defer c.close()
	add := func(name string, done ...unix.Errno) change {
		m := linkHeader(0, 0, 0)
		m.text(unix.IFLA_IFNAME, name)
		m.nest(unix.IFLA_LINKINFO, func() { m.text(unix.IFLA_INFO_KIND, "veth") })
		return change{unix.RTM_NEWLINK, unix.NLM_F_CREATE | unix.NLM_F_EXCL, m, done}
	}
	many := func(n int) (list []change) {
		for range n {
			list = append(list, add("lo"))
		}
		return list
	}
	for _, tt := range []struct {
		name    string
		list    []change
		refused []int
	}{
		{"all done", []change{add("v1"), add("v2"), add("v3")}, nil},
		{"in the middle", []change{add("v4"), add("v4"), add("v5")}, []int{1}},
		{"the last", []change{add("v6"), add("v6")}, []int{1}},
		{"the first", []change{add("v6"), add("v7")}, []int{0}},
		{"there already, which will do", []change{add("v7", unix.EEXIST), add("v8")}, nil},
		{"all of several batches", many(2*maxBatch + 1), nil},
	} {
		want := map[int]bool{}
		for _, i := range tt.refused {
			want[i] = true
		}
		for i, err := range c.exchange(tt.list) {
			if all := len(tt.list) > maxBatch; errors.Is(err, unix.EEXIST) != (want[i] || all) || err != nil && !errors.Is(err, unix.EEXIST) {
				t.Errorf("%s: change %d: %v", tt.name, i, err)
			}
		}
	}
}

// Refusals that found no room are not silence, which would mean that all was done.
func TestKernelRefusalsThatAreLostAreNotSuccess(t *testing.T) {
	if !nstest.Enter(t) {
		return
	}
	c, err := openChanger()
	if err != nil {
		t.Fatal(err)
	}
	defer c.close()
	if err := unix.SetsockoptInt(c.fd, unix.SOL_SOCKET, unix.SO_RCVBUF, 1); err != nil { // the kernel makes it its least
		t.Fatal(err)
	}
	m := linkHeader(0, 0, 0)
	m.text(unix.IFLA_IFNAME, "lo")
	list := make([]change, maxBatch)
	for i := range list {
		list[i] = change{unix.RTM_NEWLINK, unix.NLM_F_CREATE | unix.NLM_F_EXCL, m, nil}
	}
	lost := 0
	for i, err := range c.exchange(list) {
		switch {
		case err == nil:
			t.Errorf("change %d is taken for done", i)
		case errors.Is(err, errNoAnswer):
			lost++
		}
	}
	if lost == 0 {
		t.Error("no refusal was lost: nothing is tested")
	}
}
