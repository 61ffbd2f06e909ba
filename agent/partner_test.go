package agent

import (
	"bytes"
	"context"
	"encoding/base64"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/netquorum/netquorum"
	"github.com/netquorum/netquorum/api"
	"github.com/netquorum/netquorum/transport"
)

// said is everything that filers have logged.
type said struct {
	mu sync.Mutex
	b  bytes.Buffer
}

func (s *said) Write(p []byte) (int, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.b.Write(p)
}

func (s *said) String() string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.b.String()
}

// lone forms a cluster of one filer, which logs all that it can.
func lone(t *testing.T, name string, mac string, log *said) *testFiler {
	t.Helper()
	f := newTestFiler(t, name, func(f *testFiler) {
		f.cfg.Log = slog.New(slog.NewTextHandler(log, &slog.HandlerOptions{Level: slog.LevelDebug - 8}))
	})
	var m netquorum.MAC
	if err := m.UnmarshalText([]byte(mac)); err != nil {
		t.Fatal(err)
	}
	if _, err := f.client.Init(t.Context(), api.InitRequest{Filer: name, Cluster: name, MAC: &m}); err != nil {
		t.Fatalf("init of %s: %v", name, err)
	}
	return f
}

func (f *testFiler) partner(name string, endpoints ...string) {
	f.t.Helper()
	if _, err := f.client.Apply(f.t.Context(), api.ApplyRequest{Puts: []api.Put{{Document: netquorum.Document{
		Kind: netquorum.KindPartner, Name: name, Spec: &netquorum.Partner{Endpoints: endpoints}}}}}); err != nil {
		f.t.Fatalf("partner %s on %s: %v", name, f.name, err)
	}
}

// Two clusters exchange a stream through their local sockets; the secret is
// changed, and nothing that anybody can read has any of it.
func TestTwoClustersExchangeStreams(t *testing.T) {
	log := new(said)
	east := lone(t, "east", "00:07:34:04:12:0e", log)
	west := lone(t, "west", "00:07:34:04:12:0f", log)
	east.partner("west", west.cfg.Listen)
	west.partner("east", east.cfg.Listen)
	ctx, cancel := context.WithTimeout(t.Context(), 30*time.Second)
	defer cancel()
	var secrets []string
	add := func() string {
		t.Helper()
		made, err := east.client.AddSecret(ctx, api.SecretRequest{Partner: "west"})
		if err != nil {
			t.Fatal(err)
		}
		secrets = append(secrets, made.Secret)
		if _, err := west.client.AddSecret(ctx, api.SecretRequest{Partner: "East", Secret: made.Secret}); err != nil {
			t.Fatal(err)
		}
		return made.ID
	}
	first := add()

	from, to := meetStreams(t, ctx, east, west)
	exchange(t, from, to, "with the first secret")

	second := add()
	for _, f := range []*testFiler{east, west} {
		other := map[string]string{"east": "west", "west": "east"}[f.name]
		if _, err := f.client.UseSecret(ctx, other, second); err != nil {
			t.Fatal(err)
		}
	}
	for _, f := range []*testFiler{east, west} {
		other := map[string]string{"east": "west", "west": "east"}[f.name]
		if err := f.client.RemoveSecret(ctx, other, first); err != nil {
			t.Fatal(err)
		}
	}
	exchange(t, from, to, "with the second secret")
	if err := from.CloseWrite(); err != nil {
		t.Fatal(err)
	}
	if rest, err := io.ReadAll(to); err != nil || len(rest) != 0 {
		t.Errorf("after the end: %q, %v", rest, err)
	}

	// A stream that is cut does not end like one that is whole.
	cut, cutTo := meetStreams(t, ctx, east, west)
	exchange(t, cut, cutTo, "half of it")
	cut.Abort(errors.New("the disk is full"))
	if _, err := cutTo.Read(make([]byte, 1)); !errors.Is(err, api.ErrCut) {
		t.Errorf("a stream that was cut reads %v", err)
	}

	for _, f := range []*testFiler{east, west} {
		nothingTold(t, f, log, secrets)
	}
	// A partner that is deleted takes its secrets along.
	if _, err := east.client.Apply(ctx, api.ApplyRequest{Deletes: []api.Delete{{Kind: netquorum.KindPartner, Name: "west"}}}); err != nil {
		t.Fatal(err)
	}
	eventually(t, "the secrets of a deleted partner are gone", func(ctx context.Context) error {
		l, err := east.client.List(ctx, api.Linearizable, netquorum.KindSecret)
		if err == nil && len(l.Documents) > 0 {
			err = fmt.Errorf("%d are there", len(l.Documents))
		}
		return err
	})
}

func meetStreams(t *testing.T, ctx context.Context, east, west *testFiler) (from, to api.Stream) {
	t.Helper()
	accepted := make(chan api.Stream, 1)
	failed := make(chan error, 1)
	go func() {
		st, who, err := west.client.AcceptStream(ctx, "mirror", "")
		switch {
		case err != nil:
			failed <- err
		case who != "east":
			failed <- fmt.Errorf("the stream is from %q", who)
		default:
			accepted <- st
		}
	}()
	from, err := east.client.OpenStream(ctx, "west", "mirror")
	if err != nil {
		t.Fatal(err)
	}
	select {
	case to = <-accepted:
	case err := <-failed:
		t.Fatal(err)
	}
	t.Cleanup(func() { from.Close(); to.Close() })
	return from, to
}

