package api_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"net/http/httptest"
	"net/url"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/netquorum/netquorum/api"
	"github.com/netquorum/netquorum/api/apitest"
)

// A mailroom is a daemon that carries messages and can be restarted.
type mailroom struct {
	*api.Client
	t        *testing.T
	messages *apitest.Messages
	path     string
	stop     func()
}

func newMailroom(t *testing.T) *mailroom {
	t.Helper()
	m := &mailroom{t: t, messages: new(apitest.Messages), path: filepath.Join(t.TempDir(), "api.sock")}
	m.start()
	m.Client = api.NewClient(m.path)
	t.Cleanup(func() { m.Client.Close(); m.stop() })
	return m
}

func (m *mailroom) start() {
	m.t.Helper()
	l, err := api.Listen(m.path, 0o600)
	if err != nil {
		m.t.Fatal(err)
	}
	s := api.NewServer(api.Options{Backend: new(apitest.Backend), Messages: m.messages, Log: slog.New(slog.DiscardHandler)})
	ctx, cancel := context.WithCancel(context.Background())
	served := make(chan error, 1)
	go func() { served <- s.Serve(ctx, l) }()
	m.stop = func() {
		cancel()
		if err := <-served; err != nil {
			m.t.Errorf("Serve: %v", err)
		}
	}
}

func (m *mailroom) restart() {
	m.stop()
	m.start()
}

func (m *mailroom) send(client, service, body string, change ...func(*api.OutgoingMessage)) api.SentMessage {
	m.t.Helper()
	o := api.OutgoingMessage{To: api.MessageTarget{Service: service, Filer: "filer1"}, Body: strings.NewReader(body), Size: int64(len(body))}
	for _, c := range change {
		c(&o)
	}
	sent, err := m.SendMessage(soon(m.t), client, o)
	if err != nil {
		m.t.Fatal(err)
	}
	return sent
}

func (m *mailroom) receive(service string) api.MessageDelivery {
	m.t.Helper()
	d, err := m.ReceiveMessage(soon(m.t), service, 0)
	if err != nil {
		m.t.Fatal(err)
	}
	return d
}

// none checks that a service has no message for anybody now.
func (m *mailroom) none(service string) {
	m.t.Helper()
	ctx, cancel := context.WithTimeout(m.t.Context(), time.Second)
	defer cancel()
	if d, err := m.ReceiveMessage(ctx, service, 0); !errors.Is(err, api.ErrTimeout) {
		m.t.Errorf("received %+v, %v; want nothing", d, err)
	}
}

func soon(t testing.TB) context.Context {
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
	t.Cleanup(cancel)
	return ctx
}

func TestAMessageGoesToItsHandlerAndTheAnswerBack(t *testing.T) {
	m := newMailroom(t)
	sent := m.send("mxa", "ledger", "1 + 1", func(o *api.OutgoingMessage) { o.Stream, o.Trace = "sums", 0xc0ffee })
	if sent.ID == "" || sent.Incarnation == "" || sent.Repeated {
		t.Errorf("sent %+v", sent)
	}
	pending, err := m.PendingMessages(soon(t), "mxa")
	if err != nil || len(pending) != 1 || pending[0].ID != sent.ID || pending[0].To.Service != "ledger" || pending[0].Stream != "sums" {
		t.Errorf("pending %+v, %v", pending, err)
	}
	d := m.receive("ledger")
	got := d.Message
	if got.ID != sent.ID || string(d.Body) != "1 + 1" || got.From != "filer1" || got.Client != "mxa" || got.Trace != 0xc0ffee || got.Redelivered || got.Size != 5 {
		t.Errorf("received %+v with %q", got, d.Body)
	}
	if d.Until == nil || time.Until(*d.Until) > time.Minute || time.Until(*d.Until) < 50*time.Second {
		t.Errorf("held until %v, want for a minute", d.Until)
	}
	if err := m.CompleteMessage(soon(t), d.Delivery, []byte("2\x00\xff")); err != nil {
		t.Fatal(err)
	}
	done, err := m.Client.Completion(soon(t), sent.ID)
	if err != nil || done.Outcome != api.OutcomeDone || string(done.Answer) != "2\x00\xff" || done.By != "filer1" || done.Err() != nil {
		t.Errorf("completion %+v, %v", done, err)
	}
	if err := m.CompleteMessage(soon(t), d.Delivery, nil); !errors.Is(err, api.ErrNotFound) {
		t.Errorf("completed twice: %v, want not-found", err)
	}
	st, err := m.MessageStatus(soon(t))
	if err != nil || len(st.Clients) != 1 || st.Clients[0].Completions != 1 || st.Clients[0].Incarnation != sent.Incarnation {
		t.Errorf("status %+v, %v", st, err)
	}
}

