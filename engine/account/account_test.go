// SPDX-License-Identifier: Apache-2.0

package account

import (
	"encoding/json"
	"fmt"
	"log/slog"
	"strings"
	"testing"
)

func mustNew(t testing.TB, name, password string, cram bool) Credential {
	t.Helper()
	c, err := New(name, password, cram)
	if err != nil {
		t.Fatal(err)
	}
	return c
}

func TestNew(t *testing.T) {
	tests := []struct {
		name, password string
		ok             bool
	}{
		{"testserver", "secret", true},
		{"Müller", "grüße", true},
		{"a b", "with blank", true},

		{"", "x", false},
		{"a", "", false},
		{"a", "\u00ad", false}, // SASLprep maps it to nothing
		{"a", "tab\tin it", false},
		{"a\x00b", "x", false},
		{"a", "\u0627\u0031b", false}, // right-to-left and left-to-right at once
	}
	for _, tt := range tests {
		c, err := New(tt.name, tt.password, false)
		if (err == nil) != tt.ok {
			t.Errorf("New(%q, %q) = %v; want ok %v", tt.name, tt.password, err, tt.ok)
			continue
		}
		if err != nil {
			if tt.password != "" && strings.Contains(err.Error(), tt.password) && tt.password != "x" {
				t.Errorf("New(%q): the error %q gives the password away", tt.name, err)
			}
			continue
		}
		if !c.Check(tt.password) || c.Check(tt.password+"x") || c.Check("") {
			t.Errorf("%q: Check does not tell its password from others", tt.name)
		}
		if c.Secret != "" || strings.Contains(c.Scram, tt.password) {
			t.Errorf("%q: the password is kept though nobody asked", tt.name)
		}
	}
	a, b := mustNew(t, "a", "same", false), mustNew(t, "a", "same", true)
	if a.Scram == b.Scram {
		t.Error("two verifiers of one password have one salt")
	}
	if b.Secret != "same" {
		t.Error("a CRAM-MD5 account does not keep its secret")
	}
}

func TestPasswordForms(t *testing.T) {
	// The same word composed and decomposed (RFC 4013 §2.2).
	if !mustNew(t, "a", "caf\u00e9", false).Check("cafe\u0301") {
		t.Error("a decomposed password is not the composed one")
	}
}

func TestVerifier(t *testing.T) {
	const salt, key = "c2FsdA==", "AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA="
	tests := []struct {
		in string
		ok bool
	}{
		{"SCRAM-SHA-256$4096:" + salt + "$" + key + ":" + key, true},
		{"", false},
		{"SCRAM-SHA-1$4096:" + salt + "$" + key + ":" + key, false},
		{"SCRAM-SHA-256$4095:" + salt + "$" + key + ":" + key, false},
		{"SCRAM-SHA-256$2000001:" + salt + "$" + key + ":" + key, false},
		{"SCRAM-SHA-256$-1:" + salt + "$" + key + ":" + key, false},
		{"SCRAM-SHA-256$4096:$" + key + ":" + key, false},
		{"SCRAM-SHA-256$4096:!$" + key + ":" + key, false},
		{"SCRAM-SHA-256$4096:" + salt + "$AAAA:" + key, false},
		{"SCRAM-SHA-256$4096:" + salt + "$" + key + ":AAAA", false},
		{"SCRAM-SHA-256$4096:" + salt + "$" + key, false},
	}
	for _, tt := range tests {
		c := Credential{Name: "a", Scram: tt.in}
		if err := c.Valid(); (err == nil) != tt.ok {
			t.Errorf("Valid(%q) = %v; want ok %v", tt.in, err, tt.ok)
		}
		if c.Check("x") {
			t.Errorf("%q is matched by x", tt.in)
		}
		if v, err := parseVerifier(tt.in); err == nil && v.format() != tt.in {
			t.Errorf("%q is written %q", tt.in, v.format())
		}
	}
}

func TestSecretIsNotPrinted(t *testing.T) {
	c := Credential{Name: "a", Secret: "open sesame"}
	raw, err := json.Marshal(c)
	if err != nil {
		t.Fatal(err)
	}
	var log strings.Builder
	slog.New(slog.NewTextHandler(&log, nil)).Info("x", "secret", c.Secret, "whole", c)
	out := []string{string(raw), log.String(), c.Secret.String()}
	for _, verb := range []string{"%v", "%+v", "%#v", "%s", "%q", "%x", "%X", "%d", "%10.3s"} {
		out = append(out, fmt.Sprintf(verb, c.Secret), fmt.Sprintf(verb, c), fmt.Sprintf(verb, &c))
	}
	for _, s := range out {
		if strings.Contains(s, "open") || strings.Contains(s, "sesame") || strings.Contains(strings.ToLower(s), "6f70656e") {
			t.Errorf("the secret shows in %q", s)
		}
	}
}

func BenchmarkCheck(b *testing.B) {
	c := mustNew(b, "a", "secret", false)
	for b.Loop() {
		c.Check("secret")
	}
}

func FuzzVerifier(f *testing.F) {
	f.Add(mustNew(f, "a", "b", false).Scram)
	f.Add("SCRAM-SHA-256$4096:c2FsdA==$:")
	f.Fuzz(func(t *testing.T, s string) {
		v, err := parseVerifier(s)
		if err != nil {
			return
		}
		if again, err := parseVerifier(v.format()); err != nil || again.Salt != v.Salt || again.Iters != v.Iters ||
			string(again.StoredKey) != string(v.StoredKey) || string(again.ServerKey) != string(v.ServerKey) {
			t.Errorf("%q is written %q, which reads back otherwise (%v)", s, v.format(), err)
		}
	})
}

// Check says whether password is the account's. A verifier that cannot be read
// matches nothing. It costs some milliseconds of computing.
func (c Credential) Check(password string) bool {
	v, err := parseVerifier(c.Scram)
	if err != nil {
		return false
	}
	return v.matches(password)
}

// Valid returns an error if the stored verifier cannot be used.
func (c Credential) Valid() error {
	_, err := parseVerifier(c.Scram)
	return err
}
