// SPDX-License-Identifier: Apache-2.0

package delivery

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"io/fs"
	"net"
	"net/netip"
	"os"
	"slices"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"restante/engine/account"
	"restante/engine/delivery/transfer"
	"restante/engine/mail"
	"restante/engine/resolver"
	"restante/engine/wire"
	"restante/internal/deptest"
	"restante/internal/testpeer"
)

// names is what DNS says: for each name its hosts in order, or an error.
type names map[string][]resolver.Host

func (n names) Hosts(_ context.Context, d mail.Domain, _ resolver.Query) ([]resolver.Host, error) {
	hosts, ok := n[string(d)]
	if !ok {
		return nil, &resolver.Error{Name: string(d), Kind: resolver.NotFound}
	}
	if len(hosts) == 0 {
		return nil, &resolver.Error{Name: string(d), Kind: resolver.NullMX}
	}
	if hosts[0].Addrs == nil {
		return nil, &resolver.Error{Name: string(d), Kind: resolver.Temporary}
	}
	return hosts, nil
}

func (n names) Addresses(ctx context.Context, name string, q resolver.Query) ([]resolver.Host, error) {
	return n.Hosts(ctx, mail.Domain(name), q)
}

func (names) TLSA(context.Context, mail.Domain, string, uint16, resolver.Query) (resolver.TLSA, error) {
	return resolver.TLSA{}, nil
}

// lines leads the addresses of test hosts, 192.0.2.n, to real ones on
// loopback; whatever is not in it refuses the connection.
type lines map[string]string

func (l lines) DialContext(ctx context.Context, network, addr string) (net.Conn, error) {
	host, _, _ := net.SplitHostPort(addr)
	to, ok := l[host]
	if !ok {
		return nil, errors.New("connection refused")
	}
	return (&net.Dialer{}).DialContext(ctx, network, to)
}

func host(n int) resolver.Host {
	return resolver.Host{
		Name:  "mx" + strconv.Itoa(n) + ".test",
		Addrs: []netip.Addr{netip.AddrFrom4([4]byte{192, 0, 2, byte(n)})},
	}
}

func TestSameRoute(t *testing.T) {
	plain := func(password string) wire.SignIn {
		return account.SignIn{Name: "anna", Password: account.Secret(password), Mechanisms: []string{account.Plain}}
	}
	base := func() Route {
		return Route{Kind: SmartHost, Dir: "d", Smart: []Hop{{Host: "a", Port: 25}}, Client: ClientSettings{
			Hello: "hub.test", Port: 25, TLS: &tls.Config{}, Auth: plain("x"), DNS: resolver.Query{Servers: []string{"192.0.2.1:53"}},
		}}
	}
	tests := []struct {
		change func(*Route)
		same   bool
	}{
		{func(*Route) {}, true},
		{func(r *Route) { r.Client.MaxMessages, r.Client.Timeouts.Command = 1, time.Second }, true},
		{func(r *Route) { r.Kind = MX }, false},
		{func(r *Route) { r.Dir = "e" }, false},
		{func(r *Route) { r.Smart[0].Port = 26 }, false},
		{func(r *Route) { r.Smart = nil }, false},
		{func(r *Route) { r.DirectFirst = true }, false},
		{func(r *Route) { r.Client.Hello = "other.test" }, false},
		{func(r *Route) { r.Client.Port = 26 }, false},
		{func(r *Route) { r.Client.RequireTLS = true }, false},
		{func(r *Route) { r.Client.TLS = nil }, false},
		{func(r *Route) { r.Client.HELO = true }, false},
		{func(r *Route) { r.Client.Without = []string{"DSN"} }, false},
		{func(r *Route) { r.Client.DNS.Loopback = true }, false},
		{func(r *Route) { r.Client.DANE = true }, false},
		{func(r *Route) { r.Client.STS = true }, false},
		{func(r *Route) { r.Client.DNS.Secure = true }, false},
		{func(r *Route) { r.Client.DNS.Servers[0] = "192.0.2.2:53" }, false},
		{func(r *Route) { r.Client.Auth = plain("x") }, true},
		{func(r *Route) { r.Client.Auth = plain("y") }, false},
		{func(r *Route) { r.Client.Auth = nil }, false},
	}
	for i, tt := range tests {
		r := base()
		tt.change(&r)
		if got := r.Same(base()); got != tt.same || base().Same(r) != got {
			t.Errorf("change %d: Same = %v, want %v", i, got, tt.same)
		}
	}
}

