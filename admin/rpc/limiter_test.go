// SPDX-License-Identifier: Apache-2.0

package rpc

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"iter"
	"log/slog"
	"net"
	"net/http"
	"os"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"restante/admin/api"
)

// A pipeListener is a listener whose clients name their own user.
type pipeListener struct {
	conns chan net.Conn
	shut  chan struct{}
}

func newPipeListener() *pipeListener { return &pipeListener{make(chan net.Conn), make(chan struct{})} }

func (d *pipeListener) Accept() (net.Conn, error) {
	select {
	case c := <-d.conns:
		return c, nil
	case <-d.shut:
		return nil, net.ErrClosed
	}
}

func (d *pipeListener) Close() error   { close(d.shut); return nil }
func (d *pipeListener) Addr() net.Addr { return &net.UnixAddr{} }

type peerPipe struct {
	net.Conn
	uid int
}

func (d *pipeListener) dial(uid int) net.Conn {
	here, there := net.Pipe()
	d.conns <- peerPipe{there, uid}
	return here
}

func uidOf(c net.Conn) (int, error) { return c.(peerPipe).uid, nil }

// steady answers every call, and a flow with a part each hour for a day.
type steady struct{}

func (steady) Call(context.Context, string, []byte) (json.RawMessage, error) {
	return json.RawMessage(`"done"`), nil
}

func (steady) Stream(ctx context.Context, _ string, _ []byte) iter.Seq2[json.RawMessage, error] {
	return func(yield func(json.RawMessage, error) bool) {
		for n := range 24 {
			select {
			case <-ctx.Done():
				return
			case <-time.After(time.Hour):
			}
			if !yield(json.RawMessage(fmt.Sprint(n)), nil) {
				return
			}
		}
	}
}

// withListener serves on a pipeListener within a bubble.
func withListener(t *testing.T, log io.Writer, test func(t *testing.T, d *pipeListener)) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) {
		d := newPipeListener()
		logger := slog.New(slog.NewTextHandler(log, nil))
		ctx, cancel := context.WithCancel(t.Context())
		done := make(chan error, 1)
		go func() {
			done <- serve(ctx, newLimiter(d, 0, logger, uidOf), logger, func(api.Caller) api.Conn { return steady{} })
		}()
		test(t, d)
		cancel()
		if err := <-done; !errors.Is(err, context.Canceled) {
			t.Errorf("serve = %v", err)
		}
	})
}

const ask = "Restante-Origin: cli\r\nRestante-Comment: \"\"\r\nHost: x\r\n"

// say sends a whole request and reads its answer.
func say(t *testing.T, c net.Conn) (status int, body string, err error) {
	t.Helper()
	go func() { fmt.Fprintf(c, "POST /call/x HTTP/1.1\r\n%sContent-Length: 2\r\n\r\n{}", ask) }()
	resp, err := http.ReadResponse(bufio.NewReader(c), nil)
	if err != nil {
		return 0, "", err
	}
	defer resp.Body.Close()
	b, err := io.ReadAll(resp.Body)
	return resp.StatusCode, string(b), err
}

const otherUID = 54321

func TestConnectionsPerUser(t *testing.T) {
	var log strings.Builder
	withListener(t, &log, func(t *testing.T, d *pipeListener) {
		var open []net.Conn
		defer func() {
			for _, c := range open {
				c.Close()
			}
		}()
		for range maxPerUser {
			c := d.dial(otherUID)
			if status, _, err := say(t, c); status != http.StatusOK {
				t.Fatalf("connection %d: %d, %v", len(open), status, err)
			}
			open = append(open, c)
		}
		one := d.dial(otherUID)
		if status, body, err := say(t, one); status == http.StatusOK || !strings.Contains(body, ErrTooMany.Error()) {
			t.Errorf("one more: %d %s, %v", status, body, err)
		}
		for range maxRefusals {
			open = append(open, d.dial(otherUID)) // silent
		}
		if status, _, err := say(t, d.dial(otherUID)); err == nil {
			t.Errorf("one more than are told so: %d", status)
		}
		for _, uid := range []int{0, otherUID + 1} {
			c := d.dial(uid)
			open = append(open, c)
			if status, _, err := say(t, c); status != http.StatusOK {
				t.Errorf("user %d is kept out: %d, %v", uid, status, err)
			}
		}
		open[0].Close()
		synctest.Wait()
		c := d.dial(otherUID)
		open = append(open, c)
		if status, _, err := say(t, c); status != http.StatusOK {
			t.Errorf("a place that was given back: %d, %v", status, err)
		}
	})
	if n := strings.Count(log.String(), "too many connections"); n != 1 {
		t.Errorf("told %d times:\n%s", n, log.String())
	}
}

