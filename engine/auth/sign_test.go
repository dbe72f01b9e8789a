// SPDX-License-Identifier: Apache-2.0

package auth

import (
	"context"
	"crypto/x509"
	"encoding/base64"
	"errors"
	"net"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/emersion/go-msgauth/dkim"

	"restante/engine/mail"
)

// testKeys are of author.test; they are made once, as RSA takes its time.
var testKeys = sync.OnceValue(func() (keys []Key) {
	for _, kind := range []string{RSA, Ed25519} {
		key, err := NewKey(kind[:1]+"1", kind)
		if err != nil {
			panic(err)
		}
		keys = append(keys, key)
	}
	return keys
})

func keysOf(author mail.Domain) []Key {
	if author != "author.test" {
		return nil
	}
	return testKeys()
}

// records answers for the keys.
type records struct {
	DNS
	txt map[string][]string
	err error
}

func (r records) LookupTXT(_ context.Context, name string) ([]string, error) {
	if r.err != nil {
		return nil, r.err
	}
	if list, ok := r.txt[name]; ok {
		return list, nil
	}
	return nil, &net.DNSError{Err: "no such host", Name: name, IsNotFound: true}
}

func published() records {
	r := records{txt: map[string][]string{}}
	for _, k := range testKeys() {
		r.txt[k.Name("author.test")] = []string{k.Record()}
	}
	return r
}

// signatures writes a message in pieces of n octets.
func signatures(message string, n int) string {
	s := Sign(keysOf)
	defer s.Close()
	for rest := []byte(message); len(rest) > 0; {
		piece := rest[:min(n, len(rest))]
		rest = rest[len(piece):]
		if wrote, err := s.Write(piece); wrote != len(piece) || err != nil {
			panic("Write fails")
		}
	}
	return s.Fields()
}

// passes counts the signatures of a message that verify.
func passes(t *testing.T, message string) (good int) {
	t.Helper()
	dns := published()
	found, err := dkim.VerifyWithOptions(strings.NewReader(message), &dkim.VerifyOptions{
		LookupTXT: func(name string) ([]string, error) { return dns.LookupTXT(t.Context(), name) },
	})
	if err != nil {
		t.Fatal(err)
	}
	for _, one := range found {
		if one.Err == nil && one.Domain == "author.test" {
			good++
		}
	}
	return good
}

func TestMessagesAreSigned(t *testing.T) {
	const head = "Received: by hub.test\r\nFrom: A <a@Author.TEST>\r\nto: b@other.test\r\nSubject:  folded\r\n\t text \r\nX-Mailer: x\r\nContent-Type: text/plain; charset=utf-8\r\n"
	tests := map[string]string{
		"an ordinary body":         head + "\r\nbody\r\n.\r\n..dots\r\n",
		"an empty body":            head + "\r\n",
		"a header alone":           head,
		"empty lines at the end":   head + "\r\nbody\r\n\r\n  \r\n\t\r\n\r\n",
		"blanks at ends of lines":  head + "\r\nbody  \r\n\ta  b\t \r\n",
		"no line end at the end":   head + "\r\nbody",
		"octets beyond ASCII":      head + "\r\nGr\xfc\xdfe \xe2\x82\xac\x00\r\n",
		"a long line":              head + "\r\n" + strings.Repeat("x", 100_000) + "\r\n",
		"a header beyond ASCII":    "From: \xc3\xa4 <a@author.test>\r\nSubject: \xfc\r\n\r\nbody\r\n",
		"a long list of addresses": "From: a@author.test\r\nTo: " + strings.Repeat("someone@other.test,\r\n\t", 2000) + "b@other.test\r\n\r\nbody\r\n",
		"fields that come often":   "From: a@author.test\r\n" + strings.Repeat("To: b@other.test\r\n", 200) + "\r\nbody\r\n",
		"empty lines in the body":  head + "\r\na" + strings.Repeat("\r\n", 10_000) + "b\r\n",
		"a large body":             head + "\r\n" + strings.Repeat(strings.Repeat("y", 76)+"\r\n", 30_000),
	}
	for name, message := range tests {
		for _, n := range []int{1, 7, 4096, len(message)} {
			if n < 100 && len(message) > 2000 {
				continue
			}
			fields := signatures(message, n)
			if got := passes(t, fields+ended(message)); got != 2 {
				t.Errorf("%s, in pieces of %d: %d signatures verify of\n%s", name, n, got, fields)
			}
			for line := range strings.Lines(fields) {
				if len(line) > 1000 || !strings.HasSuffix(line, "\r\n") {
					t.Errorf("%s: a line of %d octets: %.100q", name, len(line), line)
				}
			}
		}
	}
}

