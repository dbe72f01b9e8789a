// SPDX-License-Identifier: Apache-2.0

package pull

import (
	"bufio"
	"context"
	"crypto/sha256"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"

	"github.com/emersion/go-sasl"

	"restante/engine/mail"
	"restante/engine/wire"
)

// A held is a message that waits for recipients.
type held struct {
	from   string
	to     []string
	body   string
	octets int // in place of body: so many, made as they are sent
}

// open gives the message.
func (m *held) open() (int64, io.Reader) {
	if m.octets == 0 {
		return int64(len(m.body)), strings.NewReader(m.body)
	}
	return int64(m.octets), io.LimitReader(repeated(strings.Repeat("a line of a large message\r\n", 1000)), int64(m.octets))
}

// A repeated text has no end.
type repeated string

func (r repeated) Read(b []byte) (int, error) { return copy(b, r), nil }

// A hub is a holder: it hands its mail over by TURN and ATRN, to any account.
type hub struct {
	tls     *tls.Config
	verbs   mail.Verbs
	refuses mail.Reply // to the verb; zero: it does not

	mu       sync.Mutex // guards what follows
	mail     []*held
	returned []string // bodies that a 5xx has ended
	asked    []string // verbs with their arguments
}

func (h *hub) hold(m ...*held) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.mail = append(h.mail, m...)
}

// waiting are the messages with a recipient.
func (h *hub) waiting() (out []*held) {
	h.mu.Lock()
	defer h.mu.Unlock()
	for _, m := range h.mail {
		if len(m.to) > 0 {
			out = append(out, m)
		}
	}
	return out
}

func (h *hub) serve(ctx context.Context, conn net.Conn) {
	cfg := wire.Config{Hostname: "hub.test", TLS: h.tls, Verbs: h.verbs}
	wire.NewServer(slog.New(slog.DiscardHandler)).Serve(ctx, conn, cfg, func(c *wire.Caller) wire.Session {
		return &hubSession{hub: h, caller: c}
	})
}

type hubSession struct {
	wire.Transaction // it takes no mail
	hub              *hub
	caller           *wire.Caller
}

func (s *hubSession) Hello(context.Context, string, bool) mail.Reply      { return accepted }
func (s *hubSession) Permit(context.Context, string, bool) mail.Reply     { return accepted }
func (s *hubSession) Refused(context.Context, string, string, mail.Reply) {}
func (s *hubSession) Close()                                              {}
func (s *hubSession) Reset()                                              {}
func (s *hubSession) Mechanisms() []string                                { return []string{"PLAIN"} }

func (s *hubSession) Auth(context.Context, string) (sasl.Server, error) {
	return sasl.NewPlainServer(func(_, user, password string) error {
		if user != "anna" || password != "secret" {
			return mail.Reply{Code: 535, Enhanced: "7.8", Text: "no"}
		}
		s.caller.SignIn(user)
		return nil
	}), nil
}

func (s *hubSession) note(what string) {
	s.hub.mu.Lock()
	defer s.hub.mu.Unlock()
	s.hub.asked = append(s.hub.asked, what)
}

func (s *hubSession) Etrn(_ context.Context, node string) mail.Reply {
	s.note("ETRN " + node)
	if s.hub.refuses.Code != 0 {
		return s.hub.refuses
	}
	return mail.Reply{Code: 253, Enhanced: "0.0", Text: "3 pending"}
}

func (s *hubSession) Recipients(context.Context, string) mail.Reply {
	return mail.Reply{Code: 550, Enhanced: "7.1", Text: "not allowed"}
}

func (s *hubSession) Turn(_ context.Context, atrn bool, domains []mail.Domain) (mail.Reply, wire.Handover) {
	s.note(strings.TrimSpace(fmt.Sprint(map[bool]string{false: "TURN", true: "ATRN"}[atrn], domains)))
	if s.hub.refuses.Code != 0 {
		return s.hub.refuses, nil
	}
	return mail.Reply{Code: 250, Enhanced: "0.0", Text: "OK"}, s.hub.handOver
}

// handOver sends what waits, and settles each message by its replies.
func (h *hub) handOver(ctx context.Context, conn net.Conn) {
	c, err := wire.NewClient(ctx, conn, wire.ClientOptions{Hello: "hub.test", TLSPolicy: wire.TLSNever})
	if err != nil {
		return
	}
	for _, m := range h.waiting() {
		for again := true; again; {
			if again, err = h.offer(ctx, c, m); err != nil {
				return
			}
		}
	}
	_ = c.Quit(ctx)
}

