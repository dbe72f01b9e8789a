// SPDX-License-Identifier: Apache-2.0

package record

import (
	"encoding/binary"
	"errors"
	"testing"

	"restante/internal/deptest"
)

func TestLayers(t *testing.T) {
	deptest.Forbid(t, map[string]string{
		"/engine":      "a record knows nothing of mail",
		"/metabase":    "what a record means is known above",
		"/internal":    "a record asks nothing of a store or a disk",
		"/adsi-compat": "imports go down only",
	})
}

func whole() []byte {
	b := AppendText([]byte{7}, "text")
	b = binary.AppendUvarint(b, 1<<40)
	b = binary.AppendUvarint(b, 1<<32-1)
	b = binary.AppendVarint(b, -5)
	return append(b, 2, 'x', 'y')
}

func take(r *Reader) (ok bool) {
	r.Form(7)
	ok = r.Text() == "text" && r.Num() == 1<<40 && r.Num32() == 1<<32-1 && r.Int() == -5
	return ok && r.Count() == 2 && r.Byte() == 'x' && r.Byte() == 'y'
}

func TestReader(t *testing.T) {
	b := whole()
	if r := Read(b); !take(&r) || r.End() != nil {
		t.Errorf("what was written does not read: %v", r.End())
	}
	for i := range b {
		r := Read(b[:i])
		var broken Broken
		if take(&r) || !errors.As(r.End(), &broken) || r.Err() == nil {
			t.Errorf("cut at %d it reads: %v", i, r.End())
		}
		if r.Num() != 0 || r.Text() != "" || r.Byte() != 0 {
			t.Errorf("cut at %d it gives more after the mistake", i)
		}
	}
	if r := Read(append(b, 0)); !take(&r) || r.End() == nil {
		t.Error("trailing octets are not reported")
	}
	if r := Read([]byte{8}); !errors.Is(func() error { r.Form(7); return r.End() }(), Broken("a record has form 8; this version reads form 7")) {
		t.Errorf("another form: %v", r.Err())
	}
	if r := Read(binary.AppendUvarint(nil, 1<<32)); r.Num32() != 0 || r.Err() == nil {
		t.Error("33 bits read as 32")
	}
	if r := Read(append(binary.AppendUvarint(nil, 1<<60), 1)); r.Count() != 0 || r.Err() == nil {
		t.Error("a count without its things is believed")
	}
	r := Read(nil)
	r.Fail(errors.ErrUnsupported)
	if r.Bad(); r.End() != errors.ErrUnsupported {
		t.Errorf("the first mistake is not kept: %v", r.End())
	}
}

func FuzzReader(f *testing.F) {
	f.Add(whole())
	f.Fuzz(func(t *testing.T, b []byte) {
		r := Read(b)
		for r.Err() == nil && len(r.rest) > 0 {
			left := len(r.rest)
			if len(r.Bytes()) >= left || len(r.rest) >= left {
				t.Fatalf("%d octets of %d are left", len(r.rest), left)
			}
			if r.Int(); r.Count() > len(r.rest) {
				t.Fatal("a count of more than there is")
			}
		}
	})
}
