// SPDX-License-Identifier: Apache-2.0

package engine

import (
	"bufio"
	"bytes"
	"context"
	"crypto/tls"
	"encoding/base64"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"maps"
	"net"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"restante/engine/account"
	"restante/engine/mail"
	"restante/engine/queue"
	"restante/engine/resolver/dnstest"
	"restante/engine/settings"
	"restante/internal/kv"
	"restante/internal/testpeer"
	"restante/metabase"
	"restante/metabase/schema"
)

// A probe observes one property from outside of a site: by a reply, a file, a
// connection, or what is shown of the queue. It sets one value after the other while
// the site runs; want says what is observed with each.
type probe struct {
	at      string    // key below the site, or / for the service
	values  [2]string // an empty one is no string at all, or the empty one
	want    [2]string
	before  func(p *prober)
	observe func(p *prober, round int) string
}

// A prober runs one probe, at a site of its own.
type prober struct {
	harness
	t    *testing.T
	n    int
	name string
	host *fakeHost

	lines  *syncBuffer // the journal of all sites
	key    string      // of the site's certificate
	names  *dnstest.Server
	system *dnstest.Server // of the machine's resolver
	id     mail.MessageID
}

// TestProperties has a probe for each property whose row of the schema names it: the
// value is changed on a running service, and what is observed differs.
func TestProperties(t *testing.T) {
	probes := probes()
	for prop := range schema.IIS().Props() {
		if prop.Test == "TestProperties" && probes[prop.Label()].observe == nil {
			t.Errorf("%s: there is no probe", prop.Label())
		}
	}
	system := systemNames(t)
	h := newHarness(t)
	lines := &syncBuffer{}
	h.journal = slog.New(slog.NewTextHandler(lines, nil))
	h.apply(slices.Concat(h.account("joe", "secret"), h.account("ann", "secret"))...)
	sites := map[string]int{}
	for _, name := range slices.Sorted(maps.Keys(probes)) {
		sites[name] = h.newSite("127.0.0.1:0")
		at := settings.SitePath(sites[name])
		h.apply(append(h.hold(sites[name], "held.test", "joe"), h.set(at, "DefaultDomain", "hub.example"),
			h.set(at, "AllowLoopbackHosts", "true"), h.set(at, "ReportCollectTime", "1"))...)
	}
	h.run()
	for name, one := range probes {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			prop, ok := schema.IIS().Property(name)
			if !ok || prop.Test != "TestProperties" {
				t.Fatalf("the row of %s names %q", name, prop.Test)
			}
			p := &prober{harness: *h, t: t, n: sites[name], name: name, lines: lines, system: system}
			p.harness.t = t
			if p.host = newFakeHost(t); one.before != nil {
				one.before(p)
			}
			var got [2]string
			for i, v := range one.values {
				p.put(one.at, name, p.value(v))
				if got[i] = one.observe(p, i); got[i] != one.want[i] {
					t.Errorf("with %q: %s, want %s", v, got[i], one.want[i])
				}
			}
			if got[0] == got[1] {
				t.Errorf("both %q and %q: %s", one.values[0], one.values[1], got[0])
			}
		})
	}
}

// put sets a property of the site, of a key below it, or with / of the service.
func (p *prober) put(at, name string, value ...string) {
	p.t.Helper()
	path := settings.SitePath(p.n)
	switch at {
	case "":
	case "/":
		path = settings.Service
	default:
		for part := range strings.SplitSeq(at, "/") {
			path = path.Join(part)
		}
	}
	p.apply(p.set(path, name, value...))
}

// routed has all mail of the site go to the fake host.
func (p *prober) routed() {
	p.put("", "SmartHost", p.host.addr)
	p.put("", "SmartHostType", "2")
}

func (p *prober) path(elem ...string) string {
	return filepath.Join(append([]string{p.dir}, elem...)...)
}

// drop is the folder for local mail.
func (p *prober) drop() string {
	return p.dropFolder("")
}

func (p *prober) dropFolder(name string) string {
	if name == "" {
		v, _, _ := schema.IIS().Effective(p.store.Snapshot(), settings.SitePath(p.n), settings.DropDirectory)
		name = v.Str()
	}
	return p.path(name)
}

func files(dir string) int {
	list, _ := filepath.Glob(filepath.Join(dir, "*.eml"))
	return len(list)
}

// send sends a message through the site.
func (p *prober) send(to string, text string) {
	p.t.Helper()
	l := p.dial(p.n)
	if err := l.Send("a@client.test", to, []byte(text+".\r\n")); err != nil {
		p.t.Fatal(err)
	}
	l.Quit()
}

