// SPDX-License-Identifier: Apache-2.0

package pull

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"net"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"testing"

	"restante/engine/mail"
	"restante/internal/deptest"
)

func TestMailComesAsItIsHeld(t *testing.T) {
	for _, lmtp := range []bool{false, true} {
		h, local := newHub(), &sink{ehlo: everything}
		sent := []held{
			{from: "a@from.test", to: []string{"one@held.test"}, body: "Subject: x\r\nMessage-ID: <1@x>\r\n\r\nline\r\n.\r\n..dots\r\n"},
			{from: "", to: []string{"one@held.test", "two@held.test", "three@held.test"}, body: "Subject: report\r\n\r\n" + strings.Repeat("long ", 4000) + "\r\n"},
			{from: "a@from.test", to: []string{"two@held.test"}, body: "Subject: \xc3\xa4\r\n\r\n\xff 8 bit\r\n"},
			{from: "a@from.test", to: []string{"two@held.test"}, body: ""},
		}
		h.hold(copies(sent)...)
		o := options(t, h, local)
		o.LMTP = lmtp
		var told []Message
		o.Taken = func(m Message) { told = append(told, m) }
		res, err := call(t, o)
		if err != nil || res.Broken != nil {
			t.Fatal(err, res.Broken)
		}
		checkOnce(t, local, sent...)
		if want := map[bool]int{false: 4, true: 6}[lmtp]; res.Messages[Taken] != want || len(told) != want || len(res.Messages) != 1 {
			t.Errorf("LMTP %v: %v, told of %d", lmtp, res.Messages, len(told))
		}
		if m := told[0]; m.ID != "<1@x>" || m.From != "a@from.test" || !slices.Equal(m.To, []string{"one@held.test"}) || m.Size != int64(len(sent[0].body)) {
			t.Errorf("told of %+v", m)
		}
		if again, err := call(t, o); err != nil || again.Broken != nil || len(again.Messages) != 0 {
			t.Errorf("nothing waits: %+v, %v", again, err)
		}
	}
}

// 200 lines cut at random octets: every message comes, and none twice.
func TestCutsLoseNothingAndDoubleNothing(t *testing.T) {
	seed := rand.Uint64()
	t.Logf("seed %d", seed)
	rnd := rand.New(rand.NewPCG(seed, 0))
	h, local := newHub(), &sink{ehlo: everything}
	o := options(t, h, local)
	var sent []held
	known := 0
	for i := range 200 {
		for len(h.waiting()) < 3 {
			m := held{from: fmt.Sprintf("s%d@from.test", rnd.IntN(3)), to: []string{"one@held.test", "two@held.test"}[:1+rnd.IntN(2)],
				body: fmt.Sprintf("Subject: %d\r\n\r\n%s", len(sent), strings.Repeat("a line\r\n", rnd.IntN(40)))}
			sent = append(sent, m)
			h.hold(copies([]held{m})...)
		}
		o.LMTP = i%5 == 0
		o.Dial = dialer(func(c net.Conn) { h.serve(context.WithoutCancel(t.Context()), c) }, local, 300+rnd.Int64N(1500))
		if res, err := call(t, o); err == nil {
			known += res.Messages[Known]
		}
	}
	o.Dial = dialer(func(c net.Conn) { h.serve(context.WithoutCancel(t.Context()), c) }, local, -1)
	res, err := call(t, o)
	if err != nil || res.Broken != nil || len(h.waiting()) != 0 || len(h.returned) != 0 {
		t.Errorf("at the end: %+v, %v; %d wait", res, err, len(h.waiting()))
	}
	checkOnce(t, local, sent...)
	if known += res.Messages[Known]; known == 0 {
		t.Error("no confirmation was cut off: the test proves nothing")
	}
	t.Logf("%d messages, %d of them known", len(sent), known)
}

