// SPDX-License-Identifier: Apache-2.0

package session

import (
	"bytes"
	"context"
	"crypto/tls"
	"errors"
	"io"
	"math"
	"net/netip"
	"reflect"
	"regexp"
	"slices"
	"strings"
	"testing"
	"testing/iotest"
	"testing/synctest"
	"time"

	"restante/engine/account"
	"restante/engine/mail"
	"restante/engine/wire"
	"restante/engine/wire/params"
	"restante/internal/deptest"
)

type fakeCaller struct {
	hello, account string
	secure         bool
}

func (c *fakeCaller) Hello() string { return c.hello }
func (c *fakeCaller) TLS() (tls.ConnectionState, bool) {
	return tls.ConnectionState{Version: tls.VersionTLS13, CipherSuite: tls.TLS_AES_128_GCM_SHA256}, c.secure
}
func (c *fakeCaller) Account() string    { return c.account }
func (c *fakeCaller) SignIn(name string) { c.account = name }

// intake keeps messages in memory, and fails where it is told to.
type intake struct {
	create, write, accept error
	kept                  map[mail.MessageID]string
	envs                  []mail.Envelope
	aborted               int
}

type intakeBody struct {
	bytes.Buffer
	intake *intake
	done   bool
}

func (b *intakeBody) Size() int64       { return int64(b.Len()) }
func (b *intakeBody) Reader() io.Reader { return bytes.NewReader(b.Bytes()) }
func (b *intakeBody) Abort() {
	if !b.done {
		b.intake.aborted++
	}
	b.done = true
}
func (b *intakeBody) Write(p []byte) (int, error) {
	if b.intake.write != nil && b.Len() > 0 {
		return 0, b.intake.write
	}
	return b.Buffer.Write(p)
}

func (s *intake) Create(context.Context) (Body, error) {
	if s.create != nil {
		return nil, s.create
	}
	return &intakeBody{intake: s}, nil
}

func (b *intakeBody) Accept(_ context.Context, env mail.Envelope) error {
	s := b.intake
	if s.accept != nil {
		return s.accept
	}
	b.done = true
	if s.kept == nil {
		s.kept = map[mail.MessageID]string{}
	}
	s.kept[env.ID] = b.String()
	s.envs = append(s.envs, env)
	return nil
}

type noReleases struct{ asked []Who }

func (n *noReleases) Etrn(_ context.Context, w Who, node string) mail.Reply {
	n.asked = append(n.asked, w)
	return mail.Reply{Code: 459, Enhanced: "7.1", Text: node}
}
func (n *noReleases) Recipients(_ context.Context, w Who, arg string) mail.Reply {
	n.asked = append(n.asked, w)
	return mail.Reply{Code: 550, Enhanced: "7.1", Text: arg}
}
func (n *noReleases) Turn(_ context.Context, w Who, atrn bool, _ []mail.Domain) (mail.Reply, wire.Handover) {
	n.asked = append(n.asked, w)
	return mail.Reply{Code: 550, Enhanced: "7.1"}, nil
}

func address(t testing.TB, s string) mail.Address {
	t.Helper()
	a, err := mail.ParseAddress(s)
	if err != nil {
		t.Fatal(err)
	}
	return a
}

// domains has three domains, and lets this machine relay.
type domains struct{ forAuth bool }

func (domains) Standing(d mail.Domain) mail.Standing {
	return map[mail.Domain]mail.Standing{"hub.test": mail.Local, "held.test": mail.Held, "relayed.test": mail.Relayed}[d]
}

func (w domains) Relay(mail.Domain) Relay {
	return Relay{Grants: func(a netip.Addr, _ Names) bool { return a.IsLoopback() }, SignedIn: w.forAuth}
}

// Mailbox does not know one name, and cannot look up another one.
func (domains) Mailbox(_ context.Context, a mail.Address) (bool, error) {
	switch a.Local {
	case "unknown":
		return false, nil
	case "unread":
		return false, errors.New("the list is gone")
	}
	return true, nil
}

func testPolicy() *Policy {
	return &Policy{Hostname: "hub.test", Default: "hub.test", Domains: domains{}, SignIn: SignIn{Scram: true}}
}

type setup struct {
	*Session
	caller *fakeCaller
	intake *intake
	rel    *noReleases
}

func open(p *Policy, remote string) setup {
	s := setup{caller: &fakeCaller{hello: "client.test"}, intake: &intake{}, rel: &noReleases{}}
	s.Session = New(p, netip.MustParseAddr(remote), s.caller, Deps{Intake: s.intake, Releases: s.rel, Auth: account.NewAuthenticator(account.Options{})})
	s.Hello(context.Background(), "client.test", true)
	return s
}

func (s setup) mail(t *testing.T, size int64) mail.Reply {
	return s.Mail(t.Context(), params.Mail{From: address(t, "a@b.test"), Size: size})
}

func (s setup) rcpt(t *testing.T, to string) mail.Reply {
	return s.Rcpt(t.Context(), params.Rcpt{To: address(t, to)})
}

func (s setup) send(t *testing.T, body string) mail.Reply {
	t.Helper()
	if r := s.mail(t, 0); !r.Positive() {
		return r
	}
	if r := s.rcpt(t, "x@hub.test"); !r.Positive() {
		return r
	}
	r := s.Data(t.Context(), strings.NewReader(body))
	s.Reset()
	return r
}