func TestAFailureIsTold(t *testing.T) {
	m := newMailroom(t)
	sent := m.send("mxa", "ledger", "1 / 0")
	if err := m.FailMessage(soon(t), m.receive("ledger").Delivery, "division by zero"); err != nil {
		t.Fatal(err)
	}
	done, err := m.Client.Completion(soon(t), sent.ID)
	if err != nil || done.Outcome != api.OutcomeFailed || !errors.Is(done.Err(), api.ErrFailed) || !strings.Contains(done.Err().Error(), "division by zero") {
		t.Errorf("completion %+v, %v", done, err)
	}
	m.none("ledger")
}

func TestASendThatIsRepeatedIsOneMessage(t *testing.T) {
	m := newMailroom(t)
	key := func(o *api.OutgoingMessage) { o.Key = "order-17" }
	first := m.send("mxa", "ledger", "pay", key)
	// The body of the second is larger than any buffer, and not read.
	again := m.send("mxa", "ledger", strings.Repeat("pay", 1<<20), key)
	if again.ID != first.ID || !again.Repeated {
		t.Errorf("sent %+v, then %+v", first, again)
	}
	if other := m.send("mxb", "ledger", "pay", key); other.ID == first.ID || other.Repeated {
		t.Errorf("another client's: %+v", other)
	}
	if pending, err := m.PendingMessages(soon(t), "mxa"); err != nil || len(pending) != 1 {
		t.Errorf("%d pending, %v; want 1", len(pending), err)
	}
}

func TestCompletionsWaitForAClientThatWasAway(t *testing.T) {
	m := newMailroom(t)
	var ids []string
	for i := range 5 {
		ids = append(ids, m.send("mxa", "ledger", fmt.Sprint(i)).ID)
		if err := m.CompleteMessage(soon(t), m.receive("ledger").Delivery, []byte(fmt.Sprint("answer ", i))); err != nil {
			t.Fatal(err)
		}
	}
	m.restart()
	missed, err := m.Client.Completions(soon(t), "mxa", 0, 3, time.Second)
	if err != nil || len(missed) != 3 || missed[0].ID != ids[0] || string(missed[2].Answer) != "answer 2" {
		t.Fatalf("missed %+v, %v", missed, err)
	}
	if err := m.AcknowledgeCompletions(soon(t), api.Acknowledgement{Client: "mxa", Through: missed[2].Position, IDs: []string{ids[4]}}); err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(soon(t))
	defer cancel()
	var last string
	for c, err := range m.WatchCompletions(ctx, "mxa", 0) {
		if err != nil {
			t.Fatal(err)
		}
		if last != "" {
			if c.ID != last {
				t.Errorf("then %s, want %s", c.ID, last)
			}
			break
		}
		if c.ID != ids[3] {
			t.Errorf("left is %s, want %s", c.ID, ids[3])
		}
		last = m.send("mxa", "ledger", "6").ID // comes while the watch stands
		if err := m.CompleteMessage(soon(t), m.receive("ledger").Delivery, nil); err != nil {
			t.Fatal(err)
		}
	}
	if _, err := m.Client.Completion(soon(t), ids[0]); !errors.Is(err, api.ErrNotFound) {
		t.Errorf("an acknowledged completion: %v, want not-found", err)
	}
	if found, err := m.Client.Completions(soon(t), "nobody", 0, 0, 0); err != nil || len(found) != 0 {
		t.Errorf("a client that never was: %v, %v", found, err)
	}
}

