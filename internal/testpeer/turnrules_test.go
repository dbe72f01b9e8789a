// SPDX-License-Identifier: Apache-2.0

package testpeer_test

import (
	"strings"
	"testing"

	"restante/admin/api"
)

// Rules narrow who may call for held mail, by account, domain, verb, address and TLS. The
// rule that refuses is in the log, in explain and in turn list, and not in the reply.
func TestTurnRules(t *testing.T) {
	t.Parallel()
	s, mx := startService(t), newMX(t)
	for _, d := range []string{"a.test", "b.test"} {
		createHeldDomain(t, s, d, account)
		sendMessages(t, s, d, 1)
	}
	if out, err := s.Run(t.Context(), "", "mb", "set", "SMTPSVC/1", "TurnRules", "allow verb=ATRN", "deny user=x"); err == nil ||
		!strings.Contains(err.Error(), `"deny user=x": at octet 6: there is no field "user"`) {
		t.Errorf("a rule that is wrong: %q, %v", out, err)
	}
	const rule = "deny domain=b.test from=127.0.0.0/8 tls=no"
	applyBatch(t, s, "set SMTPSVC/1 TurnRules '"+rule+"' 'allow account="+account+"'")
	refused := func(verb, want string) {
		t.Helper()
		l := signedIn(t, s.Addr(1), account)
		defer l.Quit()
		if _, err := l.Conn.Write([]byte(verb + "\r\n")); err != nil {
			t.Fatal(err)
		}
		if reply, err := l.Reply(); strings.TrimSpace(reply) != want || err != nil {
			t.Errorf("%s: %q, want %q", verb, reply, want)
		}
		if line := lastLine(s.Log(), "msg=refused"); !strings.Contains(line, "domain=b.test from=127.0.0.0/8") {
			t.Errorf("%s: the log has %s", verb, line)
		}
	}
	refused("ATRN b.test", "450 4.7.1 not allowed for this account")
	refused("ATRN a.test,b.test", "450 4.7.1 not allowed for this account")
	refused("ETRN b.test", "459 4.7.1 not allowed for this name")
	collectByTurn(t, s, account, mx)
	if n := len(mx.Messages()); n != 1 || queueEntryFor(t, s, "b.test").Messages != 1 {
		t.Errorf("TURN took %d messages", n)
	}
	e := call(t, s, api.Explain, api.ExplainRequest{Site: 1, Recipient: "x@b.test", Account: account, Client: "127.0.0.1"})
	if len(e.Narrowed) != 3 || !strings.Contains(e.Narrowed[1], `refuse TURN of b.test: the rule "`+rule+`"`) {
		t.Errorf("explain says %q", e.Narrowed)
	}
	if out := runCommand(t, s, "", "turn", "list", "1"); !strings.Contains(out, rule) {
		t.Errorf("turn list says\n%s", out)
	}
	applyBatch(t, s, "set SMTPSVC/1/Domain/b.test TurnRules 'allow verb=TURN'") // that of the domain holds
	refused2 := signedIn(t, s.Addr(1), account)
	say(t, refused2, "ATRN b.test", "450 4.7.1")
	collectByTurn(t, s, account, mx)
	awaitEmptyQueue(t, s)
}