// queued puts a message of that age into the queue of the site.
func (p *prober) queued(age time.Duration, to string) mail.MessageID {
	p.t.Helper()
	q, _ := p.Queue(p.n)
	d, err := q.Create(p.t.Context())
	if err != nil {
		p.t.Fatal(err)
	}
	if _, err := d.Write([]byte("Subject: x\r\n\r\nx\r\n")); err != nil {
		p.t.Fatal(err)
	}
	from, _ := mail.ParseAddress("a@hub.example")
	rcpt, err := mail.ParseAddress(to)
	if err != nil {
		p.t.Fatal(err)
	}
	now := time.Now()
	env := mail.Envelope{ID: mail.NewMessageID(now), From: from, To: []mail.Recipient{{Address: rcpt}}, Received: now.Add(-age)}
	if err := q.Accept(p.t.Context(), d, env); err != nil {
		p.t.Fatal(err)
	}
	return env.ID
}

// waiting gives what is shown of a message once an attempt was made; false when it
// has left the queue.
func (p *prober) waiting(id mail.MessageID) (m queue.Message, there bool) {
	p.t.Helper()
	q, _ := p.Queue(p.n)
	p.eventually("an attempt at "+string(id), func() bool {
		d, err := q.Show(id)
		if there = err == nil && len(d.Entries) > 0; there {
			m = d.Entries[0]
		}
		if !there || m.Attempts == 0 && (m.LastError == "" || m.State != queue.Retry) {
			return !there
		}
		if q.Holder(m.Domain) != "" {
			return false // what has expired is settled before the attempt ends
		}
		d, err = q.Show(id)
		if there = err == nil && len(d.Entries) > 0; there {
			m = d.Entries[0]
		}
		return true
	})
	return m, there
}

// fate is what becomes of a message of that age that cannot be delivered.
func (p *prober) fate(age time.Duration, to string) string {
	p.t.Helper()
	id := p.queued(age, to)
	if _, there := p.waiting(id); !there {
		return "returned"
	}
	return "kept"
}

// notices says whether the sender of such a message is told that it is late.
func (p *prober) notices(to string) string {
	p.t.Helper()
	id, before := p.queued(3*time.Hour, to), files(p.drop())
	p.waiting(id)
	q, _ := p.Queue(p.n)
	if q.Count("hub.example")+files(p.drop()) == before {
		return "silence"
	}
	p.eventually("the notice is dropped", func() bool { return files(p.drop()) > before })
	return "a notice"
}

// retryIn is the time from an attempt to the next one, in minutes.
func (p *prober) retryIn(to string) string {
	p.t.Helper()
	m, there := p.waiting(p.queued(0, to))
	if !there {
		return "it is gone"
	}
	return fmt.Sprintf("next in %.0f min", m.NextTry.Sub(m.LastTry).Minutes())
}

// unwritable gives domains whose folder cannot be written.
func (p *prober) unwritable() {
	if err := os.WriteFile(p.path("file"+p.name), nil, 0o600); err != nil {
		p.t.Fatal(err)
	}
	for _, name := range []string{"stuck0.test", "stuck1.test"} { // one for each round: the first failure keeps the next message back
		ops, err := settings.CreateDomain(p.store.Snapshot(), p.n, name, settings.Drop)
		if err != nil {
			p.t.Fatal(err)
		}
		p.apply(append(ops, p.set(settings.DomainPath(p.n, name), "RouteActionString", "file"+p.name+"/drop"))...)
	}
}

// refused has all mail go to a port where nobody listens.
func (p *prober) refused() {
	p.host.close()
	p.routed()
}

// pickedUp gives the line of a file of the Pickup folder as it is dropped.
func (p *prober) pickedUp(round int) string {
	p.t.Helper()
	v, _, _ := schema.IIS().Effective(p.store.Snapshot(), settings.SitePath(p.n), settings.PickupDirectory)
	dir := p.path(v.Str())
	text := "x-sender: a@client.test\r\nx-receiver: b@hub.example\r\nSubject: x\r\n\r\n..two\r\n"
	if err := os.WriteFile(filepath.Join(dir, fmt.Sprint(round, ".eml")), []byte(text), 0o600); err != nil {
		p.t.Fatal(err)
	}
	var got []byte
	p.eventually("the file is dropped", func() bool {
		list, _ := filepath.Glob(filepath.Join(p.drop(), "*.eml"))
		if len(list) == 0 {
			return false
		}
		got, _ = os.ReadFile(list[0])
		return len(got) > 0 && os.Remove(list[0]) == nil
	})
	_, body, _ := strings.Cut(string(got), "\r\n\r\n")
	return strings.TrimSpace(body)
}

