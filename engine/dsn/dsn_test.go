// SPDX-License-Identifier: Apache-2.0

package dsn

import (
	"bytes"
	"errors"
	"io"
	"mime"
	"mime/multipart"
	"mime/quotedprintable"
	"net/mail"
	"net/textproto"
	"slices"
	"strings"
	"testing"
	"testing/iotest"
	"time"
	"unicode/utf8"

	"bufio"

	ours "restante/engine/mail"
	"restante/internal/deptest"
)

func TestLayers(t *testing.T) {
	deptest.Forbid(t, map[string]string{
		"/metabase":     "the SMTP packages know nothing of paths",
		"/engine/queue": "a report is made of what it is told",
		"/engine/spool": "a report reads no disk",
		"/internal/kv":  "the caller stores a report",
	})
}

var noon = time.Date(2026, 3, 4, 12, 0, 0, 0, time.UTC)

func report() Report {
	to, _ := ours.ParseAddress("x@b.test")
	from, _ := ours.ParseAddress("s@s.test")
	return Report{
		ID: "06h0ihfrcs3q41uvs0vg", At: noon.Add(time.Hour), MTA: "hub.test",
		To: from, About: ours.Envelope{From: from, Received: noon, Helo: "client.test", EnvID: "QQ+2B314"},
		Recipients: []RecipientStatus{{
			To: ours.Recipient{Address: to, ORcpt: "rfc822;X+2Bmas@b.test"}, Action: Failed, Host: "mx.b.test", Tried: noon,
			Reply: ours.Reply{Code: 550, Enhanced: "1.1", Text: "no such user\nsee http://b.test", Peer: true},
		}},
		Message: strings.NewReader("Subject: hello\r\n\r\nhello\r\n"),
	}
}

// A part as it was found in a report.
type part struct {
	kind string
	text []byte // decoded
}

// parse parses a report as a foreign program would, and checks what
// must be true of every report.
func parse(t *testing.T, b []byte) (mail.Header, []part) { return parseWide(t, b, false) }

// parseWide is parse for a report that may have UTF-8.
func parseWide(t *testing.T, b []byte, wide bool) (mail.Header, []part) {
	t.Helper()
	if wide && !utf8.Valid(b) {
		t.Fatalf("no UTF-8: %q", b)
	}
	for i, line := range bytes.SplitAfter(b, []byte("\n")) {
		if len(line) > 0 && !bytes.HasSuffix(line, []byte("\r\n")) {
			t.Fatalf("line %d has no CRLF: %q", i, line)
		}
		if len(line) > maxLine+2 {
			t.Fatalf("line %d has %d octets", i, len(line))
		}
		line = bytes.TrimSuffix(line, []byte("\r\n"))
		if j := bytes.IndexFunc(line, func(r rune) bool { return r == 0 || r == '\r' || r > '~' && r != 0x7f && !wide }); j >= 0 {
			t.Fatalf("line %d is not clean: %q", i, line)
		}
	}
	msg, err := mail.ReadMessage(bytes.NewReader(b))
	if err != nil {
		t.Fatalf("%v in %q", err, b)
	}
	kind, params, err := mime.ParseMediaType(msg.Header.Get("Content-Type"))
	if err != nil || kind != "multipart/report" || params["report-type"] != "delivery-status" {
		t.Fatalf("type %q %v, %v", kind, params, err)
	}
	var parts []part
	for r := multipart.NewReader(msg.Body, params["boundary"]); ; {
		p, err := r.NextRawPart()
		if err == io.EOF {
			return msg.Header, parts
		}
		if err != nil {
			t.Fatal(err)
		}
		var in io.Reader = p
		if p.Header.Get("Content-Transfer-Encoding") == "quoted-printable" {
			in = quotedprintable.NewReader(p)
		}
		text, err := io.ReadAll(in)
		if err != nil {
			t.Fatal(err)
		}
		kind, _, err := mime.ParseMediaType(p.Header.Get("Content-Type"))
		if err != nil {
			t.Fatal(err)
		}
		parts = append(parts, part{kind, text})
	}
}

// groups reads message/delivery-status: the message's fields, then those of
// each recipient.
func groups(t *testing.T, b []byte) (out []textproto.MIMEHeader) {
	t.Helper()
	r := textproto.NewReader(bufio.NewReader(io.MultiReader(bytes.NewReader(b), strings.NewReader("\r\n"))))
	for {
		h, err := r.ReadMIMEHeader()
		if len(h) > 0 {
			out = append(out, h)
		}
		if err == io.EOF {
			return out
		}
		if err != nil {
			t.Fatalf("%v in %q", err, b)
		}
	}
}

