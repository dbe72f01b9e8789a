// SPDX-License-Identifier: Apache-2.0

package site

import (
	"errors"
	"net"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"restante/engine/site/ports"
)

// A site that must not run stops, says why, and runs again when it may.
func TestBlockedSiteStops(t *testing.T) {
	h := started(t)
	at := h.addr()
	errBlocked := errors.New("blocked by a test")
	blocked := h.make(2, loopback)
	blocked.Blocked = errBlocked
	h.settle(blocked)
	if got := greeting(t, at); strings.HasPrefix(got, "220") {
		t.Errorf("a blocked site greets with %q", got)
	}
	st := h.until(func() bool { return h.Status().State == Stopped })
	if st.Why != errBlocked.Error() || st.Running != 0 || len(st.Listening) != 0 {
		t.Errorf("blocked: %+v", st)
	}
	if err := h.Do(t.Context(), Start); !errors.Is(err, errBlocked) {
		t.Errorf("start of a blocked site: %v", err)
	}
	if st := h.settle(h.make(3, loopback)); st.State != Started || st.Running != 3 || st.Why != "" {
		t.Errorf("not blocked any more: %+v", st)
	}
	h.dial()

	// One that an administrator stopped stays stopped.
	h.must(Stop)
	blocked = h.make(4, loopback)
	blocked.Blocked = errBlocked
	if st := h.settle(blocked); st.State != Stopped {
		t.Errorf("blocked while stopped: %+v", st)
	}
	h.settle(h.make(5, loopback))
	if st := h.until(func() bool { return h.Status().Why == "" }); st.State != Stopped {
		t.Errorf("not blocked any more, but stopped before: %+v", st)
	}
}

// A site that starts by itself and cannot is started when the reason is gone.
func TestAutoStartTriesAgain(t *testing.T) {
	blocker, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	taken := blocker.Addr().(*net.TCPAddr).AddrPort()
	set := newSettings(t)
	h := newSite(t, 1, set.make(1, taken), set, &ports.Set{}, true)
	st := h.until(func() bool { return h.Settled(1) })
	if st.State != Stopped || !strings.Contains(st.Why, "listen on "+taken.String()) || h.InForce(1) {
		t.Errorf("with a taken port: %+v", st)
	}
	if st := h.settle(h.make(2, loopback)); st.State != Started || !h.InForce(2) {
		t.Errorf("with another port: %+v", st)
	}
	h.must(Stop)
	h.settle(h.make(3, taken))
	if h.must(Open); h.Status().State != Stopped {
		t.Errorf("stopped: %+v", h.Status())
	}
	if err := h.Do(t.Context(), Start); err == nil {
		t.Error("it started on a taken port")
	}
	if h.must(Stop); !h.InForce(3) {
		t.Error("a site that was stopped on purpose holds a revision up")
	}

	newOther := newSettings(t)
	other := newSite(t, 2, newOther.make(1, taken), newOther, &ports.Set{}, true)
	other.until(func() bool { return other.Status().Why != "" })
	blocker.Close()
	if st := other.until(func() bool { return other.Status().State == Started }); st.Why != "" {
		t.Errorf("the port is free: %+v", st)
	}
}

// A start that an administrator asked for and that fails is tried again, with a
// reason that is the newest, until the administrator stops the site.
func TestStartByCommandTriesAgain(t *testing.T) {
	blocker, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	taken := blocker.Addr().(*net.TCPAddr).AddrPort()
	set := newSettings(t)
	cfg := set.make(1, taken)
	cfg.Mail.Folder = filepath.Join(set.dir, "in-the-way", "Queue")
	h := runSite(t, cfg, set, &ports.Set{})
	bad := h.file("in-the-way")
	if err := h.Do(t.Context(), Start); err == nil || h.Status().Why != err.Error() || h.Status().State != Stopped {
		t.Fatalf("start: %v, %+v", err, h.Status())
	}
	if err := os.Remove(bad); err != nil {
		t.Fatal(err)
	}
	h.until(func() bool { return strings.HasPrefix(h.Status().Why, "listen on "+taken.String()) })
	blocker.Close()
	if st := h.until(func() bool { return h.Status().State == Started }); st.Why != "" || !h.InForce(1) {
		t.Errorf("%+v", st)
	}
}

// The wait between attempts grows to a bound, and begins anew with what is new.
func TestRetryWaitsLonger(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := retry{first: time.Second}
		defer r.stop()
		for range 2 {
			for _, want := range []int{1, 2, 4, 8, 15, 15} {
				begun := time.Now()
				r.schedule()
				r.schedule()
				<-r.c
				r.c = nil
				if got := time.Since(begun); got != time.Duration(want)*time.Second {
					t.Errorf("waited %s, want %d s", got, want)
				}
			}
			r.reset()
		}
	})
}
