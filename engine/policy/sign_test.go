// SPDX-License-Identifier: Apache-2.0

package policy

import (
	"net/netip"
	"strings"
	"testing"

	"restante/engine/auth"
	"restante/engine/mail"
)

// TestWhoSigns: whose messages are signed by the key of their author's domain.
func TestWhoSigns(t *testing.T) {
	key, err := auth.NewKey("s1", auth.Ed25519)
	if err != nil {
		t.Fatal(err)
	}
	const at = "Domain/own.example"
	s := site(t, at+" DkimSelectors s1")
	if signing(s)(mail.Envelope{}) != nil {
		t.Error("a selector without a key signs")
	}
	client := netip.MustParseAddr("192.0.2.1")
	file := mail.Envelope{From: mail.Address{Local: "a", Domain: "own.example"}}
	for name, tt := range map[string]struct {
		env    mail.Envelope
		signed bool
		only   string // DkimFor
	}{
		"an account":                          {mail.Envelope{Client: client, Account: "joe"}, true, ""},
		"a caller that may relay":             {mail.Envelope{Client: client}, true, ""},
		"a file of a sender of ours":          {mail.Envelope{From: mail.Address{Local: "a", Domain: "own.example"}}, true, ""},
		"a file of a stranger":                {mail.Envelope{From: mail.Address{Local: "a", Domain: "foreign.example"}}, false, ""},
		"a file of a domain without a key":    {mail.Envelope{From: mail.Address{Local: "a", Domain: "held.example"}}, false, ""},
		"an account of the list":              {mail.Envelope{Client: client, Account: "Joe"}, true, "10.0.0.0/8 joe"},
		"an account that is not in it":        {mail.Envelope{Client: client, Account: "joe"}, false, "10.0.0.0/8 ann"},
		"a client of the list":                {mail.Envelope{Client: client}, true, "ann 192.0.2.0/24"},
		"the same by IPv6":                    {mail.Envelope{Client: netip.MustParseAddr("::ffff:192.0.2.1"), Account: "joe"}, true, "ann 192.0.2.1"},
		"a client that is not in it":          {mail.Envelope{Client: client}, false, "ann 10.0.0.0/8"},
		"an account named like an address":    {mail.Envelope{Client: client, Account: "10.0.0.1"}, false, "10.0.0.1"},
		"a file beside the list":              {file, true, "ann"},
		"a file without a sender to reply to": {mail.Envelope{}, false, ""},
	} {
		props := []string{at + " DkimKeys " + strings.ReplaceAll(key.Secret(), " ", "~"), at + " DkimSelectors s1"}
		if tt.only != "" {
			props = append(props, at+" DkimFor "+tt.only)
		}
		one := signing(site(t, props...))(tt.env)
		got := ""
		if one != nil {
			_, _ = one.Write([]byte("From: a@own.example\r\n\r\n"))
			got = one.Fields()
		}
		if strings.Contains(got, "d=own.example") != tt.signed {
			t.Errorf("%s: %q, signed: want %v", name, got, tt.signed)
		}
	}
}
