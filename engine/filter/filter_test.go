// SPDX-License-Identifier: Apache-2.0

package filter

import (
	"bytes"
	"context"
	"crypto/tls"
	"encoding/binary"
	"errors"
	"io"
	"log/slog"
	"maps"
	"net"
	"net/netip"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"restante/engine/journal"
	"restante/engine/mail"
	"restante/engine/session"
	"restante/internal/deptest"
)

func TestLayers(t *testing.T) {
	deptest.Forbid(t, map[string]string{
		"/engine/settings": "which filters there are is told",
		"/engine/queue":    "a filter decides before a message is stored",
		"/engine/wire":     "a filter speaks no SMTP",
		"/metabase":        "which filters there are is told",
	})
}

// A peer is a filter: it answers each kind of packet with what is set for it, and with
// "go on" otherwise.
type peer struct {
	answers map[byte]string // packets, whole
	options uint32          // of the protocol, that it wants
	silent  byte            // it does not answer this kind

	mu     sync.Mutex
	got    []string          // the packets that it got, without macros
	macros map[string]string // by kind and name
}

func packet(kind byte, data string) string {
	return string(binary.BigEndian.AppendUint32(nil, uint32(len(data)+1))) + string(kind) + data
}

var goOn = packet('c', "")

// dial serves one connection over a pipe.
func (p *peer) dial(context.Context, string, string) (net.Conn, error) {
	ours, theirs := net.Pipe()
	go p.serve(theirs)
	return ours, nil
}

func (p *peer) serve(c net.Conn) {
	defer c.Close()
	for {
		var size uint32
		if binary.Read(c, binary.BigEndian, &size) != nil {
			return
		}
		data := make([]byte, size)
		if _, err := io.ReadFull(c, data); err != nil {
			return
		}
		answer, ok := p.note(data[0], string(data[1:]))
		if data[0] == p.silent {
			_, _ = io.Copy(io.Discard, c) // until the other side has had enough
			return
		}
		if !ok {
			answer = goOn
		}
		if strings.IndexByte("DAQ", data[0]) < 0 {
			if _, err := c.Write([]byte(answer)); err != nil {
				return
			}
		}
	}
}

func (p *peer) note(kind byte, data string) (answer string, ok bool) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if kind == 'D' {
		list := strings.Split(strings.TrimSuffix(data[1:], "\x00"), "\x00")
		for i := 0; i+1 < len(list); i += 2 {
			if p.macros == nil {
				p.macros = map[string]string{}
			}
			p.macros[data[:1]+list[i]] = list[i+1]
		}
	} else if kind != 'O' && kind != 'Q' {
		p.got = append(p.got, string(kind)+strings.ReplaceAll(data, "\x00", "|"))
	}
	if answer, ok = p.answers[kind]; !ok && kind == 'O' {
		return packet('O', string(binary.BigEndian.AppendUint32(binary.BigEndian.AppendUint32(binary.BigEndian.AppendUint32(nil, 6), 0x1ff), p.options))), true
	}
	return answer, ok
}

// draft is a session.Body in memory.
type draft struct {
	bytes.Buffer
	aborted bool
}

func (d *draft) Size() int64                                 { return int64(d.Len()) }
func (d *draft) Reader() io.Reader                           { return bytes.NewReader(d.Bytes()) }
func (d *draft) Accept(context.Context, mail.Envelope) error { return errors.New("not here") }
func (d *draft) Abort()                                      { d.aborted = true }

const text = "From: a@b.test\r\nSubject:  two\r\n\tlines\r\nX-Twice: 1\r\nx-twice: 2\r\n\r\nbody\r\n.\r\n"

// A run is one message, shown to the peers.
type run struct {
	peers  []*peer
	down   []string
	change func(*Config)
	health Health
	log    bytes.Buffer
	drafts []*draft
	limit  int64
	dial   func(context.Context, string, string) (net.Conn, error)
	about  session.Transaction
}