var toTwo = names{"to.test": {host(1), host(2)}}

// attempt makes one over hosts 192.0.2.1 and 192.0.2.2.
func attempt(t *testing.T, route Route, res Resolver, hosts lines, l transfer.Lease) {
	t.Helper()
	route.Client.Hello = "hub.test"
	New(fixed(route), res, Options{Dialer: hosts}).Attempt(t.Context(), "to.test", l)
}

func check(t *testing.T, l *lease, n int, outcomes, reply string) {
	t.Helper()
	if got := l.outcomes(n); got != outcomes || !strings.HasPrefix(l.reply(n).Error(), reply) {
		t.Errorf("message %d: settled %q with %q, want %q with %q", n, got, l.reply(n), outcomes, reply)
	}
}

// script is a conversation after the greetings.
func script(pairs ...string) []testpeer.Step {
	return testpeer.Steps(append([]string{"", "220 mx.test", "EHLO hub.test", "250 mx.test"}, pairs...)...)
}

func TestManyMessagesRideOneConversationOctetForOctet(t *testing.T) {
	mx := testpeer.NewMX(t, testpeer.MXOptions{})
	bodies := []string{"a\r\n", ".\r\n..\r\n.x\r\n", "", "TURN\r\n", "\xff\x00 8 bit\r\n", strings.Repeat("0123456789abcd\r\n", 100_000)}
	l := newLease()
	for i, body := range bodies {
		l.items = append(l.items, message(i, body, "a@to.test", "b@to.test"))
	}
	attempt(t, Route{}, toTwo, lines{"192.0.2.1": mx.Addr}, l)
	got := mx.Messages()
	if len(got) != len(bodies) || mx.Conns() != 1 {
		t.Fatalf("%d messages over %d connections", len(got), mx.Conns())
	}
	for i, m := range got {
		if string(m.Body) != bodies[i] {
			t.Errorf("message %d came as %.80q", i, m.Body)
		}
		if m.From != "s@from.test" || !slices.Equal(m.Rcpts, []string{"a@to.test", "b@to.test"}) || m.Hello != "hub.test" {
			t.Errorf("message %d: %+v", i, m.Params)
		}
		check(t, l, i, "a@to.test delivered, b@to.test delivered", "250")
	}
}

func TestNoMoreThanMaxMessagesOnOneConnection(t *testing.T) {
	mx := testpeer.NewMX(t, testpeer.MXOptions{})
	l := newLease()
	for i := range 5 {
		l.items = append(l.items, message(i, "x\r\n", "a@to.test"))
	}
	attempt(t, Route{Client: ClientSettings{MaxMessages: 2}}, toTwo, lines{"192.0.2.1": mx.Addr}, l)
	var conns []int
	for _, m := range mx.Messages() {
		conns = append(conns, m.Conn)
	}
	if !slices.Equal(conns, []int{0, 0, 1, 1, 2}) {
		t.Errorf("connections of the messages: %v", conns)
	}
}

func TestMixedOutcomes(t *testing.T) {
	mx := testpeer.NewMX(t, testpeer.MXOptions{Answer: func(line string) string {
		switch {
		case strings.Contains(line, "<b@"):
			return "550 5.1.1 no such user"
		case strings.Contains(line, "<c@"):
			return "450 4.2.1 try later"
		}
		return ""
	}})
	l := newLease(message(1, "x\r\n", "a@to.test", "b@to.test", "c@to.test"), message(2, "x\r\n", "b@to.test"))
	attempt(t, Route{}, toTwo, lines{"192.0.2.1": mx.Addr}, l)
	check(t, l, 1, "a@to.test delivered, b@to.test failed, c@to.test deferred", "")
	check(t, l, 2, "b@to.test failed", "550 5.1.1 no such user")
}

