// SPDX-License-Identifier: Apache-2.0

package testpeer_test

import (
	"encoding/base64"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"restante/internal/testpeer"
)

// TestGuessesAreSlow guesses by every mechanism, with new connections, at
// known and unknown names. What comes of it is a handful, where it were
// thousands.
func TestGuessesAreSlow(t *testing.T) {
	t.Parallel()
	s := startService(t)
	b64 := base64.StdEncoding.EncodeToString
	guesses := [][]string{
		{"AUTH CRAM-MD5", b64([]byte(account + " 00000000000000000000000000000000"))},
		{"AUTH CRAM-MD5", b64([]byte("nobody 00000000000000000000000000000000"))},
		{"AUTH PLAIN " + b64([]byte("\x00"+account+"\x00wrong"))},
		{"AUTH LOGIN", b64([]byte("nobody")), b64([]byte("wrong"))},
	}
	var refused atomic.Int64
	var all sync.WaitGroup
	end := time.Now().Add(3 * time.Second)
	for i := range 8 {
		all.Go(func() {
			for time.Now().Before(end) {
				l, err := testpeer.Dial(s.Addr(1))
				if err != nil {
					continue
				}
				_ = l.SetDeadline(end)
				_, _ = l.Write([]byte("EHLO guess.test\r\n"))
				_, _ = l.Reply()
				for _, line := range guesses[i%len(guesses)] {
					_, _ = l.Write([]byte(line + "\r\n"))
					if r, err := l.Reply(); err == nil && strings.HasPrefix(r, "535 5.7.8") {
						refused.Add(1)
					}
				}
				l.Close()
			}
		})
	}
	all.Wait()
	if n := refused.Load(); n == 0 || n > 30 {
		t.Errorf("%d guesses in 3 seconds", n)
	}
}