func address(t testing.TB, s string) mail.Address {
	t.Helper()
	a, err := mail.ParseAddress(s)
	if err != nil {
		t.Fatal(err)
	}
	return a
}

// message shows text with one recipient, and gives the reply to RCPT and the verdict; the
// message is in the string.
func (r *run) message(t testing.TB, text string) (mail.Reply, session.Verdict, string) {
	t.Helper()
	config := Config{Site: 1, Command: 30 * time.Second, Content: 300 * time.Second, Health: &r.health, Dial: r.dial}
	for i := range r.peers {
		down := TempFail
		if i < len(r.down) {
			down = r.down[i]
		}
		config.Filters = append(config.Filters, Filter{"tcp", "filter.test:" + string('1'+rune(i)), down})
	}
	if config.Dial == nil {
		config.Dial = func(ctx context.Context, network, address string) (net.Conn, error) {
			return r.peers[address[len(address)-1]-'1'].dial(ctx, network, address)
		}
	}
	if r.change != nil {
		r.change(&config)
	}
	about := r.about
	about.Envelope.ID, about.Envelope.From = "m1", address(t, "a@b.test")
	about.Hostname, about.Journal = "hub.test", journal.New(slog.New(slog.NewTextHandler(&r.log, nil))).Session("s1", nil)
	f := New(config, about)
	defer f.Close()
	to := []mail.Recipient{{Address: address(t, "x@hub.test"), Notify: "NEVER"}}
	refused := f.Recipient(t.Context(), to[0])
	if refused.Code != 0 && f.(*transaction).refusal.Code == 0 {
		return refused, session.Verdict{}, "" // without a recipient there is no DATA
	}
	limit := r.limit
	if limit == 0 {
		limit = 1000
	}
	v := f.Message(t.Context(), session.Arrival{
		Envelope: mail.Envelope{ID: "m1", To: to}, Open: func() io.Reader { return strings.NewReader(text) }, Size: int64(len(text)), Limit: limit,
		Create: func() (session.Body, error) {
			r.drafts = append(r.drafts, &draft{})
			return r.drafts[len(r.drafts)-1], nil
		},
	})
	stored, err := io.ReadAll(v.Open())
	if err != nil {
		t.Fatal(err)
	}
	return refused, v, string(stored)
}

