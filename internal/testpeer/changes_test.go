// SPDX-License-Identifier: Apache-2.0

package testpeer_test

import (
	"errors"
	"fmt"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"

	"restante/internal/testpeer"
)

// While 50 senders come and go, limits, domains, a certificate and a second binding
// change: no connection fails, and each caller lives under the limits of one revision
// from hello to goodbye.
func TestChangesUnderSenders(t *testing.T) {
	t.Parallel()
	const senders = 50
	changes := testpeer.Rounds(8, 40, 1000)
	s := startService(t)
	second := freePort(t)
	applyBatch(t, s, "set SMTPSVC/1 ConnectionLimitExempt 127.0.0.1", "add SMTPSVC/1/Domain/held.test IIsSmtpDomain",
		"set SMTPSVC/1/Domain/held.test RouteAction 512", limitsOf(0)[0], limitsOf(0)[1])
	end, sessions := make(chan struct{}), atomic.Int64{}
	var running sync.WaitGroup
	for range senders {
		running.Go(func() {
			for {
				select {
				case <-end:
					return
				default:
				}
				if err := sendUnderOneRevision(s.Addr(1)); err != nil {
					t.Errorf("after %d sessions: %v", sessions.Load(), err)
					return
				}
				sessions.Add(1)
			}
		})
	}
	for i := 1; i <= changes && !t.Failed(); i++ {
		lines := limitsOf(i)
		switch i % 4 {
		case 0:
			lines = append(lines, fmt.Sprintf("add SMTPSVC/1/Domain/d%d.test IIsSmtpDomain", i))
		case 1:
			lines = append(lines, fmt.Sprintf("set SMTPSVC/1 ServerBindings %s %s", s.Addr(1), second))
		case 2:
			testpeer.WriteCertificate(t, filepath.Join(s.Data, "tls"), fmt.Sprintf("v%d.test", i))
		case 3:
			if err := sendUnderOneRevision(second); err != nil {
				t.Errorf("at the second binding: %v", err)
			}
			lines = append(lines, "set SMTPSVC/1 ServerBindings "+s.Addr(1))
		}
		applyBatch(t, s, lines...)
		l, err := testpeer.Connect(s.Addr(1))
		if err != nil {
			t.Fatal(err)
		}
		if got, err := revisionOf(l); err != nil || got != i {
			t.Errorf("after change %d a caller lives under %d, %v", i, got, err)
		}
		l.Quit()
	}
	close(end)
	running.Wait()
	t.Logf("%d changes under %d sessions", changes, sessions.Load())
}

// limitsOf are two properties that both tell, in the reply to EHLO, of change i.
func limitsOf(i int) []string {
	return []string{fmt.Sprintf("set SMTPSVC/1 MaxMessageSize %d", 1_000_000+i), fmt.Sprintf("set SMTPSVC/1 MaxRecipients %d", 100+i)}
}

var ehloLimits = regexp.MustCompile(`(?s)SIZE (\d+)\r\n.*RCPTMAX=(\d+)`)

// revisionOf says EHLO, and gives the change whose limits are offered.
func revisionOf(l *testpeer.Client) (int, error) {
	if _, err := fmt.Fprint(l, "EHLO sender.test\r\n"); err != nil {
		return 0, err
	}
	var reply strings.Builder
	for {
		line, err := l.R.ReadString('\n')
		if err != nil {
			return 0, err
		}
		reply.WriteString(line)
		if strings.HasPrefix(line, "250 ") {
			break
		}
	}
	m := ehloLimits.FindStringSubmatch(reply.String())
	if m == nil {
		return 0, fmt.Errorf("EHLO: %q", reply.String())
	}
	size, _ := strconv.Atoi(m[1])
	most, _ := strconv.Atoi(m[2])
	if size-1_000_000 != most-100 {
		return 0, fmt.Errorf("SIZE %d is of another revision than RCPTMAX %d", size, most)
	}
	return most - 100, nil
}

// sendUnderOneRevision sends a message in a session of its own, whose limits must not
// change.
func sendUnderOneRevision(addr string) error {
	l, err := testpeer.Connect(addr)
	if err != nil {
		return err
	}
	defer l.Quit()
	before, err := revisionOf(l)
	if err == nil {
		err = l.Send("a@sender.test", "x@held.test", []byte("Subject: x\r\n\r\nx\r\n.\r\n"))
	}
	if err != nil {
		return err
	}
	after, err := revisionOf(l)
	if err == nil && after != before {
		err = errors.New("the limits of a session have changed")
	}
	return err
}
