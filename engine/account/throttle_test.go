// SPDX-License-Identifier: Apache-2.0

package account

import (
	"errors"
	"fmt"
	"net/netip"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"restante/engine/mail"
)

// guess makes n wrong guesses, one after another, and returns how many were
// tried at all, and the ends of the lock-outs.
func guess(t *testing.T, g *Authenticator, n int, from func(i int) string) (tried int, locked []time.Time) {
	t.Helper()
	for i := range n {
		ip := netip.MustParseAddr(from(i))
		if err := g.Admit(t.Context(), ip, "anna"); err != nil {
			if r := (mail.Reply{}); !errors.As(err, &r) || r.Code != 454 {
				t.Fatal(err)
			}
			continue
		}
		tried++
		if until := g.Failed(ip, 1, "anna"); !until.IsZero() {
			locked = append(locked, until)
		}
	}
	return tried, locked
}

func TestAnAddressThatGuessesIsSlowedAndLockedOut(t *testing.T) {
	for name, from := range map[string]func(int) string{
		"one address":    func(int) string { return "192.0.2.1" },
		"an IPv6 /64":    func(i int) string { return fmt.Sprintf("2001:db8::%x", i+1) },
		"mapped to IPv6": func(int) string { return "::ffff:192.0.2.1" },
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				g := NewAuthenticator(Options{})
				begin := time.Now()
				n, locked := guess(t, g, 500, from)
				if n != lockAfter {
					t.Errorf("%d guesses before the lock-out, want %d", n, lockAfter)
				}
				took := time.Since(begin)
				if took < 2*time.Minute || took > 10*time.Minute {
					t.Errorf("%d guesses took %s", lockAfter, took)
				}
				end := time.Now().Add(lockTime).Format("15:04:05")
				if len(locked) != 1 || locked[0].Format("15:04:05") != end {
					t.Errorf("one lock-out with the end %s is wanted: %v", end, locked)
				}
				if out := g.LockOuts(); len(out) != 1 || !out[0].Address.Contains(netip.MustParseAddr(from(0)).Unmap()) || out[0].Account != "anna" || out[0].Site != 1 || out[0].Until.Format("15:04:05") != end {
					t.Errorf("locked out: %+v", out)
				}
				time.Sleep(lockTime)
				if out := g.LockOuts(); len(out) != 0 {
					t.Errorf("still locked out: %+v", out)
				}
				if n, _ := guess(t, g, 500, from); n == 0 || n >= lockAfter {
					t.Errorf("%d guesses after the lock-out", n)
				}
				time.Sleep(lockTime + forgetAfter)
				begin = time.Now()
				if err := g.Admit(t.Context(), netip.MustParseAddr(from(0)), "anna"); err != nil || time.Since(begin) > 0 {
					t.Errorf("an hour later: %v after %s", err, time.Since(begin))
				}
			})
		})
	}
}

func TestManyConnectionsOfOneAddressShareALine(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		g := NewAuthenticator(Options{})
		from := netip.MustParseAddr("192.0.2.1")
		done := make(chan bool)
		for range 1000 {
			go func() {
				err := g.Admit(t.Context(), from, "anna")
				if err == nil {
					g.Failed(from, 1, "anna")
				}
				done <- err == nil
			}()
		}
		begin, tried := time.Now(), 0
		for range 1000 {
			if <-done {
				tried++
			}
		}
		if tried > lockAfter {
			t.Errorf("%d guesses in %s", tried, time.Since(begin))
		}
		// The line is long now; it gets no longer.
		if n, _ := guess(t, g, 1000, func(int) string { return "192.0.2.1" }); n > lockAfter {
			t.Errorf("%d more", n)
		}
	})
}