// TestStages: a filter is told all that it can be told, in order, and no macro is empty.
func TestStages(t *testing.T) {
	p := &peer{}
	r := run{peers: []*peer{p}, about: session.Transaction{
		Envelope: mail.Envelope{Client: netip.MustParseAddr("192.0.2.1"), Helo: "client.test", Account: "joe"},
		Local:    netip.MustParseAddrPort("198.51.100.1:25"), Remote: netip.MustParseAddrPort("192.0.2.1:4321"),
		Names: func() ([]string, error) { return []string{"name.test."}, nil }, Mechanism: "PLAIN",
		TLS: &tls.ConnectionState{Version: tls.VersionTLS13, CipherSuite: tls.TLS_AES_256_GCM_SHA384},
	}}
	refused, v, stored := r.message(t, text)
	if refused.Code != 0 || v.Refuse.Code != 0 || stored != text || v.From != address(t, "a@b.test") || v.To[0].Notify != "NEVER" {
		t.Fatalf("a filter that wants nothing: %v, %+v, %q", refused, v, stored)
	}
	want := []string{
		"Cname.test|4\x10\xe1192.0.2.1|", "Hclient.test|", "M<a@b.test>|", "R<x@hub.test>|", "T",
		"LFrom|a@b.test|", "LSubject| two\n\tlines|", "LX-Twice|1|", "Lx-twice|2|", "N", "Bbody\r\n.\r\n", "E",
	}
	if !slices.Equal(p.got, want) {
		t.Errorf("it was told\n%q, want\n%q", p.got, want)
	}
	for macro, want := range map[string]string{
		"Cj": "hub.test", "C{client_addr}": "192.0.2.1", "C{client_name}": "name.test", "C{client_port}": "4321", "C{daemon_name}": "hub.test",
		"C{daemon_port}": "25", "C{if_addr}": "198.51.100.1", "H{tls_version}": "TLSv1.3", "H{cipher}": "TLS_AES_256_GCM_SHA384", "H{cipher_bits}": "256",
		"Mi": "m1", "M{auth_authen}": "joe", "M{auth_type}": "PLAIN", "M{mail_addr}": "a@b.test", "M{mail_host}": "b.test", "R{rcpt_addr}": "x@hub.test", "R{rcpt_host}": "hub.test", "Ei": "m1",
	} {
		if p.macros[macro] != want {
			t.Errorf("macro %s is %q, want %q", macro, p.macros[macro], want)
		}
	}
	if i := slices.Index(slices.Collect(maps.Values(p.macros)), ""); i >= 0 {
		t.Errorf("an empty macro in %v", p.macros)
	}
	if log := r.log.String(); !strings.Contains(log, "msg=filtered msg_id=m1 filter=inet:filter.test:1 verdict=accept changes=\"\" session=s1") {
		t.Errorf("the log has %s", log)
	}

	// A message of the Pickup folder comes from this machine.
	p = &peer{options: 1 << 20} // blanks behind the colon
	r = run{peers: []*peer{p}}
	r.message(t, "Subject: x\r\n\r\n")
	if want := []string{"Clocalhost|4||127.0.0.1|", "Hlocalhost|", "M<a@b.test>|", "R<x@hub.test>|", "T", "LSubject| x|", "N", "B", "E"}; !slices.Equal(p.got, want) {
		t.Errorf("of a submission it was told\n%q, want\n%q", p.got, want)
	}
}

// TestAnswers: what a filter answers at each stage, and what becomes of the message.
func TestAnswers(t *testing.T) {
	reply := func(s string) string { return packet('y', s+"\x00") }
	for _, tt := range []struct {
		name    string
		kind    byte
		answer  string
		rcpt    string // its beginning; "": RCPT is accepted
		refuse  string // of the message
		discard bool
	}{
		{"rejects the caller", 'C', packet('r', ""), "550 5.7.1 Rejected", "550", false},
		{"rejects the greeting", 'H', reply("554 5.7.0 go away"), "554 5.7.0 go away", "554", false},
		{"puts the sender off", 'M', packet('t', ""), "451 4.7.1", "451", false},
		{"rejects the recipient", 'R', reply("550 5.1.1 unknown"), "550 5.1.1 unknown", "", false},
		{"accepts the caller", 'C', packet('a', ""), "", "", false},
		{"discards at the sender", 'M', packet('d', ""), "", "", true},
		{"rejects at DATA", 'T', packet('r', ""), "", "550 5.7.1", false},
		{"rejects a field", 'L', reply("550 no such field"), "", "550 5.7.1 no such field", false},
		{"rejects the header", 'N', packet('r', ""), "", "550 5.7.1", false},
		{"puts the body off", 'B', packet('t', ""), "", "451 4.7.1", false},
		{"rejects the message", 'E', reply("554-5.7.1 two\r\n554 5.7.1 lines"), "", "554 5.7.1 two lines", false},
		{"closes the connection", 'E', reply("421 4.3.2 later"), "", "421 4.3.2 later", false},
		{"discards the message", 'E', packet('d', ""), "", "", true},
		{"accepts the message", 'E', packet('a', ""), "", "", false},
		{"takes its time", 'E', packet('p', "") + packet('p', "") + packet('r', ""), "", "550", false},
		{"a control character", 'E', reply("550 5.7.1 a\x07b"), "", "451 4.7.1 The message cannot be checked", false},
		{"another command", 'E', reply("550 5.7.1 a\r\n221 bye"), "", "451", false},
		{"a reply that accepts", 'E', reply("250 2.0.0 ok"), "", "451", false},
		{"a code of another class", 'E', reply("550 4.7.1 no"), "", "451", false},
	} {
		r := run{peers: []*peer{{answers: map[byte]string{tt.kind: tt.answer}}, {}}}
		rcpt, v, _ := r.message(t, text)
		if begins := strings.HasPrefix(rcpt.String(), tt.rcpt); !begins || (rcpt.Code == 0) != (tt.rcpt == "") {
			t.Errorf("%s: RCPT is answered %s, want %q", tt.name, rcpt, tt.rcpt)
		}
		if begins := strings.HasPrefix(v.Refuse.String(), tt.refuse); !begins || (v.Refuse.Code == 0) != (tt.refuse == "") || v.Discard != tt.discard {
			t.Errorf("%s: the message is answered %s, discarded %v; want %q", tt.name, v.Refuse, v.Discard, tt.refuse)
		}
		if v.Refuse.Code != 0 && !strings.Contains(v.Refuse.Error(), "milter inet:filter.test:1") {
			t.Errorf("%s: the log would not name the filter: %v", tt.name, v.Refuse.Error())
		}
		if second := r.peers[1]; tt.discard && slices.ContainsFunc(second.got, func(s string) bool { return s[0] == 'E' }) {
			t.Errorf("%s: the next filter is asked about it", tt.name)
		}
	}
}

