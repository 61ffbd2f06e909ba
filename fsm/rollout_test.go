package fsm

import (
	"net/netip"
	"slices"
	"testing"

	"github.com/netquorum/netquorum"
	"github.com/netquorum/netquorum/rollout"
)

// filerAt is a filer with a mgmt address.
func filerAt(name, address string) netquorum.Document {
	return document(name, &netquorum.Filer{Group: "main", Interfaces: []netquorum.Interface{
		{Name: "mgmt0", Parent: "eth0", Addresses: []netip.Prefix{netip.MustParsePrefix(address)}}}})
}

// begin is the transaction that moves filer1 with a rollout.
func begin(t *testing.T, s *State, to string) Transaction {
	t.Helper()
	doc := filerAt("filer1", to)
	after, problems := s.Config().Change([]netquorum.Document{doc}, nil)
	if len(problems) > 0 {
		t.Fatal(problems)
	}
	r, gone, err := rollout.Begin(s.Config(), after, rollout.Guard(s.Config(), after), rollout.Order{})
	if err != nil {
		t.Fatal(err)
	}
	tx := puts(doc, r).bySystem()
	for _, k := range gone {
		tx.Deletes = append(tx.Deletes, Delete{Key: k})
	}
	return tx
}

func TestWhatARolloutForbids(t *testing.T) {
	one := accept(t, NewState(), puts(cluster(50), group(), filerAt("filer1", "10.1.1.1/24"), server("web"), member("filer1", "7f2c")).bySystem())
	user := func(t Transaction) Transaction { t.Level = LevelRollout; return t }

	_, got := apply(t, one, user(puts(filerAt("filer1", "10.9.9.1/24"))))
	if r := got[0]; r.Refusal == nil || r.Refusal.Code != RefusedGuarded {
		t.Errorf("a guarded change without a rollout: %+v", r.Refusal)
	}
	if _, got := apply(t, one, puts(filerAt("filer1", "10.9.9.1/24"))); got[0].Refusal != nil {
		t.Errorf("what an older version wrote does not mean what it meant: %v", got[0].Refusal)
	}

	open := accept(t, one, begin(t, one, "10.9.9.1/24"))
	doc, _, _ := open.Config().Rollout()
	for name, c := range map[string]struct {
		tx   Transaction
		want RefusalCode
	}{
		"its document":                 {user(puts(filerAt("filer1", "10.9.9.7/24"))), RefusedRollout},
		"its document, by an old one":  {puts(filerAt("filer1", "10.9.9.7/24")), RefusedRollout},
		"its document deleted":         {user(deletes(key(netquorum.KindFiler, "filer1"))), RefusedRollout},
		"the rollout itself":           {user(puts(doc)), RefusedMachineKind},
		"the rollout deleted":          {deletes(doc.Key()).bySystem(), RefusedRollout},
		"an address that it goes from": {user(puts(document("late", &netquorum.Filer{Interfaces: []netquorum.Interface{{Name: "mgmt0", Parent: "eth0", Addresses: []netip.Prefix{netip.MustParsePrefix("10.1.1.1/24")}}}}))), RefusedRollout},
		"anything else":                {user(puts(record("r", "1"))), ""},
		"another filer":                {user(puts(filerAt("filer9", "10.1.1.9/24"))), ""},
	} {
		_, got := apply(t, open, c.tx)
		r, code := got[0], RefusalCode("")
		if r.Refusal != nil {
			code = r.Refusal.Code
		}
		if code != c.want {
			t.Errorf("%s: %q (%v), want %q", name, code, r.Refusal, c.want)
		}
	}
	if _, refusal := FromDocuments(open, []netquorum.Document{cluster(50)}, Origin{Actor: "ada", Time: 5}); refusal == nil || refusal.Code != RefusedRollout {
		t.Errorf("a restore while a rollout is open: %v", refusal)
	}

	// Reverted, the way is free, and the next takes the place of the last.
	back, gone, err := rollout.Revert(open.Config(), "for a test")
	if err != nil || len(gone) > 0 {
		t.Fatal(gone, err)
	}
	closed := accept(t, open, puts(back...).bySystem())
	next := accept(t, closed, begin(t, closed, "10.8.8.1/24"))
	if n, _, _ := next.Config().Rollout(); n.Name != "rollout-2" {
		t.Errorf("the next rollout is %s", n.Name)
	}
	if slices.Equal(hashOf(next), hashOf(open)) {
		t.Error("two states have one hash")
	}
}

func hashOf(s *State) []byte { h := s.Hash(); return h[:] }