// RFC 6531 §3.2: a host without SMTPUTF8 gets nothing that needs it; its sender is told,
// unless the mail is held for the host.
func TestHostWithoutSMTPUTF8(t *testing.T) {
	for _, held := range []bool{false, true} {
		status, class := "failed", "550 5."
		if held {
			status, class = "deferred", "450 4."
		}
		mx := testpeer.NewMX(t, testpeer.MXOptions{})
		sender, header := message(1, "x\r\n", "a@to.test"), message(3, "Subject: é\r\n", "a@to.test")
		sender.Env.From.Local = "señor"
		header.Env.UTF8, header.Env.UTF8Header = true, true
		declared := message(4, "é\r\n", "a@bücher.test")
		declared.Env.UTF8 = true
		l := newLease(sender, message(2, "x\r\n", "jörg@to.test", "b@to.test"), header, declared)
		attempt(t, Route{Held: held}, toTwo, lines{"192.0.2.1": mx.Addr}, l)
		check(t, l, 1, "a@to.test "+status, class+"6.7 the sender's address needs SMTPUTF8, and mx.test does not offer it")
		check(t, l, 2, "b@to.test delivered, jörg@to.test "+status, "")
		check(t, l, 3, "a@to.test "+status, class+"6.9 the header of the message needs SMTPUTF8")
		check(t, l, 4, "a@xn--bcher-kva.test delivered", "250")
		for _, m := range mx.Messages() {
			if strings.Contains(strings.Join(m.Params, ""), "UTF8") {
				t.Errorf("said %q", m.Params)
			}
		}
	}
}

// What each of these does, the next host must get all the mail.
func TestNextHostIsTriedWhenTheFirst(t *testing.T) {
	for name, first := range map[string][]testpeer.Step{
		"hangs up at once":            testpeer.Steps("", "HANGUP"),
		"hangs up after the greeting": testpeer.Steps("", "220 mx", "EHLO", "HANGUP"),
		"greets with 554":             testpeer.Steps("", "554 no", "QUIT", "221 bye"),
		"greets with 421":             testpeer.Steps("", "421 busy", "QUIT", "221 bye"),
		"greets with nonsense":        testpeer.Steps("", "hello, who are you?"),
		"hangs up after MAIL":         script("MAIL FROM:<s@from.test>", "HANGUP"),
		"says 421 to MAIL":            script("MAIL", "421 closing"),
		"hangs up after RCPT":         script("MAIL", "250 ok", "RCPT TO:<a@to.test>", "HANGUP"),
		"hangs up after DATA":         script("MAIL", "250 ok", "RCPT", "250 ok", "DATA", "HANGUP"),
	} {
		t.Run(name, func(t *testing.T) {
			fake := testpeer.FakeMX(t, first)
			good := testpeer.NewMX(t, testpeer.MXOptions{})
			l := newLease(message(1, "x\r\n", "a@to.test"), message(2, "y\r\n", "a@to.test"))
			attempt(t, Route{}, toTwo, lines{"192.0.2.1": fake.Addr, "192.0.2.2": good.Addr}, l)
			if fake.Conns() == 0 {
				t.Error("the first host was not asked")
			}
			check(t, l, 1, "a@to.test delivered", "250")
			check(t, l, 2, "a@to.test delivered", "250")
		})
	}
}

func TestSilentHostIsLeftAfterItsTime(t *testing.T) {
	fake := testpeer.FakeMX(t, testpeer.Steps("", "220 mx.test", "EHLO", "", "a line that never comes", ""))
	good := testpeer.NewMX(t, testpeer.MXOptions{})
	l := newLease(message(1, "x\r\n", "a@to.test"))
	talk := ClientSettings{Timeouts: wire.Timeouts{Command: 2 * time.Second}}
	attempt(t, Route{Client: talk}, toTwo, lines{"192.0.2.1": fake.Addr, "192.0.2.2": good.Addr}, l)
	check(t, l, 1, "a@to.test delivered", "250")
}

func TestConnectionRefusedMovesOnToTheNextAddress(t *testing.T) {
	mx := testpeer.NewMX(t, testpeer.MXOptions{})
	l := newLease(message(1, "x\r\n", "a@to.test"))
	attempt(t, Route{}, toTwo, lines{"192.0.2.2": mx.Addr}, l)
	check(t, l, 1, "a@to.test delivered", "250")
}

func TestAllHostsDownDefersEveryMessage(t *testing.T) {
	l := newLease(message(1, "x\r\n", "a@to.test"), message(2, "x\r\n", "a@to.test", "b@to.test"))
	attempt(t, Route{}, toTwo, lines{}, l)
	check(t, l, 1, "a@to.test deferred", "451 4.4.1 no connection to mx2.test: connection refused")
	check(t, l, 2, "a@to.test deferred, b@to.test deferred", "451 4.4.1")
}