func number(n uint32) string { return string(binary.BigEndian.AppendUint32(nil, n)) }

// TestChanges: what filters ask for is done, in order, and the second sees what the first
// has made of the message.
func TestChanges(t *testing.T) {
	for _, tt := range []struct {
		name, answers, want string
	}{
		{"add", packet('h', "X-New\x00yes\x00"), "From: a@b.test\r\nSubject:  two\r\n\tlines\r\nX-Twice: 1\r\nx-twice: 2\r\nX-New: yes\r\n\r\nbody\r\n.\r\n"},
		{"insert on top", packet('i', number(0)+"X-New\x00a\n b\nc\x00"), "X-New: a\r\n b\r\n\tc\r\n" + text},
		{"insert below our Received field", packet('i', number(1)+"X-New\x00yes\x00"), "X-New: yes\r\n" + text},
		{"insert lower", packet('i', number(2)+"X-New\x00yes\x00"), strings.Replace(text, "Subject", "X-New: yes\r\nSubject", 1)},
		{"insert beyond the end", packet('i', number(1<<31)+"X-New\x00yes\x00"), strings.Replace(text, "\r\n\r\n", "\r\nX-New: yes\r\n\r\n", 1)},
		{"change", packet('m', number(2)+"X-TWICE\x00new\x00"), strings.Replace(text, "x-twice: 2", "X-TWICE: new", 1)},
		{"delete", packet('m', number(1)+"Subject\x00\x00"), strings.Replace(text, "Subject:  two\r\n\tlines\r\n", "", 1)},
		{"change what is not there", packet('m', number(3)+"X-Twice\x00new\x00"), strings.Replace(text, "\r\n\r\n", "\r\nX-Twice: new\r\n\r\n", 1)},
		{"delete what is not there", packet('m', number(3)+"X-Twice\x00\x00"), text},
		{"a new body", packet('b', "one\r\ntwo\n") + packet('b', "three\rfour"), "From: a@b.test\r\nSubject:  two\r\n\tlines\r\nX-Twice: 1\r\nx-twice: 2\r\n\r\none\r\ntwo\r\nthree\r\nfour\r\n"},
		{"an empty body", packet('b', ""), "From: a@b.test\r\nSubject:  two\r\n\tlines\r\nX-Twice: 1\r\nx-twice: 2\r\n\r\n"},
	} {
		second := &peer{}
		r := run{peers: []*peer{{answers: map[byte]string{'E': tt.answers + goOn}}, second}}
		_, v, stored := r.message(t, text)
		if v.Refuse.Code != 0 || stored != tt.want {
			t.Errorf("%s: %s, %q; want %q", tt.name, v.Refuse, stored, tt.want)
		}
		var seen strings.Builder
		for _, one := range second.got {
			if rest, ok := strings.CutPrefix(one, "L"); ok {
				name, value, _ := strings.Cut(rest, "|")
				seen.WriteString(name + ": " + strings.ReplaceAll(strings.TrimSuffix(value, "|"), "\n", "\r\n") + "\r\n")
			}
			if rest, ok := strings.CutPrefix(one, "B"); ok {
				seen.WriteString("\r\n" + rest)
			}
		}
		if seen.String() != tt.want {
			t.Errorf("%s: the next filter sees %q, want %q", tt.name, seen.String(), tt.want)
		}
		for _, d := range r.drafts {
			if !d.aborted {
				t.Errorf("%s: a draft is left", tt.name)
			}
		}
	}
	r := run{peers: []*peer{{answers: map[byte]string{'E': packet('+', "<new@else.test>\x00") + packet('2', "<x@hub.test>\x00NOTIFY=NEVER\x00") +
		packet('e', "<bounces@b.test>\x00") + packet('q', "looks\x07bad\x00") + goOn}}}}
	_, v, _ := r.message(t, text)
	if v.From != address(t, "bounces@b.test") || v.Quarantine != "looks bad" || len(v.To) != 2 || v.To[0].Notify != "NEVER" || v.To[1].Address != address(t, "new@else.test") {
		t.Errorf("the envelope is %+v", v)
	}
	if !strings.Contains(r.log.String(), `changes="recipient new@else.test, recipient x@hub.test, sender bounces@b.test, quarantine: looks bad"`) {
		t.Errorf("the log has %s", r.log.String())
	}
	r = run{peers: []*peer{{answers: map[byte]string{'E': packet('-', "<x@hub.test>\x00") + goOn}}}}
	if _, v, _ := r.message(t, text); !v.Discard {
		t.Errorf("without a recipient the message is %+v", v)
	}
	r = run{peers: []*peer{{answers: map[byte]string{'E': packet('r', "")}}}, change: func(c *Config) { c.MaxSize = int64(len(text)) - 1 }}
	if _, v, _ := r.message(t, text); v.Refuse.Code != 0 || !strings.Contains(r.log.String(), "not asked") {
		t.Errorf("a message that is too large to be shown: %+v, %s", v, r.log.String())
	}
	if strings.Count(r.log.String(), "not asked") != 1 {
		t.Errorf("of one filter the log says: %s", r.log.String())
	}
	r.log.Reset()
	r.peers = []*peer{{answers: map[byte]string{'R': packet('a', "")}}, {}}
	if r.message(t, text); !strings.Contains(r.log.String(), "filter.test:2 verdict=\"not asked\"") || strings.Contains(r.log.String(), "filter.test:1 verdict=\"not asked\"") {
		t.Errorf("a filter that has accepted the recipient, and one that waits: %s", r.log.String())
	}
	r = run{peers: []*peer{{answers: map[byte]string{'E': strings.Repeat(packet('h', "X\x00y\x00"), maxChanges) + goOn}}}}
	if _, v, stored := r.message(t, text); v.Refuse.Code != 0 || strings.Count(stored, "X: y\r\n") != maxChanges || r.log.Len() > 2000 {
		t.Errorf("as many changes as it may ask for: %s, %d octets of log", v.Refuse, r.log.Len())
	}
	r = run{peers: []*peer{{}}}
	if _, v, _ := r.message(t, "X: "+strings.Repeat("y", maxHeader)+"\r\n\r\n"); v.Refuse.Code != 554 {
		t.Errorf("a header without an end: %+v", v)
	}
}

