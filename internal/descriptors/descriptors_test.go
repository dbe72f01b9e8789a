// SPDX-License-Identifier: Apache-2.0

package descriptors

import "testing"

// TestShares: what may be taken leaves a reserve, whatever the limit.
func TestShares(t *testing.T) {
	tests := []struct{ limit, callers, reserve int }{
		{64, 20, 32},
		{256, 120, 64},
		{1024, 560, 128},
		{20000, 10937, 2500},
		{1 << 20, 573440, 131072},
		{0, 573440, 131072},
	}
	for _, tt := range tests {
		b := New(tt.limit)
		taken := b.Callers.Limit() + b.Files.Limit() + 2*b.Conversations
		if got := b.Limit - taken; b.Callers.Limit() != tt.callers || got < tt.reserve || b.Local > got/2 || b.Files.Limit() < 1 {
			t.Errorf("limit %d: %d callers, %d files, %d conversations, %d local; %d are left", tt.limit, b.Callers.Limit(), b.Files.Limit(), b.Conversations, b.Local, got)
		}
	}
}

func TestShareEnds(t *testing.T) {
	s := New(64).Files
	for range s.Limit() {
		if !s.Take() {
			t.Fatal("the share is used up too early")
		}
	}
	for range 2 { // a refusal takes nothing
		if s.Take() {
			t.Error("more are taken than there are")
		}
	}
	if s.Release(); !s.Take() {
		t.Error("one that was given back cannot be taken")
	}
}
