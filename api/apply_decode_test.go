package api

import (
	"encoding/json"
	"reflect"
	"testing"

	"github.com/netquorum/netquorum"
)

// alike fails when decode reads what decodeJSON refuses or reads otherwise.
func alike(t *testing.T, body string) (read bool) {
	t.Helper()
	var quick, strict ApplyRequest
	if !quick.decode([]byte(body)) {
		return false
	}
	if err := decodeJSON([]byte(body), &strict); err != nil {
		t.Fatalf("%s\nis read, and refused by the other decoder: %v", body, err)
	}
	if !reflect.DeepEqual(quick, strict) {
		t.Fatalf("%s\nis read as %+v\nand as       %+v", body, quick, strict)
	}
	return true
}

func TestTransactionsOfOurClientAreReadInOnePass(t *testing.T) {
	revision := netquorum.Revision(1<<64 - 1)
	none := netquorum.Revision(0)
	record := netquorum.Document{Kind: netquorum.KindRecord, Name: "a/\u00fc", Spec: &netquorum.Record{Type: "t", Data: json.RawMessage(`{"a":[1,"x"]}`)}}
	group := netquorum.Document{Kind: netquorum.KindFilerGroup, Name: "main", Spec: &netquorum.FilerGroup{}}
	body, err := json.Marshal(ApplyRequest{RequestID: newRequestID(), Puts: []Put{
		{Document: record}, {Document: group, IfRevision: &revision}, {Document: record, MustNotExist: true}, {Document: record, IfRevision: &none},
	}})
	if err != nil {
		t.Fatal(err)
	}
	if !alike(t, string(body)) {
		t.Errorf("%s\nis left to the slow decoder", body)
	}
}

var transactions = []string{
	`{"puts":[{"document":{"kind":"Record","name":"a","spec":{"data":1}},"ifRevision":0}]}`,
	`{"puts":[{"document":{"kind":"Record","name":"a","spec":{"type":"t","data":"\u003c"}}}],"requestID":"x"}`,
	`{"puts":[{"document":{"kind":"Record","name":"a","spec":{"data":1}},"ifRevision":00}]}`,
	`{"puts":[{"document":{"kind":"Record","name":"a","spec":{"data":1}},"ifRevision":99999999999999999999}]}`,
	`{"puts":[{"document":{"kind":"Record","name":"a","spec":{"data":1}}}],"requestID":"x"} {}`,
	`{"puts":[{"document":{"kind":"Record","name":"a","spec":{"data":1}}}],"requestID":"\u0041"}`,
	`{"puts":[{"document":{"kind":"Record","name":"a","spec":{"data":1,"more":2}}}]}`,
	`{"puts":[{"document":{"kind":"Record","name":"a","spec":{"data": {"b":1,"a":2}}}},]}`,
	`{"puts":[{"document":{"kind":"Record","name":"","spec":{"data":1}}}]}`,
	"{\"puts\":[{\"document\":{\"kind\":\"Record\",\"name\":\"a\xff\",\"spec\":{\"data\":1}}}]}",
	`{"puts":[{"document":null}]}`,
	`{"puts":[{"document":{"kind":"Service","name":"s","spec":null},"mustNotExist":true}]}`,
	`{"puts":[]}`, `{"puts":[`, `{}`, ``,
}

func TestTransactionsAreReadAlike(t *testing.T) {
	read := 0
	for _, body := range transactions {
		if alike(t, body) {
			read++
		}
		for i := range body { // what ends too early
			alike(t, body[:i])
		}
	}
	if read < 2 {
		t.Errorf("only %d of the transactions were read at all", read)
	}
}

func FuzzTransactionsAreReadAlike(f *testing.F) {
	for _, body := range transactions {
		f.Add(body)
	}
	f.Fuzz(func(t *testing.T, body string) { alike(t, body) })
}