// What the local server answers is what the holder hears.
func TestRepliesOfTheLocalServerArePassedOn(t *testing.T) {
	body := "Subject: x\r\n\r\nx\r\n"
	for _, tt := range []struct {
		line, reply string
		left        []string // recipients that stay
		returned    int
		messages    map[Outcome]int
	}{
		{"MAIL", "451 4.3.0 later", []string{"one@held.test", "two@held.test"}, 0, map[Outcome]int{Deferred: 1}},
		{"MAIL", "550 5.7.1 no", nil, 2, map[Outcome]int{Refused: 1}},
		{"RCPT TO:<two@held.test>", "550 5.1.1 unknown", nil, 1, map[Outcome]int{Refused: 1, Taken: 1}},
		{"RCPT TO:<two@held.test>", "450 4.2.1 later", []string{"two@held.test"}, 0, map[Outcome]int{Deferred: 2, Taken: 1}}, // asked again at once
		{"RCPT", "421 4.3.2 bye", []string{"one@held.test", "two@held.test"}, 0, map[Outcome]int{Deferred: 2}},
		{"RCPT", "HANGUP", []string{"one@held.test", "two@held.test"}, 0, map[Outcome]int{Deferred: 2}},
		{"DATA", "451 4.3.0 later", []string{"one@held.test", "two@held.test"}, 0, map[Outcome]int{Deferred: 1}},
		{".", "554 5.6.0 no", nil, 2, map[Outcome]int{Refused: 1}},
		{".", "452 4.2.2 full", []string{"one@held.test", "two@held.test"}, 0, map[Outcome]int{Deferred: 1}},
		{".", "421 4.3.2 bye", []string{"one@held.test", "two@held.test"}, 0, map[Outcome]int{Deferred: 1}},
		{".", "HANGUP", []string{"one@held.test", "two@held.test"}, 0, map[Outcome]int{Deferred: 1}},
		{"DATA", "HANGUP", []string{"one@held.test", "two@held.test"}, 0, map[Outcome]int{Deferred: 1}},
	} {
		h, local := newHub(), &sink{ehlo: everything}
		local.answer = func(line string) string {
			if strings.HasPrefix(line, tt.line) {
				return tt.reply
			}
			return ""
		}
		m := &held{from: "a@from.test", to: []string{"one@held.test", "two@held.test"}, body: body}
		h.hold(m)
		res, err := call(t, options(t, h, local))
		if err != nil || res.Broken != nil {
			t.Errorf("%s: %v, %v", tt.reply, err, res.Broken)
		}
		if !slices.Equal(m.to, tt.left) || len(h.returned) != tt.returned || fmt.Sprint(res.Messages) != fmt.Sprint(tt.messages) {
			t.Errorf("%s to %s: %q stay, %d returned, %v; want %q, %d, %v", tt.reply, tt.line, m.to, len(h.returned), res.Messages, tt.left, tt.returned, tt.messages)
		}
	}
}

func TestLocalServerThatIsDownIsFoundBeforeTheHolderIsCalled(t *testing.T) {
	h, local := newHub(), &sink{}
	local.down.Store(true)
	h.hold(&held{from: "a@from.test", to: []string{"one@held.test"}, body: "x\r\n"})
	_, err := call(t, options(t, h, local))
	if err == nil || !strings.Contains(err.Error(), "local server local:25: connection refused") || len(h.asked) != 0 {
		t.Errorf("%v; the holder heard %q", err, h.asked)
	}
	// It is lost between two messages: the first is taken, the other stays.
	local.down.Store(false)
	h.hold(&held{from: "a@from.test", to: []string{"one@held.test"}, body: "y\r\n"})
	local.answer = func(line string) string {
		if line == "." {
			local.down.Store(true)
			return "250 taken"
		}
		if local.down.Load() {
			return "HANGUP"
		}
		return ""
	}
	res, err := call(t, options(t, h, local))
	if err != nil || res.Broken == nil || res.Messages[Taken] != 1 || len(h.waiting()) != 1 || len(h.returned) != 0 {
		t.Errorf("%+v, %v; %d wait", res, err, len(h.waiting()))
	}
}

