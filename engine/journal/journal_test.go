// SPDX-License-Identifier: Apache-2.0

package journal

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"log/slog"
	"net/netip"
	"reflect"
	"strings"
	"testing"
	"time"

	"restante/engine/mail"
	"restante/internal/deptest"
)

func TestLayers(t *testing.T) {
	deptest.Forbid(t, map[string]string{
		"/metabase":    "the SMTP packages know nothing of paths",
		"/internal/kv": "the journal only writes lines",
		"/engine/q":    "the journal is below those that write it",
		"/engine/s":    "the journal is below those that write it",
	})
}

var (
	msgID  = mail.MessageID("06h0ihfrcs3q41uvs0vg")
	rcpt   = mail.Address{Local: "x", Domain: "b.test"}
	caller = netip.MustParseAddr("192.0.2.1")
	again  = time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC)
	answer = mail.Reply{Code: 451, Enhanced: "3.0", Text: "later\nevil", Cause: errors.New("disk")}
	result = mail.Outcome{To: rcpt, Host: "mx", Reply: answer}
)

type peer struct{}

func (peer) Hello() string   { return "c.test" }
func (peer) Account() string { return "j\noe" }

func TestEvents(t *testing.T) {
	env := mail.Envelope{ID: msgID, From: mail.Address{Local: "s", Domain: "a.test"}, To: make([]mail.Recipient, 2), Size: 7, Account: "ann", Client: caller, TLS: true, Session: "s1"}
	tests := []struct {
		write func(context.Context, *Journal)
		want  string // as JSON, without time and level
	}{
		{func(c context.Context, j *Journal) { j.Accepted(c, env) },
			`{"msg":"accepted","msg_id":"06h0ihfrcs3q41uvs0vg","from":"<s@a.test>","recipients":2,"size":7,"client":"192.0.2.1","account":"ann","tls":true,"session":"s1"}`},
		{func(c context.Context, j *Journal) {
			j.Refused(c, netip.Addr{}, mail.Envelope{}, "RCPT", "<a\r\nb>", answer)
		},
			`{"msg":"refused","client":"","helo":"","account":"","verb":"RCPT","what":"<a  b>","reply":"451 4.3.0 later / evil: disk"}`},
		{func(c context.Context, j *Journal) {
			j.Session("s1", peer{}).Refused(c, caller, mail.Envelope{}, "MAIL", "", answer)
		},
			`{"msg":"refused","client":"192.0.2.1","helo":"c.test","account":"j oe","verb":"MAIL","what":"","reply":"451 4.3.0 later / evil: disk","session":"s1"}`},
		{func(c context.Context, j *Journal) { j.Held(c, env, "b.test") },
			`{"msg":"held","msg_id":"06h0ihfrcs3q41uvs0vg","domain":"b.test","session":"s1"}`},
		{func(c context.Context, j *Journal) { j.Delivered(c, env, result) },
			`{"msg":"delivered","msg_id":"06h0ihfrcs3q41uvs0vg","to":"<x@b.test>","host":"mx","reply":"451 4.3.0 later / evil: disk","session":"s1"}`},
		{func(c context.Context, j *Journal) { j.PutAside(c, env, rcpt) },
			`{"msg":"in badmail","msg_id":"06h0ihfrcs3q41uvs0vg","to":"<x@b.test>","session":"s1"}`},
		{func(c context.Context, j *Journal) { j.NearQuota(c, "*.b.test", 80, 8, 800) },
			`{"msg":"near quota","domain":"*.b.test","percent":80,"messages":8,"bytes":800}`},
		{func(c context.Context, j *Journal) { j.Archived(c, env, rcpt, time.Hour) },
			`{"msg":"archived","msg_id":"06h0ihfrcs3q41uvs0vg","to":"<x@b.test>","age":3600000000000,"session":"s1"}`},
		{func(c context.Context, j *Journal) { j.Deferred(c, env, result, again) },
			`{"msg":"deferred","msg_id":"06h0ihfrcs3q41uvs0vg","to":"<x@b.test>","host":"mx","reply":"451 4.3.0 later / evil: disk","again":"2026-01-02T03:04:05Z","session":"s1"}`},
		{func(c context.Context, j *Journal) { j.Unreachable(c, "b.test", answer, "mx", 3, again) },
			`{"msg":"unreachable","domain":"b.test","host":"mx","reply":"451 4.3.0 later / evil: disk","messages":3,"again":"2026-01-02T03:04:05Z"}`},
		{func(c context.Context, j *Journal) { j.Failed(c, env, result) },
			`{"msg":"failed","msg_id":"06h0ihfrcs3q41uvs0vg","to":"<x@b.test>","host":"mx","reply":"451 4.3.0 later / evil: disk","session":"s1"}`},
		{func(c context.Context, j *Journal) { j.Expired(c, env, result, time.Second) },
			`{"msg":"expired","msg_id":"06h0ihfrcs3q41uvs0vg","to":"<x@b.test>","host":"mx","reply":"451 4.3.0 later / evil: disk","age":1000000000,"session":"s1"}`},
		{func(c context.Context, j *Journal) {
			j.Released(c, "s1", Release{Domain: "b.test", Verb: "TURN", Account: "ann", Caller: caller, Messages: 5, Bytes: 70, Left: 1, Outcome: "some stay"})
		},
			`{"msg":"released","domain":"b.test","verb":"TURN","account":"ann","client":"192.0.2.1","messages":5,"left":1,"bytes":70,"in_doubt":0,"outcome":"some stay","session":"s1"}`},
		{func(c context.Context, j *Journal) { j.Report(c, env, "about", mail.Address{}, 2) },
			`{"msg":"dsn","msg_id":"06h0ihfrcs3q41uvs0vg","about":"about","to":"<>","recipients":2,"session":"s1"}`},
		{func(c context.Context, j *Journal) { j.ReportPostponed(c, msgID, errors.New("full"), again) },
			`{"msg":"dsn postponed","about":"06h0ihfrcs3q41uvs0vg","why":"full","again":"2026-01-02T03:04:05Z"}`},
		{func(c context.Context, j *Journal) { j.Dropped(c, env, rcpt, "why") },
			`{"msg":"dropped","msg_id":"06h0ihfrcs3q41uvs0vg","to":"<x@b.test>","why":"why","session":"s1"}`},
		{func(c context.Context, j *Journal) { j.SetAside(c, msgID, "b.test", errors.New("rot")) },
			`{"msg":"set aside","msg_id":"06h0ihfrcs3q41uvs0vg","domain":"b.test","why":"rot"}`},
		{func(c context.Context, j *Journal) { j.Unfreed(c, msgID, errors.New("full")) },
			`{"msg":"unfreed","msg_id":"06h0ihfrcs3q41uvs0vg","why":"full"}`},
		{func(c context.Context, j *Journal) { j.Filtered(c, env, "inet:a:1", "accept", "field X\nY") },
			`{"msg":"filtered","msg_id":"06h0ihfrcs3q41uvs0vg","filter":"inet:a:1","verdict":"accept","changes":"field X Y"}`},
		{func(c context.Context, j *Journal) { j.Requeued(c, msgID) },
			`{"msg":"requeued","msg_id":"06h0ihfrcs3q41uvs0vg"}`},
		{func(c context.Context, j *Journal) { j.Acted(c, "delete", "user:ann", msgID, "b.test") },
			`{"msg":"acted","msg_id":"06h0ihfrcs3q41uvs0vg","domain":"b.test","action":"delete","by":"user:ann"}`},
		{func(c context.Context, j *Journal) {
			j.Rewritten(c, msgID, mail.Address{Local: "x", Domain: "alias.test"}, rcpt)
		},
			`{"msg":"rewritten","msg_id":"06h0ihfrcs3q41uvs0vg","rcpt":"<x@alias.test>","to":"<x@b.test>"}`},
		{func(c context.Context, j *Journal) { j.PickedUp(c, msgID, "a\nb.eml") },
			`{"msg":"picked up","msg_id":"06h0ihfrcs3q41uvs0vg","file":"a b.eml"}`},
		{func(c context.Context, j *Journal) { j.SignedIn(c, caller, "ann", "PLAIN", true) },
			`{"msg":"signed in","client":"192.0.2.1","account":"ann","mechanism":"PLAIN","tls":true}`},
		{func(c context.Context, j *Journal) {
			j.SignInRefused(c, caller, "an\x1bn", "PLAIN", false, answer, errors.New("wrong password"))
		},
			`{"msg":"sign-in refused","client":"192.0.2.1","helo":"","account":"an n","verb":"AUTH","mechanism":"PLAIN","tls":false,"reply":"451 4.3.0 later / evil","why":"wrong password"}`},
		{func(c context.Context, j *Journal) { j.LockedOut(c, caller, "ann", "PLAIN", again) },
			`{"msg":"address locked out","client":"192.0.2.1/32","account":"ann","mechanism":"PLAIN","until":"2026-01-02T03:04:05Z"}`},
	}
	events := map[string]bool{}
	for _, tt := range tests {
		var out bytes.Buffer
		tt.write(t.Context(), New(slog.New(slog.NewJSONHandler(&out, nil))))
		if strings.Count(out.String(), "\n") != 1 {
			t.Errorf("not one line: %q", out.String())
		}
		var got, want map[string]any
		if err := json.Unmarshal(out.Bytes(), &got); err != nil {
			t.Fatal(err)
		}
		if err := json.Unmarshal([]byte(tt.want), &want); err != nil {
			t.Fatal(err)
		}
		delete(got, "time")
		delete(got, "level")
		if !reflect.DeepEqual(got, want) {
			t.Errorf("got %v, want %v", got, want)
		}
		events[got["msg"].(string)] = true
		tt.write(t.Context(), New(nil)) // writes nothing and does not panic
		tt.write(t.Context(), nil)
	}
	if n := reflect.TypeFor[*Journal]().NumMethod() - 3; n != len(events) { // Session, Traced and End are no events
		t.Errorf("%d events are tested, there are %d methods", len(events), n)
	}
}