func TestHostThatRefusesUsDefersInItsOwnWords(t *testing.T) {
	fake := testpeer.FakeMX(t, testpeer.Steps("", "554 5.7.1 go away", "QUIT", "221 bye"))
	l := newLease(message(1, "x\r\n", "a@to.test"))
	attempt(t, Route{}, names{"to.test": {host(1)}}, lines{"192.0.2.1": fake.Addr}, l)
	check(t, l, 1, "a@to.test deferred", "554 5.7.1 go away")
}

func TestPeerThatHangsUpAfterEachMessageGetsThemAll(t *testing.T) {
	n := 0
	mx := testpeer.NewMX(t, testpeer.MXOptions{Answer: func(line string) string {
		if n++; strings.HasPrefix(line, "MAIL") && n > 5 {
			n = 0
			return "421 4.7.0 too many messages"
		}
		return ""
	}})
	l := newLease()
	for i := range 6 {
		l.items = append(l.items, message(i, "x\r\n", "a@to.test"))
	}
	attempt(t, Route{}, names{"to.test": {host(1)}}, lines{"192.0.2.1": mx.Addr}, l)
	for i := range 6 {
		check(t, l, i, "a@to.test delivered", "250")
	}
	if len(mx.Messages()) != 6 || mx.Conns() < 3 {
		t.Errorf("%d messages over %d connections", len(mx.Messages()), mx.Conns())
	}
}

func TestWhatDNSSaysOfADomainWithoutHosts(t *testing.T) {
	tests := []struct {
		dns     names
		outcome string
		reply   string
	}{
		{names{}, "a@to.test failed", "550 5.1.2"},
		{names{"to.test": {}}, "a@to.test failed", "556 5.1.10"},
		{names{"to.test": {{Name: "later"}}}, "a@to.test deferred", "451 4.4.3"},
	}
	for _, tt := range tests {
		l := newLease(message(1, "x\r\n", "a@to.test"))
		attempt(t, Route{}, tt.dns, lines{}, l)
		check(t, l, 1, tt.outcome, tt.reply)
	}
}

// Anybody may say ETRN: what waits for a host that DNS does not know stays.
func TestHeldMailIsNotReturnedForWantOfAHost(t *testing.T) {
	for _, dns := range []names{{}, {"to.test": {}}, {"to.test": {{Name: "later"}}}} {
		l := newLease(message(1, "x\r\n", "a@to.test"))
		attempt(t, Route{Held: true}, dns, lines{}, l)
		check(t, l, 1, "a@to.test deferred", "451 4.4")
	}
}

func TestSmartHost(t *testing.T) {
	smartDNS := names{"smart.test": {host(9)}, "to.test": {host(1)}}
	route := func(direct bool) Route {
		return Route{Kind: SmartHost, Smart: []Hop{{Host: "gone.test"}, {Host: "smart.test"}}, DirectFirst: direct}
	}
	tests := []struct {
		name        string
		route       Route
		dns         names
		direct      bool // the direct host is up
		viaS, viaMX int
	}{
		{"always", route(false), smartDNS, true, 1, 0},
		{"direct first", route(true), smartDNS, true, 0, 1},
		{"direct first, which is down", route(true), smartDNS, false, 1, 0},
		{"direct first, no such domain", route(true), names{"smart.test": {host(9)}}, false, 1, 0},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			smart, mx := testpeer.NewMX(t, testpeer.MXOptions{}), testpeer.NewMX(t, testpeer.MXOptions{})
			hosts := lines{"192.0.2.9": smart.Addr}
			if tt.direct {
				hosts["192.0.2.1"] = mx.Addr
			}
			l := newLease(message(1, "x\r\n", "a@to.test"))
			attempt(t, tt.route, tt.dns, hosts, l)
			check(t, l, 1, "a@to.test delivered", "250")
			if len(smart.Messages()) != tt.viaS || len(mx.Messages()) != tt.viaMX {
				t.Errorf("%d by the smart host, %d direct", len(smart.Messages()), len(mx.Messages()))
			}
		})
	}
}