// TestEachUserGetsAConnection: users who take what they can, and the service's
// own user, leave one for the next user and for root.
func TestEachUserGetsAConnection(t *testing.T) {
	for _, users := range []int{1, 8, 40, 200} {
		withListener(t, io.Discard, func(t *testing.T, d *pipeListener) {
			for range maxPerUser {
				for n := range users {
					defer d.dial(otherUID + n).Close()
				}
			}
			for range maxInAll {
				defer d.dial(os.Getuid()).Close()
			}
			next := map[string]int{"another user": otherUID - 1}
			if os.Getuid() != 0 {
				next["root"] = 0
			}
			for name, uid := range next {
				c := d.dial(uid)
				defer c.Close()
				if status, body, err := say(t, c); status != http.StatusOK {
					t.Errorf("%d users have their connections, and %s has none: %d %s, %v", users, name, status, body, err)
				}
			}
		})
	}
}

func TestConnectionsOfAllUsers(t *testing.T) {
	withListener(t, io.Discard, func(t *testing.T, d *pipeListener) {
		for n := range maxInAll + maxRefusals {
			defer d.dial(otherUID + n).Close()
		}
		if status, _, err := say(t, d.dial(otherUID-1)); err == nil {
			t.Errorf("one connection too many: %d", status)
		}
		root := d.dial(0)
		defer root.Close()
		if status, _, err := say(t, root); status != http.StatusOK {
			t.Errorf("root is kept out: %d, %v", status, err)
		}
	})
}

// TestConnectionsThatSayNothingEnd has callers who stop in the middle.
func TestConnectionsThatSayNothingEnd(t *testing.T) {
	tests := []struct {
		name string
		said string
		ends time.Duration
	}{
		{"at once", "", headerTime},
		{"within the header", "POST /call/x HTTP/1.1\r\nHost", headerTime},
		{"within the body", "POST /call/x HTTP/1.1\r\n" + ask + "Content-Length: 9\r\n\r\n{", requestTime},
		{"after an answer", "POST /call/x HTTP/1.1\r\n" + ask + "Content-Length: 2\r\n\r\n{}", idleTime},
	}
	for _, tt := range tests {
		withListener(t, io.Discard, func(t *testing.T, d *pipeListener) {
			c, begin := d.dial(otherUID), time.Now()
			go io.WriteString(c, tt.said)
			_, _ = io.Copy(io.Discard, c) // until the service closes it
			if got := time.Since(begin); got != tt.ends {
				t.Errorf("%s: it ends after %s, want %s", tt.name, got, tt.ends)
			}
		})
	}
}

func TestStreamLastsForLong(t *testing.T) {
	withListener(t, io.Discard, func(t *testing.T, d *pipeListener) {
		c := d.dial(otherUID)
		defer c.Close()
		go fmt.Fprintf(c, "POST /stream/x HTTP/1.1\r\n%sContent-Length: 2\r\n\r\n{}", ask)
		resp, err := http.ReadResponse(bufio.NewReader(c), nil)
		if err != nil {
			t.Fatal(err)
		}
		defer resp.Body.Close()
		body, err := io.ReadAll(resp.Body)
		if n := strings.Count(string(body), `"part"`); n != 24 || err != nil {
			t.Errorf("%d parts, %v", n, err)
		}
	})
}