// released has so many messages wait for a held domain at the fake host, and asks for
// them.
func (p *prober) released(count int, domains ...mail.Domain) {
	p.t.Helper()
	q, _ := p.Queue(p.n)
	for _, d := range domains {
		for range count {
			p.queued(0, "x@"+string(d))
		}
	}
	for _, d := range domains {
		q.Trigger(d)
	}
}

// hostFor has the held domains go to the fake host.
func (p *prober) hostFor(domains ...string) {
	for _, d := range domains {
		if d != "held.test" {
			p.apply(p.hold(p.n, d, "joe")...)
		}
		p.put("Domain/"+d, "RouteActionString", p.host.addr)
	}
}

// drained waits until nothing waits for the domains.
func (p *prober) drained(domains ...mail.Domain) {
	q, _ := p.Queue(p.n)
	p.eventually("the mail is taken", func() bool {
		return !slices.ContainsFunc(domains, func(d mail.Domain) bool { return q.Count(d) > 0 || q.Holder(d) != "" })
	})
}

// concurrent gives the most connections at one time while the mail is taken.
func (p *prober) concurrent(round, count int, domains ...mail.Domain) string {
	p.host.meet(2, []time.Duration{50 * time.Millisecond, 20 * time.Second}[round])
	p.released(count, domains...)
	p.drained(domains...)
	return fmt.Sprint(p.host.most(), " at once")
}

// signsIn says how AUTH PLAIN is answered.
func (p *prober) signsIn(user, password string) string {
	l := p.dial(p.n)
	defer l.Close()
	text := base64.StdEncoding.EncodeToString([]byte("\x00" + user + "\x00" + password))
	if err := l.Say("AUTH PLAIN "+text, "235"); err != nil {
		return "no"
	}
	return "yes"
}

// A syncBuffer may be written to from anywhere.
type syncBuffer struct {
	mu sync.Mutex
	b  bytes.Buffer
}

func (s *syncBuffer) Write(b []byte) (int, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.b.Write(b)
}

// A fakeHost takes mail and knows how it was talked to.
type fakeHost struct {
	addr string
	l    net.Listener

	mu      sync.Mutex // guards what follows
	talk    func(net.Conn)
	open    int
	highest int
	all     int
	grouped bool // MAIL and RCPT came in one segment
	meeting chan struct{}
	quorum  int
	patient time.Duration
}

func newFakeHost(t *testing.T) *fakeHost {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	h := &fakeHost{addr: l.Addr().String(), l: l}
	h.answer(testpeer.NewMX(t, testpeer.MXOptions{}).Serve)
	var conns sync.WaitGroup
	conns.Go(func() {
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			conns.Go(func() {
				defer context.AfterFunc(t.Context(), func() { _ = c.Close() })()
				h.serve(c)
			})
		}
	})
	t.Cleanup(func() {
		h.close()
		conns.Wait()
	})
	return h
}

// answer has the host talk so from the next connection on.
func (h *fakeHost) answer(talk func(net.Conn)) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.talk = talk
}

func (h *fakeHost) close() { _ = h.l.Close() }

// meet has each connection wait until so many are open, for at most that time.
func (h *fakeHost) meet(quorum int, patient time.Duration) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.quorum, h.patient, h.meeting, h.highest = quorum, patient, make(chan struct{}), h.open
}

func (h *fakeHost) serve(c net.Conn) {
	defer c.Close()
	h.mu.Lock()
	h.open++
	h.all++
	h.highest = max(h.highest, h.open)
	meeting, patient, talk := h.meeting, h.patient, h.talk
	if meeting != nil && h.open == h.quorum {
		close(h.meeting)
		h.meeting = nil
	}
	h.mu.Unlock()
	if meeting != nil {
		select {
		case <-meeting:
		case <-time.After(patient):
		}
	}
	talk(listening{c, h})
	h.mu.Lock()
	h.open--
	h.mu.Unlock()
}

func (h *fakeHost) most() int {
	h.mu.Lock()
	defer h.mu.Unlock()
	return h.highest
}

// connections counts those since the last call.
func (h *fakeHost) connections() (n int) {
	h.mu.Lock()
	defer h.mu.Unlock()
	n, h.all = h.all, 0
	return n
}

// A listening connection hears how commands come.
type listening struct {
	net.Conn
	host *fakeHost
}

func (l listening) Read(b []byte) (int, error) {
	n, err := l.Conn.Read(b)
	l.host.mu.Lock()
	defer l.host.mu.Unlock()
	if bytes.Contains(b[:n], []byte("MAIL FROM")) {
		l.host.grouped = bytes.Contains(b[:n], []byte("RCPT TO"))
	}
	return n, err
}

