package store

import (
	"bytes"
	"encoding/json"
	"flag"
	"os"
	"path/filepath"
	"testing"

	"github.com/hashicorp/raft"
	"github.com/klauspost/compress/s2"

	"github.com/netquorum/netquorum"
	"github.com/netquorum/netquorum/fsm"
)

var update = flag.Bool("update", false, "write the golden files of the current formats")

// golden compares bytes with a file. The file of a format that was released is
// never written again: a new format has a new name, and the old one stays
// readable.
func golden(t *testing.T, name string, got []byte) []byte {
	t.Helper()
	path := filepath.Join("testdata", name+".golden")
	if *update {
		if err := os.WriteFile(path, got, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	if !bytes.Equal(got, want) {
		t.Errorf("the format of %s changed:\n got %x\nwant %x", name, got, want)
	}
	return want
}

func formatTransaction() fsm.Transaction {
	return fsm.Transaction{ID: "request", Actor: "golden", Time: 1700000000000, System: true, Puts: []fsm.Put{
		{Document: netquorum.Document{Kind: netquorum.KindCluster, Name: "acme", Spec: &netquorum.Cluster{MAC: netquorum.MAC{0, 7, 0x34, 4, 0x12, 0xe}}}},
		{Document: netquorum.Document{Kind: netquorum.KindRecord, Name: "note", Spec: &netquorum.Record{Data: json.RawMessage(`"text"`)}}},
	}}
}

func TestTheFormatOfLogEntries(t *testing.T) {
	encoded, err := fsm.EncodeTransaction(formatTransaction())
	if err != nil {
		t.Fatal(err)
	}
	m := newMachine(newViews(), func(err error) { t.Error(err) }, func(uint64) error { return nil })
	apply := golden(t, "entry-apply-1", seal(entryApply, fsm.JoinEntry([][]byte{encoded})))
	results, ok := m.Apply(&raft.Log{Index: 1, Type: raft.LogCommand, Data: apply}).([]fsm.Result)
	if !ok || len(results) != 1 || results[0].Refusal != nil || results[0].Changed != 2 {
		t.Errorf("the golden entry applied: %+v", results)
	}
	part := golden(t, "entry-part-1", sealPart("restore", 0, 2, s2.Encode(nil, encoded)))
	if answer := m.Apply(&raft.Log{Index: 2, Type: raft.LogCommand, Data: part}); m.pending.id != "restore" || m.pending.total != 2 {
		t.Errorf("the golden part applied: %v, %+v", answer, m.pending)
	}
}

func TestTheFormatOfSnapshots(t *testing.T) {
	encoded, err := fsm.EncodeTransaction(formatTransaction())
	if err != nil {
		t.Fatal(err)
	}
	m := newMachine(newViews(), func(err error) { t.Error(err) }, func(uint64) error { return nil })
	m.Apply(&raft.Log{Index: 1, Type: raft.LogCommand, Data: seal(entryApply, fsm.JoinEntry([][]byte{encoded}))})
	m.Apply(&raft.Log{Index: 2, Type: raft.LogCommand, Data: sealPart("restore", 0, 2, s2.Encode(nil, encoded))})
	var b bytes.Buffer
	if err := (&snapshot{m.state, m.through, m.pending}).encode(&b); err != nil {
		t.Fatal(err)
	}
	want := golden(t, "snapshot-1", b.Bytes())
	s, err := decodeSnapshot(bytes.NewReader(want))
	if err != nil {
		t.Fatal(err)
	}
	if s.through != 2 || s.pending.id != "restore" || s.state.Hash() != m.state.Hash() {
		t.Errorf("the golden snapshot holds entries up to %d, the restore %q and state %x", s.through, s.pending.id, s.state.Hash())
	}
}
