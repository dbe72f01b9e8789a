// SPDX-License-Identifier: Apache-2.0

package release

import (
	"bufio"
	"context"
	"crypto/tls"
	"fmt"
	"io"
	"net"
	"net/netip"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"restante/engine/mail"
	"restante/internal/testpeer"
)

// A lineHost takes mail line by line from next and offers PIPELINING.
type lineHost struct {
	net.Conn
	next     func() (line string, more bool, err error) // more: the sender did not wait for the reply
	mute     bool                                       // says nothing after the first reply to a group
	offers   string                                     // beside PIPELINING
	commands []string
	messages int
}

func (h *lineHost) serve() {
	defer h.Close()
	fmt.Fprint(h, "220 host.test\r\n")
	body, silent := false, false
	for {
		line, more, err := h.next()
		if err != nil {
			return
		}
		reply := "250 ok\r\n"
		switch verb, _, _ := strings.Cut(line, " "); {
		case body && line != ".":
			continue
		case body:
			body, reply = false, "250 taken\r\n"
			h.messages++
		case verb == "EHLO":
			reply = "250-host.test\r\n"
			if h.offers != "" {
				reply += "250-" + h.offers + "\r\n"
			}
			reply += "250 PIPELINING\r\n"
		case verb == "DATA":
			body, reply = true, "354 go\r\n"
		}
		if !body {
			h.commands = append(h.commands, line)
		}
		if silent {
			continue
		}
		fmt.Fprint(h, reply)
		silent = h.mute && more && !body
	}
}

// oneByOne reads lines, however they come.
func oneByOne(c net.Conn) func() (string, bool, error) {
	r := bufio.NewReader(c)
	return func() (string, bool, error) {
		line, err := r.ReadString('\n')
		return strings.TrimRight(line, "\r\n"), r.Buffered() > 0, err
	}
}

// onePerRecord reads as fetchmail does by ODMR: the first line of a TLS record, and another
// one of it only when the next record has come.
func onePerRecord(c net.Conn) func() (string, bool, error) {
	records := make(chan []string, 1000)
	go func() {
		defer close(records)
		for {
			record := make([]byte, 16<<10)
			n, err := c.Read(record)
			if err != nil {
				return
			}
			records <- strings.SplitAfter(strings.TrimSuffix(string(record[:n]), "\n"), "\n")
		}
	}()
	var unread, next []string
	return func() (string, bool, error) {
		ok := true
		if len(unread) > 0 && next == nil {
			next, ok = <-records
		} else if len(unread) == 0 {
			if unread = next; unread == nil {
				unread, ok = <-records
			}
			next = nil
		}
		if !ok {
			return "", false, io.EOF
		}
		line := strings.TrimRight(unread[0], "\r\n")
		unread = unread[1:]
		return line, len(unread) > 0, nil
	}
}

// turnOnce has the host of account take the mail, within a bubble.
func turnOnce(t *testing.T, svc *Service, p Policy, encrypted string, ours, theirs net.Conn, h *lineHost) {
	t.Helper()
	reply, handOver := svc.Turn(t.Context(), p, Caller{Account: "anna", Remote: netip.MustParseAddr("192.0.2.1"), TLS: encrypted}, true, nil)
	if handOver == nil {
		t.Fatal(reply)
	}
	h.Conn = theirs
	var both sync.WaitGroup
	both.Go(h.serve)
	both.Go(func() {
		handOver(t.Context(), ours)
		ours.Close()
	})
	both.Wait()
}

