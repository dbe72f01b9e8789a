// SPDX-License-Identifier: Apache-2.0

package auth

import (
	"bytes"
	"context"
	"crypto/ed25519"
	"encoding/base64"
	"io"
	"net"
	"net/netip"
	"strings"
	"testing"
	"testing/iotest"
	"testing/synctest"

	"github.com/emersion/go-msgauth/dkim"

	"restante/engine/mail"
	"restante/internal/deptest"
)

func TestLayers(t *testing.T) {
	deptest.Forbid(t, map[string]string{
		"/engine/session":  "the session asks, by its own interface",
		"/engine/resolver": "DNS is an interface",
		"/metabase":        "verification knows no settings",
		"/internal":        "nothing is kept",
	})
}

// zone has TXT records by name; "later" stands for a server that does not answer.
type zone map[string]string

func (z zone) LookupTXT(_ context.Context, name string) ([]string, error) {
	switch text, ok := z[strings.TrimSuffix(name, ".")]; {
	case !ok:
		return nil, &net.DNSError{Err: "no such host", Name: name, IsNotFound: true}
	case text == "later":
		return nil, &net.DNSError{Err: "no answer", Name: name, IsTemporary: true}
	default:
		return []string{text}, nil
	}
}

func (zone) LookupMX(context.Context, string) ([]*net.MX, error) { return nil, nil }

func (zone) LookupIPAddr(context.Context, string) ([]net.IPAddr, error) { return nil, nil }

func (zone) LookupAddr(context.Context, string) ([]string, error) { return nil, nil }

var key = ed25519.NewKeyFromSeed(bytes.Repeat([]byte{7}, ed25519.SeedSize))

// signed is a message of joe@news.author.test with a signature of domain.
func signed(t *testing.T, domain string) string {
	t.Helper()
	const message = "From: Joe <joe@news.author.test>\r\nSubject: signed\r\n\r\nbody\r\n.dot\r\n"
	var out bytes.Buffer
	err := dkim.Sign(&out, strings.NewReader(message), &dkim.SignOptions{
		Domain: domain, Selector: "s", Signer: key, HeaderCanonicalization: "relaxed", BodyCanonicalization: "relaxed",
	})
	if err != nil {
		t.Fatal(err)
	}
	return out.String()
}

// signature is the field with the signature of domain alone.
func signature(t *testing.T, domain string) string {
	t.Helper()
	field, _, _ := strings.Cut(signed(t, domain), "\r\nFrom: Joe")
	return field + "\r\n"
}

