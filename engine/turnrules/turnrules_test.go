// SPDX-License-Identifier: Apache-2.0

package turnrules

import (
	"net/netip"
	"strings"
	"testing"
	"time"

	"restante/internal/deptest"
)

func TestLayers(t *testing.T) {
	deptest.Forbid(t, map[string]string{
		"/engine/settings": "rules are text", "/engine/session": "a call says what is asked", "/engine/release": "a call says what is asked",
	})
}

func TestParse(t *testing.T) {
	for text, want := range map[string]string{
		"allow": "", "deny account=a,b domain=a.test,*.b.test verb=atrn,TURN from=192.0.2.1,2001:db8::/32 tls=no hours=Mon-Fri 08:00-18:00 UTC": "",
		"deny  hours=22:00-06:00": "", "allow hours=Sun 00:00-24:00": "", "deny\ttls=no\tverb=TURN": "",
		"":                                    `at octet 1: "" is neither allow nor deny`,
		"permit account=a":                    `at octet 1: "permit" is neither`,
		"allow user=a":                        `at octet 7: there is no field "user"`,
		"allow tls=yes account":               `at octet 15: "account" is no field`,
		"allow tls=yes  tls=no":               "at octet 16: tls is there twice",
		"allow tls=true":                      `at octet 7: tls is yes or no`,
		"allow verb=VRFY":                     `at octet 7: verb "VRFY" is none`,
		"allow from=192.0.2.1/24":             `at octet 7: 192.0.2.1/24 has bits beyond its first 24`,
		"allow from=host":                     `at octet 7: "host" is no address and no network`,
		"allow account=":                      "at octet 7: account has no value",
		"allow account=a,":                    "at octet 7: account: a name is empty",
		`deny account=CORP\joe`:               "at octet 6: account \"CORP\\\\joe\": accounts have no domain of Windows such as CORP: name it joe",
		"allow domain=a!b.test":               `at octet 7: "a!b.test" is neither`,
		"allow domain=":                       "at octet 7: domain has no value",
		"allow hours=24:00-08:00":             `at octet 7: hours: "24:00-08:00" is no time`,
		"allow domain=*x.test":                `at octet 7: "*x.test" is neither`,
		"allow domain=a.*.test,":              `at octet 7: `,
		"allow hours=8-18":                    `at octet 7: hours: "8-18" is no time`,
		"allow hours=Mo 08:00-18:00":          `at octet 7: hours: "Mo" is neither a day`,
		"allow hours=08:00-18:00 Mars/Base":   `there is no time zone "Mars/Base"`,
		"allow hours=08:00-18:00 UTC tls=yes": "as the last field",
	} {
		_, err := Parse(text)
		if (err == nil) != (want == "") || err != nil && !strings.Contains(err.Error(), want) {
			t.Errorf("%q: %v, want %q", text, err, want)
		}
	}
}

func TestCheck(t *testing.T) {
	monday := time.Date(2026, 3, 2, 9, 0, 0, 0, time.UTC)
	call := Call{Account: "alice", Domain: "x.w.test", Verb: "ATRN", From: netip.MustParseAddr("::ffff:192.0.2.7"), TLS: true, At: monday}
	for _, tt := range []struct {
		rules  string
		change func(*Call)
		want   string
	}{
		{"", nil, ""},
		{"allow account=Alice domain=*.w.test verb=ATRN from=192.0.2.0/24 tls=yes hours=Mon-Fri 08:00-18:00 UTC", nil, ""},
		{"allow account=bob", nil, "no rule allows it"},
		{"allow account=bob|allow account=alice", nil, ""},
		{"deny verb=ATRN|allow account=alice", nil, `the rule "deny verb=ATRN"`},
		{"deny account=bob", nil, ""},
		{"allow domain=w.test", nil, "no rule allows it"},
		{"allow from=192.0.3.0/24,2001:db8::/32", nil, "no rule allows it"},
		{"deny tls=no", func(c *Call) { c.TLS = false }, `the rule "deny tls=no"`},
		{"allow hours=Mon-Fri 08:00-18:00", func(c *Call) { c.At = monday.Add(9 * time.Hour) }, "no rule allows it"},
		{"allow hours=Tue-Sun 08:00-18:00", nil, "no rule allows it"},
		{"allow hours=Fri-Mon 08:00-18:00", nil, ""},
		{"allow hours=Mon 10:00-10:30 Europe/Oslo", nil, ""},
		{"allow hours=Sun 22:00-09:30", nil, ""}, // until Monday morning
		{"allow hours=Mon 00:00-24:00", nil, ""},
		{"allow hours=Sun 00:00-24:00", nil, "no rule allows it"},
		{"allow hours=Mon 09:00-24:00", nil, ""},
		{"allow hours=Mon 09:01-24:00", nil, "no rule allows it"},
		{"deny from=::ffff:192.0.2.0/120", nil, `the rule "deny from=::ffff:192.0.2.0/120"`},
		{"deny domain=*.W.test", nil, `the rule "deny domain=*.W.test"`},
		{"deny domain=*.bücher.test", func(c *Call) { c.Domain = "x.xn--bcher-kva.test" }, `the rule "deny domain=*.bücher.test"`},
		{"allow domain=bücher.test", func(c *Call) { c.Domain = "xn--bcher-kva.test" }, ""},
		{"allow domain=*.w.test", func(c *Call) { c.Domain = "*.w.test" }, ""},
		{"allow account=bob", func(c *Call) { c.Account = "" }, "no rule allows it"},
		{"deny account=bob|deny hours=08:00-18:00 Mars/Base|allow", nil, `the rule "deny hours=08:00-18:00 Mars/Base"`}, // it cannot be read
		{"allow hours=Mon 22:00-09:30", nil, "no rule allows it"},
	} {
		c := call
		if tt.change != nil {
			tt.change(&c)
		}
		var texts []string
		if tt.rules != "" {
			texts = strings.Split(tt.rules, "|")
		}
		got := ""
		if err := ParseList(texts).Check(c); err != nil {
			got = err.Error()
		}
		if got != tt.want {
			t.Errorf("%s: %q, want %q", tt.rules, got, tt.want)
		}
	}
}