// TestRefusedRecipients: those that are refused for good are counted over all
// transactions of a session, others are not.
func TestRefusedRecipients(t *testing.T) {
	p := testPolicy()
	p.Limits = Limits{Refused: 3, Recipients: 1}
	s := open(p, "192.0.2.1")
	for n := range 3 {
		s.mail(t, 0)
		for range 5 { // the first is taken, the others are too many
			s.rcpt(t, "x@hub.test")
			if r := s.rcpt(t, "y@hub.test"); r.Code != 452 {
				t.Fatalf("one more: %s", r)
			}
		}
		s.Reset()
		s.mail(t, 0)
		if r := s.rcpt(t, "x@foreign.test"); r.Code != 550 {
			t.Fatalf("refusal %d: %s", n, r)
		}
		s.Reset()
	}
	s.mail(t, 0)
	if r := s.rcpt(t, "x@foreign.test"); r.String() != "421 4.7.0 Too many refused recipients, closing connection" || !strings.Contains(r.Error(), "MaxRefusedRecipients is 3: 550") {
		t.Errorf("one too many: %v", r)
	}
	synctest.Test(t, func(t *testing.T) { // refusals are slow
		p.Limits.Refused = 0
		s := open(p, "192.0.2.1")
		s.mail(t, 0)
		for range 1000 {
			if r := s.rcpt(t, "x@foreign.test"); r.Code != 550 {
				t.Fatalf("without a limit: %s", r)
			}
		}
	})
}

// Recipients whom a domain of ours does not have are refused, whoever asks, and
// those about whom nobody knows are put off; postmaster is there.
func TestUnknownRecipients(t *testing.T) {
	for _, tt := range []struct{ to, want string }{
		{"joe@hub.test", "250 2.1.5"},
		{"unknown@hub.test", "550 5.1.1 <unknown@hub.test> User unknown"},
		{"unknown@held.test", "550 5.1.1"},
		{"unknown@relayed.test", "550 5.1.1"},
		{"unread@hub.test", "451 4.3.0 Recipients cannot be verified now, try again later"},
		{"Postmaster@held.test", "250 2.1.5"},
	} {
		for _, caller := range []string{"192.0.2.1", "127.0.0.1"} {
			s := open(testPolicy(), caller)
			s.mail(t, 0)
			if r := s.rcpt(t, tt.to); !strings.HasPrefix(r.String(), tt.want) {
				t.Errorf("%s from %s is answered %q, want %q", tt.to, caller, r, tt.want)
			}
		}
	}
	s := open(testPolicy(), "127.0.0.1")
	s.mail(t, 0)
	if r := s.rcpt(t, "unknown@foreign.test"); !r.Positive() {
		t.Errorf("a foreign domain has no list: %s", r)
	}
}

// TestOwnTraces: messages that have come through here more often than they may are
// refused, by the fields that this program wrote under this name.
func TestOwnTraces(t *testing.T) {
	const id = "06h0ihfrcs3q41uvs0vg"
	own := "Received: from a.test ([192.0.2.1])\r\n\tby HUB.test with ESMTPS id " + id + "\r\n\tfor <x@hub.test>; Mon, 2 Mar 2026 10:00:00 +0000\r\n"
	pickup := "Received: from mail pickup service by hub.test\r\n\tid " + id + "; Mon, 2 Mar 2026 10:00:00 +0000\r\n"
	for _, tt := range []struct {
		name, head string
		limit      int
		refused    bool
	}{
		{"at the limit", strings.Repeat(own, 3), 3, false},
		{"beyond it", strings.Repeat(own, 2) + pickup + own, 3, true},
		{"no limit", strings.Repeat(own, 30), 0, false},
		{"another host", strings.Repeat(strings.ReplaceAll(own, "HUB", "sub.hub"), 9), 3, false},
		{"another program", strings.Repeat(strings.ReplaceAll(own, id, "4Fx2hp1Zz"), 9), 3, false},
		{"one that says our name", strings.Repeat("Received: from hub.test by a.test with SMTP id "+id+"\r\n", 9), 3, false},
		{"in the body", own + "\r\n" + strings.Repeat(own, 9), 3, false},
		{"in another field", strings.Repeat("X-"+own, 9), 3, false},
		{"very long", "Received: " + strings.Repeat("x ", 50_000) + own, 3, false},
	} {
		for _, end := range []string{"\r\n\r\nbody\r\n", ""} {
			p := testPolicy()
			p.Limits.OwnHops = tt.limit
			s := open(p, "192.0.2.1")
			r := s.send(t, strings.TrimSuffix(tt.head, "\r\n")+"\r\n"+strings.TrimPrefix(end, "\r\n"))
			if tt.refused != (r.Code == 554 && r.Enhanced == "4.6" && strings.Contains(r.Error(), "MaxOwnHops is 3")) || !tt.refused && !r.Positive() {
				t.Errorf("%s, then %q: %v", tt.name, end, r)
			}
		}
	}
}

// Where a domain never refuses, unknown recipients are put off, and still count.
func TestNeverRefuse(t *testing.T) {
	p := testPolicy()
	p.Limits.Refused = 2
	p.NeverRefuse = func(d mail.Domain) bool { return d == "held.test" }
	s := open(p, "192.0.2.1")
	s.mail(t, 0)
	for _, tt := range []struct{ to, want string }{
		{"unknown@held.test", "450 4.1.1 <unknown@held.test> User unknown"},
		{"unknown@hub.test", "550 5.1.1 <unknown@hub.test> User unknown"},
		{"x@foreign.test", "421 4.7.0 Too many refused recipients, closing connection"},
	} {
		if r := s.rcpt(t, tt.to); r.String() != tt.want {
			t.Errorf("%s is answered %q, want %q", tt.to, r, tt.want)
		}
	}
}