// The words of another host are told as its own, and ours as ours (RFC 3464 §2.3.5,
// §2.3.6).
func TestWhoseWords(t *testing.T) {
	silent := ours.Reply{Code: 451, Enhanced: "4.1", Text: "no answer from mx.b.test"}
	said := ours.Reply{Code: 250, Enhanced: "6.0", Text: "queued", Peer: true}
	for _, tt := range []struct {
		action          Action
		reply           ours.Reply
		remote, code    string
		subject, prefix string
	}{
		{Failed, silent, "", "X-Restante; 451 4.4.1 no answer from mx.b.test", "Your message could not be delivered", "    This host: 451 4.4.1 no answer"},
		{Relayed, said, "dns; mx.b.test", "smtp; 250 2.6.0 queued", "Your message was handed on", "    mx.b.test said: 250 2.6.0 queued"},
		{Delivered, ours.Reply{Code: 250, Text: "dropped"}, "", "X-Restante; 250 dropped", "Your message was delivered", "    This host: 250 dropped"},
		{Expanded, said, "dns; mx.b.test", "smtp; 250 2.6.0 queued", "Your message was delivered", "It was handed to the list or alias below"},
		{Failed, ours.Reply{}, "", "", "Your message could not be delivered", "  <x@b.test>"},
	} {
		r := report()
		r.Recipients[0].Action, r.Recipients[0].Reply = tt.action, tt.reply
		head, parts := parse(t, Build(r))
		g := groups(t, parts[1].text)[1]
		if g.Get("Remote-Mta") != tt.remote || g.Get("Diagnostic-Code") != tt.code || head.Get("Subject") != tt.subject || !bytes.Contains(parts[0].text, []byte("\r\n"+tt.prefix)) {
			t.Errorf("%s with %+v: %v, %q, %q", tt.action, tt.reply, g, head.Get("Subject"), parts[0].text)
		}
		if tt.action == Relayed && bytes.Contains(parts[0].text, []byte("delivered to")) {
			t.Errorf("what is relayed is called delivered: %q", parts[0].text)
		}
	}
}

func TestFailure(t *testing.T) {
	head, parts := parse(t, Build(report()))
	for name, want := range map[string]string{
		"From": `"Mail Delivery System" <postmaster@hub.test>`, "To": "<s@s.test>",
		"Subject": "Your message could not be delivered", "Auto-Submitted": "auto-replied",
		"Mime-Version": "1.0", "Message-Id": "<06h0ihfrcs3q41uvs0vg@hub.test>",
		"Date": "Wed, 04 Mar 2026 13:00:00 +0000",
	} {
		if got := head.Get(name); got != want {
			t.Errorf("%s: %q, want %q", name, got, want)
		}
	}
	if len(parts) != 3 || parts[0].kind != "text/plain" || parts[1].kind != "message/delivery-status" || parts[2].kind != "message/rfc822" {
		t.Fatalf("parts %q", parts)
	}
	for _, want := range []string{"<x@b.test>", "mx.b.test said: 550 5.1.1 no such user / see http://b.test", "hub.test", "4 March 2026"} {
		if !bytes.Contains(parts[0].text, []byte(want)) {
			t.Errorf("%q is not in %q", want, parts[0].text)
		}
	}
	if string(parts[2].text) != "Subject: hello\r\n\r\nhello\r\n" {
		t.Errorf("returned %q", parts[2].text)
	}
	g := groups(t, parts[1].text)
	if len(g) != 2 {
		t.Fatalf("groups %q", g)
	}
	for i, want := range []map[string]string{
		{"Reporting-Mta": "dns; hub.test", "Original-Envelope-Id": "QQ+314", "Received-From-Mta": "dns; client.test",
			"Arrival-Date": "Wed, 04 Mar 2026 12:00:00 +0000"},
		{"Final-Recipient": "rfc822; x@b.test", "Original-Recipient": "rfc822; X+mas@b.test", "Action": "failed", "Status": "5.1.1",
			"Remote-Mta": "dns; mx.b.test", "Diagnostic-Code": "smtp; 550 5.1.1 no such user / see http://b.test",
			"Last-Attempt-Date": "Wed, 04 Mar 2026 12:00:00 +0000", "Will-Retry-Until": ""},
	} {
		for name, v := range want {
			if got := g[i].Get(name); got != v {
				t.Errorf("%s: %q, want %q", name, got, v)
			}
		}
	}
}

