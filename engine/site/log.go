// SPDX-License-Identifier: Apache-2.0

package site

import (
	"context"
	"net"
	"net/netip"
	"strings"
	"time"

	"restante/engine/mail"
	"restante/engine/w3clog"
	"restante/engine/wire"
)

// runLog writes the log file until the function that it returns is called, which
// waits for a disk no longer than folderTimeout.
func (s *Site) runLog() (stop func()) {
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan struct{})
	go func() {
		defer close(done)
		s.lines.Run(ctx)
	}()
	return func() {
		cancel()
		timeout := time.NewTimer(folderTimeout)
		defer timeout.Stop()
		select {
		case <-done:
		case <-timeout.C: // ended by the file system alone
		}
	}
}

// logExchange puts a caller's command and our reply into the log file, as IIS has
// them: what follows the verb has its blank, an accepted message its number, and
// QUIT the name of the caller.
func (s *Site) logExchange(e wire.Exchange) {
	if !s.lines.On() {
		return
	}
	one := w3clog.Entry{
		Client: e.Caller.Remote.Addr(), User: e.Caller.Hello(), Server: e.Caller.Local,
		Method: e.Verb, Status: e.Reply.Code, Sent: e.Sent, Received: e.Received, Taken: e.Taken,
	}
	if e.Arg != "" {
		one.Query = " " + e.Arg
	}
	switch {
	case e.Verb == "QUIT":
		one.Query = one.User
	case e.Verb == "AUTH" && e.Reply.Positive():
		one.Query += " " + e.Caller.Account()
	case (e.Verb == "DATA" || e.Verb == "BDAT") && e.Reply.Positive() && e.Reply.Enhanced == "6.0":
		id, _, _ := strings.Cut(e.Reply.Text, " ")
		one.Query = " " + id
	}
	s.lines.Write(one)
}

// logLine puts a line of a conversation with another host into the log file.
func (s *Site) logLine(l wire.Line) {
	if !s.lines.On() {
		return
	}
	one := w3clog.Entry{
		Client: l.Remote.Addr(), Server: netip.AddrPortFrom(netip.Addr{}, l.Remote.Port()),
		Outbound: w3clog.OutboundResponse, Method: l.Verb, Query: l.Text, Sent: l.Octets, Taken: l.Taken,
	}
	if l.Verb != "" {
		one.Outbound, one.Sent, one.Received = w3clog.OutboundCommand, 0, l.Octets
	}
	s.lines.Write(one)
}

// logRefusal puts a connection that was refused before its greeting into the log
// file.
func (s *Site) logRefusal(c net.Conn, r mail.Reply) {
	local, _ := c.LocalAddr().(*net.TCPAddr)
	s.lines.Write(w3clog.Entry{Client: clientAddr(c), Server: local.AddrPort(), Status: r.Code})
}