func TestSmartHostThatDoesNotExistIsNoReasonToReturnMail(t *testing.T) {
	l := newLease(message(1, "x\r\n", "a@to.test"))
	attempt(t, Route{Kind: SmartHost, Smart: []Hop{{Host: "gone.test"}}}, names{}, lines{}, l)
	check(t, l, 1, "a@to.test deferred", "451 4.4.3")
	l = newLease(message(1, "x\r\n", "a@to.test"))
	attempt(t, Route{Kind: SmartHost}, names{}, lines{}, l)
	check(t, l, 1, "a@to.test deferred", "451 4.4")
}

// A smart host may be another server of this machine, never ourselves.
func TestSmartHostThatIsOurselvesIsNotCalled(t *testing.T) {
	mx := testpeer.NewMX(t, testpeer.MXOptions{})
	own := func(a netip.AddrPort) bool { return a == netip.MustParseAddrPort("192.0.2.1:25") }
	for _, tt := range []struct {
		smart      []Hop
		want, text string
	}{
		{[]Hop{{Host: "us.test"}}, "a@to.test deferred", "451 4.4.3 us.test: mail for the domain comes back to this host"},
		{[]Hop{{Host: "us.test"}, {Host: "other.test"}}, "a@to.test delivered", "250"},
		{[]Hop{{Host: "us.test", Port: 26}}, "a@to.test delivered", "250"},
	} {
		l := newLease(message(1, "x\r\n", "a@to.test"))
		found := names{"us.test": {host(1)}, "other.test": {host(2)}}
		attempt(t, Route{Kind: SmartHost, Smart: tt.smart, Client: ClientSettings{Own: own}}, found, lines{"192.0.2.1": mx.Addr, "192.0.2.2": mx.Addr}, l)
		check(t, l, 1, tt.want, tt.text)
	}
}

// Hosts that share the mail come first by their weights; the others keep their place.
func TestSharedSmartHosts(t *testing.T) {
	hops := []Hop{{Host: "first"}, {Host: "a", Weight: 3}, {Host: "b", Shares: true}, {Host: "c", Shares: true, Weight: 6}, {Host: "last"}}
	times := map[string]int{}
	for range 10000 {
		got := shuffled(hops)
		if len(got) != 5 || got[0].Host != "first" || got[4].Host != "last" {
			t.Fatalf("order %v", got)
		}
		times[got[1].Host]++
	}
	for host, want := range map[string]int{"a": 3000, "b": 1000, "c": 6000} {
		if n := times[host]; n < want-400 || n > want+400 {
			t.Errorf("%s was first %d times of 10000, want about %d", host, n, want)
		}
	}
}

func TestTLS(t *testing.T) {
	good, pool := testpeer.Certificate(t, "mx1.test", time.Now().Add(time.Hour))
	expired, expiredPool := testpeer.Certificate(t, "mx1.test", time.Now().Add(-time.Hour))
	other, otherPool := testpeer.Certificate(t, "other.test", time.Now().Add(time.Hour))
	tests := []struct {
		name     string
		offered  *tls.Config
		trust    *tls.Config
		required bool
		outcome  string
		reply    string
		overTLS  bool
	}{
		{"offered", certs(good), nil, false, "delivered", "250", true},
		{"offered with an expired certificate", certs(expired), nil, false, "delivered", "250", true},
		{"not offered", nil, nil, false, "delivered", "250", false},
		{"handshake fails, in clear", &tls.Config{}, nil, false, "delivered", "250", false},
		{"demanded", certs(good), &tls.Config{RootCAs: pool}, true, "delivered", "250", true},
		{"demanded, expired", certs(expired), &tls.Config{RootCAs: expiredPool}, true, "deferred", "4", false},
		{"demanded, not trusted", certs(good), nil, true, "deferred", "4", false},
		{"demanded, another's name", certs(other), &tls.Config{RootCAs: otherPool}, true, "deferred", "4", false},
		{"demanded, not offered", nil, nil, true, "deferred", "", false},
		{"demanded, handshake fails", &tls.Config{}, nil, true, "deferred", "4", false},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			mx := testpeer.NewMX(t, testpeer.MXOptions{TLS: tt.offered})
			l := newLease(message(1, "x\r\n", "a@to.test"))
			attempt(t, Route{Client: ClientSettings{TLS: tt.trust, RequireTLS: tt.required}},
				names{"to.test": {host(1)}}, lines{"192.0.2.1": mx.Addr}, l)
			check(t, l, 1, "a@to.test "+tt.outcome, tt.reply)
			if got := mx.Messages(); len(got) > 0 && got[0].TLS != tt.overTLS {
				t.Errorf("over TLS: %v", got[0].TLS)
			}
		})
	}
}

