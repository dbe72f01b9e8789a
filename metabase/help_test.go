// SPDX-License-Identifier: Apache-2.0

package metabase

import (
	"fmt"
	"strings"
	"testing"

	"restante/internal/kv"
	"restante/internal/seal"
)

// boss may do everything in the stores of the tests.
const boss Principal = "user:boss"

var testKey = seal.New() // shared, so that a store can be opened again

func open(t testing.TB, db kv.DB, opts Options) *Store {
	t.Helper()
	if opts.Admins == nil {
		opts.Admins = []Principal{boss}
	}
	s, err := Open(t.Context(), db, testKey, opts)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { s.Close() })
	return s
}

// sound fails the test when the store is not consistent.
func sound(t testing.TB, s *Store) {
	t.Helper()
	if err := s.Verify(t.Context()); err != nil {
		t.Fatal(err)
	}
}

func apply(t testing.TB, s *Store, ops ...Op) Rev {
	t.Helper()
	rev, err := s.Apply(t.Context(), Batch{Ops: ops})
	if err != nil {
		t.Fatal(err)
	}
	return rev
}

func num(id ID, n uint32) Property           { return Property{ID: id, Attr: Inherit, Value: DWord(n)} }
func text(id ID, s string) Property          { return Property{ID: id, Attr: Inherit, Value: String(s)} }
func secret(id ID, s string) Property        { return Property{ID: id, Attr: Secure, Value: String(s)} }
func with(p Property, more Attr) Property    { p.Attr |= more; return p }
func without(p Property, less Attr) Property { p.Attr &^= less; return p }

// dump is a tree as lines "path: id=value/attr ...".
func dump(s Snapshot) string {
	var b strings.Builder
	for p := range s.Walk(Root) {
		fmt.Fprintf(&b, "%s:", p)
		for _, prop := range s.Properties(p) {
			fmt.Fprintf(&b, " %d=%s/%d", prop.ID, without(prop, Secure).Marked().Value, prop.Attr)
		}
		b.WriteByte('\n')
	}
	return b.String()
}

// exact is dump with all that Verify and At must bring back as well.
func exact(s Snapshot) string {
	var b strings.Builder
	b.WriteString(dump(s))
	for p := range s.Walk(Root) {
		k, _ := s.Key(p)
		fmt.Fprintf(&b, "%s %d", k.Path, k.Modified.UnixNano())
		for _, prop := range s.Properties(p) {
			fmt.Fprintf(&b, " %d", prop.Rev)
		}
		b.WriteByte('\n')
	}
	return b.String()
}

// site makes /LM/SMTPSVC/1/Domain.
func site(t testing.TB, s *Store) {
	t.Helper()
	apply(t, s, AddKey{"/LM", ""}, AddKey{"/LM/SMTPSVC", "IIsSmtpService"},
		AddKey{"/LM/SMTPSVC/1", "IIsSmtpServer"}, AddKey{"/LM/SMTPSVC/1/Domain", "IIsSmtpDomains"})
}