func TestRelayMatrix(t *testing.T) {
	const inside, outside = "127.0.0.1", "192.0.2.1"
	tests := []struct {
		to, remote, account string
		forAuth             bool
		want                Rule
	}{
		{"hub.test", outside, "", false, LocalDomain},
		{"held.test", outside, "", false, HeldDomain},
		{"relayed.test", outside, "", false, RelayedDomain},
		{"foreign.test", outside, "", false, NoRelay},
		{"foreign.test", outside, "", true, NoRelay}, // it has not signed in
		{"foreign.test", outside, "joe", false, NoRelay},
		{"foreign.test", outside, "joe", true, RelayAccount},
		{"foreign.test", inside, "", false, RelayClient},
		{"foreign.test", "::1", "", false, RelayClient},
		{"foreign.test", "::ffff:127.0.0.1", "", false, RelayClient},
		{"sub.hub.test", outside, "", false, NoRelay},
		{"[192.0.2.99]", outside, "", false, NoRelay},
	}
	for _, tt := range tests {
		p := testPolicy()
		p.Domains = domains{tt.forAuth}
		s := open(p, tt.remote)
		s.caller.account = tt.account
		q := Question{Client: netip.MustParseAddr(tt.remote), Account: tt.account, To: mail.Address{Local: "x", Domain: mail.Domain(tt.to)}}
		if got := p.Decide(t.Context(), AtConnect, AtRcpt, q); got.Rule != tt.want {
			t.Errorf("to %s from %s as %q, forAuth %v: %v, want %v", tt.to, tt.remote, tt.account, tt.forAuth, got, tt.want)
		}
		s.mail(t, 0)
		r := s.rcpt(t, "x@"+tt.to)
		if r.Positive() == (tt.want == NoRelay) {
			t.Errorf("RCPT to %s from %s as %q: %v", tt.to, tt.remote, tt.account, r)
		}
		if want := "550 5.7.1 Unable to relay for <x@" + tt.to + ">"; !r.Positive() && r.String() != want {
			t.Errorf("refused by %q, want %q", r, want)
		}
	}
}

// Names are looked up where they decide, once, and a caller whose names cannot be
// looked up is told to come again.
func TestNamesOfHosts(t *testing.T) {
	var asked int
	var names []string
	var failure error
	byName := func(want string) func(netip.Addr, Names) bool {
		return func(_ netip.Addr, n Names) bool {
			if n == nil {
				return true
			}
			list, err := n()
			return err == nil && slices.Contains(list, want)
		}
	}
	p := testPolicy()
	p.MayConnect = byName("friend.test")
	q := Question{Client: netip.MustParseAddr("192.0.2.1"), To: mail.Address{Local: "x", Domain: "hub.test"}}
	reply := func(first, last Stage) string {
		q.Host = NewHost(func() ([]string, error) { asked++; return names, failure })
		r := p.Decide(t.Context(), first, last, q).Reply.String()
		p.Decide(t.Context(), first, last, q)
		return r
	}
	if d := p.Decide(t.Context(), AtConnect, AtRcpt, q); !d.Accepted() {
		t.Errorf("while names are not known yet: %v", d.Reply)
	}
	for _, tt := range []struct {
		first, last Stage
		names       string
		failure     error
		want        string
	}{
		{AtConnect, AtConnect, "friend.test", nil, "250 "},
		{AtConnect, AtConnect, "foe.test", nil, "554 5.7.1"},
		{AtVerb, AtVerb, "foe.test", nil, "421 4.7.1 Access denied"},
		{AtConnect, AtConnect, "", errors.New("no answer"), "421 4.7.1 The name of your host"},
		{AtVerb, AtRcpt, "", errors.New("no answer"), "421 4.7.1 The name of your host"},
	} {
		names, failure, asked = []string{tt.names}, tt.failure, 0
		if got := reply(tt.first, tt.last); !strings.HasPrefix(got, tt.want) || asked != 1 {
			t.Errorf("%+v: %q, asked %d times", tt, got, asked)
		}
	}
	p.MayConnect = nil
	p.Domains = relays{byName("friend.test")}
	q.To.Domain = "foreign.test"
	for name, want := range map[string]string{"friend.test": "250 ", "foe.test": "550 5.7.1", "": "450 4.7.1"} {
		if names, failure = []string{name}, nil; name == "" {
			failure = errors.New("no answer")
		}
		if got := reply(AtRcpt, AtRcpt); !strings.HasPrefix(got, want) {
			t.Errorf("%s relays: %q, want %q", name, got, want)
		}
	}
}

// relays is a site with foreign domains alone.
type relays struct {
	grants func(netip.Addr, Names) bool
}

func (relays) Standing(mail.Domain) mail.Standing { return mail.Foreign }

func (r relays) Relay(mail.Domain) Relay { return Relay{Grants: r.grants} }

func (relays) Mailbox(context.Context, mail.Address) (bool, error) { return true, nil }

