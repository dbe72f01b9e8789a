// SPDX-License-Identifier: Apache-2.0

package testpeer_test

import (
	"bytes"
	"crypto/ed25519"
	"encoding/base64"
	"slices"
	"strings"
	"testing"

	"github.com/emersion/go-msgauth/dkim"

	"restante/admin/api"
	"restante/internal/testpeer"
)

// TestMailIsVerified: SPF, DKIM and DMARC of a stranger's mail are said on top of it, a
// field that claims to be ours is gone, and the rest is as it came, also of a large
// message. DmarcReject refuses, but those who may relay.
func TestMailIsVerified(t *testing.T) {
	t.Parallel()
	s := startService(t)
	key := ed25519.NewKeyFromSeed(bytes.Repeat([]byte{7}, ed25519.SeedSize))
	public := base64.StdEncoding.EncodeToString(key.Public().(ed25519.PublicKey))
	pointDNS(t, s, s.Addr(1), `author.test. 60 IN TXT "v=spf1 ip4:127.0.0.1 -all"
s._domainkey.author.test. 60 IN TXT "v=DKIM1; k=ed25519; p=`+public+`"
_dmarc.author.test. 60 IN TXT "v=DMARC1; p=reject"
strict.test. 60 IN TXT "v=spf1 -all"
_dmarc.strict.test. 60 IN TXT "v=DMARC1; p=reject"`)
	applyBatch(t, s, "set /LM/SMTPSVC/1 RelayIpList 192.0.2.0/24", "set /LM/SMTPSVC/1 AuthenticateMail true")
	sign := func(text string) string {
		var out bytes.Buffer
		if err := dkim.Sign(&out, strings.NewReader(text), &dkim.SignOptions{Domain: "author.test", Selector: "s", Signer: key}); err != nil {
			t.Fatal(err)
		}
		return out.String()
	}
	large := sign("From: <a@author.test>\r\nSubject: large\r\n\r\n" + strings.Repeat(strings.Repeat("x", 70)+"\r\n", 40_000)) // once: it has the time
	sendText(t, s, "a@author.test", "x@hub.test", "Authentication-Results: hub.test; dkim=pass header.d=forged.test\r\n"+large)
	got := awaitDropped(t, s, 1)[0]
	_, message, _ := strings.Cut(got, "x-receiver: x@hub.test\r\n")
	if !strings.HasPrefix(message, "Authentication-Results: hub.test;\r\n\tspf=pass smtp.mailfrom=author.test;\r\n\tdkim=pass header.d=author.test;\r\n\tdmarc=pass header.from=author.test\r\nReceived: ") {
		t.Errorf("the message begins with %.600q", message)
	}
	if strings.Contains(message, "forged") || !strings.HasSuffix(message, large) {
		t.Errorf("the message is changed: %.600q", message)
	}

	const forged = "From: <boss@strict.test>\r\nSubject: forged\r\n\r\nbody\r\n"
	sendText(t, s, "a@strict.test", "x@hub.test", forged) // it is said, and no more
	if got := awaitDropped(t, s, 2); !slices.ContainsFunc(got, func(m string) bool {
		return strings.Contains(m, "spf=fail") && strings.Contains(m, "dmarc=fail header.from=strict.test") && strings.HasSuffix(m, forged)
	}) {
		t.Errorf("forged mail is\n%s", strings.Join(got[:1], "\n"))
	}
	set(t, s, "DmarcReject", "true")
	send := func() error {
		l := dial(t, s.Addr(1))
		defer l.Quit()
		return l.Send("a@strict.test", "x@hub.test", testpeer.DotStuff([]byte(forged)))
	}
	if err := send(); err == nil || !strings.Contains(err.Error(), "550 5.7.1 Rejected by the DMARC policy of strict.test") {
		t.Errorf("forged mail is answered %v", err)
	}
	await(t, "the refusal is logged", func() bool {
		return strings.Contains(s.Log(), `reply="550 5.7.1 Rejected by the DMARC policy of strict.test: DmarcReject"`)
	})
	told := call(t, s, api.Explain, api.ExplainRequest{Site: 1, Recipient: "x@hub.test"})
	if !slices.ContainsFunc(told.Why, func(r api.Reason) bool { return r.Property == "DmarcReject" }) {
		t.Errorf("explain does not say that DMARC may decide: %+v", told.Why)
	}
	set(t, s, "NeverRefuse", "true")
	if err := send(); err == nil || !strings.Contains(err.Error(), "450 4.7.1 Rejected") {
		t.Errorf("where nothing is refused for good, forged mail is answered %v", err)
	}
	set(t, s, "RelayIpList", "127.0.0.1")
	if err := send(); err != nil {
		t.Errorf("one who may relay is answered %v", err)
	}
}