// A message that requires TLS goes over verified TLS alone, to a host that offers
// REQUIRETLS, and is returned otherwise; the others go (RFC 8689 §4.2.1, §5).
func TestRequireTLS(t *testing.T) {
	good, pool := testpeer.Certificate(t, "mx1.test", time.Now().Add(time.Hour))
	other, otherPool := testpeer.Certificate(t, "other.test", time.Now().Add(time.Hour))
	const offer = "250-mx1.test\r\n250-STARTTLS\r\n250 REQUIRETLS"
	for _, tt := range []struct {
		name    string
		offered *tls.Config
		trust   *x509.CertPool
		ehlo    string
		reply   string
	}{
		{"proved and offered", certs(good), pool, offer, "250"},
		{"not trusted", certs(good), nil, offer, "550 5.7.10 "},
		{"another's name", certs(other), otherPool, offer, "550 5.7.10 "},
		{"no TLS", nil, pool, "250-mx1.test\r\n250 REQUIRETLS", "550 5.7.10 "},
		{"handshake fails", &tls.Config{}, pool, offer, "550 5.7.10 "},
		{"not offered", certs(good), pool, "250-mx1.test\r\n250 STARTTLS", "550 5.7.30 "},
	} {
		t.Run(tt.name, func(t *testing.T) {
			mx := testpeer.NewMX(t, testpeer.MXOptions{TLS: tt.offered, Answer: func(line string) string {
				if strings.HasPrefix(line, "EHLO") {
					return tt.ehlo
				}
				return ""
			}})
			needy := message(1, "x\r\n", "a@to.test")
			needy.Env.RequireTLS = true
			l := newLease(needy, message(2, "y\r\n", "b@to.test"))
			attempt(t, Route{Client: ClientSettings{TLS: &tls.Config{RootCAs: tt.trust}}}, names{"to.test": {host(1)}}, lines{"192.0.2.1": mx.Addr}, l)
			outcome, sent := "a@to.test failed", 1
			if tt.reply == "250" {
				outcome, sent = "a@to.test delivered", 2
			}
			check(t, l, 1, outcome, tt.reply)
			check(t, l, 2, "b@to.test delivered", "250")
			if got := len(mx.Messages()); got != sent {
				t.Errorf("the host got %d messages, want %d", got, sent)
			}
		})
	}
}

func certs(c tls.Certificate) *tls.Config { return &tls.Config{Certificates: []tls.Certificate{c}} }

func TestPasswordIsNotSaidInClearAfterAFailedHandshake(t *testing.T) {
	var mu sync.Mutex
	var said []string // guarded by mu
	mx := testpeer.NewMX(t, testpeer.MXOptions{TLS: &tls.Config{}, Answer: func(line string) string {
		mu.Lock()
		defer mu.Unlock()
		said = append(said, line)
		return ""
	}})
	l := newLease(message(1, "x\r\n", "a@to.test"))
	talk := ClientSettings{Auth: account.SignIn{Name: "user", Password: "secret", Mechanisms: account.ByPassword, InClear: true}}
	attempt(t, Route{Kind: SmartHost, Smart: []Hop{{Host: "smart.test"}}, Client: talk}, names{"smart.test": {host(1)}}, lines{"192.0.2.1": mx.Addr}, l)
	check(t, l, 1, "a@to.test deferred", "4")
	mu.Lock()
	defer mu.Unlock()
	if slices.ContainsFunc(said, func(s string) bool { return strings.HasPrefix(s, "AUTH") }) || mx.Conns() != 1 {
		t.Errorf("%d connections; said %q", mx.Conns(), said)
	}
}

