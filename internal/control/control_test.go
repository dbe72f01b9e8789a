// SPDX-License-Identifier: Apache-2.0

package control

import (
	"errors"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"restante/engine/queue"
	"restante/engine/settings"
	"restante/internal/deptest"
	"restante/internal/kv"
	"restante/metabase"
)

func TestListen(t *testing.T) {
	short, long := t.TempDir(), filepath.Join(t.TempDir(), strings.Repeat("long/", 30))
	if err := os.MkdirAll(long, 0o755); err != nil {
		t.Fatal(err)
	}
	for _, dir := range []string{short, long} {
		if _, err := dial(t.Context(), dir); !errors.Is(err, ErrNoService) {
			t.Errorf("dial without a socket = %v", err)
		}
		for range 2 {
			l, err := Listen(dir)
			if err != nil {
				t.Fatal(err)
			}
			c, err := dial(t.Context(), dir)
			if err != nil {
				t.Fatal(err)
			}
			c.Close()
			// A service that was killed leaves its socket.
			l.(*socket).Listener.(*net.UnixListener).SetUnlinkOnClose(false)
			l.(*socket).Listener.Close()
			if _, err := os.Stat(address(dir)); err != nil {
				t.Errorf("the socket is gone: %v", err)
			}
			if _, err := dial(t.Context(), dir); !errors.Is(err, ErrNoService) {
				t.Errorf("dial of a stale socket = %v", err)
			}
		}
		left := filepath.Dir(address(dir))
		l, err := Listen(dir)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := os.Stat(left); dir == long && err == nil {
			t.Errorf("%s of a killed service is still there", left)
		}
		if err := l.Close(); err != nil {
			t.Error(err)
		}
		if _, err := os.Stat(address(dir)); err == nil {
			t.Error("the socket is still there")
		}
	}
}

func TestPeerIsSelf(t *testing.T) {
	l, err := Listen(t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	go func() {
		if c, err := net.DialTimeout("unix", l.Addr().String(), time.Minute); err == nil {
			defer c.Close()
			_, _ = c.Read(make([]byte, 1))
		}
	}()
	c, err := l.Accept()
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	uid, err := peerOf(c)
	if err != nil || uid != os.Getuid() {
		t.Errorf("peerOf = %d, %v; want %d", uid, err, os.Getuid())
	}
}

func TestAsError(t *testing.T) {
	refused := &metabase.Refused{Problems: []metabase.Problem{{Path: "/LM", ID: settings.MaxConnections, Err: errors.New("no")}}}
	gone := &metabase.Refused{Problems: []metabase.Problem{{Path: "/LM", Err: metabase.NotFound}}}
	tests := []struct {
		err  error
		kind Kind
		text string
	}{
		{errors.New("disk gone"), KindFailed, "disk gone"},
		{&metabase.Error{Op: "get", Path: "/LM", Kind: metabase.NotFound}, KindNotFound, "/LM: not found"},
		{fmt.Errorf("a: %w", metabase.Conflict), KindRefused, "a: conflict"},
		{refused, KindRefused, "/LM: MaxConnections: no"},
		{errors.Join(refused.Problems[0], metabase.Problem{Path: "/LM/x", ID: 4711, Err: errors.New("none")}), KindFailed, "/LM: MaxConnections: no\n/LM/x: property 4711: none"},
		{gone, KindNotFound, "/LM: not found"},
		{fmt.Errorf("queue: %w", queue.ErrNotFound), KindNotFound, "queue: no such message"},
		{queue.ErrNoFilter, KindUsage, queue.ErrNoFilter.Error()},
		{queue.ErrBusy{Domain: "x", Holder: "y"}, KindRefused, queue.ErrBusy{Domain: "x", Holder: "y"}.Error()},
		{fmt.Errorf("open: %w", kv.ErrInUse), KindFailed, "open: " + kv.ErrInUse.Error()},
		{fmt.Errorf("deep: %w", ErrNoService), KindNoService, ErrNoService.Error()},
	}
	for _, tt := range tests {
		if e := AsError(tt.err); e.Kind != tt.kind || e.Error() != tt.text {
			t.Errorf("AsError(%v) = %s %q, want %s %q", tt.err, e.Kind, e.Error(), tt.kind, tt.text)
		}
	}
}

func TestLayers(t *testing.T) {
	deptest.Forbid(t, map[string]string{
		"/internal/desk":  "the talk does not know who answers",
		"/engine/wire":    "control asks sites, it speaks no SMTP",
		"/engine/session": "control asks sites",
		"/engine/site":    "a site travels as it is shown",
		"/adsi-compat":    "scripts are brought by cmd",
		"/cmd":            "imports go down only",
		"urfave":          "only cmd reads arguments",
		"badger":          "only internal/kv/badgerkv knows what the store is made of",
	})
}
