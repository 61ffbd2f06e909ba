package transport_test

import (
	"bytes"
	"encoding/json"
	"fmt"
	"log/slog"
	"strings"
	"testing"

	"github.com/netquorum/netquorum/transport"
)

func TestATokenIsReadAsItWasPrinted(t *testing.T) {
	token := transport.NewToken()
	for _, spelling := range []string{token.String(), "  " + token.String() + "\n", strings.ToUpper(token.String())} {
		got, err := transport.ParseToken(spelling)
		if err != nil || got != token || !bytes.Equal(got.Key(), token.Key()) {
			t.Errorf("%q is read as %v, %v", spelling, got, err)
		}
	}
	if other := transport.NewToken(); other == token || bytes.Equal(other.Key(), token.Key()) {
		t.Error("two tokens are the same")
	}
	if len(token.Key()) != 32 || bytes.Contains([]byte(token.String()), token.Key()) {
		t.Error("the key is not a hash of the secret")
	}
}

func TestWhatIsNoTokenIsRefusedWithoutQuotingIt(t *testing.T) {
	good := transport.NewToken().String()
	secret := good[strings.LastIndex(good, "-")+1:]
	last := good[len(good)-1]
	stray := "b" // the last character carries one bit of the secret and four that must be zero
	if last == 'b' {
		stray = "c"
	}
	for _, bad := range []string{
		"", "nqt", "nqt--", "nqt-a-b", good[:len(good)-1], good + "a", good + "-", "x" + good, secret,
		strings.Replace(good, "nqt", "nqx", 1), good[:len(good)-1] + stray, strings.Replace(good, "-", " ", 1),
		good[:len(good)-1] + "1", good[:len(good)-2] + "==",
	} {
		_, err := transport.ParseToken(bad)
		if err == nil {
			t.Errorf("%q is accepted", bad)
			continue
		}
		if len(bad) > 20 && strings.Contains(err.Error(), bad[10:20]) {
			t.Errorf("the error quotes the input: %v", err)
		}
	}
}

func TestATokenPrintsItsSecretOnlyWhenToldTo(t *testing.T) {
	token := transport.NewToken()
	secret := token.String()[strings.LastIndex(token.String(), "-")+1:]
	var log bytes.Buffer
	logger := slog.New(slog.NewJSONHandler(&log, nil))
	logger.Info("made", "token", token, "list", []transport.Token{token}, "in", struct{ T transport.Token }{token})
	slog.New(slog.NewTextHandler(&log, nil)).Info("made", "token", token, "pointer", &token)
	data, err := json.Marshal(map[string]any{"token": token})
	if err != nil {
		t.Fatal(err)
	}
	key := token.Key()
	for _, printed := range []string{
		fmt.Sprint(token), fmt.Sprintf("%v %+v %#v %s %q %x %d", token, token, token, token, token, token, token),
		fmt.Sprintf("%v %+v", &token, struct{ T transport.Token }{token}), fmt.Errorf("bad %v", token).Error(),
		log.String(), string(data),
	} {
		if strings.Contains(printed, secret) || strings.Contains(printed, fmt.Sprintf("%x", key)) {
			t.Errorf("the secret is in %q", printed)
		}
		if !strings.Contains(printed, token.ID()) {
			t.Errorf("the id is not in %q", printed)
		}
	}
}

func FuzzParseToken(f *testing.F) {
	f.Add(transport.NewToken().String())
	f.Add("nqt-aaaaaaaaaaaaaaaa-" + strings.Repeat("a", 52))
	f.Add("nqt-" + strings.Repeat("-", 60))
	f.Add("")
	f.Fuzz(func(t *testing.T, s string) {
		token, err := transport.ParseToken(s)
		if err != nil {
			return
		}
		if again, err := transport.ParseToken(token.String()); err != nil || again != token {
			t.Errorf("%q does not survive: %v", s, err)
		}
		if token.String() != strings.ToLower(strings.TrimSpace(s)) {
			t.Errorf("%q is another spelling of a token", s)
		}
	})
}
