// SPDX-License-Identifier: Apache-2.0

package journal

import (
	"fmt"
	"log/slog"
	"slices"
	"testing"

	"restante/engine/mail"
)

// The trace gets each event, without a log as well, with the keys by which it is found.
func TestTraced(t *testing.T) {
	sender := mail.Address{Local: "s", Domain: "a.test"}
	env := mail.Envelope{ID: msgID, From: sender, To: []mail.Recipient{{Address: rcpt}}, HeaderID: "a@b"}
	for _, tt := range []struct {
		write func(*Journal)
		event string
		keys  []string
	}{
		{func(j *Journal) { j.Accepted(t.Context(), env) }, "accepted", []string{AddressKey(sender), AddressKey(rcpt), IDKey(msgID), MessageIDKey("a@b")}},
		{func(j *Journal) { j.Delivered(t.Context(), env, result) }, "delivered", []string{IDKey(msgID)}},
		{func(j *Journal) { j.Report(t.Context(), env, "other", sender, 1) }, "dsn", []string{IDKey(msgID), IDKey("other")}},
		{func(j *Journal) { j.Rewritten(t.Context(), msgID, sender, rcpt) }, "rewritten", []string{AddressKey(sender), IDKey(msgID)}},
		{func(j *Journal) { j.Unreachable(t.Context(), "b.test", answer, "", 1, again) }, "unreachable", []string{DomainKey("b.test")}},
		{func(j *Journal) {
			j.Released(t.Context(), "s1", Release{Domain: "b.test", Verb: "TURN", Account: "ann", Caller: caller, Messages: 5})
		}, "released", []string{DomainKey("b.test")}},
		{func(j *Journal) {
			j.Refused(t.Context(), caller, mail.Envelope{From: sender}, "RCPT", rcpt.String(), answer)
		}, "refused", []string{AddressKey(sender), AddressKey(rcpt)}},
		{func(j *Journal) { j.Refused(t.Context(), caller, mail.Envelope{}, "MAIL", sender.String(), answer) }, "refused", []string{AddressKey(sender)}},
		{func(j *Journal) { j.Refused(t.Context(), caller, env, "DATA", "", answer) }, "refused", []string{AddressKey(sender), AddressKey(rcpt), MessageIDKey("a@b")}},
		{func(j *Journal) { j.SignedIn(t.Context(), caller, "ann", "PLAIN", true) }, "signed in", nil},
	} {
		var events []string
		var keys []string
		names := map[string]bool{}
		tt.write(New(nil).Traced(func(event string, k []string, attrs []slog.Attr) {
			events, keys = append(events, event), k
			for _, a := range attrs {
				if names[a.Key] {
					t.Errorf("%s has two attributes %s", event, a.Key)
				}
				names[a.Key] = true
			}
		}))
		slices.Sort(keys)
		if !slices.Equal(events, []string{tt.event}) || !slices.Equal(keys, tt.keys) {
			t.Errorf("%s: %q with %q, want %q", tt.event, events, keys, tt.keys)
		}
	}
}

// The trace keeps a bounded number of keys: those of recipients come last.
func TestKeysOfManyRecipients(t *testing.T) {
	sender := mail.Address{Local: "s", Domain: "a.test"}
	env := mail.Envelope{ID: msgID, From: sender, HeaderID: "a@b"}
	for i := range 20_000 {
		env.To = append(env.To, mail.Recipient{Address: mail.Address{Local: fmt.Sprint(i), Domain: "b.test"}})
	}
	var keys []string
	New(nil).Traced(func(_ string, k []string, _ []slog.Attr) { keys = k }).Accepted(t.Context(), env)
	if want := []string{IDKey(msgID), MessageIDKey("a@b"), AddressKey(sender), AddressKey(env.To[0].Address)}; len(keys) != 20_003 || !slices.Equal(keys[:4], want) {
		t.Errorf("%d keys, first %q; want %q", len(keys), keys[:4], want)
	}
}