func TestAMessageIsGivenBackWhenItsTimeIsOver(t *testing.T) {
	m := newMailroom(t)
	m.send("mxa", "ledger", "x")
	d, err := m.ReceiveMessage(soon(t), "ledger", 200*time.Millisecond)
	if err != nil {
		t.Fatal(err)
	}
	again := m.receive("ledger")
	if again.Message.ID != d.Message.ID || !again.Message.Redelivered {
		t.Errorf("then received %+v", again.Message)
	}
	if err := m.CompleteMessage(soon(t), d.Delivery, nil); !errors.Is(err, api.ErrNotFound) {
		t.Errorf("the first consumer completed it: %v, want not-found", err)
	}
	if err := m.ReleaseMessage(soon(t), again.Delivery); err != nil {
		t.Fatal(err)
	}
	if third := m.receive("ledger"); third.Message.ID != d.Message.ID {
		t.Errorf("a message that was released did not come again")
	}
}

func TestTheTimeForAMessageCanBeExtended(t *testing.T) {
	m := newMailroom(t)
	m.send("mxa", "ledger", "x")
	d, err := m.ReceiveMessage(soon(t), "ledger", 300*time.Millisecond)
	if err != nil {
		t.Fatal(err)
	}
	if e, err := m.ExtendMessage(soon(t), d.Delivery, time.Hour); err != nil || time.Until(e.Until) < 50*time.Minute {
		t.Fatalf("extended to %v, %v", e.Until, err)
	}
	m.none("ledger")
	if err := m.CompleteMessage(soon(t), d.Delivery, nil); err != nil {
		t.Error(err)
	}
}

// consume opens a stream of a service's messages. It ends with the context.
func (m *mailroom) consume(ctx context.Context, service string, window int) <-chan api.MessageDelivery {
	out := make(chan api.MessageDelivery)
	c := api.NewClient(m.path) // a process of its own
	go func() {
		defer close(out)
		defer c.Close()
		for d, err := range c.WatchService(ctx, service, window) {
			if err != nil {
				return
			}
			select {
			case out <- d:
			case <-ctx.Done():
				return
			}
		}
	}()
	return out
}

func await[T any](t *testing.T, what string, c <-chan T) (v T) {
	t.Helper()
	select {
	case v = <-c:
		return v
	case <-time.After(20 * time.Second):
		t.Fatalf("waited 20 s for %s", what)
		return v
	}
}

func TestAConsumerThatLeavesGivesItsMessagesToTheNext(t *testing.T) {
	m := newMailroom(t)
	for i := range 3 {
		m.send("mxa", "ledger", fmt.Sprint(i), func(o *api.OutgoingMessage) { o.Stream = fmt.Sprint(i) })
	}
	ctx, leave := context.WithCancel(t.Context())
	first := m.consume(ctx, "ledger", 2)
	one, two := await(t, "a message", first), await(t, "a message", first)
	if one.Until != nil {
		t.Errorf("held until %v, want for as long as the stream stands", one.Until)
	}
	if err := m.CompleteMessage(soon(t), two.Delivery, nil); err != nil {
		t.Fatal(err)
	}
	three := await(t, "a third after one was completed", first)
	leave()
	next, stop := context.WithCancel(t.Context())
	defer stop()
	second := m.consume(next, "ledger", 3)
	got := map[string]bool{}
	for range 2 {
		d := await(t, "a message that was given back", second)
		if !d.Message.Redelivered {
			t.Errorf("%s is not marked", d.Message.ID)
		}
		got[d.Message.ID] = true
	}
	if !got[one.Message.ID] || !got[three.Message.ID] {
		t.Errorf("the next consumer got %v, want %s and %s", got, one.Message.ID, three.Message.ID)
	}
}

func TestConsumersShareAServiceAndKeepTheOrderOfStreams(t *testing.T) {
	m := newMailroom(t)
	const streams, each = 4, 10
	for i := range streams * each {
		m.send("mxa", "ledger", fmt.Sprint(i/streams), func(o *api.OutgoingMessage) { o.Stream = fmt.Sprint(i % streams) })
	}
	type handled struct{ stream, body, by string }
	results := make(chan handled, streams*each)
	for i := range 3 {
		in := m.consume(t.Context(), "ledger", 2)
		go func() {
			for d := range in {
				results <- handled{d.Message.Stream, string(d.Body), fmt.Sprint(i)}
				if err := m.CompleteMessage(t.Context(), d.Delivery, nil); err != nil && t.Context().Err() == nil {
					t.Error(err)
				}
			}
		}()
	}
	next, by := map[string]int{}, map[string]int{}
	for range streams * each {
		r := await(t, "a message", results)
		if r.body != fmt.Sprint(next[r.stream]) {
			t.Errorf("stream %s: %s came, want %d", r.stream, r.body, next[r.stream])
		}
		next[r.stream]++
		by[r.by]++
	}
	if len(by) < 2 {
		t.Errorf("handled by %v, want by several", by)
	}
}