// TestDown: a filter that cannot be reached, hangs, or sends garbage is down. What then
// becomes of mail is set for it, nothing of what it asked for is done, and a session has
// waited no longer than it may.
func TestDown(t *testing.T) {
	silent := func(kind byte) *peer { return &peer{silent: kind} }
	ends := func(answer string) *peer {
		return &peer{answers: map[byte]string{'E': packet('h', "X-New\x00yes\x00") + answer}}
	}
	for _, tt := range []struct {
		name string
		peer *peer // nil: nobody listens
		most time.Duration
	}{
		{"nobody listens", nil, 0},
		{"silent in the negotiation", silent('O'), 30 * time.Second},
		{"silent at the caller", silent('C'), 30 * time.Second},
		{"silent at the recipient", silent('R'), 30 * time.Second},
		{"silent at a field", silent('L'), 300 * time.Second},
		{"silent at the end", silent('E'), 300 * time.Second},
		{"progress without an end", ends(strings.Repeat(packet('p', ""), 1000)), 300 * time.Second},
		{"an empty packet", ends("\x00\x00\x00\x00"), 0},
		{"a packet of 4 GiB", ends("\xff\xff\xff\xffc"), 0},
		{"a packet that is cut short", ends("\x00\x00\x01\x00c"), 300 * time.Second},
		{"answers without an end", ends(strings.Repeat(packet('h', "X\x00"+strings.Repeat("y", 60000)+"\x00"), 75)), 0},
		{"a new body without an end", ends(strings.Repeat(packet('b', strings.Repeat("y", 600)), 100)), 0},
		{"a new body before the end", &peer{answers: map[byte]string{'N': packet('b', "x")}}, 0},
		{"another protocol", &peer{answers: map[byte]string{'O': "HTTP/1.1 400 Bad Request\r\n\r\n"}}, 30 * time.Second},
		{"another version", &peer{answers: map[byte]string{'O': packet('O', number(1)+number(0)+number(0))}}, 0},
		{"no such answer", ends(packet('?', "")), 0},
		{"a name that is none", ends(packet('h', "X New\x00yes\x00") + goOn), 0},
		{"a field in a field", ends(packet('h', "X\x00a\rBcc: b\x00") + goOn), 0},
		{"more changes than it may ask for", ends(strings.Repeat(packet('i', number(0)+"X\x00y\x00"), maxChanges) + goOn), 0},
		{"a recipient that is none", ends(packet('+', "<a>\x00") + goOn), 0},
		{"the null recipient", ends(packet('+', "<>\x00") + goOn), 0},
		{"a sender that is none", ends(packet('e', "<a b>\x00") + goOn), 0},
	} {
		for down, want := range map[string]int{TempFail: 451, Reject: 550, Accept: 0} {
			synctest.Test(t, func(t *testing.T) {
				r := run{peers: []*peer{tt.peer, {}}, down: []string{down}, limit: 10000}
				r.dial = func(ctx context.Context, network, address string) (net.Conn, error) {
					if p := r.peers[address[len(address)-1]-'1']; p != nil {
						return p.dial(ctx, network, address)
					}
					return nil, errors.New("connection refused")
				}
				begun := time.Now()
				_, v, stored := r.message(t, text)
				if v.Refuse.Code != want || stored != text || v.Quarantine != "" || len(v.To) != 1 {
					t.Errorf("%s, %s: %s, %+v, %q", tt.name, down, v.Refuse, v, stored)
				}
				if took := time.Since(begun); took > tt.most {
					t.Errorf("%s: it takes %s", tt.name, took)
				}
				if err := r.health.Err(1); err == nil || !strings.HasPrefix(err.Error(), "milter inet:filter.test:1 is down since 20") {
					t.Errorf("%s: the status has %v", tt.name, err)
				}
				if !strings.Contains(r.log.String(), "verdict=down") {
					t.Errorf("%s: the log has %s", tt.name, r.log.String())
				}
				r.peers[0] = &peer{}
				if _, v, _ := r.message(t, text); v.Refuse.Code != 0 || r.health.Err(1) != nil {
					t.Errorf("%s: when it works again: %s; %v", tt.name, v.Refuse, r.health.Err(1))
				}
				synctest.Wait()
			})
		}
	}
}