// offer sends m to its recipients. Again says that some took it, and others may.
func (h *hub) offer(ctx context.Context, c *wire.Client, m *held) (again bool, err error) {
	out := wire.Outgoing{From: address(m.from), Held: true}
	out.Size, out.Body = m.open()
	for _, to := range m.to {
		out.To = append(out.To, mail.Recipient{Address: address(to)})
	}
	replies, err := c.Send(ctx, out)
	h.mu.Lock()
	defer h.mu.Unlock()
	var left []string
	for i, r := range replies {
		switch {
		case r.Permanent():
			h.returned = append(h.returned, m.body)
		case !r.Positive():
			left = append(left, m.to[i])
		}
	}
	again = len(left) > 0 && len(left) < len(m.to)
	m.to = left
	return again, err
}

func address(text string) mail.Address {
	local, domain, _ := strings.Cut(text, "@")
	return mail.Address{Local: local, Domain: mail.Domain(domain)}
}

// A sink is a local server: SMTP or LMTP.
type sink struct {
	ehlo   []string                 // extensions
	answer func(line string) string // "" is the usual reply, "HANGUP" closes, "SILENT" never comes; "." is the end of a message
	down   atomic.Bool

	mu    sync.Mutex     // guards what follows
	count map[string]int // by "recipient body"; of a body of more than 1 MB its hash
	lines []string
}

func (s *sink) got(to, body string) int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.count[to+" "+body]
}

func (s *sink) total() (n int) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, one := range s.count {
		n += one
	}
	return n
}

func (s *sink) reply(line, usual string) string {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.lines = append(s.lines, line)
	if s.answer != nil {
		if r := s.answer(line); r != "" {
			return r
		}
	}
	return usual
}

func (s *sink) serve(conn net.Conn) {
	defer conn.Close()
	r := bufio.NewReader(conn)
	say := func(reply string) bool {
		if reply == "SILENT" {
			_, _ = io.Copy(io.Discard, r) // until the other end gives up
			return false
		}
		_, err := io.WriteString(conn, reply+"\r\n")
		return err == nil && reply != "HANGUP"
	}
	say("220 sink.test")
	lmtp, to := false, []string(nil)
	for {
		line, err := r.ReadString('\n')
		if err != nil {
			return
		}
		line = strings.TrimRight(line, "\r\n")
		switch verb, arg, _ := strings.Cut(line, " "); verb {
		case "EHLO", "LHLO":
			lmtp = verb == "LHLO"
			all := append([]string{"sink.test"}, s.ehlo...)
			for i, one := range all {
				say("250" + map[bool]string{true: " ", false: "-"}[i == len(all)-1] + one)
			}
		case "DATA":
			reply := s.reply(line, "354 go")
			if !say(reply) {
				return
			}
			if !strings.HasPrefix(reply, "354") {
				continue
			}
			body, err := sinkBody(r)
			if err != nil {
				return
			}
			answers := 1
			if lmtp {
				answers = len(to)
			}
			for i := range answers {
				reply := s.reply(strings.TrimSpace(". "+map[bool]string{true: to[i]}[lmtp]), "250 2.0.0 taken")
				for j, rcpt := range to {
					if strings.HasPrefix(reply, "2") && (!lmtp || i == j) {
						s.keep(rcpt, body)
					}
				}
				if !say(reply) {
					return
				}
			}
		case "QUIT":
			say("221 bye")
			return
		default:
			reply := s.reply(line, "250 2.1.0 ok")
			path, _, _ := strings.Cut(arg, " ")
			if verb == "MAIL" {
				to = nil
			} else if verb == "RCPT" && strings.HasPrefix(reply, "2") {
				to = append(to, strings.Trim(strings.TrimPrefix(path, "TO:"), "<>"))
			}
			if !say(reply) {
				return
			}
		}
	}
}

func (s *sink) keep(to, body string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.count == nil {
		s.count = map[string]int{}
	}
	s.count[to+" "+body]++
}