func TestALargeBodyIsNotInTheAnswer(t *testing.T) {
	m := newMailroom(t)
	body := strings.Repeat("0123456789abcdef", 64<<10)
	m.send("mxa", "ledger", body, func(o *api.OutgoingMessage) { o.Size = -1 })
	d := m.receive("ledger")
	if len(d.Body) != 0 || d.Message.Size != int64(len(body)) {
		t.Errorf("%d bytes of %d are in the answer", len(d.Body), d.Message.Size)
	}
	for range 2 { // any number of times
		r, err := m.DeliveryBody(soon(t), d)
		if err != nil {
			t.Fatal(err)
		}
		got, err := io.ReadAll(r)
		r.Close()
		if err != nil || string(got) != body {
			t.Errorf("read %d bytes, %v", len(got), err)
		}
	}
	if err := m.CompleteMessage(soon(t), d.Delivery, bytes.Repeat([]byte("x"), api.MaxMessageAnswer+1)); !errors.Is(err, api.ErrTooLarge) {
		t.Errorf("too long an answer: %v", err)
	}
	if err := m.CompleteMessage(soon(t), d.Delivery, bytes.Repeat([]byte("x"), api.MaxMessageAnswer)); err != nil {
		t.Errorf("a shorter one afterwards: %v", err)
	}
}

func TestAnOutboxThatIsFullHoldsItsSenderUp(t *testing.T) {
	m := newMailroom(t)
	m.messages.MaxPending = 2
	m.send("mxa", "ledger", "1")
	m.send("mxa", "ledger", "2")
	o := api.OutgoingMessage{To: api.MessageTarget{Service: "ledger", Filer: "filer1"}}
	ctx, cancel := context.WithTimeout(t.Context(), 500*time.Millisecond)
	defer cancel()
	if _, err := m.SendMessage(ctx, "mxa", o); !errors.Is(err, api.ErrFull) && !errors.Is(err, api.ErrTimeout) {
		t.Errorf("a third: %v, want full", err)
	}
	sent := make(chan error, 1)
	go func() {
		_, err := m.SendMessage(t.Context(), "mxa", o)
		sent <- err
	}()
	if err := m.CompleteMessage(soon(t), m.receive("ledger").Delivery, nil); err != nil {
		t.Fatal(err)
	}
	if err := await(t, "room", sent); err != nil {
		t.Error(err)
	}
}

// TestABodyThatStopsHalfwaySendsNothing writes half a request by hand.
func TestABodyThatStopsHalfwaySendsNothing(t *testing.T) {
	m := newMailroom(t)
	conn, err := net.Dial("unix", m.path)
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	fmt.Fprintf(conn, "POST /v1/messages?client=mxa&service=ledger&filer=filer1&timeout=300ms HTTP/1.1\r\nHost: x\r\nContent-Length: 1000\r\n\r\nhalf")
	conn.SetReadDeadline(time.Now().Add(20 * time.Second))
	got, err := io.ReadAll(conn)
	if err != nil || !bytes.HasPrefix(got, []byte("HTTP/1.1 400")) {
		t.Errorf("answered %.100q, %v", got, err)
	}
	if pending, err := m.PendingMessages(soon(t), "mxa"); err != nil || len(pending) != 0 {
		t.Errorf("%d pending, %v", len(pending), err)
	}
}

