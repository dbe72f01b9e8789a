// SPDX-License-Identifier: Apache-2.0

package main

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"time"

	"restante/internal/testpeer"
)

// settle waits until all mail is where it goes, and compares it with what was
// accepted.
func (a *attack) settle(ctx context.Context) error {
	a.table = "settle"
	if err := a.drain(ctx); err != nil {
		return err
	}
	held, err := a.collect()
	if err != nil {
		return fmt.Errorf("TURN: %w", err)
	}
	got := map[string][]string{} // the places that a marker came to
	for place, messages := range map[string][]testpeer.Received{"held.test": held, "fwd.test": a.next.taken(), "elsewhere": a.trap.taken()} {
		for _, m := range messages {
			a.arrived(got, place, m.From, m.Data)
		}
	}
	drop := filepath.Join(a.svc.Data, "Mailroot", "Drop")
	files, err := os.ReadDir(drop)
	if err != nil {
		return err
	}
	for _, f := range files {
		text, err := os.ReadFile(filepath.Join(drop, f.Name()))
		if err != nil {
			return err
		}
		from, _, _ := bytes.Cut(text, []byte("\r\n"))
		a.arrived(got, "hub.test", strings.TrimPrefix(string(from), "x-sender: "), text)
	}
	for marker, to := range a.sent {
		switch places := got[marker]; {
		case len(places) == 0:
			a.fail("%s for %s was answered 250 and is lost", marker, to)
		case len(places) > 1 || places[0] != to:
			a.fail("%s for %s came to %q", marker, to, places)
		}
	}
	fmt.Printf("settle    %d messages were accepted: %d held, %d forwarded, %d dropped; %d went elsewhere\n",
		len(a.sent), len(held), len(a.next.taken()), len(files), len(a.trap.taken()))
	return nil
}

// arrived notes a message at a place, and looks whether it may be there.
func (a *attack) arrived(got map[string][]string, place, from string, text []byte) {
	if place == "elsewhere" {
		a.fail("a message from <%s> was relayed", from)
	}
	if strings.Contains(from, "smuggled") {
		a.fail("a smuggled message came to %s", place)
	}
	if _, rest, ok := bytes.Cut(text, []byte("X-Marker: ")); ok {
		marker, _, _ := bytes.Cut(rest, []byte("\r\n"))
		got[string(marker)] = append(got[string(marker)], place)
	}
}

// drain waits until only held mail is in the queue.
func (a *attack) drain(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, 3*time.Minute)
	defer cancel()
	tick := time.NewTicker(200 * time.Millisecond)
	defer tick.Stop()
	for {
		out, err := a.svc.Run(ctx, "", "queue", "list", "--json")
		if err != nil {
			return err
		}
		var list []struct {
			Domain string `json:"domain"`
		}
		if err := json.Unmarshal([]byte(out), &list); err != nil {
			return err
		}
		waits := ""
		for _, d := range list {
			if d.Domain != "held.test" {
				waits = d.Domain
			}
		}
		if waits == "" {
			return nil
		}
		select {
		case <-ctx.Done():
			return fmt.Errorf("mail for %s is still in the queue: %s", waits, out)
		case <-tick.C:
		}
	}
}

// collect takes the held mail by TURN.
func (a *attack) collect() (held []testpeer.Received, err error) {
	c, err := a.dial("127.77.0.1")
	if err != nil {
		return nil, err
	}
	defer c.Close()
	_ = c.SetDeadline(time.Now().Add(3 * time.Minute))
	if err := c.Say("EHLO caller.test", "250"); err != nil {
		return nil, err
	}
	if err := c.SignIn(account, password); err != nil {
		return nil, err
	}
	if err := c.Say("TURN", "250"); err != nil {
		return nil, err
	}
	return held, c.Receive(func(m testpeer.Received) error {
		held = append(held, m)
		return nil
	})
}

// verdict is the end of the run.
func (a *attack) verdict() error {
	if mib, ok := a.resident("VmHWM:"); ok {
		fmt.Printf("memory    %d MiB at most\n", mib)
	} else {
		fmt.Println("memory    not measured: this system has no /proc")
	}
	if len(a.failures) > 0 {
		return fmt.Errorf("%d things did not hold; the seed was %d", len(a.failures), a.seed)
	}
	fmt.Println("all held")
	return nil
}