func TestTricksWithAddresses(t *testing.T) {
	s := open(testPolicy(), "192.0.2.1")
	s.mail(t, 0)
	for _, to := range []string{`"x@foreign.test"@hub.test`, "x%foreign.test@hub.test", "foreign.test!x@hub.test"} {
		if r := s.rcpt(t, to); !r.Positive() {
			t.Errorf("%s: %v", to, r)
		}
	}
	for _, r := range s.tx.to {
		if r.Address.Domain != "hub.test" {
			t.Errorf("%s leaves for %s", r.Address, r.Address.Domain)
		}
	}
	if r := s.rcpt(t, "@hub.test:x@foreign.test"); r.Positive() {
		t.Errorf("a source route through us relays: %v", r)
	}
}

func TestAddressesWithoutDomain(t *testing.T) {
	for _, tt := range []struct {
		name       string
		domain     mail.Domain // the default one
		from, to   mail.Address
		wantMail   string
		wantRcpt   string
		inEnvelope string
	}{
		{"a device", "hub.test", mail.Address{Local: "root"}, mail.Address{Local: "root"},
			"250 2.1.0 <root@hub.test> Sender OK", "250 2.1.5 <root@hub.test> Recipient OK", "root@hub.test root@hub.test"},
		{"postmaster, in any case", "hub.test", mail.Address{Local: "a", Domain: "x.test"}, mail.Address{Local: "PostMaster"},
			"250 2.1.0 <a@x.test> Sender OK", "250 2.1.5 <PostMaster@hub.test> Recipient OK", "a@x.test PostMaster@hub.test"},
		{"the null sender", "hub.test", mail.Address{}, mail.Address{Local: "root"},
			"250 2.1.0 <> Sender OK", "250 2.1.5 <root@hub.test> Recipient OK", " root@hub.test"},
		{"a percent sign", "hub.test", mail.Address{}, mail.Address{Local: "a%far.test"},
			"250 2.1.0 <> Sender OK", "250 2.1.5 <a%far.test@hub.test> Recipient OK", " a%far.test@hub.test"},
		{"no recipient", "hub.test", mail.Address{}, mail.Address{}, "250 2.1.0 <> Sender OK", "550 5.1.3 Recipient address has no domain", ""},
		{"no default domain", "", mail.Address{Local: "root"}, mail.Address{Local: "root"},
			"553 5.1.8 Sender address has no domain", "503 5.5.1 Need MAIL command", ""},
		{"no default domain, for a recipient", "", mail.Address{}, mail.Address{Local: "root"},
			"250 2.1.0 <> Sender OK", "550 5.1.3 Recipient address has no domain", ""},
	} {
		t.Run(tt.name, func(t *testing.T) {
			p := testPolicy()
			p.Default = tt.domain
			s := open(p, "192.0.2.1")
			if r := s.Mail(t.Context(), params.Mail{From: tt.from}); r.String() != tt.wantMail {
				t.Errorf("MAIL is answered %q, want %q", r, tt.wantMail)
			}
			r := s.Rcpt(t.Context(), params.Rcpt{To: tt.to})
			if r.String() != tt.wantRcpt {
				t.Errorf("RCPT is answered %q, want %q", r, tt.wantRcpt)
			}
			if !r.Positive() {
				return
			}
			if got := s.tx.from.From.String() + " " + s.tx.to[0].Address.String(); got != tt.inEnvelope {
				t.Errorf("the envelope is %q, want %q", got, tt.inEnvelope)
			}
		})
	}
}

func TestLimits(t *testing.T) {
	body := func(n int) string { return strings.Repeat("x", n) }
	tests := []struct {
		name   string
		limits Limits
		do     func(s setup) mail.Reply
		want   string
	}{
		{"SIZE over the limit", Limits{Size: 100}, func(s setup) mail.Reply { return s.mail(t, 101) }, "552 5.3.4"},
		{"SIZE at the limit", Limits{Size: 100}, func(s setup) mail.Reply { return s.mail(t, 100) }, "250"},
		{"a body over the limit", Limits{Size: 100}, func(s setup) mail.Reply { return s.send(t, body(101)) }, "552 5.3.4"},
		{"a body at the limit", Limits{Size: 100}, func(s setup) mail.Reply { return s.send(t, body(100)) }, "250 2.6.0"},
		{"SIZE over what any session has", Limits{Session: 100}, func(s setup) mail.Reply { return s.mail(t, 101) }, "552"},
		{"a body over what any session has", Limits{Session: 100}, func(s setup) mail.Reply { return s.send(t, body(101)) }, "552"},
		{"a second body over the session's", Limits{Session: 100}, func(s setup) mail.Reply { s.send(t, body(60)); return s.send(t, body(60)) }, "421 4.3.2"},
		{"SIZE over the session's rest", Limits{Session: 100}, func(s setup) mail.Reply { s.send(t, body(60)); return s.mail(t, 60) }, "421"},
		{"a full session", Limits{Session: 100}, func(s setup) mail.Reply { s.send(t, body(100)); return s.mail(t, 0) }, "421"},
		{"SIZE beyond all numbers", Limits{Size: 100}, func(s setup) mail.Reply { return s.mail(t, math.MaxInt64) }, "552 5.3.4 Message size exceeds fixed limit of 100 octets"},
		{"SIZE without a limit", Limits{}, func(s setup) mail.Reply { return s.mail(t, math.MaxInt64) }, "250"},
		{"the smaller limit is named", Limits{Size: 100, Session: 50}, func(s setup) mail.Reply { return s.mail(t, 60) }, "552 5.3.4 Message size exceeds fixed limit of 50 octets"},
		{"recipients", Limits{Recipients: 2}, func(s setup) mail.Reply {
			s.mail(t, 0)
			s.rcpt(t, "a@hub.test")
			s.rcpt(t, "b@hub.test")
			return s.rcpt(t, "c@hub.test")
		}, "452 4.5.3"},
		{"the same recipient again", Limits{Recipients: 2}, func(s setup) mail.Reply {
			s.mail(t, 0)
			s.rcpt(t, "a@hub.test")
			s.rcpt(t, "b@hub.test")
			return s.rcpt(t, "a@hub.test")
		}, "250"},
		{"hops over the limit", Limits{Hops: 2}, func(s setup) mail.Reply {
			return s.send(t, "Received: 1\r\nRECEIVED : 2\r\nreceived: 3\r\n\r\n")
		}, "554 5.4.6"},
		{"hops at the limit", Limits{Hops: 2}, func(s setup) mail.Reply {
			return s.send(t, "Received: 1\r\nX-Received: 2\r\nReceived-SPF: 3\r\n Received: 4\r\nreceived: 5\r\n\r\nReceived: 6\r\n")
		}, "250"},
		{"no recipient", Limits{}, func(s setup) mail.Reply { s.mail(t, 0); return s.Data(t.Context(), strings.NewReader("")) }, "554"},
		{"no MAIL", Limits{}, func(s setup) mail.Reply { return s.rcpt(t, "a@hub.test") }, "503"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			p := testPolicy()
			p.Limits = tt.limits
			s := open(p, "192.0.2.1")
			if r := tt.do(s); !strings.HasPrefix(r.String(), tt.want) {
				t.Errorf("%v, want %s", r, tt.want)
			}
		})
	}
}

