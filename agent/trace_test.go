package agent

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"strings"
	"testing"
	"time"

	"github.com/netquorum/netquorum/api"
	"github.com/netquorum/netquorum/trace"
)

// missingFrom are the hops that a trace should show and does not. A hop is "filer:
// how its words begin".
func missingFrom(t api.Trace, hops ...string) []string {
	var missing []string
	for _, hop := range hops {
		filer, what, _ := strings.Cut(hop, ": ")
		found := false
		for _, e := range t.Entries {
			found = found || e.Filer == filer && strings.HasPrefix(e.What, what)
		}
		if !found {
			missing = append(missing, hop)
		}
	}
	return missing
}

func shown(t api.Trace) string {
	var b strings.Builder
	for _, e := range t.Entries {
		fmt.Fprintf(&b, "\n%s %s %s %dus %s %s", e.Time.Format("05.000000"), e.Filer, e.Kind, e.Took, e.What, e.Outcome)
	}
	return b.String()
}

// A change is followed from the socket of a follower through the leader and the
// log to every kernel; with one filer away, what the others did is shown, and that
// the one is missing.
func TestATraceShowsWhatAllFilersDid(t *testing.T) {
	// What is logged is remembered as far as the log goes: this one has every line.
	fs := formOf(t, func(f *testFiler) { f.cfg.Log = slog.New(slog.NewTextHandler(io.Discard, nil)) })
	host := hostOf(t, fs)
	leader, follower := byRole(t, fs)
	ctx := t.Context()
	id := trace.New()
	docs := parse(t, "kind: VirtualServer\nname: web\nspec: {group: main, addresses: [{alias: data0, instance: 0, prefix: 10.2.2.1/24}, {alias: data0, instance: 1, prefix: 10.2.2.2/24}]}")
	r, err := follower.client.Apply(trace.With(ctx, id), api.ApplyRequest{Puts: []api.Put{{Document: docs[0]}}, Wait: api.WaitApplied})
	if err != nil {
		t.Fatal(err)
	}
	revision := fmt.Sprintf("revision %d", r.Revision)
	hops := []string{
		follower.name + ": API: POST /v1/transactions",
		follower.name + ": raft: commit by the leader " + leader.name,
		leader.name + ": raft: commit for a follower, " + revision,
	}
	for _, f := range fs {
		hops = append(hops, f.name+": raft: "+revision+" applied", f.name+": kernel: follows ")
		if f != follower {
			hops = append(hops, follower.name+": asked "+f.name+": agent /wait", f.name+": answered "+follower.name+": agent /wait")
		}
	}
	var got api.Trace
	eventually(t, "the trace has every hop", func(context.Context) error {
		if got, err = fs[0].client.Trace(ctx, id); err != nil {
			return err
		}
		if missing := missingFrom(got, hops...); len(missing) > 0 {
			return fmt.Errorf("missing %q in %s", missing, shown(got))
		}
		return nil
	})
	if len(got.Missing) != 0 || len(got.Changes) != 1 || got.Changes[0].Revision != r.Revision {
		t.Errorf("missing %v, changes %v", got.Missing, got.Changes)
	}
	// The host's kernel was changed, which its log says under the trace.
	if missing := missingFrom(got, host.name+": kernel changed to match"); len(missing) > 0 {
		t.Errorf("no line of the log in %s", shown(got))
	}
	if first := got.Entries[0]; first.Filer != follower.name || !strings.HasPrefix(first.What, "API:") {
		t.Errorf("it does not begin where it began: %s", shown(got))
	}
	for i, e := range got.Entries[1:] {
		if e.Time.Before(got.Entries[i].Time) {
			t.Errorf("not in order: %s", shown(got))
		}
	}
	t.Log(shown(got))
	history, err := fs[2].client.History(ctx, api.HistoryRequest{From: r.Revision})
	if err != nil || len(history) == 0 || history[0].Trace != id {
		t.Errorf("the history has %v, %v", history, err)
	}

	// A refusal leaves its reason.
	refused := trace.New()
	_, err = follower.client.Apply(trace.With(ctx, refused), api.ApplyRequest{Puts: []api.Put{{Document: docs[0], MustNotExist: true}}})
	if !errors.Is(err, api.ErrExists) {
		t.Fatal(err)
	}
	got, err = leader.client.Trace(ctx, refused)
	if missing := missingFrom(got, hops[:2]...); err != nil || len(missing) > 0 || !strings.HasPrefix(got.Entries[0].Outcome, "exists") {
		t.Errorf("%v, missing %q in %s", err, missing, shown(got))
	}

	var away *testFiler
	for _, f := range fs {
		if f != leader && f != host {
			away = f
		}
	}
	away.stop()
	got, err = leader.client.Trace(ctx, id)
	if err != nil || len(got.Missing) != 1 || got.Missing[0].Filer != away.name || got.Missing[0].Error == "" {
		t.Fatalf("%v, missing %+v", err, got.Missing)
	}
	for _, e := range got.Entries {
		if e.Filer == away.name {
			t.Errorf("a filer that is away says %s", e.What)
		}
	}
	if missing := missingFrom(got, leader.name+": raft: "+revision+" applied"); len(missing) > 0 {
		t.Errorf("missing %q in %s", missing, shown(got))
	}
}

// byRole returns the leader and some follower.
func byRole(t *testing.T, fs []*testFiler) (leader, follower *testFiler) {
	t.Helper()
	eventually(t, "somebody leads", func(context.Context) error {
		name := fs[0].status().Leader
		for _, f := range fs {
			if f.name == name {
				leader = f
			} else {
				follower = f
			}
		}
		if leader == nil {
			return fmt.Errorf("%q", name)
		}
		return nil
	})
	return leader, follower
}

func TestAClockThatDiffersIsTakenIntoAccount(t *testing.T) {
	at := func(ms int) time.Time { return time.UnixMilli(int64(ms)) }
	for _, test := range []struct {
		theirs, asked, answered, want int
	}{
		{1005, 1000, 1010, 0}, {1000, 1000, 1010, 0}, {1010, 1000, 1010, 0}, // within what the way explains
		{6005, 1000, 1010, 5000}, {505, 1000, 1010, -500},
	} {
		if got := aheadBy(at(test.theirs), at(test.asked), at(test.answered)); got != time.Duration(test.want)*time.Millisecond {
			t.Errorf("%+v: %v", test, got)
		}
	}
}