// The password of a smart host is for no other host, and in clear for none unless
// that is said and the host offers no TLS.
func TestPasswordIsForSmartHostsOverTLS(t *testing.T) {
	cert, _ := testpeer.Certificate(t, "mx9.test", time.Now().Add(time.Hour))
	dns := names{"smart.test": {host(9)}, "to.test": {host(1)}}
	smart := []Hop{{Host: "smart.test"}}
	inClear := "454 4.7.11 mx9.test offers no TLS, and there is no sign-in without it: the password is not sent in clear (RouteClearTextAuth)"
	refused := "454 4.7.11 mx9.test offers STARTTLS and answered it with 454 4.7.0 no key; there is no sign-in without it"
	for _, tt := range []struct {
		name      string
		route     Route
		inClear   bool
		starttls  string // what the host says to it; "" if it does not offer it
		direct    bool   // the direct host is up
		reply     string
		passwords int
	}{
		{"over TLS", Route{Kind: SmartHost, Smart: smart}, false, "220 go", false, "250", 1},
		{"no TLS", Route{Kind: SmartHost, Smart: smart}, false, "", false, inClear, 0},
		{"no TLS, as it may", Route{Kind: SmartHost, Smart: smart}, true, "", false, "250", 1},
		{"TLS refused", Route{Kind: SmartHost, Smart: smart}, false, "454 4.7.0 no key", false, refused, 0},
		{"TLS refused, as it may", Route{Kind: SmartHost, Smart: smart}, true, "454 4.7.0 no key", false, refused, 0},
		{"direct first", Route{Kind: SmartHost, Smart: smart, DirectFirst: true}, true, "", true, "250", 0},
		{"direct first, which is down", Route{Kind: SmartHost, Smart: smart, DirectFirst: true}, false, "220 go", false, "250", 1},
		{"by DNS", Route{}, true, "", true, "250", 0},
	} {
		t.Run(tt.name, func(t *testing.T) {
			var mu sync.Mutex
			passwords := 0 // guarded by mu
			answer := func(line string) string {
				mu.Lock()
				defer mu.Unlock()
				switch {
				case strings.HasPrefix(line, "EHLO") && tt.starttls == "":
					return "250-mx.test\r\n250 AUTH PLAIN"
				case strings.HasPrefix(line, "EHLO"):
					return "250-mx.test\r\n250-STARTTLS\r\n250 AUTH PLAIN"
				case line == "STARTTLS":
					return tt.starttls
				case strings.HasPrefix(line, "AUTH"):
					passwords++
					return "235 2.7.0 yes"
				}
				return ""
			}
			mx := testpeer.NewMX(t, testpeer.MXOptions{TLS: certs(cert), Answer: answer})
			hosts := lines{"192.0.2.9": mx.Addr}
			if tt.direct {
				hosts["192.0.2.1"] = mx.Addr
			}
			tt.route.Client.Auth = account.SignIn{Name: "user", Password: "secret", Mechanisms: account.ByPassword, InClear: tt.inClear}
			l := newLease(message(1, "x\r\n", "a@to.test"))
			attempt(t, tt.route, dns, hosts, l)
			outcome := "a@to.test deferred"
			if tt.reply == "250" {
				outcome = "a@to.test delivered"
			}
			check(t, l, 1, outcome, tt.reply)
			mu.Lock()
			defer mu.Unlock()
			if passwords != tt.passwords {
				t.Errorf("the password was sent %d times, want %d", passwords, tt.passwords)
			}
		})
	}
}

func TestEndedContextLeavesTheMessagesAlone(t *testing.T) {
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	for _, route := range []Route{{}, {Kind: Drop, Dir: t.TempDir()}} {
		l := newLease(message(1, "x\r\n", "a@to.test"))
		New(fixed(route), toTwo, Options{Dialer: lines{}}).Attempt(ctx, "to.test", l)
		check(t, l, 1, "", "")
	}
}

func TestLayers(t *testing.T) {
	deptest.Forbid(t, map[string]string{
		"/metabase":        "the SMTP packages know nothing of paths",
		"/engine/settings": "the route is asked of the caller",
		"/engine/queue":    "a lease is all it knows of the queue",
		"miekg/dns":        "only engine/resolver speaks DNS",
		"go-smtp":          "only engine/wire speaks SMTP",
	})
}