func TestHundredRecipientsAndMore(t *testing.T) {
	s := open(testPolicy(), "192.0.2.1")
	s.mail(t, 0)
	for i := range 1000 {
		if r := s.rcpt(t, strings.Repeat("a", i%60+1)+string(rune('a'+i/60))+"@hub.test"); !r.Positive() {
			t.Fatalf("recipient %d: %v", i, r)
		}
	}
}

func TestWhatIsKept(t *testing.T) {
	const body = "Subject: x\r\n\r\n.dot\r\nTURN\r\n\xff\r\n"
	s := open(testPolicy(), "192.0.2.7")
	s.deps.ID = "06h0ihfrcs3q"
	s.caller.secure = true
	s.Mail(t.Context(), params.Mail{From: address(t, "a@b.test"), Body8: true, Ret: "HDRS", EnvID: "e1"})
	s.Rcpt(t.Context(), params.Rcpt{To: address(t, "x@hub.test"), Notify: "NEVER", ORcpt: "rfc822;x@hub.test"})
	// Octet by octet: a reader may give as little as it likes.
	r := s.Data(t.Context(), iotest.OneByteReader(strings.NewReader(body)))
	if !r.Positive() || len(s.intake.envs) != 1 {
		t.Fatalf("%v, %d kept", r, len(s.intake.envs))
	}
	env := s.intake.envs[0]
	kept := s.intake.kept[env.ID]
	trace, rest, _ := strings.Cut(kept, "Subject:")
	if "Subject:"+rest != body {
		t.Errorf("kept %q, want a trace header and %q", kept, body)
	}
	want := regexp.MustCompile(`^Received: from client\.test \(\[192\.0\.2\.7\]\)\r\n\tby hub\.test with ESMTPS id ` + string(env.ID) +
		`\r\n\t\(TLS1\.3, TLS_AES_128_GCM_SHA256, session 06h0ihfrcs3q\)\r\n\tfor <x@hub\.test>; \w{3}, \d+ \w{3} \d{4} \d\d:\d\d:\d\d [+-]\d{4}\r\n$`)
	if !want.MatchString(trace) {
		t.Errorf("trace header %q", trace)
	}
	if !strings.Contains(r.Text, string(env.ID)) || r.Status() != "2.6.0" {
		t.Errorf("answered %v without the id", r)
	}
	if env.Size != int64(len(kept)) || !env.Body8Bit || !env.TLS || env.Ret != "HDRS" || env.EnvID != "e1" ||
		env.Helo != "client.test" || env.Client.String() != "192.0.2.7" || env.To[0].Notify != "NEVER" || env.To[0].ORcpt == "" || env.Session != "06h0ihfrcs3q" {
		t.Errorf("envelope %+v", env)
	}
}

// What decides later whether the next host must offer SMTPUTF8 is looked up as the message
// comes.
func TestUTF8IsKept(t *testing.T) {
	for _, tt := range []struct {
		given        bool
		text         string
		want, header bool
	}{
		{false, "Subject: grün\r\n\r\n", false, false}, // as it was before RFC 6531
		{true, "Subject: x\r\n\r\ngrün\r\n", true, false},
		{true, "Subject: grün\r\n\r\n", true, true},
	} {
		s := open(testPolicy(), "192.0.2.7")
		s.Mail(t.Context(), params.Mail{From: address(t, "a@b.test"), UTF8: tt.given})
		s.Rcpt(t.Context(), params.Rcpt{To: address(t, "x@hub.test")})
		r := s.Data(t.Context(), strings.NewReader(tt.text))
		if env := s.intake.envs[0]; !r.Positive() || env.UTF8 != tt.want || env.UTF8Header != tt.header || !strings.HasSuffix(s.intake.kept[env.ID], tt.text) {
			t.Errorf("%+v: %v, %+v", tt, r, env)
		}
	}
	for to, want := range map[string]bool{"x@foreign.test": false, "jörg@foreign.test": true} {
		in := &intake{}
		r := Submit(t.Context(), testPolicy(), Deps{Intake: in}, Submission{
			ID: mail.NewMessageID(time.Now()), From: address(t, "app@hub.test"), To: []mail.Address{address(t, to)},
			Text: strings.NewReader("Subject: grün\r\n\r\n"), EightBit: func() bool { return true },
		})
		if !r.Positive() || in.envs[0].UTF8 != want || in.envs[0].UTF8Header != want {
			t.Errorf("to %s: %v, %+v", to, r, in.envs[0])
		}
	}
}