// Strangers everywhere guess at one account: its owner waits for seconds, and
// an unknown name has the same delay.
func TestStrangersDoNotLockAnOwnerOut(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		g := NewAuthenticator(Options{})
		for _, name := range []string{"anna", "nobody"} {
			for i := range 2000 {
				g.Failed(netip.AddrFrom4([4]byte{10, 1, byte(i >> 8), byte(i)}), 1, name)
			}
		}
		for i, name := range []string{"anna", "nobody", "ANNA"} {
			begin := time.Now()
			err := g.Admit(t.Context(), netip.AddrFrom4([4]byte{192, 0, 2, byte(i)}), name)
			if took := time.Since(begin); err != nil || took != accountMost {
				t.Errorf("%s: %v after %s", name, err, took)
			}
		}
	})
}

func TestThrottleIsBounded(t *testing.T) {
	g := NewAuthenticator(Options{})
	for i := range throttleLimit + 1000 {
		g.Failed(netip.AddrFrom4([4]byte{10, byte(i >> 16), byte(i >> 8), byte(i)}), 1, fmt.Sprint(i))
	}
	if a, n := len(g.guesses.addresses), len(g.guesses.names); a > throttleLimit || n > throttleLimit {
		t.Errorf("%d addresses and %d names", a, n)
	}
}

// Addresses that guess once do not end another's lock-out, and where all are locked
// out the number of entries is still bounded.
func TestLockOutsStayWhenManyGuess(t *testing.T) {
	g := NewAuthenticator(Options{})
	guess := func(first byte, i, times int) {
		from := netip.AddrFrom4([4]byte{first, byte(i >> 16), byte(i >> 8), byte(i)})
		for range times {
			g.Failed(from, 1, "anna")
		}
	}
	guess(192, 1, lockAfter)
	for i := range throttleLimit + 1000 {
		guess(10, i, 1)
	}
	if out := g.LockOuts(); len(out) != 1 || out[0].Address.String() != "192.0.0.1/32" {
		t.Errorf("locked out after many guessed once: %v", out)
	}
	for i := range throttleLimit + 10 {
		guess(11, i, lockAfter)
	}
	if n := len(g.LockOuts()); n < throttleLimit*3/4 || n > throttleLimit {
		t.Errorf("%d locked out, want about %d", n, throttleLimit)
	}
}

func TestSaltsOfUnknownNamesOutliveTheProcess(t *testing.T) {
	salt := func(key, name string) string {
		return NewAuthenticator(Options{Key: []byte(key)}).decoyFor(name).Salt
	}
	if salt("k", "nobody") != salt("k", "Nobody") {
		t.Error("another process shows another salt")
	}
	if salt("k", "nobody") == salt("l", "nobody") || salt("k", "nobody") == salt("k", "noone") {
		t.Error("salts do not depend on key and name")
	}
}

// An exempt address is not counted; the account still is.
func TestExemptAddressIsNotLockedOut(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		g := NewAuthenticator(Options{})
		var nobody netip.Addr
		for i := range 3 * lockAfter {
			begin := time.Now()
			if err := g.Admit(t.Context(), nobody, "joe"); err != nil {
				t.Fatalf("guess %d: %v", i, err)
			}
			if took := time.Since(begin); (took > 0) != (i >= accountFree) || took > accountMost {
				t.Errorf("guess %d waits %v", i, took)
			}
			g.Failed(nobody, 1, "joe")
		}
		begin := time.Now()
		if err := g.Admit(t.Context(), nobody, "ann"); err != nil || time.Since(begin) != 0 {
			t.Errorf("another account waits %v: %v", time.Since(begin), err)
		}
	})
}

// TestSpellingsOfOneName: the tree takes all of them for one account, so they share a
// count of wrong passwords and, where there is no such account, a salt.
func TestSpellingsOfOneName(t *testing.T) {
	for _, tt := range [][2]string{{"boss", "BOSS"}, {"boss", "bo\u017fs"}, {"kim", "\u212aim"}, {"Σας", "σασ"}} {
		if !strings.EqualFold(tt[0], tt[1]) {
			t.Fatalf("%q are two names", tt)
		}
		g := NewAuthenticator(Options{})
		if g.decoyFor(tt[0]).Salt != g.decoyFor(tt[1]).Salt {
			t.Errorf("%q have two salts", tt)
		}
		if nameKey(tt[0]) != nameKey(tt[1]) {
			t.Errorf("%q are counted apart", tt)
		}
	}
}
