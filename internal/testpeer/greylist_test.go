// SPDX-License-Identifier: Apache-2.0

package testpeer_test

import (
	"regexp"
	"slices"
	"strings"
	"testing"

	"restante/admin/api"
)

// TestGreylist: who is not known is put off, and passes when the time has come; explain
// says the same and leaves nothing behind.
func TestGreylist(t *testing.T) {
	t.Parallel()
	s := startService(t)
	applyBatch(t, s, "set /LM/SMTPSVC/1 RelayIpList 192.0.2.0/24", "set /LM/SMTPSVC/1 GreylistDelay 3600", "set /LM/SMTPSVC/1 GreylistExempt 127.0.0.3")
	explain := func(client string) api.Explained {
		return call(t, s, api.Explain, api.ExplainRequest{Site: 1, Recipient: "x@hub.test", From: "a@sender.test", Client: client})
	}
	for range 2 {
		if told := explain("127.0.0.2"); told.Reply != "451 4.7.1 Greylisted, try again in 3600 seconds" || told.Why[0].Property != "GreylistDelay" {
			t.Errorf("explain says %+v", told)
		}
	}
	for _, tt := range []struct{ client, to, want string }{
		{"127.0.0.2", "x@hub.test", "451 4.7.1 Greylisted, try again in "},
		{"127.0.0.2", "postmaster@hub.test", "250"},
		{"127.0.0.3", "x@hub.test", "250"},
		{"127.0.0.2", "x@else.test", "550 5.7.1 Unable to relay"},
	} {
		if got := answerTo(t, s, tt.client, tt.to); !strings.HasPrefix(got, tt.want) {
			t.Errorf("%s to %s is answered %q, want %q", tt.client, tt.to, got, tt.want)
		}
	}
	await(t, "it is logged", func() bool {
		return regexp.MustCompile(`client=127\.0\.0\.2 .*verb=RCPT what=x@hub\.test reply="451 4\.7\.1 Greylisted`).MatchString(s.Log())
	})
	set(t, s, "GreylistDelay", "1") // it holds for those who wait, too
	await(t, "who tries again passes", func() bool { return strings.HasPrefix(answerTo(t, s, "127.0.0.2", "x@hub.test"), "250") })
	set(t, s, "GreylistDelay", "3600")
	if got := answerTo(t, s, "127.0.0.2", "x@hub.test"); !strings.HasPrefix(got, "250") {
		t.Errorf("who is known is answered %q", got)
	}
	told := explain("127.0.0.2")
	if !told.Accepted || slices.ContainsFunc(told.Why, func(r api.Reason) bool { return r.Property == "GreylistDelay" }) {
		t.Errorf("explain says of who is known %+v", told)
	}
}