func TestMessagesBeyondTheCeilingStayHeld(t *testing.T) {
	h, local := newHub(), &sink{ehlo: everything}
	small, large := held{from: "a@from.test", to: []string{"one@held.test"}, body: "small\r\n"}, held{from: "a@from.test", to: []string{"one@held.test"}, body: strings.Repeat("large\r\n", 100)}
	h.hold(copies([]held{large, small})...)
	o := options(t, h, local)
	o.Ceiling = 500
	res, err := call(t, o)
	if err != nil || res.Broken != nil || res.Messages[Left] != 1 || res.Messages[Taken] != 1 || len(h.waiting()) != 1 || len(h.returned) != 0 {
		t.Errorf("%+v, %v; %d wait, %d returned", res, err, len(h.waiting()), len(h.returned))
	}
	checkOnce(t, local, small)
}

func TestRefusalsOfTheHolder(t *testing.T) {
	for _, tt := range []struct {
		change  func(*Options)
		reply   mail.Reply
		refused bool
		want    string
	}{
		{func(o *Options) { o.Password = "wrong" }, mail.Reply{}, true, "holder hub.test:366: sign-in: the holder refuses: 535 5.7.8 no"},
		{nil, mail.Reply{Code: 450, Enhanced: "7.1", Text: "not yours"}, true, "holder hub.test:366: ATRN: the holder refuses: 450 4.7.1 not yours"},
		{nil, mail.Reply{Code: 450, Enhanced: "3.2", Text: "too soon"}, false, "holder hub.test:366: ATRN: 450 4.3.2 too soon"},
		{nil, mail.Reply{Code: 451, Enhanced: "3.0", Text: "later"}, false, "holder hub.test:366: ATRN: 451 4.3.0 later"},
		{func(o *Options) { o.Verb = TURN }, mail.Reply{Code: 550, Enhanced: "7.1", Text: "no"}, true, "holder hub.test:366: TURN: the holder refuses: 550 5.7.1 no"},
		{func(o *Options) { o.Verb, o.Argument = ETRN, "a.test" }, mail.Reply{Code: 459, Enhanced: "7.1", Text: "no"}, true, "holder hub.test:366: ETRN: the holder refuses: 459 4.7.1 no"},
		{func(o *Options) { o.Verb, o.Argument = ETRN, "a.test" }, mail.Reply{Code: 458, Enhanced: "3.2", Text: "runs"}, false, "holder hub.test:366: ETRN: 458 4.3.2 runs"},
		{func(o *Options) { o.Security = StartTLS }, mail.Reply{}, false, "holder hub.test:366: no TLS with the peer: it is required, and not configured"},
	} {
		h := newHub()
		h.refuses = tt.reply
		o := options(t, h, &sink{})
		if tt.change != nil {
			tt.change(&o)
		}
		_, err := call(t, o)
		if err == nil || err.Error() != tt.want || errors.Is(err, ErrRefused) != tt.refused {
			t.Errorf("%v, refused %v; want %s", err, errors.Is(err, ErrRefused), tt.want)
		}
	}
	h := newHub()
	h.refuses = mail.Reply{Code: 453, Enhanced: "3.0", Text: "you have no mail"}
	if res, err := call(t, options(t, h, &sink{})); err != nil || res.Reply.Code != 453 || len(res.Messages) != 0 {
		t.Errorf("%+v, %v", res, err)
	}
	h = newHub()
	o := options(t, h, &sink{})
	o.Verb, o.Argument = ETRN, "@held.test"
	if res, err := call(t, o); err != nil || res.Reply.Code != 253 || !slices.Equal(h.asked, []string{"ETRN @held.test"}) {
		t.Errorf("%+v, %v; asked %q", res, err, h.asked)
	}
	o.Verb, o.Argument = ATRN, "a.test,b.test"
	if _, err := call(t, o); err != nil || h.asked[1] != "ATRN[a.test b.test]" {
		t.Errorf("%v; asked %q", err, h.asked)
	}
}

