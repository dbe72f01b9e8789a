// SPDX-License-Identifier: Apache-2.0

package wire

import (
	"bufio"
	"bytes"
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"math/big"
	"net"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/emersion/go-sasl"

	"restante/engine/mail"
	"restante/engine/wire/params"
)

// all switches everything on.
var all = mail.Verbs{ETRN: true, TURN: true, ATRN: true, Chunking: true, EightBit: true, DSN: true, Pipelining: true, EnhancedCodes: true, Verify: true, Help: true, Limits: true, RequireTLS: true, Priority: true, UTF8: true, Binary: true, DeliverBy: true}

// A fake is a Session that says yes, unless the address says otherwise, and
// writes down what it was asked.
type fake struct {
	caller *Caller
	hand   Handover
	slow   chan struct{} // Data waits for it, if not nil
	clear  mail.Reply    // of Permit, if its code is not 0

	mu     sync.Mutex // guards what follows
	calls  []string
	bodies []string
	broken []error
	from   []params.Mail
	to     []params.Rcpt
	closed int
	failed error // of the last Refused
}

func (f *fake) note(format string, args ...any) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.calls = append(f.calls, fmt.Sprintf(format, args...))
}

func (f *fake) Hello(_ context.Context, name string, extended bool) mail.Reply {
	f.note("hello %s %v", name, extended)
	if name == "refused.test" {
		return mail.Reply{Code: 550, Enhanced: "7.1", Text: "not you"}
	}
	return mail.Reply{Code: 250}
}

func (f *fake) Permit(_ context.Context, _ string, clear bool) mail.Reply {
	if clear && f.clear.Code != 0 {
		return f.clear
	}
	return mail.Reply{Code: 250}
}

func (f *fake) Refused(_ context.Context, verb, arg string, r mail.Reply) {
	f.note("refused %s %s %d", verb, arg, r.Code)
	f.failed = r.Cause
}

func (f *fake) Mail(_ context.Context, m params.Mail) mail.Reply {
	f.note("mail %s", m.From)
	f.mu.Lock()
	f.from = append(f.from, m)
	f.mu.Unlock()
	return byName(m.From, "sender ok")
}

func (f *fake) Rcpt(_ context.Context, r params.Rcpt) mail.Reply {
	f.note("rcpt %s", r.To)
	f.mu.Lock()
	f.to = append(f.to, r)
	f.mu.Unlock()
	return byName(r.To, "recipient ok")
}

func byName(a mail.Address, text string) mail.Reply {
	switch a.Local {
	case "no":
		return mail.Reply{Code: 550, Enhanced: "1.1", Text: "nobody\nof that name"}
	case "later":
		return mail.Reply{Code: 451, Enhanced: "7.1", Text: "later"}
	case "leave":
		return mail.Reply{Code: 421, Enhanced: "3.2", Text: "bye"}
	case "bug":
		panic("a bug")
	case "mute":
		return mail.Reply{}
	}
	return mail.Reply{Code: 250, Enhanced: "1.5", Text: text}
}

func (f *fake) Data(_ context.Context, body io.Reader) mail.Reply {
	if f.slow != nil {
		<-f.slow
	}
	b, err := io.ReadAll(body)
	f.mu.Lock()
	defer f.mu.Unlock()
	if err != nil {
		f.calls = append(f.calls, "data broken")
		f.broken = append(f.broken, err)
		return mail.Reply{Code: 451, Enhanced: "3.0", Text: "broken", Cause: err}
	}
	f.calls = append(f.calls, "data")
	f.bodies = append(f.bodies, string(b))
	return mail.Reply{Code: 250, Enhanced: "0.0", Text: fmt.Sprintf("queued as m%d", len(f.bodies))}
}

func (f *fake) Reset() { f.note("reset") }
func (f *fake) Close() {
	f.note("close")
	f.mu.Lock()
	f.closed++
	f.mu.Unlock()
}

func (f *fake) Mechanisms() []string {
	if f.caller.Local.Port() == 0 && f.caller.Hello() == "clear.test" {
		if _, ok := f.caller.TLS(); !ok {
			return nil
		}
	}
	return []string{"PLAIN", "LAST", "CRAM-MD5"}
}

func (f *fake) Auth(_ context.Context, mechanism string) (sasl.Server, error) {
	switch mechanism {
	case "PLAIN":
		return sasl.NewPlainServer(func(_, user, password string) error {
			switch password {
			case "secret":
				f.caller.SignIn(user)
				return nil
			case "later":
				return fmt.Errorf("look up: %w", mail.Reply{Code: 454, Enhanced: "7.0", Text: "later"})
			}
			return errors.New("wrong")
		}), nil
	case "LAST":
		f.caller.SignIn("last")
		return lastServer{}, nil
	}
	return nil, mail.Reply{Code: 504, Enhanced: "5.4", Text: "Unrecognized authentication type"}
}

// lastServer is done at once, with data for the client.
type lastServer struct{}

func (lastServer) Next([]byte) ([]byte, bool, error) { return []byte("v=proof"), true, nil }

func (f *fake) Etrn(_ context.Context, node string) mail.Reply {
	f.note("etrn %s", node)
	return mail.Reply{Code: 250, Enhanced: "0.0", Text: "queuing for " + node}
}

func (f *fake) Recipients(_ context.Context, arg string) mail.Reply {
	f.note("recipients %s", arg)
	return mail.Reply{Code: 250, Enhanced: "0.0", Text: "- - 0"}
}

