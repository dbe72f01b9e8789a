// SPDX-License-Identifier: Apache-2.0

package main

import (
	"context"
	"fmt"
	"io"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"restante/internal/testpeer"
)

// flooders is the number of callers at once, in each flood.
const flooders = 300

// A flood is what each of many callers does until it ends; c has said EHLO.
type flood struct {
	name string
	do   func(a *attack, c *testpeer.Client)
	one  bool // all from one address
}

var allFloods = []flood{
	{name: "one address", one: true, do: func(a *attack, c *testpeer.Client) { a.wait(c) }},
	{name: "idle connections", do: func(a *attack, c *testpeer.Client) { a.wait(c) }},
	{name: "commands", do: func(a *attack, c *testpeer.Client) { a.repeat(c, strings.Repeat("NOOP\r\nBDAT 0\r\nVRFY x\r\n", 100)) }},
	{name: "refused recipients", do: func(a *attack, c *testpeer.Client) {
		a.repeat(c, "RSET\r\nMAIL FROM:<a@hub.test>\r\n"+strings.Repeat("RCPT TO:<x@evil.test>\r\n", 100))
	}},
	{name: "unfinished bodies", do: func(a *attack, c *testpeer.Client) {
		say(c, "MAIL FROM:<a@hub.test>\r\n")
		say(c, "RCPT TO:<x@hub.test>\r\n")
		if strings.HasPrefix(say(c, "DATA\r\n"), "354") {
			_, _ = io.WriteString(c, strings.Repeat(strings.Repeat("x", 76)+"\r\n", 1_000_000/78))
			a.wait(c)
		}
	}},
	{name: "guesses", do: func(a *attack, c *testpeer.Client) {
		a.repeat(c, "AUTH PLAIN "+b64("\x00"+account+"\x00wrong")+"\r\n")
	}},
	{name: "handshakes that stop", do: func(a *attack, c *testpeer.Client) { say(c, "STARTTLS\r\n"); a.wait(c) }},
}

// wait keeps a silent connection until the flood ends or the service ends it.
func (a *attack) wait(c *testpeer.Client) {
	_ = c.SetReadDeadline(a.until)
	_, _ = io.Copy(io.Discard, c.R)
}

// repeat says text over and over, and reads the replies beside.
func (a *attack) repeat(c *testpeer.Client, text string) {
	_ = c.SetDeadline(a.until)
	var read sync.WaitGroup
	read.Go(func() { _, _ = io.Copy(io.Discard, c.R) })
	for {
		if _, err := io.WriteString(c, text); err != nil {
			break
		}
	}
	_ = c.Close()
	read.Wait()
}

// floods runs each flood with an honest sender beside it, and asks for status.
func floods(ctx context.Context, a *attack) error {
	end := a.until
	for i, f := range allFloods {
		a.until = time.Now().Add(max(2*time.Second, time.Until(end)/time.Duration(len(allFloods)-i)))
		if err := a.flood(ctx, f, i); err != nil {
			return fmt.Errorf("%s: %w", f.name, err)
		}
	}
	return nil
}

func (a *attack) flood(ctx context.Context, f flood, n int) error {
	var callers sync.WaitGroup
	var open, refused atomic.Int64
	for i := range flooders {
		from := fmt.Sprintf("127.%d.%d.%d", 100+n, i/250, 1+i%250)
		if f.one {
			from = "127.98.0.1"
		}
		callers.Go(func() {
			for time.Now().Before(a.until) && ctx.Err() == nil {
				c, err := a.dial(from)
				if err != nil {
					if refused.Add(1); a.pause(ctx) {
						continue
					}
					return
				}
				open.Add(1)
				say(c, "EHLO caller.test\r\n")
				f.do(a, c)
				_ = c.Close()
			}
		})
	}
	var slowest time.Duration
	var peak, sent, turned int
	rnd := a.random()
	for time.Now().Before(a.until) && ctx.Err() == nil {
		begin := time.Now()
		if err := a.alive(ctx); err != nil {
			return err
		}
		slowest = max(slowest, time.Since(begin))
		if mib, ok := a.resident("VmRSS:"); ok {
			peak = max(peak, mib)
		}
		if c, err := a.dial("127.99.0.1"); err != nil || !a.send(c, rnd, "held.test") {
			turned++
		} else {
			sent++
			c.Quit()
		}
	}
	callers.Wait()
	if sent == 0 {
		a.fail("%s: the honest sender got nothing through in %d tries", f.name, turned)
	}
	fmt.Printf("  %-22s %d connections, %d refused; status in %.1f s at most; %d MiB at most; an honest sender: %d sent, %d turned away\n",
		f.name+":", open.Load(), refused.Load(), slowest.Seconds(), peak, sent, turned)
	return nil
}

// pause waits before the next try; false is the end.
func (a *attack) pause(ctx context.Context) bool {
	t := time.NewTimer(100 * time.Millisecond)
	defer t.Stop()
	select {
	case <-t.C:
		return time.Now().Before(a.until)
	case <-ctx.Done():
		return false
	}
}