// delivered says what becomes of a message for another host.
func (p *prober) delivered() string {
	id := p.queued(0, "x@far.test")
	if m, there := p.waiting(id); there {
		return "deferred: " + m.LastError
	}
	return "delivered"
}

func short(s string) string {
	s, _, _ = strings.Cut(s, ":")
	return s
}

// value makes the placeholders of a table what they stand for.
func (p *prober) value(v string) string {
	switch {
	case v == "PORT":
		_, port, _ := net.SplitHostPort(p.host.addr)
		return port
	case v == "KEY":
		return p.key
	case strings.HasPrefix(v, "SCRAM "):
		c, err := account.New("eve", v[6:], false)
		if err != nil {
			p.t.Fatal(err)
		}
		return c.Scram
	}
	return v
}

func retryRemote(p *prober, round int) string { return p.retryIn(fmt.Sprintf("x@far%d.test", round)) }

func observePickup(p *prober, round int) string {
	dirs := [2]string{p.path("pickupA"), p.path("pickupB")}
	for i, dir := range dirs {
		if err := os.MkdirAll(dir, 0o700); err != nil {
			p.t.Fatal(err)
		}
		if round == 0 || i == 0 {
			text := "x-sender: a@client.test\r\nx-receiver: b@hub.example\r\nSubject: x\r\n\r\nx\r\n"
			if err := os.WriteFile(filepath.Join(dir, fmt.Sprint(round, ".eml")), []byte(text), 0o600); err != nil {
				p.t.Fatal(err)
			}
		}
	}
	p.eventually("the files are taken", func() bool { return files(dirs[round]) == 0 })
	return fmt.Sprint("files left: ", files(dirs[0]), " ", files(dirs[1]))
}

// hello is the reply to EHLO.
func (p *prober) hello() string {
	l, err := testpeer.Connect(p.status(p.n).Listening[0].String())
	if err != nil {
		p.t.Fatal(err)
	}
	defer l.Close()
	if _, err := l.Write([]byte("EHLO client.test\r\n")); err != nil {
		p.t.Fatal(err)
	}
	var all string
	for {
		line, err := l.R.ReadString('\n')
		if err != nil {
			p.t.Fatal(err)
		}
		if all += line; strings.HasPrefix(line, "250 ") {
			return all
		}
	}
}

// observeSilence says how long a host that does not greet is waited for.
func observeSilence(p *prober, round int) string {
	over := make(chan bool, 1) // whether the first connection was given up
	p.host.answer(func(c net.Conn) {
		_ = c.SetReadDeadline(time.Now().Add([]time.Duration{30 * time.Second, 1500 * time.Millisecond}[round]))
		_, err := c.Read(make([]byte, 1))
		timeout, ok := err.(net.Error)
		select {
		case over <- !ok || !timeout.Timeout():
		default: // a later connection
		}
	})
	p.queued(0, fmt.Sprintf("x@far%d.test", round))
	if <-over {
		return "given up"
	}
	return "waits"
}

// observeFirstOctet says what a host hears that greets at once.
func observeFirstOctet(p *prober, round int) string {
	first := make(chan byte, 10)
	p.host.answer(func(c net.Conn) {
		_, _ = c.Write([]byte("220 mx.test\r\n"))
		b := make([]byte, 1)
		if n, _ := c.Read(b); n == 1 {
			first <- b[0]
		}
	})
	p.queued(0, fmt.Sprintf("x@far%d.test", round))
	if <-first == 0x16 { // RFC 8446 §5.1: a handshake
		return "TLS"
	}
	return "EHLO"
}

func observeHeld(p *prober, round int) string {
	q, _ := p.Queue(p.n)
	if round == 0 {
		p.id = p.queued(24*time.Hour, "x@held.test")
	}
	d, err := q.Show(p.id)
	if err != nil {
		p.t.Fatal(err)
	}
	return fmt.Sprintf("kept for %.0f days", d.Entries[0].Expires.Sub(d.Entries[0].Received).Hours()/24)
}

func observeTurn(p *prober, _ int) string {
	p.queued(0, "x@held.test")
	l := p.dial(p.n)
	defer l.Close()
	if err := l.SignIn("joe", "secret"); err != nil {
		p.t.Fatal(err)
	}
	if l.Say("ATRN held.test", "250") != nil {
		return "no"
	}
	return "yes"
}

// observeNames says who is asked for a host.
func observeNames(p *prober, round int) string {
	host := fmt.Sprintf("far%d.test", round)
	p.names = dnstest.Serve(p.t, "other.test. A 192.0.2.1")
	p.put("", "DnsServers", p.names.Addr)
	p.waiting(p.queued(0, "x@"+host))
	return fmt.Sprintf("DNS %v, the system %v", p.names.Asked(host) > 0, p.system.Asked(host) > 0)
}