func TestTrace(t *testing.T) {
	one := []mail.Recipient{{Address: address(t, "x@hub.test")}}
	tests := []struct {
		env      mail.Envelope
		extended bool
		want     []string
		not      []string
	}{
		{mail.Envelope{Helo: "c.test", To: one}, false, []string{"from c.test (unknown)", "with SMTP id", "for <x@hub.test>"}, nil},
		{mail.Envelope{Helo: "c.test", To: append(one, one...)}, true, []string{"with ESMTP id"}, []string{"for"}},
		{mail.Envelope{Helo: "c.test", To: []mail.Recipient{{Address: address(t, strings.Repeat("a", 2000)+"@hub.test")}}}, true, []string{"from c.test (unknown)"}, []string{"for"}},
		{mail.Envelope{Account: "joe", To: one}, true, []string{"with ESMTPA id"}, []string{"joe"}},
		{mail.Envelope{Account: "joe", TLS: true, To: one}, true, []string{"with ESMTPSA id"}, nil},
		{mail.Envelope{UTF8: true, To: one}, false, []string{"with UTF8SMTP id"}, nil},
		{mail.Envelope{UTF8: true, Account: "joe", TLS: true, To: one}, true, []string{"with UTF8SMTPSA id"}, nil},
		{mail.Envelope{UTF8: true, TLS: true, Helo: "bücher.test", To: []mail.Recipient{{Address: address(t, "jörg@bücher.test")}}}, true, []string{"from xn--bcher-kva.test (unknown)", "with UTF8SMTPS id", "for <jörg@xn--bcher-kva.test>"}, nil},
		{mail.Envelope{Helo: "evil)\r\nX: y", Client: netip.MustParseAddr("2001:db8::1")}, true, []string{"from [IPv6:2001:db8::1] ([IPv6:2001:db8::1])"}, []string{"evil"}},
	}
	for _, tt := range tests {
		got := trace("hub.test", mail.AddressLiteral(tt.env.Client), tt.env, tt.extended, tls.ConnectionState{})
		for _, w := range tt.want {
			if !strings.Contains(got, w) {
				t.Errorf("%q lacks %q", got, w)
			}
		}
		for _, n := range tt.not {
			if strings.Contains(got, n) {
				t.Errorf("%q has %q", got, n)
			}
		}
		for line := range strings.SplitSeq(strings.TrimSuffix(got, "\r\n"), "\r\n") {
			if len(line) > 998 || strings.ContainsAny(line, "\r\n") {
				t.Errorf("line %q", line)
			}
		}
	}
}

func TestFaults(t *testing.T) {
	broken := errors.New("disk /srv/x: gone")
	full := mail.Reply{Code: 452, Enhanced: "3.1", Text: "no room", Cause: broken}
	tests := []struct {
		name   string
		intake intake
		body   io.Reader
		want   string
	}{
		{"create", intake{create: broken}, strings.NewReader("x"), "451 4.3.0"},
		{"create, full", intake{create: full}, strings.NewReader("x"), "452 4.3.1 no room"},
		{"write", intake{write: broken}, strings.NewReader("x"), "451 4.3.0"},
		{"write, full", intake{write: full}, strings.NewReader("x"), "452 4.3.1"},
		{"accept", intake{accept: broken}, strings.NewReader("x"), "451 4.3.0"},
		{"accept, full", intake{accept: full}, strings.NewReader("x"), "452 4.3.1"},
		{"caller gone", intake{}, iotest.ErrReader(io.ErrUnexpectedEOF), "451"},
		{"bare LF", intake{}, iotest.ErrReader(mail.Reply{Code: 550, Enhanced: "6.0", Text: "bare LF"}), "550 5.6.0"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			s := open(testPolicy(), "192.0.2.1")
			*s.intake = tt.intake
			s.mail(t, 0)
			s.rcpt(t, "x@hub.test")
			r := s.Data(t.Context(), tt.body)
			if !strings.HasPrefix(r.String(), tt.want) || strings.Contains(r.Text, "/srv") {
				t.Errorf("%v, want %s", r, tt.want)
			}
			if len(s.intake.envs) != 0 {
				t.Error("it is kept all the same")
			}
			if tt.intake.create == nil && s.intake.aborted != 1 {
				t.Errorf("aborted %d times", s.intake.aborted)
			}
		})
	}
}

