// SPDX-License-Identifier: Apache-2.0

package site

import (
	"errors"
	"fmt"
	"testing"

	"restante/engine/mail"
	"restante/engine/release"
	"restante/engine/release/calls"
	"restante/engine/spool"
	"restante/internal/kv"
)

func TestFullReply(t *testing.T) {
	other := errors.New("disk on fire")
	tests := []struct {
		in   error
		want int // code of the reply; 0: none
	}{
		{nil, 0},
		{other, 0},
		{fmt.Errorf("spool: %w", spool.ErrFull), 452},
		{fmt.Errorf("kv: %w", kv.ErrFull), 452},
	}
	for _, tt := range tests {
		var r mail.Reply
		got := fullReply(tt.in)
		if errors.As(got, &r); r.Code != tt.want || !errors.Is(got, tt.in) {
			t.Errorf("fullReply(%v) = %v, want code %d", tt.in, got, tt.want)
		}
	}
}

func TestLeasesOfOneDestination(t *testing.T) {
	h := started(t)
	w := waiting{h.Queue(), h.Site}
	first, err := w.Lease(t.Context(), "held.test", "TURN", "one", nil)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := w.Lease(t.Context(), "held.test", "TURN", "two", nil); !errors.Is(err, release.ErrBusy) {
		t.Errorf("a second lease: %v", err)
	}
	if err := w.Trigger("held.test", false, calls.Call{}); !errors.Is(err, release.ErrBusy) {
		t.Errorf("a run beside it: %v", err)
	}
	first.Close()
	second, err := w.Lease(t.Context(), "held.test", "TURN", "two", nil)
	if err != nil {
		t.Fatalf("after the first is closed: %v", err)
	}
	second.Close()
	if got, err := w.Waiting("held.test", false); len(got) != 0 || err != nil {
		t.Errorf("Waiting = %v, %v in an empty queue", got, err)
	}
	l := h.dial()
	for _, to := range []string{"x@held.test", "x@held.test"} {
		if err := l.Send("a@b.test", to, []byte("Subject: x\r\n\r\n.\r\n")); err != nil {
			t.Fatal(err)
		}
	}
	want := release.Waiting{Domain: "held.test", Messages: 2}
	for _, below := range []bool{false, true} {
		if got, err := w.Waiting("held.test", below); err != nil || len(got) != 1 || got[0] != want {
			t.Errorf("Waiting(below %v) = %v, %v, want %v", below, got, err, want)
		}
	}
}
