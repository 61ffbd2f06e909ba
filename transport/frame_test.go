package transport

import (
	"bytes"
	"encoding/binary"
	"encoding/json"
	"errors"
	"io"
	"net"
	"net/netip"
	"testing"
	"time"
)

func TestAFrameEndsCleanlyOrInside(t *testing.T) {
	var whole bytes.Buffer
	if err := writeFrame(&whole, maxAsk, ask{Token: "t"}); err != nil {
		t.Fatal(err)
	}
	for n := range whole.Len() {
		var got ask
		err := readFrame(bytes.NewReader(whole.Bytes()[:n]), maxAsk, &got)
		want := io.ErrUnexpectedEOF
		if n == 0 {
			want = io.EOF
		}
		if !errors.Is(err, want) {
			t.Errorf("%d of %d bytes: %v, want %v", n, whole.Len(), err, want)
		}
	}
	var bad *FrameError
	if err := writeFrame(io.Discard, 10, ask{Token: "longer than ten bytes"}); !errors.As(err, &bad) {
		t.Errorf("writing too much: %v", err)
	}
	if err := readFrame(bytes.NewReader(whole.Bytes()), 3, new(ask)); !errors.As(err, &bad) {
		t.Errorf("reading too much: %v", err)
	}
}

// Whatever arrives, no more is read than was announced and allowed, and what is
// read can be written again.
func FuzzJoinFrames(f *testing.F) {
	add := func(v any) {
		var b bytes.Buffer
		if err := writeFrame(&b, maxAnswer, v); err != nil {
			f.Fatal(err)
		}
		f.Add(b.Bytes())
	}
	add(ask{Token: "abc", Request: []byte(`{"filer":"f"}`), Proof: make([]byte, 32)})
	add(answer{Unproven: &Refusal{Code: RefusedUnproven}})
	add(answer{Outcome: []byte(`{"refusal":{"code":"used"}}`), Proof: make([]byte, 32)})
	f.Add([]byte{0xff, 0xff, 0xff, 0xff})
	f.Add([]byte{0, 0, 0, 0})
	key := make([]byte, 32)
	f.Fuzz(func(t *testing.T, data []byte) {
		r := bytes.NewReader(data)
		var q ask
		if err := readFrame(r, maxAsk, &q); err == nil {
			if read := len(data) - r.Len(); read != 4+int(binary.BigEndian.Uint32(data)) {
				t.Errorf("read %d bytes of a frame of %d", read, binary.BigEndian.Uint32(data))
			}
			var req JoinRequest
			if json.Unmarshal(q.Request, &req) == nil {
				_ = checkFilerID(req.Filer)
			}
			_ = validTokenID(q.Token)
		}
		var a answer
		if err := readFrame(bytes.NewReader(data), maxAnswer, &a); err != nil {
			return
		}
		ch := joinChannel{export: key}
		if _, err := judge(a, ch, Token{id: "x"}, JoinRequest{Filer: "f"}, nil); err == nil {
			t.Error("an answer without a proof was believed")
		}
		// The same with a proof: the inside is decoded too.
		a.Unproven = nil
		token := Token{id: "x"}
		a.Proof = ch.proof(token.Key(), roleCluster, token.id, nil, a.Outcome)
		if reply, err := judge(a, ch, token, JoinRequest{Filer: "f"}, nil); err == nil {
			if _, err := reply.Open(); err != nil {
				t.Errorf("a reply that cannot be opened was returned: %v", err)
			}
		}
	})
}

func TestProofsDependOnEverythingSaid(t *testing.T) {
	ch := joinChannel{export: []byte("this connection")}
	seen := map[string]string{}
	for name, proof := range map[string][]byte{
		"the joiner's":       ch.proof([]byte("k"), roleJoiner, "t", []byte("r"), nil),
		"the cluster's":      ch.proof([]byte("k"), roleCluster, "t", []byte("r"), nil),
		"another key":        ch.proof([]byte("K"), roleJoiner, "t", []byte("r"), nil),
		"another token":      ch.proof([]byte("k"), roleJoiner, "T", []byte("r"), nil),
		"another request":    ch.proof([]byte("k"), roleJoiner, "t", []byte("R"), nil),
		"an outcome":         ch.proof([]byte("k"), roleJoiner, "t", []byte("r"), []byte("o")),
		"bytes moved over":   ch.proof([]byte("k"), roleJoiner, "tr", nil, nil),
		"another connection": joinChannel{[]byte("that connection")}.proof([]byte("k"), roleJoiner, "t", []byte("r"), nil),
	} {
		if other, ok := seen[string(proof)]; ok {
			t.Errorf("%s and %s have the same proof", name, other)
		}
		seen[string(proof)] = name
	}
}

func TestFailuresAreForgivenAndForgotten(t *testing.T) {
	now := time.Unix(1e9, 0)
	f := failures{now: func() time.Time { return now }}
	from := source(&net.TCPAddr{IP: net.ParseIP("10.1.1.2"), Port: 7})
	for range failuresAllowed {
		if !f.mayTry(from) {
			t.Fatal("held back too early")
		}
		f.note(from)
	}
	if f.mayTry(from) {
		t.Error("not held back")
	}
	if !f.mayTry(source(&net.TCPAddr{IP: net.ParseIP("10.1.1.3")})) {
		t.Error("another address is held back")
	}
	now = now.Add(forgiveness)
	if !f.mayTry(from) {
		t.Error("nothing was forgiven")
	}
	f.note(from)
	if f.mayTry(from) {
		t.Error("everything was forgiven at once")
	}
	now = now.Add(-time.Hour)
	if f.mayTry(from) {
		t.Error("a clock that was set back forgives")
	}
	f.note(from)
	now = now.Add(2 * failuresAllowed * forgiveness)
	if !f.mayTry(from) {
		t.Error("a clock that was set back is held against the address for ever")
	}
	for i := range 3 * sourcesKept {
		f.note(netip.PrefixFrom(netip.AddrFrom4([4]byte{11, 0, byte(i >> 8), byte(i)}), 32))
	}
	if len(f.by) > sourcesKept {
		t.Errorf("%d addresses are kept", len(f.by))
	}
}

func TestSourcesOfFailures(t *testing.T) {
	for in, want := range map[string]string{
		"10.1.1.2:99":             "10.1.1.2/32",
		"[::ffff:10.1.1.2]:99":    "10.1.1.2/32",
		"[2001:db8::1:2:3:4]:99":  "2001:db8::/64",
		"[2001:db8::9]:1":         "2001:db8::/64",
		"[fe80::1%lo]:1":          "fe80::/64",
		"not an address":          "invalid Prefix",
		"[2001:db8:0:1::1]:65535": "2001:db8:0:1::/64",
	} {
		if got := source(addr(in)).String(); got != want {
			t.Errorf("%s counts for %s, want %s", in, got, want)
		}
	}
}

type addr string

func (addr) Network() string  { return "tcp" }
func (a addr) String() string { return string(a) }