// What EnableReverseDnsLookup writes; no name of DNS enters the field that is no domain.
func TestTraceClient(t *testing.T) {
	env := mail.Envelope{Helo: "c.test", Client: netip.MustParseAddr("192.0.2.1")}
	for _, tt := range []struct {
		names []string
		err   error
		want  string
	}{
		{[]string{"C.test."}, nil, "c.test [192.0.2.1]"},
		{[]string{"other.test", "c.test"}, nil, "c.test [192.0.2.1]"},
		{[]string{"other.test", "third.test"}, nil, "other.test [192.0.2.1] unverified"},
		{[]string{"evil)\r\nX: y"}, nil, "[192.0.2.1] unverified"},
		{nil, nil, "[192.0.2.1] unverified"},
		{nil, errors.New("no answer"), "[192.0.2.1] RDNS failed"},
	} {
		s := &Session{policy: &Policy{ReverseDNS: true}, deps: Deps{Host: NewHost(func() ([]string, error) { return tt.names, tt.err })}}
		if got := s.traceClient(env); got != tt.want {
			t.Errorf("%q, %v: %q, want %q", tt.names, tt.err, got, tt.want)
		}
		if s.policy.ReverseDNS = false; s.traceClient(env) != "[192.0.2.1]" {
			t.Error("looked up without being asked to")
		}
	}
}

// FuzzTrace: whatever a caller calls itself, it adds no line to the header.
func FuzzTrace(f *testing.F) {
	f.Add("client.test")
	f.Add("a)\r\nSubject: b")
	f.Fuzz(func(t *testing.T, hello string) {
		got := trace("hub.test", "[192.0.2.1]", mail.Envelope{Helo: hello, Client: netip.MustParseAddr("192.0.2.1")}, true, tls.ConnectionState{})
		lines := strings.Split(got, "\r\n")
		if len(lines) != 3 || lines[2] != "" || !strings.HasPrefix(lines[0], "Received: from ") || !strings.HasPrefix(lines[1], "\tby hub.test ") ||
			strings.ContainsAny(lines[0]+lines[1], "\r\n\x00") {
			t.Errorf("%q gives %q", hello, got)
		}
	})
}

func TestReleasesAreAskedAsWhoCalls(t *testing.T) {
	s := open(testPolicy(), "::ffff:192.0.2.9")
	s.caller.account, s.caller.secure = "joe", true
	if r := s.Etrn(t.Context(), "b.test"); r.Code != 459 {
		t.Errorf("ETRN: %v", r)
	}
	if r, hand := s.Turn(t.Context(), false, nil); r.Code != 550 || hand != nil {
		t.Errorf("TURN: %v", r)
	}
	want := Who{Account: "joe", Remote: netip.MustParseAddr("192.0.2.9"), TLS: "TLS 1.3"}
	for _, got := range s.rel.asked {
		if got.Lost = nil; !reflect.DeepEqual(got, want) {
			t.Errorf("asked as %+v, want %+v", got, want)
		}
	}
}

func TestLayers(t *testing.T) {
	deptest.Forbid(t, map[string]string{
		"/metabase":        "the SMTP packages know nothing of paths",
		"/engine/settings": "a session lives under its own Policy, so that it can be tested without a tree",
		"/engine/queue":    "queue is in this layer",
		"go-smtp":          "only engine/wire speaks SMTP",
	})
}

// A caller that is refused again and again gets its answers later.
func TestRefusalsAreSlow(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := &Session{}
		for i := range freeRefusals + 5 {
			begin := time.Now()
			s.refused(t.Context(), "RCPT", "x", mail.Reply{Code: 550})
			if took := time.Since(begin); (took > 0) != (i >= freeRefusals) || took > refusalDelay {
				t.Errorf("refusal %d takes %v", i, took)
			}
		}
		begin := time.Now()
		if s.refused(t.Context(), "RCPT", "x", mail.Reply{Code: 452}); time.Since(begin) != 0 {
			t.Error("what is only put off is slow")
		}
		ctx, cancel := context.WithCancel(t.Context())
		cancel()
		if s.refused(ctx, "RCPT", "x", mail.Reply{Code: 550}); time.Since(begin) != 0 {
			t.Error("a session that ends waits")
		}
	})
}

