// SPDX-License-Identifier: Apache-2.0

package postfix_test

import (
	"testing"

	"restante/internal/deptest"
	"restante/internal/testpeer"
	"restante/internal/testpeer/postfix"
)

func TestLayers(t *testing.T) {
	deptest.Forbid(t, map[string]string{"restante/": "a peer knows nothing of the service"})
}

func TestPostfixStarts(t *testing.T) {
	testpeer.Need(t, "postfix")
	p, err := postfix.Start(t.Context(), t.TempDir(), 10)
	if err != nil {
		t.Fatal(err)
	}
	defer p.Stop()
	if n, err := p.Queued(); n != 0 || err != nil {
		t.Errorf("Queued = %d, %v", n, err)
	}
	if out, err := p.Command(t.Context(), "postqueue", "-p"); err != nil {
		t.Errorf("postqueue: %v: %s", err, out)
	}
}