// ended has the empty line that verifiers add.
func ended(message string) string {
	if !strings.Contains(message, "\r\n\r\n") {
		return message + "\r\n"
	}
	return message
}

func TestSignaturesHoldTheMessage(t *testing.T) {
	const message = "From: a@author.test\r\nSubject: s\r\nDate: Sat, 28 Nov 2026 08:00:00 +0000\r\n\r\nbody  text\r\n"
	whole := signatures(message, 100) + message
	for name, changed := range map[string]string{
		"another From on top":  "From: boss@author.test\r\n" + whole,
		"another Subject":      strings.Replace(whole, "Subject: s", "Subject: t", 1),
		"another body":         strings.Replace(whole, "body", "Body", 1),
		"text behind the body": whole + "more\r\n",
		"another date":         strings.Replace(whole, "28 Nov", "27 Nov", 1),
	} {
		if got := passes(t, changed); got != 0 {
			t.Errorf("%s: %d signatures verify", name, got)
		}
	}
	for name, changed := range map[string]string{
		"a trace field on top":      "Received: by other.test\r\n" + whole,
		"fields folded elsewhere":   strings.Replace(whole, "Subject: s", "subject:\r\n s ", 1),
		"blanks at the end of line": strings.Replace(whole, "body  text", "body text \t", 1),
		"an empty line at the end":  whole + "\r\n",
		"another field":             "List-Id: <x.other.test>\r\n" + whole,
	} {
		if got := passes(t, changed); got != 2 {
			t.Errorf("%s: %d signatures verify", name, got)
		}
	}
	if got := strings.ToLower(whole); strings.Contains(got, " l=") || !strings.Contains(got, "c=relaxed/relaxed;") || !strings.Contains(got, "h=from:from:subject:date;") {
		t.Errorf("the signatures are\n%s", whole)
	}
}

func TestWhatIsNotSigned(t *testing.T) {
	for name, message := range map[string]string{
		"an author without a key":      "From: a@other.test\r\n\r\nbody\r\n",
		"a domain below that of a key": "From: a@sub.author.test\r\n\r\nbody\r\n",
		"two authors' domains":         "From: a@author.test, b@other.test\r\n\r\nbody\r\n",
		"two From fields":              "From: a@author.test\r\nFrom: a@author.test\r\n\r\nbody\r\n",
		"no author":                    "Subject: x\r\n\r\nbody\r\n",
		"no header":                    "\r\nFrom: a@author.test\r\n\r\nbody\r\n",
		"nothing":                      "",
		"a malformed author":           "From: a author.test\r\n\r\nbody\r\n",
		"LF in the body":               "From: a@author.test\r\n\r\nbody\ntext\r\n",
		"LF at its beginning":          "From: a@author.test\r\n\r\n\nbody\r\n",
		"CR in the body":               "From: a@author.test\r\n\r\nbody\rtext\r\n",
		"two CR":                       "From: a@author.test\r\n\r\nbody\r\r\n",
		"CR at the end":                "From: a@author.test\r\n\r\nbody\r",
		"LF in the header":             "From: a@author.test\nSubject: x\r\n\r\nbody\r\n",
		"LF between header and body":   "From: a@author.test\r\n\nbody\r\n",
		"a header without end":         "From: a@author.test\r\n" + strings.Repeat("X: y\r\n", maxHeader/5) + "\r\nbody\r\n",
		"very many empty lines":        "From: a@author.test\r\n\r\n" + strings.Repeat(" \r\n", maxPending/2) + "body\r\n",
	} {
		for _, n := range []int{1 + len(message)/1000, 5 + len(message)/1000, 32 << 10, max(len(message), 1)} {
			if fields := signatures(message, n); fields != "" {
				t.Errorf("%s, in pieces of %d: it is signed by\n%s", name, n, fields)
			}
		}
	}
	s := Sign(keysOf)
	_, _ = s.Write([]byte("From: a@author.test\r\n\r\nbody"))
	s.Close()
	if s.Close(); s.Fields() != "" {
		t.Error("a message that was given up is signed")
	}
}