// What a report to a stranger says in words of ours has nothing of the settings, of the
// files or of the addresses within the network. The administrator is told all of it.
func TestRepliesOfOursAreForStrangers(t *testing.T) {
	inner := target{host: "mx.inner.test", addr: netip.MustParseAddrPort("10.0.0.5:25")}
	dial := &net.OpError{Op: "dial", Net: "tcp", Addr: net.TCPAddrFromAddrPort(inner.addr), Err: errors.New("connection refused")}
	read := &net.OpError{Op: "read", Net: "tcp", Addr: net.TCPAddrFromAddrPort(inner.addr), Err: errors.New("connection reset")}
	slow := &net.OpError{Op: "read", Net: "tcp", Addr: net.TCPAddrFromAddrPort(inner.addr), Err: os.ErrDeadlineExceeded}
	signIn := func(s account.SignIn, offered ...string) mail.Reply {
		_, _, err := s.Begin(t.Context(), offered, nil)
		return refusal(&wire.PhaseError{Phase: "AUTH", Err: err}, inner)
	}
	resolve := func(kind resolver.Kind) mail.Reply {
		e := &resolver.Error{Name: "inner.test", Kind: kind, Err: errors.New("server 10.0.0.5:53: no (SmtpUseTcpDns)")}
		return resolveFailure(e).reply
	}
	full := &fs.PathError{Op: "write", Path: "/srv/10.0.0.5", Err: syscall.ENOSPC}
	smart := &resolver.Error{Name: "smart.test", Kind: resolver.Temporary, Err: &resolver.Error{Name: "smart.test", Kind: resolver.NotFound, Err: errors.New("server 10.0.0.5:53")}}
	for _, tt := range []struct {
		reply      mail.Reply
		text, told string
	}{
		{refusal(dial, inner), "no connection to mx.inner.test", "10.0.0.5:25: connection refused"},
		{refusal(fmt.Errorf("dial: %w", slow), inner), "no answer from mx.inner.test", "10.0.0.5:25"},
		{refusal(&wire.PhaseError{Phase: "RCPT", Err: read}, inner), "the conversation with mx.inner.test broke", "10.0.0.5:25: connection reset"},
		{refusal(&wire.PhaseError{Phase: "RCPT", Err: slow}, inner), "no answer from mx.inner.test in time", "10.0.0.5:25"},
		{refusal(fmt.Errorf("%w: %w", wire.ErrTLS, &wire.PhaseError{Phase: mail.AtTLS, Err: read}), inner), "no trusted TLS connection to mx.inner.test", "10.0.0.5:25"},
		{refusal(fmt.Errorf("%w: it is required, and not configured", wire.ErrTLS), inner), "no trusted TLS connection to mx.inner.test", "not configured"},
		{signIn(account.SignIn{Mechanisms: account.ByPassword}), "mx.inner.test offers no sign-in that can be used", "it offers none; the settings allow SCRAM-SHA-256, CRAM-MD5, PLAIN, LOGIN (RouteAction)"},
		{signIn(account.SignIn{Mechanisms: account.ByPassword}, "NTLM"), "mx.inner.test offers no sign-in that can be used", "it offers NTLM; the settings allow"},
		{signIn(account.SignIn{Mechanisms: account.ByPassword}, account.Plain), "mx.inner.test offers no TLS, and there is no sign-in without it", "(RouteClearTextAuth)"},
		{signIn(account.SignIn{Name: "a\x00", Mechanisms: account.ByPassword}, account.Scram), "mx.inner.test cannot be signed in to", "the name or the password"},
		{resolve(resolver.Temporary), "no answer from the name servers", "10.0.0.5:53: no (SmtpUseTcpDns)"},
		{resolve(resolver.NotFound), "no such domain", "10.0.0.5:53"},
		{resolve(resolver.NullMX), "the domain takes no mail", "10.0.0.5:53"},
		{resolve(resolver.NoAddress), "no mail host has an address", "10.0.0.5:53"},
		{resolve(resolver.Unusable), string(resolver.Unusable), "10.0.0.5:53"},
		{resolve(resolver.Loop), "mail for the domain comes back to this host", "10.0.0.5:53"},
		{resolveFailure(smart).reply, "smart.test: no such domain", "10.0.0.5:53"},
		{resolveFailure(errors.New("open /etc/resolv.conf: no")).reply, "no answer from the name servers", "/etc/resolv.conf"},
		{dropFailure(full), "Insufficient system storage", "/srv/10.0.0.5"},
		{dropFailure(&fs.PathError{Op: "open", Path: "/srv/10.0.0.5", Err: fs.ErrPermission}), "the message cannot be stored now", "/srv/10.0.0.5"},
	} {
		if tt.reply.Text != tt.text || tt.reply.Peer {
			t.Errorf("the sender is told %q, want %q", tt.reply.Text, tt.text)
		}
		if !strings.Contains(tt.reply.Error(), tt.told) {
			t.Errorf("the administrator is told %q, want %q", tt.reply.Error(), tt.told)
		}
	}
}