func TestAMessageCanBeWithdrawn(t *testing.T) {
	m := newMailroom(t)
	sent := m.send("mxa", "ledger", "x")
	if err := m.WithdrawMessage(soon(t), sent.ID); err != nil {
		t.Fatal(err)
	}
	if c, err := m.Client.Completion(soon(t), sent.ID); err != nil || c.Outcome != api.OutcomeWithdrawn {
		t.Errorf("completion %+v, %v", c, err)
	}
	if err := m.WithdrawMessage(soon(t), sent.ID); !errors.Is(err, api.ErrNotFound) {
		t.Errorf("again: %v, want not-found", err)
	}
	if err := m.ResendMessages(soon(t), "mxa"); err != nil {
		t.Error(err)
	}
}

func TestATargetIsWatched(t *testing.T) {
	m := newMailroom(t)
	target := api.MessageTarget{Service: "ledger", VServer: "vsvra"}
	states := make(chan api.TargetState)
	ctx, stop := context.WithCancel(t.Context())
	defer stop()
	go func() {
		for st, err := range m.WatchTarget(ctx, target) {
			if err != nil {
				return
			}
			select {
			case states <- st:
			case <-ctx.Done():
				return
			}
		}
	}()
	expect := func(what string, want api.TargetState) {
		t.Helper()
		got := await(t, what, states)
		if reason := got.Reason; (reason == "") != got.Up() {
			t.Errorf("%s: reason %q of %+v", what, reason, got)
		}
		if got.Reason = ""; got != want {
			t.Errorf("%s: %+v, want %+v", what, got, want)
		}
	}
	expect("nowhere", api.TargetState{})
	m.messages.Place("vsvra", "filer1", 3)
	expect("here and not served", api.TargetState{Filer: "filer1", Epoch: 3, Reachable: true})
	consumer, leave := context.WithCancel(t.Context())
	m.consume(consumer, "ledger", 1)
	expect("served", api.TargetState{Filer: "filer1", Epoch: 3, Reachable: true, Served: true})
	if st, err := m.MessageTarget(soon(t), target); err != nil || !st.Up() {
		t.Errorf("asked once: %+v, %v", st, err)
	}
	leave()
	expect("left alone", api.TargetState{Filer: "filer1", Epoch: 3, Reachable: true})
	m.messages.Place("vsvra", "filer2", 4)
	expect("moved away", api.TargetState{Filer: "filer2", Epoch: 4})
}

func TestARestartOfTheDaemonGivesHeldMessagesBack(t *testing.T) {
	m := newMailroom(t)
	sent := m.send("mxa", "ledger", "x")
	d := m.receive("ledger")
	m.restart()
	if err := m.CompleteMessage(soon(t), d.Delivery, nil); !errors.Is(err, api.ErrNotFound) {
		t.Errorf("completed over the restart: %v, want not-found", err)
	}
	if again := m.receive("ledger"); again.Message.ID != sent.ID || !again.Message.Redelivered {
		t.Errorf("then received %+v", again.Message)
	}
}

func TestRequestsAboutMessagesThatMakeNoSense(t *testing.T) {
	m := newMailroom(t)
	h := &http.Client{Transport: &http.Transport{DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) {
		var d net.Dialer
		return d.DialContext(ctx, "unix", m.path)
	}}}
	defer h.CloseIdleConnections()
	long := strings.Repeat("x", api.MaxMessageName+1)
	for _, test := range []struct {
		method, target string
		status         int
	}{
		{"POST", "/v1/messages", 400},
		{"POST", "/v1/messages?client=a&service=s", 400},
		{"POST", "/v1/messages?client=a&service=s&filer=f&vserver=v", 400},
		{"POST", "/v1/messages?client=a%2Fb&service=s&filer=f", 400},
		{"POST", "/v1/messages?client=a&service=s&filer=f&key=" + long, 400},
		{"POST", "/v1/messages?client=a&service=s&filer=f&priority=urgent", 400},
		{"POST", "/v1/messages?client=a&service=s&filer=f&trace=xyz", 400},
		{"POST", "/v1/messages?client=a&service=s&filer=f&sream=x", 400},
		{"GET", "/v1/messages", 400},
		{"GET", "/v1/messages?client=a&limit=1001", 400},
		{"GET", "/v1/messages/completions?client=a&after=-1", 400},
		{"GET", "/v1/messages/completions?client=a&wait=x", 400},
		{"GET", "/v1/messages/sent/nonsense?wait=1s", 404},
		{"DELETE", "/v1/messages/sent/filer1/a/0/7", 404},
		{"POST", "/v1/messages/services/s/receive?hold=1ns", 400},
		{"GET", "/v1/messages/services/s/watch?window=0", 400},
		{"GET", "/v1/messages/services/s/watch?window=257", 400},
		{"POST", "/v1/messages/deliveries/nonsense/complete", 404},
		{"POST", "/v1/messages/deliveries/nonsense/fail", 404},
		{"POST", "/v1/messages/deliveries/nonsense/release", 404},
		{"POST", "/v1/messages/deliveries/nonsense/extend", 404},
		{"GET", "/v1/messages/deliveries/nonsense/body", 404},
		{"POST", "/v1/messages/completions/acknowledge", 400},
		{"GET", "/v1/messages/target?service=s", 400},
	} {
		req, err := http.NewRequest(test.method, "http://x"+test.target, nil)
		if err != nil {
			t.Fatal(err)
		}
		resp, err := h.Do(req)
		if err != nil {
			t.Fatal(err)
		}
		body, _ := io.ReadAll(resp.Body)
		resp.Body.Close()
		if resp.StatusCode != test.status || resp.Header.Get("Content-Type") != "application/problem+json" {
			t.Errorf("%s %s: %s %s, want %d", test.method, test.target, resp.Status, body, test.status)
		}
	}
}