func TestClean(t *testing.T) {
	long := strings.Repeat("a", maxReply+1)
	for in, want := range map[string]string{
		"":                   "",
		"plain ä":            "plain ä",
		"a\r\nmsg=forged":    "a  msg=forged",
		"\x1b[31m\x7f\u0085": " [31m  ",
		"\xff":               "?",
		long:                 long[:maxReply] + "...",
	} {
		if got := clean(in); got != want {
			t.Errorf("clean(%q) = %q, want %q", in, got, want)
		}
	}
}

// FuzzLine writes what a stranger said: one line an event, in both formats, with
// no control character, and JSON that reads back.
func FuzzLine(f *testing.F) {
	for _, s := range []string{"x", "a\r\nb", "\x1b[2J\x07", "\u0085\u009b", "\xff\xfe", strings.Repeat("é", 600), `"}`, "\u2028"} {
		f.Add(s, s)
	}
	f.Fuzz(func(t *testing.T, what, account string) {
		var text, raw bytes.Buffer
		r := mail.Reply{Code: 550, Text: what, Cause: errors.New(account)}
		for _, j := range []*Journal{New(slog.New(slog.NewTextHandler(&text, nil))), New(slog.New(slog.NewJSONHandler(&raw, nil)))} {
			j.Refused(t.Context(), caller, mail.Envelope{}, "RCPT", what, r)
			j.SignInRefused(t.Context(), caller, account, what, false, r, errors.New(account))
			j.Dropped(t.Context(), mail.Envelope{ID: msgID}, rcpt, what)
		}
		for _, out := range []string{text.String(), raw.String()} {
			control := func(c rune) bool { return c < ' ' && c != '\n' || c >= 0x7f && c < 0xa0 }
			if strings.Count(out, "\n") != 3 || strings.ContainsFunc(out, control) || len(out) > 30*maxReply {
				t.Errorf("%q, %q: %q", what, account, out)
			}
		}
		for line := range strings.Lines(raw.String()) {
			if !json.Valid([]byte(line)) {
				t.Errorf("%q is no JSON", line)
			}
		}
	})
}