// systemNames has the machine's resolver ask a server of ours.
func systemNames(t *testing.T) *dnstest.Server {
	names, was := dnstest.Serve(t, "other.test. A 192.0.2.1"), net.DefaultResolver
	net.DefaultResolver = &net.Resolver{PreferGo: true, Dial: func(ctx context.Context, network, _ string) (net.Conn, error) {
		return (&net.Dialer{}).DialContext(ctx, network, names.Addr)
	}}
	t.Cleanup(func() { net.DefaultResolver = was })
	return names
}

// truncated has a DNS server whose answers over UDP are cut.
func (p *prober) truncated() {
	p.names = dnstest.Serve(p.t, "far0.test. MX 0 .\nfar1.test. MX 0 .")
	p.names.Truncate()
	p.put("", "DnsServers", p.names.Addr)
}

// signed names a host whose key is not that of its TLSA record, by DNSSEC, on a server
// that is at such an address.
func (p *prober) signed(at string) {
	_, port, _ := net.SplitHostPort(p.host.addr)
	p.names = dnstest.Serve(p.t, "far.test. A 127.0.0.1\n_"+port+"._tcp.far.test. TLSA 3 1 1 "+strings.Repeat("ab", 32))
	p.names.Sign(".")
	p.put("", "RemoteSmtpPort", port)
	p.put("", "DnsServers", strings.Replace(p.names.Addr, "127.0.0.1", at, 1))
}

// promised has a policy stored that the host of sts.test speaks TLS.
func (p *prober) promised() {
	_, port, _ := net.SplitHostPort(p.host.addr)
	p.names = dnstest.Serve(p.t, "sts.test. A 127.0.0.1\n")
	p.put("", "RemoteSmtpPort", port)
	p.put("", "DnsServers", p.names.Addr)
	policy := fmt.Sprintf(`{"id":"1","fetched":%q,"policy":"version: STSv1\nmode: enforce\nmx: sts.test\nmax_age: 86400\n"}`, time.Now().Format(time.RFC3339))
	if err := p.db.Commit(p.t.Context(), kv.Put([]byte("sts/sts.test"), []byte(policy))); err != nil {
		p.t.Fatal(err)
	}
}

func observeTransport(p *prober, round int) string {
	if _, there := p.waiting(p.queued(0, fmt.Sprintf("x@far%d.test", round))); there {
		return "the answer is not read"
	}
	return "the answer is read" // the domain takes no mail
}

// encrypted has mail go to a host over TLS, whose certificate is for another name and
// of no authority.
func (p *prober) encrypted() {
	cert, key := testpeer.WriteCertificate(p.t, p.t.TempDir(), "other.test")
	pair, err := tls.LoadX509KeyPair(cert, key)
	if err != nil {
		p.t.Fatal(err)
	}
	p.host.answer(testpeer.NewMX(p.t, testpeer.MXOptions{TLS: &tls.Config{Certificates: []tls.Certificate{pair}}}).Serve)
	p.put("", "SmtpSSLRequireTrustedCA", "false")
	p.put("", "RouteAction", "ssl")
	p.routed()
}

// observeLog says whether the journal has a message that comes to its end.
func observeLog(p *prober, round int) string {
	p.send("x@hub.example", "Subject: x\r\n\r\nx\r\n")
	p.eventually("it is dropped", func() bool { return files(p.drop()) == round+1 })
	q, _ := p.Queue(p.n)
	p.eventually("it is settled", func() bool { return q.Counts().Messages == 0 && q.Holder("hub.example") == "" })
	p.lines.mu.Lock()
	defer p.lines.mu.Unlock()
	n := strings.Count(p.lines.b.String(), fmt.Sprintf("msg=delivered site=%d ", p.n))
	if n > round {
		return "logged"
	}
	return "not logged"
}

func observeLogFiles(p *prober, round int) string {
	l := p.dial(p.n)
	for range 400 {
		if err := l.Say("NOOP "+strings.Repeat("x", 400), "250"); err != nil {
			p.t.Fatal(err)
		}
	}
	l.Quit()
	count := func() int {
		list, _ := filepath.Glob(p.path("logs", "SMTPSVC*", "*.log"))
		return len(list)
	}
	p.eventually("the log is written", func() bool { return count() > round })
	if count() > 1 {
		return "more files"
	}
	return "1 file"
}

