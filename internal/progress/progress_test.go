// SPDX-License-Identifier: Apache-2.0

package progress

import (
	"io"
	"strings"
	"testing"

	"restante/internal/deptest"
)

func TestLayers(t *testing.T) {
	deptest.Forbid(t, map[string]string{"restante/": "anything may be counted"})
}

func TestCount(t *testing.T) {
	var m Meter
	ctx := With(t.Context(), &m)
	From(ctx).Expect(2)
	From(ctx).Add(2)
	if _, err := io.Copy(io.Discard, From(ctx).Reader(strings.NewReader("12345"), 5)); err != nil {
		t.Fatal(err)
	}
	if done, total := m.Count(); done != 7 || total != 7 {
		t.Errorf("counted %d of %d, want 7 of 7", done, total)
	}
	none := From(t.Context())
	none.Expect(1)
	none.Add(1)
	if b, err := io.ReadAll(none.Reader(strings.NewReader("x"), 1)); string(b) != "x" || err != nil {
		t.Errorf("without a meter: %q, %v", b, err)
	}
}

// Nothing is counted for nobody.
func TestExpectCounted(t *testing.T) {
	counted := 0
	count := func() int { counted++; return 7 }
	From(t.Context()).ExpectCounted(count)
	if counted > 0 {
		t.Error("counted without a Meter")
	}
	var m Meter
	From(With(t.Context(), &m)).ExpectCounted(count)
	if _, total := m.Count(); counted != 1 || total != 7 {
		t.Errorf("counted %d times, a total of %d", counted, total)
	}
}