func TestSelectors(t *testing.T) {
	for selector, good := range map[string]bool{
		"s1": true, "S-1.mail": true, "2026": true,
		"": false, "ü": false, "xn--tda.ü": false, "a_b": false, "a b": false, "a.": false, ".a": false, "a..b": false, "-a": false, "a-": false, "[::1]": false,
		strings.Repeat("a", 64): false, strings.Repeat("abcdefghij.", 19) + "a": false,
	} {
		if err := CheckSelector(selector); (err == nil) != good || err != nil && !strings.Contains(err.Error(), "ASCII") {
			t.Errorf("%q: %v", selector, err)
		}
	}
}

func TestKeysReadBack(t *testing.T) {
	for i, key := range testKeys() {
		key.Replaces = []string{"a", "b.c"}[:i%2*2]
		got, err := ParseKey(key.Secret())
		if err != nil || !slices.Equal(got.Replaces, key.Replaces) || got.Secret() != key.Secret() || got.Record() != key.Record() || got.Type() != key.Type() {
			t.Errorf("key %s reads back as %s, %v", key.Name("author.test"), got.Record(), err)
		}
	}
	_, secret, _ := strings.Cut(testKeys()[1].Secret(), " ")
	for name, text := range map[string]string{
		"no selector":      secret,
		"a bad selector":   "a_b/c " + secret,
		"no key":           "s1",
		"no base64":        "s1 -----BEGIN",
		"half a key":       "s1 " + secret[:len(secret)/8*4],
		"something else":   "s1 " + base64.StdEncoding.EncodeToString([]byte("text")),
		"a selector alone": "s1 ",
	} {
		if _, err := ParseKey(text); err == nil || strings.Contains(err.Error(), secret[:20]) {
			t.Errorf("%s: ParseKey = %v", name, err)
		}
	}
	if _, err := NewKey("s1", "dsa"); err == nil {
		t.Error("a key of another type is made")
	}
	if der, err := x509.MarshalPKIXPublicKey(testKeys()[0].signer.Public()); err != nil || !strings.Contains(testKeys()[0].Record(), "k=rsa; p="+base64.StdEncoding.EncodeToString(der)) {
		t.Errorf("the record is %s, %v", testKeys()[0].Record(), err)
	}
}

func TestPublication(t *testing.T) {
	k := testKeys()[1]
	_, public, _ := strings.Cut(k.Record(), "p=")
	for _, tt := range []struct {
		name string
		txt  []string
		want Publication
	}{
		{"as it is printed", []string{k.Record()}, Published},
		{"in other words", []string{"k=ed25519;p=" + public[:10] + " " + public[10:] + "; t=s; n=x;"}, Published},
		{"for mail", []string{"v=DKIM1; s=email; h=sha1:sha256; k=ed25519; p=" + public}, Published},
		{"for something else", []string{"v=DKIM1; s=other; k=ed25519; p=" + public}, Different},
		{"by another hash", []string{"v=DKIM1; h=sha1; k=ed25519; p=" + public}, Different},
		{"of another type", []string{"v=DKIM1; p=" + public}, Different},
		{"another key", []string{testKeys()[0].Record()}, Different},
		{"revoked", []string{"v=DKIM1; k=ed25519; p="}, Different},
		{"twice", []string{k.Record(), "x"}, Different},
		{"nothing", []string{}, Missing},
	} {
		got, found := k.Look(t.Context(), records{txt: map[string][]string{"e1._domainkey.author.test": tt.txt}}, "author.test")
		if got != tt.want || (got == Different) != (found != "") {
			t.Errorf("%s: %s, %q", tt.name, got, found)
		}
	}
	if got, _ := k.Look(t.Context(), records{}, "author.test"); got != Missing {
		t.Errorf("without a name: %s", got)
	}
	if got, why := k.Look(t.Context(), records{err: errors.New("SERVFAIL")}, "author.test"); got != Unknown || why != "SERVFAIL" {
		t.Errorf("while DNS is down: %s, %q", got, why)
	}
}

func TestEachFieldIsSignedAsOftenAsItIsThere(t *testing.T) {
	got := signedFields([]byte("to: a\r\nFROM: b\r\n from: c\r\nTo : d\r\nX: e\r\nSubject: f\r\n\r\n"))
	if want := []string{"From", "From", "Subject", "To", "To"}; !slices.Equal(got, want) {
		t.Errorf("signed are %v, want %v", got, want)
	}
}