func TestADaemonWithoutMessagesSaysSo(t *testing.T) {
	c, _ := start(t, new(apitest.Backend))
	if _, err := c.MessageStatus(soon(t)); !errors.Is(err, api.ErrUnsupported) {
		t.Errorf("%v, want unsupported", err)
	}
}

func TestParseMessageTarget(t *testing.T) {
	for text, want := range map[string]api.MessageTarget{
		"ledger@vsvra":        {Service: "ledger", VServer: "vsvra"},
		"ledger@filer:filer2": {Service: "ledger", Filer: "filer2"},
	} {
		got, err := api.ParseMessageTarget(text)
		if err != nil || got != want || got.String() != text {
			t.Errorf("%s: %+v, %v", text, got, err)
		}
	}
	for _, text := range []string{"", "ledger", "ledger@", "@vsvra", "ledger@filer:", "a b@c", "a@b@c d"} {
		if got, err := api.ParseMessageTarget(text); !errors.Is(err, api.ErrUsage) {
			t.Errorf("%q: %+v, %v; want a usage error", text, got, err)
		}
	}
}

// FuzzMessageRequests sends anything at all: the answer is no internal error, and
// what was sent is what is received.
func FuzzMessageRequests(f *testing.F) {
	f.Add("client=mxa&service=s&filer=filer1&key=k&stream=t&priority=bulk&trace=c0ffee&discard=true", []byte("body"))
	f.Add("client=mxa&service=s&vserver=v", []byte(nil))
	f.Add("client=%00&service=s&filer=filer1", []byte("x"))
	f.Fuzz(func(t *testing.T, query string, body []byte) {
		m := new(apitest.Messages)
		s := api.NewServer(api.Options{Backend: new(apitest.Backend), Messages: m, Log: slog.New(slog.DiscardHandler)})
		ask := func(method, target string, body []byte) *httptest.ResponseRecorder {
			r, err := http.NewRequest(method, "http://x"+target, bytes.NewReader(body))
			w := httptest.NewRecorder()
			if err != nil { // no client would send it either
				w.Code = http.StatusBadRequest
				return w
			}
			s.ServeHTTP(w, r)
			if w.Code == http.StatusInternalServerError {
				t.Errorf("%s %s: %s", method, target, w.Body)
			}
			return w
		}
		sent := ask("POST", "/v1/messages?"+query, body)
		q, _ := url.ParseQuery(query)
		if sent.Code != http.StatusOK || q.Get("filer") != "filer1" {
			return
		}
		ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second)
		defer cancel()
		d, err := m.Receive(ctx, q.Get("service"))
		if err != nil {
			t.Fatal(err)
		}
		r, _ := d.Open()
		if got, _ := io.ReadAll(r); !bytes.Equal(got, body) || d.Message().Client != q.Get("client") || d.Message().Stream != q.Get("stream") {
			t.Errorf("%s with %q was received as %+v with %q", query, body, d.Message(), got)
		}
	})
}