// filtered has the fake host be a filter that is silent when it is asked by that
// command of the milter protocol.
func (p *prober) filtered(silent byte) {
	p.host.answer(func(c net.Conn) {
		for {
			head := make([]byte, 5)
			if _, err := io.ReadFull(c, head); err != nil {
				return
			}
			if _, err := io.CopyN(io.Discard, c, int64(binary.BigEndian.Uint32(head))-1); err != nil {
				return
			}
			switch head[4] {
			case silent, 'D', 'A', 'Q':
			case 'O': // version 6, no action, all steps
				_, _ = c.Write([]byte{0, 0, 0, 13, 'O', 0, 0, 0, 6, 0, 0, 0, 0, 0, 0, 0, 0})
			default:
				_, _ = c.Write([]byte{0, 0, 0, 1, 'c'})
			}
		}
	})
	p.put("", "Milters", "inet:"+p.host.addr)
}

// observeFilter says how a message is answered.
func observeFilter(p *prober, _ int) string { return p.answered(30 * time.Second) }

// observeWait does so, but says soon that the caller of the second round waits.
func observeWait(p *prober, round int) string {
	return p.answered([]time.Duration{30 * time.Second, 1500 * time.Millisecond}[round])
}

// answered says how a message is answered; "waits" where a reply takes longer than most.
func (p *prober) answered(most time.Duration) string {
	l, err := net.Dial("tcp", p.status(p.n).Listening[0].String())
	if err != nil {
		p.t.Fatal(err)
	}
	defer l.Close()
	lines := bufio.NewReader(l)
	for _, say := range []string{"HELO client.test", "MAIL FROM:<a@client.test>", "RCPT TO:<x@hub.example>", "DATA", "Subject: x\r\n\r\nx\r\n.", ""} {
		_ = l.SetReadDeadline(time.Now().Add(most))
		line, err := lines.ReadString('\n')
		switch {
		case err != nil:
			return "waits"
		case strings.HasPrefix(line, "451"):
			return "put off"
		}
		_, _ = io.WriteString(l, say+"\r\n")
	}
	return "taken"
}

// certified gives the site a certificate whose key is in a file of its own.
func (p *prober) certified() {
	cert, key := testpeer.WriteCertificate(p.t, p.t.TempDir(), "mx.hub.example")
	p.key = key
	p.apply(p.set(settings.SitePath(p.n), "TlsKeyFile", key), p.set(settings.SitePath(p.n), "TlsCertificateFile", cert))
}

func observeKey(p *prober, _ int) string {
	if why := p.status(p.n).Why; why != "" {
		return "no key"
	}
	return ""
}

// eve makes an account.
func (p *prober) eve() {
	c, err := account.New("eve", "one", true)
	if err != nil {
		p.t.Fatal(err)
	}
	users := settings.UsersPath(p.n)
	var ops []metabase.Op
	if !p.store.Snapshot().Has(users) {
		ops = append(ops, metabase.AddKey{Path: users, Class: schema.User})
	}
	p.apply(append(ops, metabase.AddKey{Path: settings.UserPath(p.n, "eve"), Class: schema.User},
		p.set(settings.UserPath(p.n, "eve"), "ScramVerifier", c.Scram))...)
}