// RFC 6533: a report to an address beyond ASCII is in UTF-8; one to another address may
// pass any host.
func TestReportsBeyondASCII(t *testing.T) {
	message := "Subject: grün\r\n\r\ngrün\r\n"
	to, _ := ours.ParseAddress("jörg@bücher.test")
	ascii, _ := ours.ParseAddress("s@s.test")
	wide, _ := ours.ParseAddress("señor@s.test")
	for _, tt := range []struct {
		from                             ours.Address
		ret, status, final, kind, part   string
		orcpt, original, returnedMessage string
	}{
		{ascii, "FULL", "message/delivery-status", `utf-8; j\x{F6}rg@xn--bcher-kva.test`, "message/global-headers", "Subject: grün\r\n",
			`utf-8;J\x{F6}rg@b.test`, `utf-8; J\x{F6}rg@b.test`, message},
		{wide, "FULL", "message/global-delivery-status", "utf-8; jörg@xn--bcher-kva.test", "message/global", message,
			`utf-8;J\x{F6}rg@b.test`, `utf-8; J\x{F6}rg@b.test`, message},
		{wide, "HDRS", "message/global-delivery-status", "utf-8; jörg@xn--bcher-kva.test", "message/global-headers", "Subject: grün\r\n", "rfc822;J+2B@b.test", "rfc822; J+@b.test", message},
		{wide, "FULL", "message/global-delivery-status", "utf-8; jörg@xn--bcher-kva.test", "text/rfc822-headers", "Subject: gr\xfcn\r\n", "", "", "Subject: gr\xfcn\r\n\r\nx\r\n"},
	} {
		r := report()
		r.About.From, r.To, r.About.UTF8, r.About.Ret, r.Message = tt.from, tt.from, true, tt.ret, strings.NewReader(tt.returnedMessage)
		r.Recipients[0].To = ours.Recipient{Address: to, ORcpt: tt.orcpt}
		r.From.Address, _ = ours.ParseAddress("postmästare@hub.test")
		global := !tt.from.ASCII()
		head, parts := parseWide(t, Build(r), global)
		if head.Get("To") != "<"+tt.from.String()+">" || strings.Contains(head.Get("From"), "postmästare") != global {
			t.Errorf("From %q, To %q", head.Get("From"), head.Get("To"))
		}
		if !bytes.Contains(parts[0].text, []byte("<jörg@xn--bcher-kva.test>")) {
			t.Errorf("people are told %q", parts[0].text)
		}
		g := groups(t, parts[1].text)[1]
		if parts[1].kind != tt.status || g.Get("Final-Recipient") != tt.final || g.Get("Original-Recipient") != tt.original {
			t.Errorf("to %s: %s with %v", tt.from, parts[1].kind, g)
		}
		if len(parts) != 3 || parts[2].kind != tt.kind || string(parts[2].text) != tt.part {
			t.Errorf("to %s: returned %q, want %s", tt.from, parts[2:], tt.kind)
		}
	}
}

func TestManyFates(t *testing.T) {
	r := report()
	f := r.Recipients[0]
	r.Recipients = nil
	for _, a := range []Action{Failed, Delayed, Delivered, Relayed, Expanded} {
		f.Action, f.Until = a, noon.Add(48*time.Hour)
		f.Reply = ours.Reply{Code: 451, Enhanced: "3.0", Text: "later"}
		r.Recipients = append(r.Recipients, f)
	}
	head, parts := parse(t, Build(r))
	if head.Get("Subject") != "What became of your message" {
		t.Errorf("subject %q", head.Get("Subject"))
	}
	g := groups(t, parts[1].text)[1:]
	for i, want := range []struct{ action, status, until string }{
		{"failed", "5.3.0", ""}, // the class follows the action, also where the last word was temporary
		{"delayed", "4.3.0", "Fri, 06 Mar 2026 12:00:00 +0000"},
		{"delivered", "2.3.0", ""},
		{"relayed", "2.3.0", ""},
		{"expanded", "2.3.0", ""},
	} {
		if g[i].Get("Action") != want.action || g[i].Get("Status") != want.status || g[i].Get("Will-Retry-Until") != want.until {
			t.Errorf("%v, want %v", g[i], want)
		}
	}
}