// TestInspection: a stranger's message is inspected as it came, and stored as the
// opinion has it; one who may relay submits.
func TestInspection(t *testing.T) {
	const message = "Subject: x\r\n\r\nbody\r\n"
	var seen []string
	opinion := Opinion{}
	p := testPolicy()
	p.Limits.Session = 100
	p.NeverRefuse = func(d mail.Domain) bool { return d == "held.test" }
	p.Inspect = func(_ context.Context, a Arrival) Opinion {
		text, err := io.ReadAll(a.Open())
		if again, _ := io.ReadAll(a.Open()); err != nil || !bytes.Equal(again, text) {
			t.Errorf("read twice: %q, then %q, %v", text, again, err)
		}
		seen = append(seen, string(text))
		return opinion
	}
	for _, tt := range []struct {
		name, caller, account string
		opinion               Opinion
		reply, stored         string // its beginning; what it ends with
		seen                  int
	}{
		{"taken as it came", "192.0.2.1", "", Opinion{}, "250", message, 1},
		{"with a field", "192.0.2.1", "", Opinion{Fields: "X-Seen: yes\r\n"}, "250", message, 1},
		{"as another text", "192.0.2.1", "", Opinion{Open: func() io.Reader { return strings.NewReader("A: b\r\n\r\nother\r\n") }}, "250", "A: b\r\n\r\nother\r\n", 1},
		{"refused", "192.0.2.1", "", Opinion{Refuse: mail.Reply{Code: 550, Enhanced: "7.1", Text: "no"}}, "550 5.7.1 no", "", 1},
		{"from one who may relay", "127.0.0.1", "", Opinion{Refuse: mail.Reply{Code: 550}}, "250", message, 0},
		{"from one who has signed in", "192.0.2.1", "joe", Opinion{Refuse: mail.Reply{Code: 550}}, "250", message, 0},
	} {
		seen, opinion = nil, tt.opinion
		s := open(p, tt.caller)
		s.caller.account = tt.account
		r := s.send(t, message)
		if !strings.HasPrefix(r.String(), tt.reply) || len(seen) != tt.seen || tt.seen > 0 && seen[0] != message {
			t.Errorf("%s: %s; seen %q", tt.name, r, seen)
		}
		if s.intake.aborted != tt.seen {
			t.Errorf("%s: %d drafts are left", tt.name, tt.seen-s.intake.aborted)
		}
		for _, stored := range s.intake.kept {
			if !strings.HasPrefix(stored, tt.opinion.Fields+"Received: ") || !strings.HasSuffix(stored, tt.stored) {
				t.Errorf("%s: stored %q", tt.name, stored)
			}
		}
		if s.octets != int64(len(message)) {
			t.Errorf("%s: %d octets count for the session", tt.name, s.octets)
		}
	}
	opinion = Opinion{Refuse: mail.Reply{Code: 550, Enhanced: "7.1", Text: "no"}}
	s := open(p, "192.0.2.1")
	s.mail(t, 0)
	s.rcpt(t, "x@held.test")
	if r := s.Data(t.Context(), strings.NewReader(message)); r.String() != "450 4.7.1 no" {
		t.Errorf("a domain that never refuses: %s", r)
	}
	p.Limits.Size = 5
	s = open(p, "192.0.2.1")
	if r := s.send(t, message); r.Code != 552 || s.intake.aborted != 1 {
		t.Errorf("too large: %s, %d drafts aborted", r, s.intake.aborted)
	}
	p.Limits.Size = 0
	s = open(p, "192.0.2.1")
	s.intake.create = errors.New("disk")
	if r := s.send(t, message); r.Code != 451 {
		t.Errorf("no draft: %s", r)
	}
}

// TestBlocklists: a caller on a DNS blocklist is refused at RCPT, but for postmaster,
// and those who may relay are not asked about. It is asked once in a session.
func TestBlocklists(t *testing.T) {
	asked := 0
	p := testPolicy()
	p.NeverRefuse = func(d mail.Domain) bool { return d == "held.test" }
	p.Blocklist = func(_ context.Context, client netip.Addr) string {
		asked++
		if client == netip.MustParseAddr("192.0.2.1") {
			return "Client host [192.0.2.1] blocked using bl.test"
		}
		return ""
	}
	for _, tt := range []struct {
		caller, account, to, want string
		asked                     int
	}{
		{"192.0.2.1", "", "x@hub.test", "550 5.7.1 Client host [192.0.2.1] blocked using bl.test", 1},
		{"192.0.2.1", "", "unknown@hub.test", "550 5.7.1", 1}, // it learns nothing of mailboxes
		{"192.0.2.1", "", "x@held.test", "450 4.7.1 Client host", 1},
		{"192.0.2.1", "", "PostMaster@hub.test", "250", 0},
		{"192.0.2.1", "", "x@foreign.test", "550 5.7.1 Unable to relay", 0},
		{"192.0.2.1", "joe", "x@hub.test", "250", 0},
		{"192.0.2.2", "", "x@hub.test", "250", 1},
		{"127.0.0.1", "", "x@hub.test", "250", 0},
	} {
		asked = 0
		s := open(p, tt.caller)
		s.caller.account = tt.account
		s.mail(t, 0)
		for range 3 {
			if r := s.rcpt(t, tt.to); !strings.HasPrefix(r.String(), tt.want) {
				t.Errorf("%+v: %s", tt, r)
			}
		}
		if asked != tt.asked {
			t.Errorf("%+v: asked %d times", tt, asked)
		}
	}
}

// TestGreylist: who has to wait is put off, after all that refuses for good; DATA does not ask again.
func TestGreylist(t *testing.T) {
	p := testPolicy()
	wait, asked := time.Duration(0), 0
	p.Greylist = func(client netip.Addr, from, to mail.Address, record bool) time.Duration {
		if asked++; !record || client != netip.MustParseAddr("192.0.2.1") || from.String() != "a@b.test" {
			t.Errorf("asked about %s, %s, record %v", client, from, record)
		}
		return wait
	}
	for _, tt := range []struct {
		caller, to, want string
		wait             time.Duration
		asked            int
	}{
		{"192.0.2.1", "x@hub.test", "451 4.7.1 Greylisted, try again in 2 seconds", 1500 * time.Millisecond, 1},
		{"192.0.2.1", "x@hub.test", "250", 0, 1},
		{"192.0.2.1", "postmaster@hub.test", "250", time.Hour, 0},
		{"192.0.2.1", "unknown@hub.test", "550 5.1.1", time.Hour, 0},
		{"192.0.2.1", "x@foreign.test", "550 5.7.1", time.Hour, 0},
		{"127.0.0.1", "x@hub.test", "250", time.Hour, 0},
	} {
		wait, asked = tt.wait, 0
		s := open(p, tt.caller)
		s.mail(t, 0)
		if r := s.rcpt(t, tt.to); !strings.HasPrefix(r.String(), tt.want) || asked != tt.asked {
			t.Errorf("%+v: %s, asked %d times", tt, r, asked)
		}
	}
}