// A host that answers one command of a group and falls silent gets no group the next
// time; one that is silent without a group gets groups again.
func TestHostThatGetsStuckInAGroupIsServedWithoutPipelining(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		q := newQueue()
		q.hold("a.test", "one\r\n", "two\r\n")
		svc := New(q, Options{})
		for i, want := range []int{0, 2} {
			ours, theirs := net.Pipe()
			h := &lineHost{mute: true, next: oneByOne(theirs)}
			turnOnce(t, svc, policy(), "", ours, theirs, h)
			if h.messages != want {
				t.Errorf("call %d: %d messages came, want %d: %q", i+1, h.messages, want, h.commands)
			}
		}
		if q.left("a.test") != 0 || !svc.getsStuck("ANNA") {
			t.Errorf("%d recipients are left, stuck %v", q.left("a.test"), svc.stuck)
		}
		q.hold("a.test", "three\r\n")
		ours, theirs := net.Pipe()
		h := &lineHost{next: func() (string, bool, error) { time.Sleep(time.Hour); return "", false, net.ErrClosed }}
		turnOnce(t, svc, policy(), "", ours, theirs, h)
		if h.messages != 0 || !svc.getsStuck("anna") { // it did not come to a command
			t.Errorf("%d messages, stuck %v", h.messages, svc.stuck)
		}
		ours, theirs = net.Pipe()
		next := oneByOne(theirs)
		h = &lineHost{next: func() (string, bool, error) {
			line, more, err := next()
			if strings.HasPrefix(line, "RCPT") {
				time.Sleep(time.Hour)
			}
			return line, more, err
		}}
		turnOnce(t, svc, policy(), "", ours, theirs, h)
		if svc.getsStuck("anna") {
			t.Error("a silence without a group left the host without groups")
		}
	})
}

// What the settings of a domain leave out is left out on the caller's own connection.
func TestExtensionsLeftOutAreLeftOutOnATurn(t *testing.T) {
	for _, atrn := range []bool{false, true} {
		q := newQueue()
		q.hold("a.test", "one\r\n")
		p := policy()
		p.Without = func(mail.Domain) []string { return []string{"PIPELINING"} }
		ours, theirs := line(t)
		together := false
		next := oneByOne(theirs)
		h := &lineHost{Conn: theirs, next: func() (string, bool, error) {
			line, more, err := next()
			together = together || more && line != "." && !strings.HasPrefix(line, "one")
			return line, more, err
		}}
		reply, handOver := New(q, Options{}).Turn(t.Context(), p, Caller{Account: "anna", Remote: netip.MustParseAddr("192.0.2.1")}, atrn, nil)
		if handOver == nil {
			t.Fatal(reply)
		}
		var both sync.WaitGroup
		both.Go(h.serve)
		handOver(t.Context(), ours)
		ours.Close()
		both.Wait()
		if h.messages != 1 || together {
			t.Errorf("ATRN %v: %d messages, together %v", atrn, h.messages, together)
		}
	}
}

// Over TLS a host that reads one line of each record comes through at its first call.
func TestHostThatReadsOneLinePerRecordComesThrough(t *testing.T) {
	cert, _ := testpeer.Certificate(t, "hub.test", time.Now().Add(time.Hour))
	q := newQueue()
	q.hold("a.test", "one\r\n.\r\nend\r\n", "two\r\n", strings.Repeat("a longer line\r\n", 5_000))
	p := policy()
	p.Timeouts.Command, p.Timeouts.DataDone = 10*time.Second, 10*time.Second
	ours, theirs := line(t)
	server := tls.Server(ours, &tls.Config{Certificates: []tls.Certificate{cert}})
	client := tls.Client(theirs, &tls.Config{InsecureSkipVerify: true}) // self-signed
	var both sync.WaitGroup
	both.Go(func() { _ = server.HandshakeContext(context.WithoutCancel(t.Context())) })
	if err := client.HandshakeContext(t.Context()); err != nil {
		t.Fatal(err)
	}
	both.Wait()
	h := &lineHost{next: onePerRecord(client)}
	turnOnce(t, New(q, Options{}), p, "TLS 1.3", server, client, h)
	if h.messages != 3 || q.left("a.test") != 0 || !slices.Contains(h.commands, "QUIT") {
		t.Errorf("%d messages came: %q", h.messages, h.commands)
	}
}

// A call takes as many messages as the host lists by LIMITS, over all its domains.
func TestCallKeepsToTheHostsMailmax(t *testing.T) {
	q := newQueue()
	q.hold("a.test", "one\r\n", "two\r\n")
	q.hold("both.test", "one\r\n", "two\r\n", "three\r\n")
	svc := New(q, Options{})
	for i, want := range []int{3, 2} {
		ours, theirs := line(t)
		h := &lineHost{offers: "LIMITS MAILMAX=3", next: oneByOne(theirs)}
		turnOnce(t, svc, policy(), "", ours, theirs, h)
		if h.messages != want || !slices.Contains(h.commands, "QUIT") {
			t.Errorf("call %d: %d messages came, want %d: %q", i+1, h.messages, want, h.commands)
		}
	}
}