func TestReturned(t *testing.T) {
	long := "Subject: long\r\nX-Long: " + strings.Repeat("y", 2000) + "\r\n\r\nbody\r\n"
	tests := []struct {
		name    string
		message io.Reader
		ret     string
		action  Action
		kind    string // "" for no third part
		want    string
	}{
		{"whole", strings.NewReader("Subject: a\r\n\r\nb\r\n"), "FULL", Failed, "message/rfc822", "Subject: a\r\n\r\nb\r\n"},
		{"the header, if so asked", strings.NewReader("Subject: a\r\n\r\nb\r\n"), "HDRS", Failed, "text/rfc822-headers", "Subject: a\r\n"},
		{"the header, when it is late", strings.NewReader("Subject: a\r\n\r\nb\r\n"), "FULL", Delayed, "text/rfc822-headers", "Subject: a\r\n"},
		{"the header of a large one", strings.NewReader("Subject: a\r\n\r\n" + strings.Repeat("b\r\n", MaxReturn/3)), "FULL", Failed, "text/rfc822-headers", "Subject: a\r\n"},
		{"what there is of a large header", strings.NewReader("Subject: a\r\nX: " + strings.Repeat("b", MaxReturn)), "FULL", Failed, "text/rfc822-headers", "Subject: a\r\n"},
		{"the header of eight-bit text", strings.NewReader("Subject: ä\r\n\r\nä\r\n"), "", Failed, "text/rfc822-headers", "Subject: ä\r\n"},
		{"the header of long lines", strings.NewReader(long), "", Failed, "text/rfc822-headers", strings.SplitAfter(long, "\r\n\r\n")[0][:len("Subject: long\r\nX-Long: ")+2002]},
		{"the header of bare line ends", strings.NewReader("Subject: a\r\n\r\nb\nc\r\n"), "", Failed, "text/rfc822-headers", "Subject: a\r\n"},
		{"a header without a body", strings.NewReader("Subject: a\r\n"), "HDRS", Failed, "text/rfc822-headers", "Subject: a\r\n"},
		{"a body without a header", strings.NewReader("\r\nb\r\n\r\nc\r\n"), "HDRS", Failed, "", ""},
		{"an empty one", strings.NewReader(""), "HDRS", Failed, "", ""},
		{"one that cannot be read", iotest.ErrReader(errors.New("disk")), "", Failed, "", ""},
		{"one that breaks off", io.MultiReader(strings.NewReader("Subject: a\r\nX-H"), iotest.ErrReader(errors.New("disk"))), "", Failed, "text/rfc822-headers", "Subject: a\r\n"},
		{"none", nil, "", Failed, "", ""},
	}
	for _, tt := range tests {
		r := report()
		r.Message, r.About.Ret, r.Recipients[0].Action = tt.message, tt.ret, tt.action
		_, parts := parse(t, Build(r))
		if tt.kind == "" {
			if len(parts) != 2 {
				t.Errorf("%s: %d parts: %q", tt.name, len(parts), parts[2:])
			}
			continue
		}
		if len(parts) != 3 || parts[2].kind != tt.kind || string(parts[2].text) != tt.want {
			t.Errorf("%s: %q, want %s %q", tt.name, parts[2:], tt.kind, tt.want)
		}
	}
}

// A message that holds the report's own boundary cannot end a part: the
// boundary is made anew each time.
func TestBoundaryIsNew(t *testing.T) {
	first := Build(report())
	_, after, _ := bytes.Cut(first, []byte(`boundary="`))
	boundary, _, _ := bytes.Cut(after, []byte(`"`))
	r := report()
	evil := "Subject: a\r\n\r\n--" + string(boundary) + "--\r\n"
	r.Message = strings.NewReader(evil)
	_, parts := parse(t, Build(r))
	if len(parts) != 3 || string(parts[2].text) != evil {
		t.Errorf("parts %q", parts)
	}
}

func TestWanted(t *testing.T) {
	tests := []struct {
		notify string
		want   []Action
	}{
		{"", []Action{Failed, Delayed}},
		{"NEVER", nil},
		{"never", nil},
		{"FAILURE", []Action{Failed}}, // a delay only if it is listed
		{"success,Delay", []Action{Delayed, Delivered, Relayed, Expanded}},
		{"SUCCESS,FAILURE,DELAY", []Action{Failed, Delayed, Delivered, Relayed, Expanded}},
	}
	for _, tt := range tests {
		var got []Action
		for _, a := range []Action{Failed, Delayed, Delivered, Relayed, Expanded} {
			if Wanted(tt.notify, a) {
				got = append(got, a)
			}
		}
		if !slices.Equal(got, tt.want) {
			t.Errorf("Wanted(%q): %v, want %v", tt.notify, got, tt.want)
		}
	}
}