// A large message does not stand in memory.
func TestLargeMessageStreamsThrough(t *testing.T) {
	h, local := newHub(), &sink{}
	const size = 32 << 20
	h.hold(&held{from: "a@from.test", to: []string{"one@held.test"}, octets: size})
	var before, after runtime.MemStats
	runtime.ReadMemStats(&before)
	res, err := call(t, options(t, h, local))
	runtime.ReadMemStats(&after)
	if err != nil || res.Broken != nil || local.total() != 1 {
		t.Fatal(err, res.Broken)
	}
	if grown := int64(after.HeapSys) - int64(before.HeapSys); grown > size/2 {
		t.Errorf("the heap has grown by %d octets", grown)
	}
}

func TestLayers(t *testing.T) {
	deptest.Forbid(t, map[string]string{
		"/metabase":        "a host that collects has no tree",
		"/internal/kv":     "a host that collects has no store",
		"dgraph-io/badger": "a host that collects has no store",
		"/engine/queue":    "a message is with the holder or with the local server",
		"/engine/spool":    "a message is with the holder or with the local server",
		"/engine/settings": "its options are its user's",
		"/engine/release":  "it is the other end of a release",
		"/engine/delivery": "the local server is the one that is named",
	})
}

// A damaged file of what was taken is told of, and ends no call.
func TestDamagedStateIsTold(t *testing.T) {
	h, local := newHub(), &sink{ehlo: everything}
	h.hold(&held{from: "a@from.test", to: []string{"one@held.test"}, body: "x\r\n"})
	o := options(t, h, local)
	var told []string
	o.Warn = func(text string) { told = append(told, text) }
	if _, err := call(t, o); err != nil || len(told) != 0 {
		t.Fatal(told, err)
	}
	files, err := filepath.Glob(filepath.Join(o.State, "*.taken"))
	if err == nil {
		err = os.WriteFile(files[0], []byte("taken 1800000000 x\nnoise\n"), 0o600)
	}
	if err != nil {
		t.Fatal(err)
	}
	h.hold(&held{from: "a@from.test", to: []string{"one@held.test"}, body: "y\r\n"})
	want := []string{"state: " + files[0] + ": 2 of its lines are damaged: the messages that they are about may come twice"}
	for range 2 { // it is written anew with the message
		if res, err := call(t, o); err != nil || res.Broken != nil || local.total() != 2 || !slices.Equal(told, want) {
			t.Errorf("%+v, %v; told %q, want %q", res, err, told, want)
		}
	}
}

// A message that cannot be taken down is taken, and ends the call.
func TestStateThatCannotBeWrittenEndsTheCall(t *testing.T) {
	for n := 1; n <= 2; n++ {
		h, local := newHub(), &sink{ehlo: everything}
		sent := []held{{from: "a@from.test", to: []string{"one@held.test"}, body: "one\r\n"}, {from: "b@from.test", to: []string{"one@held.test"}, body: "two\r\n"}}
		h.hold(copies(sent[:n])...)
		o := options(t, h, local)
		local.answer = func(line string) string {
			if line == "." { // a folder stands where the file is to be
				files, _ := filepath.Glob(filepath.Join(o.State, "*.lock"))
				_ = os.Mkdir(strings.TrimSuffix(files[0], ".lock"), 0o700)
			}
			return ""
		}
		res, err := call(t, o)
		if err != nil || res.Broken == nil || !strings.HasPrefix(res.Broken.Error(), "state: ") || res.Messages[Taken] != 1 || len(h.waiting()) != n-1 || len(h.returned) != 0 {
			t.Errorf("of %d: %+v, %v; %d wait", n, res, err, len(h.waiting()))
		}
		checkOnce(t, local, sent[0])
	}
}