func exchange(t *testing.T, from, to api.Stream, text string) {
	t.Helper()
	for _, way := range [][2]api.Stream{{from, to}, {to, from}} {
		if _, err := way[0].Write([]byte(text)); err != nil {
			t.Fatalf("%s: %v", text, err)
		}
		got := make([]byte, len(text))
		_ = way[1].SetReadDeadline(time.Now().Add(15 * time.Second))
		if _, err := io.ReadFull(way[1], got); err != nil || string(got) != text {
			t.Fatalf("read %q, %v; want %q", got, err, text)
		}
	}
}

// nothingTold looks for secrets, their keys and the authority's key in all that
// can be read of a filer.
func nothingTold(t *testing.T, f *testFiler, log *said, secrets []string) {
	t.Helper()
	ctx := t.Context()
	places := map[string]string{"the log": log.String()}
	for _, format := range []api.DumpFormat{api.DumpYAML, api.DumpLines} {
		var dump bytes.Buffer
		if err := f.client.Dump(ctx, &dump, format, api.Linearizable); err != nil {
			t.Fatal(err)
		}
		places["a dump as "+string(format)] = dump.String()
	}
	list, err := f.client.List(ctx, api.Linearizable, netquorum.Kinds...)
	if err != nil {
		t.Fatal(err)
	}
	if !slices.ContainsFunc(list.Documents, func(d netquorum.Document) bool { return d.Kind == netquorum.KindSecret }) {
		t.Error("the list of all kinds has no secret")
	}
	for _, d := range list.Documents {
		one, err := f.client.Get(ctx, d.Kind, d.Name, api.Linearizable)
		if err != nil {
			t.Fatal(err)
		}
		text, _ := one.MarshalJSON()
		places["get "+d.Key().String()] = string(text)
	}
	history, err := f.client.History(ctx, api.HistoryRequest{})
	if err != nil || len(history) == 0 {
		t.Fatal(err)
	}
	places["history"] = fmt.Sprintf("%+v", history)
	for _, c := range history {
		for _, d := range c.Documents {
			for _, doc := range []*netquorum.Document{d.Before, d.After} {
				if doc != nil {
					text, _ := doc.MarshalJSON()
					places["history"] += string(text) + d.Diff
				}
			}
		}
	}
	watch, stop := context.WithCancel(ctx)
	defer stop()
	start := netquorum.Revision(0)
	for c, err := range f.client.Watch(watch, &start) {
		if err != nil {
			t.Fatal(err)
		}
		for _, d := range c.Documents {
			places["watch"] += d.Diff
			if d.After != nil {
				text, _ := d.After.MarshalJSON()
				places["watch"] += string(text)
			}
		}
		if c.Revision == history[len(history)-1].Revision {
			break
		}
	}
	partners, err := f.client.Partners(ctx)
	if err != nil {
		t.Fatal(err)
	}
	places["partners"] = fmt.Sprintf("%+v", partners)
	authority, err := f.client.Authority(ctx)
	if err != nil {
		t.Fatal(err)
	}
	places["authority"] = fmt.Sprintf("%+v", authority)
	places["status"] = fmt.Sprintf("%+v", f.status())

	ring, err := transport.LoadKeyring(f.cfg.identityDir())
	if err != nil {
		t.Fatal(err)
	}
	pem, err := ring.Current.PEM()
	if err != nil {
		t.Fatal(err)
	}
	_, key, _ := strings.Cut(string(pem), "-----BEGIN PRIVATE KEY-----\n")
	hidden := map[string]string{"the authority's key": strings.Split(key, "\n")[0]}
	for i, s := range secrets {
		parsed, err := transport.ParsePartnerSecret(s)
		if err != nil {
			t.Fatal(err)
		}
		hidden[fmt.Sprintf("secret %d", i)] = strings.Split(s, "-")[2]
		hidden[fmt.Sprintf("the key of secret %d", i)] = base64.StdEncoding.EncodeToString(parsed.Key())
		hidden[fmt.Sprintf("the key of secret %d in hexadecimal", i)] = hex.EncodeToString(parsed.Key())
		hidden[fmt.Sprintf("the key of secret %d as bytes", i)] = fmt.Sprint(parsed.Key())
	}
	for place, text := range places {
		for what, value := range hidden {
			if strings.Contains(text, value) {
				t.Errorf("%s: %s has %s", f.name, place, what)
			}
		}
	}
}

// A daemon that starts refuses no secret and denies no partner because it has not
// read its log yet.
func TestADaemonThatStartsKnowsItsPartners(t *testing.T) {
	log := new(said)
	east := lone(t, "east", "00:07:34:04:12:0e", log)
	west := lone(t, "west", "00:07:34:04:12:0f", log)
	east.partner("west", west.cfg.Listen)
	west.partner("east")
	ctx, cancel := context.WithTimeout(t.Context(), 30*time.Second)
	defer cancel()
	made, err := east.client.AddSecret(ctx, api.SecretRequest{Partner: "west"})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := west.client.AddSecret(ctx, api.SecretRequest{Partner: "east", Secret: made.Secret}); err != nil {
		t.Fatal(err)
	}
	meetStreams(t, ctx, east, west)
	west.stop()
	opened := make(chan error, 1)
	go func() { // which calls west again and again
		st, err := east.client.OpenStream(ctx, "west", "again")
		if err == nil {
			err = st.Close()
		}
		opened <- err
	}()
	west.start()
	for {
		st, _, err := west.client.AcceptStream(ctx, "again", "east")
		if err == nil {
			st.Close()
			break
		}
		if !errors.Is(err, api.ErrNoQuorum) { // before it is so far as to wait
			t.Fatalf("after the start: %v", err)
		}
	}
	if err := <-opened; err != nil {
		t.Error(err)
	}
	if strings.Contains(log.String(), "did not prove itself") {
		t.Error("a secret was refused that both have")
	}
}
