// SPDX-License-Identifier: Apache-2.0

package queue

import (
	"encoding/binary"
	"reflect"
	"slices"
	"strings"
	"testing"
	"time"

	"restante/engine/dsn"
	"restante/engine/mail"
	"restante/internal/deptest"
)

func TestLayers(t *testing.T) {
	deptest.Forbid(t, map[string]string{
		"/engine/spool":    "a queue keeps messages in any Store",
		"/metabase":        "the queue knows nothing of paths; only settings knows both",
		"/engine/settings": "what the queue needs to know of them comes as Policy and Router",
		"/engine/wire":     "the queue speaks no SMTP",
		"/engine/delivery": "delivery is an Attempt to the queue",
		"/engine/release":  "a release is a lease to the queue",
		"/engine/site":     "the site builds the queue",
		"badger":           "only internal/kv/badgerkv knows what keeps the map",
	})
}

func TestRecord(t *testing.T) {
	r := record{flags: frozen | claimed, attempts: 7, received: time.Now().UnixNano(), size: 1 << 40, next: -1,
		open: []int{0, 3, 99999}, last: lastReply{5, mail.Reply{Code: 451, Enhanced: "3.0", Text: "später\nja"}, "mx.test"}}
	got, err := decodeRecord(r.encode())
	r.flags = frozen // what is of the moment is not stored
	if err != nil || !reflect.DeepEqual(got, r) {
		t.Errorf("got %+v, %v; want %+v", got, err, r)
	}
	status := dsn.RecipientStatus{Action: dsn.Delayed, Status: "4.4.7", Reply: r.last.reply, Host: "mx.test", Tried: time.Unix(5, 6), Until: time.Unix(7, 0)}
	told := record{received: 1, open: []int{4, 2}, told: []dsn.RecipientStatus{status, {Action: dsn.Failed}}}
	if got, err := decodeRecord(told.encode()); err != nil || !reflect.DeepEqual(got, told) {
		t.Errorf("got %+v, %v; want %+v", got, err, told)
	}
	o := backoff{failures: 3, next: 9, last: r.last, tried: []int64{4, 5}}
	if got, err := decodeBackoff(o.encode()); err != nil || !reflect.DeepEqual(got, o) {
		t.Errorf("got %+v, %v; want %+v", got, err, o)
	}
	r.last.reply.Peer, r.last.reply.Phase, r.last.reply.Cause = true, "RCPT", storedCause("why")
	if got, err := decodeRecord(r.encode()); err != nil || !reflect.DeepEqual(got, r) {
		t.Errorf("got %+v, %v; want %+v", got, err, r)
	}
	old := slices.Concat([]byte{oldRecordVersion, 0, 2, 0, 0, 0, 1, 0, 10}, binary.AppendUvarint(nil, 450), []byte("\x00\x05later\x02mx"))
	if got, err := decodeRecord(old); err != nil || got.attempts != 2 || got.last != (lastReply{5, mail.Reply{Code: 450, Text: "later", Peer: true}, "mx"}) {
		t.Errorf("an old record: %+v, %v", got, err)
	}
	for _, whole := range [][]byte{r.encode(), told.encode()} {
		for n := range whole {
			if _, err := decodeRecord(whole[:n]); err == nil {
				t.Errorf("the first %d octets are taken for a record", n)
			}
		}
		if _, err := decodeRecord(append(whole, 0)); err == nil {
			t.Error("a record with a tail is taken")
		}
	}
}

func FuzzRecord(f *testing.F) {
	f.Add(record{open: []int{1, 2}, size: 5, last: lastReply{1, mail.Reply{Code: 250, Text: "x"}, "h"}}.encode())
	f.Add(record{open: []int{1}, told: []dsn.RecipientStatus{{Action: dsn.Failed}}}.encode())
	f.Add(backoff{failures: 1}.encode())
	f.Add([]byte{recordVersion, 0, 0, 0, 0, 0, 0xff, 0xff, 0xff, 0xff, 0x0f})
	f.Fuzz(func(t *testing.T, b []byte) {
		if r, err := decodeRecord(b); err == nil {
			again, err := decodeRecord(r.encode())
			if err != nil || !reflect.DeepEqual(again, r) {
				t.Errorf("%+v reads back as %+v, %v", r, again, err)
			}
		}
		if o, err := decodeBackoff(b); err == nil {
			if again, err := decodeBackoff(o.encode()); err != nil || !reflect.DeepEqual(again, o) {
				t.Errorf("%+v reads back as %+v, %v", o, again, err)
			}
		}
	})
}

func TestEntryKey(t *testing.T) {
	id := mail.NewMessageID(time.Now())
	for _, d := range []mail.Domain{"b.test", "[192.0.2.1]", "[IPv6:2001:db8::1]"} {
		gotDomain, gotID, err := splitEntryKey(entryKey(id, d))
		if err != nil || mail.MessageID(gotID) != id || mail.Domain(gotDomain) != d {
			t.Errorf("%s comes back as %s, %s, %v", d, gotID, gotDomain, err)
		}
	}
	for _, s := range []string{"q/e/", "q/e/x", "q/e/x/", "q/e//x"} {
		if _, _, err := splitEntryKey([]byte(s)); err == nil {
			t.Errorf("%q is taken", s)
		}
	}
}

func TestShorten(t *testing.T) {
	tests := []struct{ in, want string }{
		{"", ""},
		{"abc", "abc"},
		{strings.Repeat("a", 1000), strings.Repeat("a", 1000)},
		{strings.Repeat("a", 1001), strings.Repeat("a", 1000)},
		{strings.Repeat("a", 999) + "ü", strings.Repeat("a", 999)}, // not half a letter
	}
	for _, tt := range tests {
		if got := truncate(tt.in); got != tt.want {
			t.Errorf("shorten of %d octets = %d octets, want %d", len(tt.in), len(got), len(tt.want))
		}
	}
}

func TestPolicy(t *testing.T) {
	p := Policy{}.withDefaults()
	for n, want := range []time.Duration{15, 15, 30, 60, 240, 240} {
		if got := p.interval(n); got != want*time.Minute {
			t.Errorf("step(%d) = %v, want %v", n, got, want*time.Minute)
		}
	}
	if got := (Policy{Ladder: []time.Duration{0}}).withDefaults().interval(1); got != time.Second {
		t.Errorf("a ladder of nothing steps %v", got)
	}
	hour := int64(time.Hour)
	tests := []struct {
		now, received int64
		attempts      int
		want          int64
	}{
		{0, 0, 1, hour / 4},
		{46 * hour, 0, 9, 48 * hour}, // once more when its time is up
		{48 * hour, 0, 9, 52 * hour}, // after the outage
		{40 * hour, 0, 9, 44 * hour},
	}
	for _, tt := range tests {
		if got := p.nextTry(tt.now, tt.received, tt.attempts); got != tt.want {
			t.Errorf("again(%d, %d, %d) = %d, want %d", tt.now, tt.received, tt.attempts, got, tt.want)
		}
	}
}