// A share has room for some files.
type share struct{ left int }

func (s *share) Take() bool {
	if s.left == 0 {
		return false
	}
	s.left--
	return true
}

func (s *share) Release() { s.left++ }

// TestOpenFiles: connections to filters take from the open files of the process, and give
// all of them back, however the message ends.
func TestOpenFiles(t *testing.T) {
	for _, tt := range []struct {
		name  string
		peers []*peer
		left  int
		want  int
	}{
		{"taken", []*peer{{}, {}}, 2, 0},
		{"rejected", []*peer{{answers: map[byte]string{'M': packet('r', "")}}, {}}, 2, 550},
		{"broken", []*peer{{}, {answers: map[byte]string{'E': "\x00\x00\x00\x00"}}}, 2, 451},
		{"one too few", []*peer{{}, {}}, 1, 451},
	} {
		files := &share{left: tt.left}
		r := run{peers: tt.peers}
		r.health.Files = files
		if _, v, _ := r.message(t, text); v.Refuse.Code != tt.want || files.left != tt.left {
			t.Errorf("%s: %s, %d files of %d are left", tt.name, v.Refuse, files.left, tt.left)
		}
	}
}

// TestEndOfTheCaller: a session that ends waits for no filter, and says nothing about it.
func TestEndOfTheCaller(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		ctx, cancel := context.WithCancel(t.Context())
		health := Health{}
		p := &peer{silent: 'R'}
		f := New(Config{Site: 1, Command: time.Minute, Filters: []Filter{{"tcp", "filter.test:1", Reject}}, Health: &health, Dial: p.dial}, session.Transaction{})
		time.AfterFunc(time.Second, cancel)
		begun := time.Now()
		if r := f.Recipient(ctx, mail.Recipient{Address: address(t, "x@hub.test")}); r.Code != 451 || time.Since(begun) != time.Second || health.Err(1) != nil {
			t.Errorf("%s after %s, %v", r, time.Since(begun), health.Err(1))
		}
		f.Close()
	})
}

