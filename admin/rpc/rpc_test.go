// SPDX-License-Identifier: Apache-2.0

package rpc

import (
	"errors"
	"net"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"restante/admin/api"

	"restante/internal/deptest"
)

func TestListen(t *testing.T) {
	short, long := t.TempDir(), filepath.Join(t.TempDir(), strings.Repeat("long/", 30))
	if err := os.MkdirAll(long, 0o755); err != nil {
		t.Fatal(err)
	}
	for _, dir := range []string{short, long} {
		if _, err := dial(t.Context(), dir); !errors.Is(err, api.ErrNoService) {
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
			if _, err := dial(t.Context(), dir); !errors.Is(err, api.ErrNoService) {
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

func TestLayers(t *testing.T) {
	deptest.Forbid(t, map[string]string{
		"/admin/tree":     "the socket does not know the handlers",
		"/admin/sites":    "the socket does not know the handlers",
		"/admin/queues":   "the socket does not know the handlers",
		"/engine/wire":    "control asks sites, it speaks no SMTP",
		"/engine/session": "control asks sites",
		"/adsi-compat":    "scripts run in the process of the command",
		"/cmd":            "imports go down only",
		"urfave":          "only cmd reads arguments",
		"badger":          "only internal/kv/badgerkv knows what the store is made of",
	})
}