func (f *fake) Turn(_ context.Context, atrn bool, domains []mail.Domain) (mail.Reply, Handover) {
	f.note("turn %v %v", atrn, domains)
	if f.hand == nil {
		return mail.Reply{Code: 450, Enhanced: "7.1", Text: "not yours"}, nil
	}
	return mail.Reply{Code: 250, Enhanced: "0.0", Text: "your turn"}, f.hand
}

// taken gives the bodies and, of those that did not come whole, the errors.
func (f *fake) taken() ([]string, []error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	return slices.Clone(f.bodies), slices.Clone(f.broken)
}

func (f *fake) seen() []string {
	f.mu.Lock()
	defer f.mu.Unlock()
	return slices.Clone(f.calls)
}

// A host is a Server on loopback with one fake for each caller.
type host struct {
	t       testing.TB
	srv     *Server
	cfg     Config
	hand    Handover
	slow    chan struct{}
	clear   mail.Reply
	log     *bytes.Buffer
	stop    context.CancelFunc
	stopFor context.CancelCauseFunc
	end     func() // cuts all, and returns when nothing runs any more
	fakes   chan *fake
	done    sync.WaitGroup
	addr    string
}

func config() Config {
	return Config{Hostname: "hub.test", Verbs: all, IdleTimeout: time.Minute, Limits: Limits{Errors: 10, BodyRate: 64}}
}

// startHost accepts until the test ends, and then checks that nothing is left.
func startHost(t testing.TB, cfg Config, opts ...func(*host)) *host {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	h := &host{t: t, cfg: cfg, log: new(bytes.Buffer), addr: l.Addr().String(), fakes: make(chan *fake, 1000)}
	for _, o := range opts {
		o(h)
	}
	h.srv = NewServer(slog.New(slog.NewTextHandler(&lockedWriter{w: h.log}, nil)))
	ctx, stop := context.WithCancelCause(context.Background())
	h.stop, h.stopFor = func() { stop(nil) }, stop
	h.done.Go(func() {
		for {
			nc, err := l.Accept()
			if err != nil {
				return
			}
			h.done.Go(func() { h.srv.Serve(ctx, nc, h.cfg, h.open) })
		}
	})
	h.end = func() {
		l.Close()
		h.srv.Close()
		stop(nil)
		h.done.Wait()
	}
	t.Cleanup(h.end)
	return h
}

func (h *host) open(c *Caller) Session {
	f := &fake{caller: c, hand: h.hand, slow: h.slow, clear: h.clear}
	select {
	case h.fakes <- f:
	default: // a benchmark's thousands
	}
	return f
}

type lockedWriter struct {
	mu sync.Mutex // guards what follows
	w  io.Writer
}

func (l *lockedWriter) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.w.Write(p)
}

// A dialer talks to a host as a script.
type dialer struct {
	t  testing.TB
	nc net.Conn
	r  *bufio.Reader
	f  *fake // see session
}

func (h *host) dial() *dialer {
	h.t.Helper()
	nc, err := net.Dial("tcp", h.addr)
	if err != nil {
		h.t.Fatal(err)
	}
	h.t.Cleanup(func() { nc.Close() })
	nc.SetDeadline(time.Now().Add(time.Minute))
	d := &dialer{t: h.t, nc: nc, r: bufio.NewReader(nc)}
	return d
}

// session waits for the Session of the only caller.
func (d *dialer) session(h *host) *fake {
	if d.f == nil {
		d.f = <-h.fakes
	}
	return d.f
}

func (d *dialer) send(s string) {
	d.t.Helper()
	if _, err := io.WriteString(d.nc, s); err != nil {
		d.t.Fatalf("send %q: %v", s, err)
	}
}

// reply reads one whole reply, its lines parted by |; "EOF" at the end.
func (d *dialer) reply() string {
	d.t.Helper()
	var lines []string
	for {
		line, err := d.r.ReadString('\n')
		if err != nil {
			if len(lines) == 0 && line == "" && !errors.Is(err, context.DeadlineExceeded) {
				if ne, ok := err.(net.Error); ok && ne.Timeout() {
					d.t.Fatal("no reply came")
				}
				return "EOF"
			}
			d.t.Fatalf("reply: %q, %q, %v", lines, line, err)
		}
		if !strings.HasSuffix(line, "\r\n") || len(line) < 5 {
			d.t.Fatalf("malformed reply line %q", line)
		}
		lines = append(lines, strings.TrimSuffix(line, "\r\n"))
		if line[3] == ' ' {
			return strings.Join(lines, "|")
		}
	}
}

// expect sends a line, if there is one, and checks how the reply begins.
func (d *dialer) expect(line, want string) string {
	d.t.Helper()
	if line != "" {
		d.send(line + "\r\n")
	}
	got := d.reply()
	if !strings.HasPrefix(got, want) {
		d.t.Errorf("%.60q: %q, want %q", line, got, want)
	}
	return got
}

// certificate is a self-signed one for hub.test, and who trusts it.
func certificate(t testing.TB) (server, client *tls.Config) {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	tpl := &x509.Certificate{
		SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: "hub.test"}, DNSNames: []string{"hub.test"},
		NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour), IsCA: true, BasicConstraintsValid: true,
	}
	der, err := x509.CreateCertificate(rand.Reader, tpl, tpl, &key.PublicKey, key)
	if err != nil {
		t.Fatal(err)
	}
	cert, err := x509.ParseCertificate(der)
	if err != nil {
		t.Fatal(err)
	}
	pool := x509.NewCertPool()
	pool.AddCert(cert)
	return &tls.Config{Certificates: []tls.Certificate{{Certificate: [][]byte{der}, PrivateKey: key}}},
		&tls.Config{ServerName: "hub.test", RootCAs: pool}
}