// sinkBody reads a message: of a large one it gives the hash.
func sinkBody(r *bufio.Reader) (string, error) {
	var body strings.Builder
	sum, size := sha256.New(), 0
	for {
		line, err := r.ReadString('\n')
		switch {
		case err != nil:
			return "", err
		case line == ".\r\n" && size > 1<<20:
			return fmt.Sprintf("%x", sum.Sum(nil)), nil
		case line == ".\r\n":
			return body.String(), nil
		}
		line = strings.TrimPrefix(line, ".")
		if size += len(line); size <= 1<<20 {
			body.WriteString(line)
		}
		sum.Write([]byte(line))
	}
}

// A cutLine breaks after some octets, both ways together.
type cutLine struct {
	net.Conn
	left *atomic.Int64
}

var errCut = errors.New("the line is cut")

func (c cutLine) Read(b []byte) (int, error) {
	n, err := c.Conn.Read(b)
	if c.left.Add(-int64(n)) < 0 {
		c.Conn.Close()
		return 0, errCut
	}
	return n, err
}

func (c cutLine) Write(b []byte) (int, error) {
	if left := c.left.Add(-int64(len(b))); left < 0 {
		_, _ = c.Conn.Write(b[:max(0, int64(len(b))+left)])
		c.Conn.Close()
		return 0, errCut
	}
	return c.Conn.Write(b)
}

// dialer connects the two peers by pipes: the holder behind cut octets (-1: no end).
func dialer(holder func(net.Conn), local *sink, cut int64) func(context.Context, string, string) (net.Conn, error) {
	return dialerOver(net.Pipe, holder, local, cut)
}

// sockets connects two ends over loopback: other than those of a pipe, both may write at
// once.
func sockets() (ours, theirs net.Conn) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		panic(err)
	}
	defer l.Close()
	if ours, err = net.Dial("tcp", l.Addr().String()); err == nil {
		theirs, err = l.Accept()
	}
	if err != nil {
		panic(err)
	}
	return ours, theirs
}

func dialerOver(connect func() (ours, theirs net.Conn), holder func(net.Conn), local *sink, cut int64) func(context.Context, string, string) (net.Conn, error) {
	left := &atomic.Int64{}
	left.Store(cut)
	return func(_ context.Context, _, addr string) (net.Conn, error) {
		ours, theirs := connect()
		if addr == "local:25" {
			if local.down.Load() {
				return nil, errors.New("connection refused")
			}
			ended.Go(func() { local.serve(theirs) })
			return ours, nil
		}
		ended.Go(func() {
			holder(theirs)
			theirs.Close()
		})
		if cut < 0 {
			return ours, nil
		}
		return cutLine{ours, left}, nil
	}
}

// call is Call. The peers have ended when it returns.
func call(t *testing.T, o Options) (Result, error) {
	t.Helper()
	defer ended.Wait()
	return Call(t.Context(), o)
}

// ended are the conversations of the peers; no two tests run at once.
var ended sync.WaitGroup

// options for a call of h, over a line without end.
func options(t *testing.T, h *hub, local *sink) Options {
	t.Helper()
	return Options{
		Holder: "hub.test:366", Security: NoTLS, User: "anna", Password: "secret", Verb: ATRN, Local: "local:25", State: t.TempDir(), Name: "pull.test",
		Dial: dialer(func(c net.Conn) { h.serve(context.WithoutCancel(t.Context()), c) }, local, -1),
	}
}

func newHub() *hub {
	return &hub{verbs: mail.Verbs{ETRN: true, TURN: true, ATRN: true, EnhancedCodes: true, Pipelining: true}}
}

var everything = []string{"PIPELINING", "8BITMIME", "SMTPUTF8", "DSN", "SIZE 20000000", "ENHANCEDSTATUSCODES"}

// checkOnce expects each message at the sink once for each recipient.
func checkOnce(t *testing.T, s *sink, sent ...held) {
	t.Helper()
	n := 0
	for _, m := range sent {
		for _, to := range m.to {
			n++
			if got := s.got(to, m.body); got != 1 {
				t.Errorf("%.40q came to %s %d times", m.body, to, got)
			}
		}
	}
	if total := s.total(); total != n {
		t.Errorf("%d messages came, want %d", total, n)
	}
}

// copies of messages, whose recipients the hub takes out.
func copies(m []held) (out []*held) {
	for _, one := range m {
		one.to = slices.Clone(one.to)
		out = append(out, &one)
	}
	return out
}
