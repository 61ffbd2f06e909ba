package api

import (
	"encoding/json"
	"reflect"
	"testing"
)

// TestPlainResultsAreEncodedAlike: with any field filled that is not written by hand,
// also one that is new, a result is left to package json.
func TestPlainResultsAreEncodedAlike(t *testing.T) {
	for _, r := range []ApplyResult{{}, {Revision: 1<<64 - 1, Changed: 1 << 30}, {Revision: 7, Changed: 1}} {
		want, err := json.Marshal(r)
		if err != nil {
			t.Fatal(err)
		}
		if got, ok := r.appendPlain(nil); !ok || string(got) != string(want) {
			t.Errorf("%s, %t, and by package json %s", got, ok, want)
		}
	}
	all := reflect.TypeFor[ApplyResult]()
	for i := range all.NumField() {
		f := all.Field(i)
		if f.Name == "Revision" || f.Name == "Changed" {
			continue
		}
		var r ApplyResult
		switch v := reflect.ValueOf(&r).Elem().Field(i); v.Kind() {
		case reflect.String:
			v.SetString("x")
		case reflect.Slice:
			v.Set(reflect.MakeSlice(f.Type, 1, 1))
		case reflect.Map:
			v.Set(reflect.MakeMap(f.Type))
			v.SetMapIndex(reflect.ValueOf("x"), reflect.Zero(f.Type.Elem()))
		default:
			t.Fatalf("%s is a %v, of which this test knows nothing", f.Name, v.Kind())
		}
		if got, ok := r.appendPlain(nil); ok {
			t.Errorf("%s is lost: %s", f.Name, got)
		}
	}
}