func TestVerify(t *testing.T) {
	public := "v=DKIM1; k=ed25519; p=" + base64.StdEncoding.EncodeToString(key.Public().(ed25519.PublicKey))
	const spf, all = "v=spf1 ip4:192.0.2.0/24 -all", "v=spf1 -all"
	const reject = "v=DMARC1; p=reject"
	plain := "From: Joe <joe@news.author.test>\r\nSubject: plain\r\n\r\nbody\r\n"
	tests := []struct {
		name    string
		zone    zone
		from    string
		message string
		want    []string // in the field
		reject  string
	}{
		{"nothing is known", zone{}, "a@sender.test", plain, []string{"spf=none smtp.mailfrom=sender.test", "dkim=none", "dmarc=none header.from=news.author.test"}, ""},
		{"SPF passes", zone{"sender.test": spf}, "a@sender.test", plain, []string{"spf=pass"}, ""},
		{"SPF fails", zone{"sender.test": all}, "a@sender.test", plain, []string{"spf=fail"}, ""},
		{"SPF of HELO", zone{"helo.test": spf}, "", plain, []string{"spf=pass smtp.helo=helo.test"}, ""},
		{"SPF is not answered", zone{"sender.test": "later"}, "a@sender.test", plain, []string{"spf=temperror"}, ""},
		{"SPF is malformed", zone{"sender.test": "v=spf1 nonsense:x -all"}, "a@sender.test", plain, []string{"spf=permerror"}, ""},

		{"DKIM passes", zone{"s._domainkey.author.test": public}, "a@sender.test", signed(t, "author.test"), []string{"dkim=pass header.d=author.test"}, ""},
		{"DKIM fails", zone{"s._domainkey.author.test": public}, "a@sender.test", signed(t, "author.test") + "more\r\n", []string{"dkim=fail header.d=author.test"}, ""},
		{"DKIM without a key", zone{}, "a@sender.test", signed(t, "author.test"), []string{"dkim=permerror header.d=author.test"}, ""},
		{"DKIM is not answered", zone{"s._domainkey.author.test": "later"}, "a@sender.test", signed(t, "author.test"), []string{"dkim=temperror"}, ""},
		{"two signatures", zone{"s._domainkey.author.test": public, "s._domainkey.other.test": public}, "a@sender.test",
			signature(t, "other.test") + signed(t, "author.test"),
			[]string{"dkim=pass header.d=author.test", "dkim=pass header.d=other.test"}, ""},
		{"a domain that is none", zone{}, "a@sender.test", "DKIM-Signature: v=1; a=ed25519-sha256; d=x\\\"; dkim=pass header.d=bank.test; s=s; h=from; b=x; bh=x\r\n" + plain, []string{"dkim=permerror"}, ""},

		{"DMARC passes by SPF", zone{"author.test": spf, "_dmarc.author.test": reject}, "a@author.test", plain, []string{"dmarc=pass header.from=news.author.test"}, ""},
		{"and not by that of a stranger", zone{"sender.test": spf, "_dmarc.author.test": reject}, "a@sender.test", plain, []string{"spf=pass", "dmarc=fail"}, "news.author.test"},
		{"by DKIM", zone{"s._domainkey.author.test": public, "_dmarc.author.test": reject}, "a@sender.test", signed(t, "author.test"), []string{"dmarc=pass"}, ""},
		{"strictly", zone{"s._domainkey.author.test": public, "_dmarc.author.test": reject + "; adkim=s"}, "a@sender.test", signed(t, "author.test"), []string{"dkim=pass", "dmarc=fail"}, "news.author.test"},
		{"a fault of DNS is no failure", zone{"s._domainkey.author.test": "later", "_dmarc.author.test": reject}, "a@sender.test", signed(t, "author.test"), []string{"dmarc=temperror"}, ""},
		{"nor one of the record", zone{"_dmarc.news.author.test": "later"}, "a@sender.test", plain, []string{"dmarc=temperror"}, ""},
		{"the record of the name itself", zone{"_dmarc.news.author.test": "v=DMARC1; p=none", "_dmarc.author.test": reject}, "a@sender.test", plain, []string{"dmarc=fail"}, ""},
		{"the policy of names below", zone{"_dmarc.author.test": reject + "; sp=none"}, "a@sender.test", plain, []string{"dmarc=fail"}, ""},
		{"quarantine", zone{"_dmarc.author.test": "v=DMARC1; p=quarantine"}, "a@sender.test", plain, []string{"dmarc=fail"}, ""},
		{"no part of the mail", zone{"_dmarc.author.test": reject + "; pct=0"}, "a@sender.test", plain, []string{"dmarc=fail"}, ""},
		{"two From fields", zone{"_dmarc.author.test": reject}, "a@sender.test", "From: a@b.test\r\n" + plain, []string{"dmarc=permerror"}, "news.author.test"},
		{"a folded From field", zone{"_dmarc.author.test": reject}, "a@sender.test", "From: =?koi8-r?B?8A==?=\r\n\t<a@author.test>\r\n\r\n", []string{"dmarc=fail header.from=author.test"}, "author.test"},
		{"a header without an end", zone{}, "a@sender.test", "X: " + strings.Repeat("x", maxHeader), []string{"dkim=permerror", "dmarc=permerror"}, ""},
	}
	for _, tt := range tests {
		from, err := mail.ParseAddress(tt.from)
		if err != nil {
			t.Fatal(err)
		}
		v := Verify(t.Context(), "hub.test", tt.zone, Message{
			Client: netip.MustParseAddr("::ffff:192.0.2.1"), Helo: "helo.test", From: from,
			Open: func() io.Reader { return iotest.OneByteReader(strings.NewReader(tt.message)) },
		})
		if !strings.HasPrefix(v.Field, "Authentication-Results: hub.test;\r\n\tspf=") || !strings.HasSuffix(v.Field, "\r\n") {
			t.Errorf("%s: the field is %q", tt.name, v.Field)
		}
		for _, want := range tt.want {
			if !strings.Contains(v.Field, want) {
				t.Errorf("%s: %q lacks %s", tt.name, v.Field, want)
			}
		}
		if strings.Contains(v.Field, "bank") || string(v.Reject) != tt.reject {
			t.Errorf("%s: rejected for %q, want %q; %q", tt.name, v.Reject, tt.reject, v.Field)
		}
	}
}

