package api

import (
	"errors"
	"net/http/httptest"
	"testing"
	"time"
)

func TestRolloutParams(t *testing.T) {
	r := httptest.NewRequest("POST", "/v1/apply?confirm=2m&force=true&stepTimeout=5s", nil)
	got, err := rolloutParams(r)
	if want := (RolloutOptions{Confirm: Duration(2 * time.Minute), Timeout: Duration(5 * time.Second), Force: true}); err != nil || got != want {
		t.Errorf("%+v, %v, want %+v", got, err, want)
	}
	for _, query := range []string{"confirm=soon", "stepTimeout=1", "force=perhaps"} {
		if _, err := rolloutParams(httptest.NewRequest("POST", "/v1/apply?"+query, nil)); !errors.Is(err, ErrUsage) {
			t.Errorf("%s: %v", query, err)
		}
	}
	for _, o := range []RolloutOptions{{Confirm: -1}, {Timeout: -1}, {Timeout: maxStep + 1}} {
		if err := o.check(); !errors.Is(err, ErrUsage) {
			t.Errorf("%+v: %v", o, err)
		}
	}
}
