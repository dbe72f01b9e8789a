// SPDX-License-Identifier: Apache-2.0

package settings

import (
	"fmt"
	"testing"

	"restante/engine/mail"
	"restante/metabase"
	"restante/metabase/schema"
)

// hundredThousand is a tree with that many domains, each held for an account.
func hundredThousand(b *testing.B) metabase.Snapshot {
	tr := newTree(b)
	hold, turn := set(b, "/", "RouteAction", "514").(metabase.Set), set(b, "/", "AuthTurnList", "x").(metabase.Set)
	var ops []metabase.Op
	for i := range 100_000 {
		path := DomainPath(1, fmt.Sprintf("d%d.test", i))
		hold.Path, turn.Path = path, path
		turn.Property.Value = metabase.MultiSZ(fmt.Sprintf("account%d", i))
		ops = append(ops, metabase.AddKey{Path: path, Class: schema.Domain}, hold, turn)
	}
	tr.must(ops...)
	return tr.store.Snapshot()
}

func BenchmarkHundredThousandDomains(b *testing.B) {
	snap := hundredThousand(b)
	s, err := Load(snap, 1)
	if err != nil {
		b.Fatal(err)
	}
	b.Run("Load", func(b *testing.B) {
		b.ReportAllocs()
		for b.Loop() {
			if _, err := Load(snap, 1); err != nil {
				b.Fatal(err)
			}
		}
	})
	names := make([]mail.Domain, 1000)
	for i := range names {
		names[i] = mail.Domain(fmt.Sprintf("d%d.test", i*97))
	}
	b.Run("DomainFor", func(b *testing.B) {
		b.ReportAllocs()
		for i := 0; b.Loop(); i++ {
			if d, ok := s.DomainFor(names[i%len(names)]); !ok || d.Standing != mail.Held {
				b.Fatal(d)
			}
		}
	})
	b.Run("Standing", func(b *testing.B) {
		b.ReportAllocs()
		for i := 0; b.Loop(); i++ {
			if s.Standing(names[i%len(names)]) != mail.Held {
				b.Fatal("not held")
			}
		}
	})
	b.Run("Standing of an unknown domain", func(b *testing.B) {
		b.ReportAllocs()
		for b.Loop() {
			if s.Standing("www.some.where.example") != mail.Foreign {
				b.Fatal("not foreign")
			}
		}
	})
	b.Run("Route", func(b *testing.B) {
		b.ReportAllocs()
		for i := 0; b.Loop(); i++ {
			if !s.Route(names[i%len(names)]).Held {
				b.Fatal("not held")
			}
		}
	})
	b.Run("the first TurnDomains of a revision", func(b *testing.B) {
		for b.Loop() {
			fresh, _ := load(snap, 1)
			if got := fresh.TurnDomains("Account97"); len(got) != 1 {
				b.Fatal(got)
			}
		}
	})
}