// TestUnreadableAuthors: a From field that does not read strictly is judged by each
// domain that it names. Nobody: there is none.
func TestUnreadableAuthors(t *testing.T) {
	const nobody = "nobody"
	comments := strings.Repeat("X: "+strings.Repeat("x", 900)+"\r\n", maxHeader/900)
	many := strings.Repeat("a@b, ", 50) + "a@" + strings.Join(strings.Split("abcdefghijk", ""), ".test, a@") + ".test"
	for _, tt := range []struct{ name, from, reject string }{
		{"a final dot", "boss@author.test.", "author.test"},
		{"a comma in the name", "The Boss, CEO <boss@author.test>", "author.test"},
		{"an address for a name", "boss@author.test <boss@author.test>", "author.test"},
		{"another address for a name", "boss@author.test <boss@evil.test>", "author.test"},
		{"brackets", "[Boss] <boss@author.test>", "author.test"},
		{"an @ in the name", "Boss@Work <boss@author.test>", "author.test"},
		{"a route", "<@x.test:boss@author.test>", "author.test"},
		{"an open comment", "(Boss <boss@author.test>", "author.test"},
		{"an open quote", "\"Boss <boss@author.test>", "author.test"},
		{"comments inside", "boss@(x)author(y).test <", "author.test"},
		{"spaces inside", "boss @ author . test <", "author.test"},
		{"two domains", "a@evil.test, boss@author.test", "author.test"},
		{"a slow domain beside it", "a@slow.test, boss@author.test", "author.test"},
		{"two fields", "a@evil.test\r\nFROM : boss@author.test", "author.test"},
		{"two fields, the other first", "boss@author.test\r\nFrom: a@evil.test", "author.test"},
		{"of a domain without a policy", "Boss, CEO <boss@evil.test>", ""},
		{"of one that passes", "Boss, CEO <boss@sender.test>", ""},
		{"of one that is not answered", "Boss, CEO <boss@later.test>", ""},
		{"a group of nobody", "undisclosed:;", nobody},
		{"no domain", "MAILER-DAEMON", nobody},
		{"nothing", "", nobody},
		{"a domain not in UTF-8", "boss@author\xfftest", nobody},
		{"more than can be asked", many, nobody},
		{"no From field", "x\r\n\r\n", nobody},
		{"behind too much", "x", nobody},
	} {
		message := "From: " + tt.from + "\r\n\r\nbody\r\n"
		switch tt.name {
		case "no From field":
			message = "Subject: x\r\n\r\nFrom: boss@author.test\r\n"
		case "behind too much":
			message = comments + "X: x\r\nFrom: boss@author.test\r\n\r\n"
		}
		z := zone{"_dmarc.author.test": "v=DMARC1; p=reject", "_dmarc.sender.test": "v=DMARC1; p=reject", "sender.test": "v=spf1 ip4:192.0.2.0/24 -all", "_dmarc.later.test": "later"}
		var v Verdict
		synctest.Test(t, func(t *testing.T) {
			v = Verify(t.Context(), "hub.test", slow{z}, Message{
				Client: netip.MustParseAddr("192.0.2.1"), Helo: "helo.test", From: mail.Address{Local: "a", Domain: "sender.test"},
				Open: func() io.Reader { return strings.NewReader(message) },
			})
		})
		want := tt.reject
		if tt.reject == nobody {
			want = ""
		}
		if string(v.Reject) != want || v.Nobody != (tt.reject == nobody) || !strings.Contains(v.Field, "dmarc=permerror") {
			t.Errorf("%s: rejected for %q, nobody %v; want %q; %q", tt.name, v.Reject, v.Nobody, tt.reject, v.Field)
		}
	}
}