func probes() map[string]probe {
	return map[string]probe{
		"DropDirectory": {values: [2]string{"dropA", "dropB"}, want: [2]string{"1 0", "1 1"}, observe: func(p *prober, round int) string {
			p.send("x@hub.example", "Subject: x\r\n\r\nx\r\n")
			p.eventually("it is dropped", func() bool { return files(p.path("dropA"))+files(p.path("dropB")) == round+1 })
			return fmt.Sprint(files(p.path("dropA")), files(p.path("dropB")))
		}},
		"DropQuota": {values: [2]string{"0", "1"}, want: [2]string{"dropped", "452 4.2.2 the folder for the domain has reached its quota"}, observe: func(p *prober, _ int) string {
			if err := os.WriteFile(filepath.Join(p.drop(), "large"), make([]byte, 1<<20), 0o600); err != nil {
				p.t.Fatal(err)
			}
			if m, there := p.waiting(p.queued(0, "x@hub.example")); there {
				return m.LastError
			}
			return "dropped"
		}},
		"PickupDirectory":            {values: [2]string{"pickupA", "pickupB"}, want: [2]string{"files left: 0 1", "files left: 1 0"}, observe: observePickup},
		"SmtpDotStuffPickupDirFiles": {before: func(p *prober) { p.put("", "PickupDirectory", "pickupC") }, values: [2]string{"true", "false"}, want: [2]string{".two", "..two"}, observe: (*prober).pickedUp},
		"DisablePickupDotStuff":      {before: func(p *prober) { p.put("", "PickupDirectory", "pickupD") }, values: [2]string{"0", "1"}, want: [2]string{".two", "..two"}, observe: (*prober).pickedUp},
		"36865": {at: "/", values: [2]string{"0", "1"}, want: [2]string{"no 8BITMIME", "8BITMIME"}, observe: func(p *prober, _ int) string {
			if strings.Contains(p.hello(), "8BITMIME") {
				return "8BITMIME"
			}
			return "no 8BITMIME"
		}},
		"MaxBatchedMessages": {before: func(p *prober) { p.hostFor("held.test") }, values: [2]string{"0", "1"}, want: [2]string{"one connection", "several"},
			observe: func(p *prober, _ int) string {
				p.released(3, "held.test")
				p.drained("held.test")
				if p.host.connections() == 1 {
					return "one connection"
				}
				return "several"
			}},
		"MaxOutConnections": {before: func(p *prober) { p.hostFor("held.test", "second.test") }, values: [2]string{"1", "5"}, want: [2]string{"1 at once", "2 at once"},
			observe: func(p *prober, round int) string { return p.concurrent(round, 1, "held.test", "second.test") }},
		"LimitRemoteConnections": {before: func(p *prober) { p.hostFor("held.test", "second.test"); p.put("", "MaxOutConnections", "1") }, values: [2]string{"true", "false"}, want: [2]string{"1 at once", "2 at once"},
			observe: func(p *prober, round int) string { return p.concurrent(round, 1, "held.test", "second.test") }},
		"MaxOutConnectionsPerDomain": {before: func(p *prober) { p.hostFor("held.test") }, values: [2]string{"1", "2"}, want: [2]string{"1 at once", "2 at once"},
			observe: func(p *prober, round int) string { return p.concurrent(round, 30, "held.test") }},
		"RemoteTimeout":        {before: (*prober).routed, values: [2]string{"1", "0"}, want: [2]string{"given up", "waits"}, observe: observeSilence},
		"RemoteSmtpSecurePort": {before: (*prober).routed, values: [2]string{"465", "PORT"}, want: [2]string{"EHLO", "TLS"}, observe: observeFirstOctet},

		"SmtpRemoteProgressiveRetry": {before: (*prober).refused, values: [2]string{"15,30", "7,30"}, want: [2]string{"next in 15 min", "next in 7 min"}, observe: retryRemote},
		"SmtpRemoteRetryThreshold":   {before: (*prober).refused, values: [2]string{"0", "2"}, want: [2]string{"next in 15 min", "next in 1 min"}, observe: retryRemote},
		"RemoteRetryInterval":        {before: (*prober).refused, values: [2]string{"60", "7"}, want: [2]string{"next in 60 min", "next in 7 min"}, observe: retryRemote},
		"LocalRetryInterval": {before: (*prober).unwritable, values: [2]string{"60", "7"}, want: [2]string{"next in 60 min", "next in 7 min"},
			observe: func(p *prober, round int) string { return p.retryIn(fmt.Sprintf("x@stuck%d.test", round)) }},
		"SmtpLocalNDRExpireMinutes": {before: (*prober).unwritable, values: [2]string{"2880", "100"}, want: [2]string{"kept", "returned"},
			observe: func(p *prober, round int) string { return p.fate(3*time.Hour, fmt.Sprintf("x@stuck%d.test", round)) }},
		"SmtpRemoteNDRExpireMinutes": {before: (*prober).refused, values: [2]string{"2880", "100"}, want: [2]string{"kept", "returned"},
			observe: func(p *prober, round int) string { return p.fate(3*time.Hour, fmt.Sprintf("x@far%d.test", round)) }},
		"SmtpLocalDelayExpireMinutes": {before: (*prober).unwritable, values: [2]string{"720", "60"}, want: [2]string{"silence", "a notice"},
			observe: func(p *prober, round int) string { return p.notices(fmt.Sprintf("x@stuck%d.test", round)) }},
		"SmtpRemoteDelayExpireMinutes": {before: (*prober).refused, values: [2]string{"720", "60"}, want: [2]string{"silence", "a notice"},
			observe: func(p *prober, round int) string { return p.notices(fmt.Sprintf("x@far%d.test", round)) }},
		"EtrnDays": {values: [2]string{"30", "2"}, want: [2]string{"kept for 30 days", "kept for 2 days"}, observe: observeHeld},

		"AuthTurnList":       {at: "Domain/held.test", values: [2]string{"ann", "joe"}, want: [2]string{"no", "yes"}, observe: observeTurn},
		"NameResolutionType": {values: [2]string{"dns", "system"}, want: [2]string{"DNS true, the system false", "DNS false, the system true"}, observe: observeNames},
		"SmtpUseTcpDns":      {before: (*prober).truncated, values: [2]string{"udp_then_tcp", "udp"}, want: [2]string{"the answer is read", "the answer is not read"}, observe: observeTransport},
		"UseDane": {before: func(p *prober) { p.signed("127.0.0.1") }, values: [2]string{"false", "true"}, want: [2]string{"delivered", "deferred"},
			observe: func(p *prober, _ int) string { return short(p.delivered()) }},
		"UseMtaSts": {before: (*prober).promised, values: [2]string{"false", "true"}, want: [2]string{"delivered", "deferred"},
			observe: func(p *prober, _ int) string {
				if _, there := p.waiting(p.queued(0, "x@sts.test")); there {
					return "deferred"
				}
				return "delivered"
			}},
		// Another address that leads to this machine, and that need not.
		"DnsServersTrusted": {before: func(p *prober) { p.signed("0.0.0.0") }, values: [2]string{"false", "true"}, want: [2]string{"delivered", "deferred"},
			observe: func(p *prober, _ int) string { return short(p.delivered()) }},
		"ShouldPipelineOut": {before: (*prober).routed, values: [2]string{"true", "false"}, want: [2]string{"together", "one by one"}, observe: func(p *prober, _ int) string {
			if got := p.delivered(); got != "delivered" {
				return got
			}
			p.host.mu.Lock()
			defer p.host.mu.Unlock()
			if p.host.grouped {
				return "together"
			}
			return "one by one"
		}},
		"AlwaysUseSsl": {before: (*prober).routed, values: [2]string{"false", "true"}, want: [2]string{"delivered", "deferred"},
			observe: func(p *prober, _ int) string { return short(p.delivered()) }},
		"SmtpSSLCertHostnameValidation": {before: (*prober).encrypted, values: [2]string{"false", "true"}, want: [2]string{"delivered", "deferred"},
			observe: func(p *prober, _ int) string { return short(p.delivered()) }},

		"MilterTimeout":        {before: func(p *prober) { p.filtered('O') }, values: [2]string{"1", "600"}, want: [2]string{"put off", "waits"}, observe: observeWait},
		"MilterContentTimeout": {before: func(p *prober) { p.filtered('E') }, values: [2]string{"1", "600"}, want: [2]string{"put off", "waits"}, observe: observeWait},
		"MilterMaxSize":        {before: func(p *prober) { p.filtered('E'); p.put("", "MilterContentTimeout", "1") }, values: [2]string{"0", "10"}, want: [2]string{"put off", "taken"}, observe: observeFilter},

		"SmtpEventlogLevel": {values: [2]string{"maximum", "none"}, want: [2]string{"logged", "not logged"}, observe: observeLog},
		"ServerComment": {values: [2]string{"Front", "Back"}, want: [2]string{"Front", "Back"},
			observe: func(p *prober, _ int) string { return p.status(p.n).Name }},
		"MaxBandwidth": {values: [2]string{"10000", "0"}, want: [2]string{"slow", "fast"}, observe: func(p *prober, round int) string {
			l := p.dial(p.n)
			defer l.Close()
			_ = l.SetDeadline(time.Now().Add([]time.Duration{time.Second, time.Minute}[round]))
			text := "Subject: x\r\n\r\n" + strings.Repeat(strings.Repeat("x", 98)+"\r\n", 3000) + ".\r\n"
			err := l.Send("a@client.test", "x@hub.example", []byte(text))
			switch {
			case errors.Is(err, os.ErrDeadlineExceeded):
				return "slow"
			case err != nil:
				p.t.Fatal(err)
			}
			return "fast"
		}},
		"LogFileTruncateSize": {before: func(p *prober) {
			p.put("", "LogFilePeriod", "by_size")
			p.put("", "LogExtFileFlags", "method,uri_query")
			p.put("", "MaxJunkCommands", "0")
			p.put("", "LogFileDirectory", "logs")
			p.put("", "LogType", "on")
		}, values: [2]string{"4000000000", "131072"}, want: [2]string{"1 file", "more files"}, observe: observeLogFiles},
		"TlsKeyFile":    {before: (*prober).certified, values: [2]string{"KEY", ""}, want: [2]string{"", "no key"}, observe: observeKey},
		"ScramVerifier": {at: "User/eve", before: (*prober).eve, values: [2]string{"SCRAM one", "SCRAM two"}, want: [2]string{"yes", "no"}, observe: func(p *prober, _ int) string { return p.signsIn("eve", "one") }},
		"CramSecret": {at: "User/eve", before: (*prober).eve, values: [2]string{"one", "two"}, want: [2]string{"yes", "no"}, observe: func(p *prober, _ int) string {
			l := p.dial(p.n)
			defer l.Close()
			if l.SignIn("eve", "one") != nil {
				return "no"
			}
			return "yes"
		}},
	}
}
