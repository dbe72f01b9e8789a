// SPDX-License-Identifier: Apache-2.0

package metabase

import (
	"errors"
	"slices"
	"strings"
	"testing"

	"restante/internal/kv"
	"restante/internal/seal"
)

func TestReplace(t *testing.T) {
	s := open(t, kv.NewMem(), Options{})
	site(t, s)
	apply(t, s, Set{"/LM", num(1, 1)}, Set{"/LM/SMTPSVC/1", secret(2, "correct-horse")})
	for _, sealed := range []bool{true, false} {
		was := exact(s.Snapshot())
		rev, proof, records := s.Records(sealed)
		if !sealed {
			proof = nil
		}
		op, err := s.Replace(proof)
		if err != nil || rev != s.Snapshot().Rev() {
			t.Fatalf("Replace of revision %d: %v", rev, err)
		}
		for record := range records {
			if shown := strings.Contains(string(record), "horse"); shown && sealed {
				t.Errorf("a sealed record shows its secret: %q", record)
			}
			if err := op.Add(slices.Clone(record)); err != nil {
				t.Fatal(err)
			}
			if err := op.Add(record); !errors.Is(err, Damaged) {
				t.Errorf("the same key twice: %v", err)
			}
		}
		if got := apply(t, s, op); got != rev || exact(s.Snapshot()) != was {
			t.Errorf("replaced by itself it is of revision %d:\n%s", got, exact(s.Snapshot()))
		}
	}
	if _, err := s.Replace(seal.New().Prove()); !errors.Is(err, Invalid) {
		t.Errorf("records of another machine key: %v", err)
	}
	if _, err := s.Apply(t.Context(), Batch{Ops: []Op{&Replace{}}}); !errors.Is(err, Invalid) {
		t.Errorf("replaced by nothing: %v", err)
	}
	_, _, records := s.Records(true)
	clear, _ := s.Replace(nil)
	var err error
	for record := range records {
		if err = clear.Add(record); err != nil {
			break
		}
	}
	if !errors.Is(err, Invalid) {
		t.Errorf("sealed records without their key: %v", err)
	}
}