// FuzzAnswers: whatever a filter answers at the end of a message, the message stays one: a
// header, an empty line and a body, each line with CRLF.
func FuzzAnswers(f *testing.F) {
	f.Add([]byte(packet('h', "X\x00y\x00")+packet('b', "a\nb")+goOn), true)
	f.Add([]byte(packet('y', "550 5.7.1 no\x00")), false)
	f.Add([]byte(packet('m', number(0)+"From\x00\x00")+packet('2', "<a@b.test>\x00SIZE=1\x00")+packet('q', "\x00")+goOn), true)
	f.Add([]byte("\x00\x00\x00\x01"), false)
	f.Fuzz(func(t *testing.T, answer []byte, atEnd bool) {
		kind := byte('N')
		if atEnd {
			kind = 'E'
		}
		var v session.Verdict
		var stored string
		synctest.Test(t, func(t *testing.T) {
			r := run{peers: []*peer{{answers: map[byte]string{kind: string(answer) + goOn}}}}
			_, v, stored = r.message(t, text)
		})
		if c := v.Refuse.Code; c != 0 && (c < 400 || c > 599 || strings.ContainsAny(v.Refuse.Text, "\r\n\x00")) {
			t.Errorf("the reply is %q", v.Refuse.String())
		}
		if rest := strings.ReplaceAll(stored, "\r\n", ""); strings.ContainsAny(rest, "\r\n") {
			t.Errorf("a bare CR or LF in %q", stored)
		}
		head, _, ok := strings.Cut("\r\n"+stored, "\r\n\r\n")
		for line := range strings.SplitSeq(strings.TrimPrefix(head, "\r\n"), "\r\n") {
			if line != "" && !strings.Contains(line, ":") && line[0] != ' ' && line[0] != '\t' || !ok {
				t.Errorf("no header: %q", stored)
			}
		}
		for _, to := range v.To {
			if to.Address.Domain == "" {
				t.Errorf("recipient %q", to.Address)
			}
		}
	})
}
