// SPDX-License-Identifier: Apache-2.0

package journal

import (
	"bytes"
	"log/slog"
	"net/netip"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"restante/engine/mail"
)

// A caller fills no log, by one session or by many, and what is left out is
// counted.
func TestRefusalsAreBounded(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var out bytes.Buffer
		j := New(slog.New(slog.NewTextHandler(&out, nil)))
		refuse := func(j *Journal, from string, n int) int {
			out.Reset()
			for range n {
				j.Refused(t.Context(), netip.MustParseAddr(from), mail.Envelope{}, "RCPT", "x", mail.Reply{Code: 550})
			}
			return strings.Count(out.String(), "\n")
		}
		s := j.Session("s1", nil)
		if n := refuse(s, "192.0.2.1", 50); n != sessionLines {
			t.Errorf("a session writes %d lines", n)
		}
		s.Refused(t.Context(), netip.MustParseAddr("192.0.2.1"), mail.Envelope{}, "RCPT", "x", mail.Reply{Code: 421})
		if !strings.Contains(out.String(), "reply=421") {
			t.Error("why the session ends is left out")
		}
		if s.End(t.Context(), netip.MustParseAddr("192.0.2.1")); !strings.Contains(out.String(), " more=30 session=s1\n") {
			t.Errorf("its end is not told: %q", out.String())
		}
		written := 0
		for id := range 100 {
			s := j.Session("s2", nil)
			written += refuse(s, "2001:db8::"+string('a'+rune(id%6)), 10)
			s.End(t.Context(), netip.MustParseAddr("2001:db8::1"))
		}
		if written != addressLines {
			t.Errorf("a network writes %d lines", written)
		}
		if n := refuse(j, "2001:db8:0:1::1", 5); n != 5 {
			t.Errorf("another network writes %d lines", n)
		}
		time.Sleep(addressEvery)
		if n := refuse(j, "2001:db8::1", 5); n != 1 || !strings.Contains(out.String(), "left_out=500") {
			t.Errorf("after a while: %d lines, %q", n, out.String())
		}
		for i := range uint32(2 * maxAddresses) {
			refuse(j, netip.AddrFrom4([4]byte{10, byte(i >> 16), byte(i >> 8), byte(i)}).String(), 1)
		}
		if n := len(j.limit.addresses); n > maxAddresses {
			t.Errorf("%d addresses are remembered", n)
		}
	})
}
