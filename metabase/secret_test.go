// SPDX-License-Identifier: Apache-2.0

package metabase

import (
	"bytes"
	"encoding/json"
	"fmt"
	"log/slog"
	"testing"

	"restante/internal/kv"
)

// TestNoSecretInClear looks for a secret in everything that comes out of a
// store by any other way than Value.Str.
func TestNoSecretInClear(t *testing.T) {
	const pw, next = "correct-horse-battery", "staple-of-the-horse"
	db := kv.NewMem()
	var out bytes.Buffer
	log := slog.New(slog.NewJSONHandler(&out, nil))
	refuse := func(c Change) []Problem {
		fmt.Fprintf(&out, "%v %+v %#v\n", c.Batch, c.Batch, c.Diff())
		return nil
	}
	s := open(t, db, Options{Checks: []Check{refuse}, Log: log})
	list := Property{ID: 2, Attr: Secure | Inherit, Value: MultiSZ(pw, next)}
	blob := Property{ID: 3, Attr: Secure, Value: Binary([]byte(pw))}
	show := func(what ...any) {
		t.Helper()
		for _, w := range what {
			for _, verb := range []string{"%v", "%+v", "%#v", "%s", "%q", "%x", "%X", "%d"} {
				fmt.Fprintf(&out, verb+"\n", w)
			}
			raw, err := json.Marshal(w)
			if err != nil {
				t.Error(err)
			}
			out.Write(raw)
			log.Info("shown", "it", w)
		}
	}
	batch := Batch{Actor: boss, Ops: []Op{AddKey{"/A", ""}, Set{"/A", secret(1, pw)}, Set{"/A", list}, Set{"/A", blob}}}
	show(batch)
	if _, err := s.Apply(t.Context(), batch); err != nil {
		t.Fatal(err)
	}
	apply(t, s, Set{"/A", secret(1, next)}, AddKey{"/A/b", ""}, Copy{"/A", "/C", false})
	snap := s.Snapshot()
	for p := range snap.Walk(Root) {
		show(snap.Properties(p), snap.AllProperties(p))
		for _, prop := range snap.Properties(p) {
			show(prop, &prop, prop.Value)
		}
	}
	for _, rev := range []Rev{1, 2} {
		h, err := s.Record(t.Context(), rev)
		if err != nil {
			t.Fatal(err)
		}
		show(h)
	}
	diff, err := s.Diff(t.Context(), 0, 2)
	if err != nil {
		t.Fatal(err)
	}
	show(diff)
	for _, ops := range [][]Op{{Set{"/A", text(1, "plain")}}, {Set{"/nowhere", secret(1, pw)}}, {Set{"/A", secret(1, pw+"\x00")}}, {Set{"/A", with(secret(1, pw), Volatile)}}} {
		_, err := s.Apply(t.Context(), Batch{Ops: ops})
		if err == nil {
			t.Fatal("no error")
		}
		show(err)
	}
	_, _, records := s.Records(true)
	for record := range records {
		out.Write(record)
	}
	for pair, err := range db.Scan(t.Context(), nil) {
		if err != nil {
			t.Fatal(err)
		}
		out.Write(pair.Key)
		out.Write(pair.Value)
	}
	for _, secret := range []string{pw, next, "horse", fmt.Sprintf("%x", pw), fmt.Sprintf("%X", pw), fmt.Sprint([]byte(pw))} {
		if i := bytes.Index(out.Bytes(), []byte(secret)); i >= 0 {
			t.Errorf("%q is in clear: ...%q...", secret, out.Bytes()[max(0, i-100):min(out.Len(), i+100)])
		}
	}
	if p, _ := snap.Stored("/C", 1); p.Value.Str() != next {
		t.Errorf("and yet it must be there: %q", p.Value.Str())
	}
	if p, _ := snap.Stored("/C", 2); !p.Value.Equal(list.Value) || !bytes.Contains(out.Bytes(), []byte("****")) {
		t.Error("the secure list is not what was stored, or nothing was shown")
	}
}
