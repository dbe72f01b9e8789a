// SPDX-License-Identifier: Apache-2.0

package ahead

import (
	"bytes"
	"errors"
	"io"
	"net"
	"os"
	"testing"
	"testing/synctest"
	"time"

	"restante/internal/deptest"
)

func TestLayers(t *testing.T) {
	deptest.Forbid(t, map[string]string{"restante/": "octets are read by themselves"})
}

func TestReader(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		near, far := net.Pipe()
		a := New([]byte("first "), near)
		b := make([]byte, 100)
		read := func() string {
			n, err := a.Read(b)
			if err != nil {
				return err.Error()
			}
			return string(b[:n])
		}
		if got := read(); !a.Ready() && got != "first " {
			t.Errorf("%q", got)
		}
		far.Write([]byte("now")) // nobody reads
		synctest.Wait()
		if ready, got := a.Ready(), read(); !ready || got != "now" || a.Ready() {
			t.Errorf("ready %v, %q", ready, got)
		}
		begin := time.Now()
		a.SetDeadline(begin.Add(time.Minute))
		if n, err := a.Read(b); n != 0 || !errors.Is(err, os.ErrDeadlineExceeded) || time.Since(begin) != time.Minute {
			t.Errorf("%d, %v after %v", n, err, time.Since(begin))
		}
		a.SetDeadline(time.Now().Add(time.Minute))
		time.AfterFunc(time.Second, func() { far.Write([]byte("late")) })
		if got := read(); got != "late" {
			t.Errorf("%q", got)
		}
		far.Write([]byte("last"))
		far.Close()
		if got := read() + " " + read(); got != "last EOF" {
			t.Errorf("%q", got)
		}
	})
}

func TestReaderIsBounded(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		a := New(nil, endless{})
		synctest.Wait()
		a.SetDeadline(time.Now().Add(time.Minute))
		n, err := io.Copy(io.Discard, a)
		if !errors.Is(err, ErrTooMuch) || n < limit || n > limit+8<<10 {
			t.Errorf("%d, %v", n, err)
		}
	})
}

type endless struct{}

func (endless) Read(b []byte) (int, error) { return copy(b, bytes.Repeat([]byte("x"), len(b))), nil }