func TestSmallHelpers(t *testing.T) {
	long := strings.Repeat("a", 2000)
	for in, want := range map[string]string{
		"": "", "a\r\nb": "a b", " a \t b ": "a b", "ä\x00\x7f": "???", long: long[:maxText],
	} {
		if got := clean(in); got != want {
			t.Errorf("clean(%q) = %q, want %q", in, got, want)
		}
	}
	for in, want := range map[string]string{
		"": "", "a+2Bb": "a+b", "a+0D+0Ab": "a b", "a+2": "a+2", "a+": "a+", "a+zzb": "a+zzb", "+C3+A4": "?",
	} {
		if got := xtext(in); got != want {
			t.Errorf("xtext(%q) = %q, want %q", in, got, want)
		}
	}
	for in, want := range map[string]string{
		"": "localhost", "a.test": "a.test", "[IPv6:::1]": "[IPv6:::1]", "a>\r\nX: y": "aX:y",
	} {
		if got := host(in); got != want {
			t.Errorf("host(%q) = %q, want %q", in, got, want)
		}
	}
	for in, want := range map[string]bool{
		"5.1.1": true, "2.0.123": true, "": false, "5": false, "5.1": false, "5.1.1234": false, "55.1.1": false, "5.x.1": false, "5..1": false, "5.1.1.1": false,
	} {
		if got := isStatus(in); got != want {
			t.Errorf("isStatus(%q) = %v", in, got)
		}
	}
	var out bytes.Buffer
	field(&out, "X-Name", strings.Repeat("word ", 40)+strings.Repeat("l", 1200))
	msg, err := mail.ReadMessage(strings.NewReader(out.String() + "\r\n"))
	if err != nil || len(msg.Header) != 1 {
		t.Fatalf("%v: %q", err, out.String())
	}
	if got := msg.Header.Get("X-Name"); strings.Count(got, "word") != 40 || !strings.HasSuffix(got, "lll") {
		t.Errorf("folded field reads back %q", got)
	}
}

// Nothing that a peer or a sender says adds a field, ends a part or breaks a
// line.
func FuzzBuild(f *testing.F) {
	f.Add("no\r\nX-Evil: 1", "rfc822;a+0D+0AX-Evil: 1", "id+0Aevil", "mx\r\n\r\nevil", "Subject: a\r\n\r\nb", "FULL", 550, false)
	f.Add(strings.Repeat("x", 5000), strings.Repeat("y ", 3000), "", "", strings.Repeat("ä", 3000), "", 451, true)
	f.Add("", ";", "+", " ", "\r\n", "HDRS", 0, true)
	f.Fuzz(func(t *testing.T, reply, orcpt, envid, host, message, ret string, code int, wide bool) {
		r := report()
		r.About.EnvID, r.About.Ret, r.About.Helo = envid, ret, host
		if r.About.UTF8 = wide; wide {
			r.About.From.Local, r.To.Local = "señor", "señor"
		}
		r.MTA, r.ID = host, ours.MessageID(envid)
		r.Message = strings.NewReader(message)
		r.Recipients = append(r.Recipients, RecipientStatus{To: ours.Recipient{Address: r.Recipients[0].To.Address, ORcpt: orcpt}, Action: Delayed,
			Status: envid, Reply: ours.Reply{Code: code, Enhanced: orcpt, Text: reply}, Host: host, Until: noon})
		head, parts := parseWide(t, Build(r), wide)
		if len(head) != 8 {
			t.Errorf("%d fields: %v", len(head), head)
		}
		if len(parts) < 2 || len(parts) > 3 {
			t.Fatalf("%d parts", len(parts))
		}
		g := groups(t, parts[1].text)
		if len(g) != 3 {
			t.Fatalf("%d groups in %q", len(g), parts[1].text)
		}
		known := "Original-Envelope-Id Reporting-Mta Received-From-Mta Arrival-Date Original-Recipient Final-Recipient Action Status Remote-Mta Diagnostic-Code Last-Attempt-Date Will-Retry-Until"
		for _, h := range g {
			for name, values := range h {
				if !slices.Contains(strings.Fields(known), name) || len(values) != 1 {
					t.Errorf("field %s: %q", name, values)
				}
			}
		}
		if len(parts) == 3 && (parts[2].kind == "message/rfc822" || parts[2].kind == "message/global") && string(parts[2].text) != message {
			t.Errorf("returned %q of %q", parts[2].text, message)
		}
	})
}

// A report of a message without a sender is for whom it names, and calls the message nobody's.
func TestReportOfBadMail(t *testing.T) {
	r := report()
	r.About.From, r.To.Local = ours.Address{}, "watch"
	text := Build(r)
	head, parts := parse(t, text)
	if head.Get("To") != "<watch@s.test>" || head.Get("Subject") != "A message could be neither delivered nor returned" ||
		strings.Contains(strings.ToLower(string(text)), "your message") || !strings.Contains(string(parts[0].text), "a message without a sender, of 4 March") {
		t.Errorf("got\n%s", text)
	}
}