// slow is a zone in which slow.test is asked about until time is up.
type slow struct{ zone }

func (z slow) LookupTXT(ctx context.Context, name string) ([]string, error) {
	if !strings.HasSuffix(strings.TrimSuffix(name, "."), "slow.test") {
		return z.zone.LookupTXT(ctx, name)
	}
	<-ctx.Done()
	return nil, &net.DNSError{Err: "no answer", Name: name, IsTimeout: true, IsTemporary: true}
}

// A sender whose own servers are slow leaves time to ask about the author.
func TestSlowSender(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		v := Verify(t.Context(), "hub.test", slow{zone{"_dmarc.author.test": "v=DMARC1; p=reject"}}, Message{
			Client: netip.MustParseAddr("192.0.2.1"), Helo: "helo.test", From: mail.Address{Local: "a", Domain: "slow.test"},
			Open: func() io.Reader { return strings.NewReader("From: boss@author.test\r\n\r\n") },
		})
		if v.Reject != "author.test" || !strings.Contains(v.Field, "spf=temperror") {
			t.Errorf("rejected for %q; %q", v.Reject, v.Field)
		}
	})
}

func TestStrip(t *testing.T) {
	const rest = "Subject: x\r\n\r\nAuthentication-Results: hub.test; none\r\nbody"
	for _, tt := range []struct{ name, in, want string }{
		{"none", rest, rest},
		{"ours", "Authentication-Results: hub.test; dkim=pass\r\n" + rest, rest},
		{"in other letters, folded", "AUTHENTICATION-results :\r\n\t(x \\) (y)) HUB.test 1;\r\n dkim=pass\r\n" + rest, rest},
		{"quoted", "Authentication-Results: \"hub.test\"; dkim=pass\r\n" + rest, rest},
		{"last", "Subject: x\r\nAuthentication-Results: hub.test; dkim=pass", "Subject: x\r\n"},
		{"empty", "Authentication-Results:\r\n" + rest, rest},
		{"another's", "Authentication-Results: mx.hub.test; dkim=pass\r\n\tx=y\r\n" + rest, "Authentication-Results: mx.hub.test; dkim=pass\r\n\tx=y\r\n" + rest},
		{"between", "A: b\r\nAuthentication-Results: hub.test; a=b\r\nC: d\r\n e\r\n" + rest, "A: b\r\nC: d\r\n e\r\n" + rest},
		{"too long", "Authentication-Results: x.test; " + strings.Repeat("x", maxField+1) + "\r\n" + rest, rest},
		{"a long line", "X: " + strings.Repeat("x", 100<<10) + "\r\n" + rest, "X: " + strings.Repeat("x", 100<<10) + "\r\n" + rest},
		{"no header", "just text\r\nAuthentication-Results: hub.test; a=b\r\n", "just text\r\nAuthentication-Results: hub.test; a=b\r\n"},
		{"nothing", "", ""},
	} {
		for _, in := range []io.Reader{strings.NewReader(tt.in), iotest.OneByteReader(strings.NewReader(tt.in)), iotest.DataErrReader(strings.NewReader(tt.in))} {
			got, err := io.ReadAll(Strip(in, "hub.test"))
			if err != nil || string(got) != tt.want {
				t.Errorf("%s: %.200q, %v; want %.200q", tt.name, got, err, tt.want)
			}
		}
	}
	if _, err := io.ReadAll(Strip(iotest.ErrReader(io.ErrUnexpectedEOF), "hub.test")); err != io.ErrUnexpectedEOF {
		t.Errorf("an error of the message is %v", err)
	}
}

// RFC 7489 §6.6.1: a domain is looked up by its A-labels.
func TestAuthorBeyondASCII(t *testing.T) {
	for _, field := range []string{" Boß <böss@bücher.test>", "böss@BÜCHER\u3002test"} {
		if d, ok := domainOf(field); d != "xn--bcher-kva.test" || !ok {
			t.Errorf("%q is of %q, %v", field, d, ok)
		}
	}
}
