// SPDX-License-Identifier: Apache-2.0

package testpeer

import "testing"

func TestPostfixStarts(t *testing.T) {
	Need(t, "postfix")
	p, err := StartPostfix(t.Context(), t.TempDir(), 10)
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
