// SPDX-License-Identifier: Apache-2.0

// Package account authenticates callers, and authenticates us to a smart host.
//
// A password is not kept: a [Credential] has a SCRAM-SHA-256 verifier of it
// (RFC 5803), against which PLAIN and LOGIN are checked as well. Only an
// account that is to sign in by CRAM-MD5 also keeps its password, because that
// mechanism cannot do without. An [Authenticator] runs the server's side of an exchange
// and takes as long for an unknown name as for a wrong password.
//
// The package does not know where credentials are stored, nor which mechanisms
// a connection may use.
package account

import (
	"crypto/hmac"
	"crypto/pbkdf2"
	"crypto/rand"
	"crypto/sha256"
	"encoding/base64"
	"errors"
	"fmt"
	"log/slog"
	"strconv"
	"strings"

	"github.com/xdg-go/scram"
	"github.com/xdg-go/stringprep"
)

// The mechanisms that Server and SignIn know.
const (
	Plain = "PLAIN"         // RFC 4616
	Login = "LOGIN"         // draft-murchison-sasl-login
	Cram  = "CRAM-MD5"      // RFC 2195
	Scram = "SCRAM-SHA-256" // RFC 7677
)

// ScramPlus is Scram, bound to the connection's TLS. A SignIn takes it for Scram.
const ScramPlus = Scram + "-PLUS"

// External is the mechanism of callers with a certificate (RFC 4422), which the session
// checks.
const External = "EXTERNAL"

// iterations is what a new verifier costs to compute: some milliseconds, which
// a check of PLAIN pays once in a while (see Authenticator) and a guesser each time.
// RFC 7677 §4 asks for 4096 at least.
const iterations = 15000

// What a stored verifier may ask of us: below, RFC 7677 forbids it; above, one
// sign-in would hold a processor for seconds.
const (
	minIterations = 4096
	maxIterations = 2_000_000
)

const saltSize = 16

// A Secret is a password in clear. It prints as "(secret)" in any format and
// any log; only string(s) gives it away.
type Secret string

const hidden = "(secret)"

func (Secret) String() string               { return hidden }
func (Secret) GoString() string             { return hidden }
func (Secret) LogValue() slog.Value         { return slog.StringValue(hidden) }
func (Secret) MarshalText() ([]byte, error) { return []byte(hidden), nil }

// Format covers the verbs that look behind String, such as %x and %d.
func (Secret) Format(f fmt.State, _ rune) { _, _ = f.Write([]byte(hidden)) }

// A Credential is the stored secret of one account.
type Credential struct {
	Name   string // as the administrator spelled it
	Scram  string // the verifier: SCRAM-SHA-256$iterations:salt$StoredKey:ServerKey
	Secret Secret // the password, only where CRAM-MD5 is wanted; else ""

	Verify func(password string) (account string, err error) `json:"-"` // by a [Directory], for PLAIN and LOGIN; nil: by Scram

	Unusable string // why nobody can sign in as Name, for the log; "": there is no such account
}

// New makes the credential of a name and its password; cramMD5 says whether
// the password itself is kept as well. It refuses an empty name or password,
// and a password that SASLprep (RFC 4013) forbids, because no client could
// sign in with it.
func New(name, password string, cramMD5 bool) (Credential, error) {
	if name == "" {
		return Credential{}, errors.New("an account needs a name")
	}
	if _, err := stringprep.SASLprep.Prepare(name); err != nil || strings.ContainsFunc(name, isControl) {
		return Credential{}, fmt.Errorf("account %q: the name has a character that no client can send", name)
	}
	prepared, err := prepare(password)
	if err != nil {
		return Credential{}, fmt.Errorf("account %s: %w", name, err)
	}
	salt := make([]byte, saltSize)
	_, _ = rand.Read(salt) // never returns an error
	v, err := derive(prepared, salt, iterations)
	if err != nil {
		return Credential{}, fmt.Errorf("account %s: %w", name, err)
	}
	c := Credential{Name: name, Scram: v.format()}
	if cramMD5 {
		c.Secret = Secret(password)
	}
	return c, nil
}

// CheckVerifier returns an error for a malformed verifier; its text shows nothing
// of the verifier.
func CheckVerifier(text string) error {
	if _, err := parseVerifier(text); err != nil {
		return errors.New("is no verifier of SCRAM-SHA-256: it is made from a password, by account add or account passwd")
	}
	return nil
}

func isControl(r rune) bool { return r < ' ' || r == 0x7f }

// prepare is the one form in which a password is hashed (RFC 7677 §3). Its
// errors never hold a part of the password.
func prepare(password string) (string, error) {
	if password == "" {
		return "", errors.New("a password must not be empty")
	}
	p, err := stringprep.SASLprep.Prepare(password)
	if err != nil {
		return "", errors.New("the password has a character that may not stand in one (RFC 4013)")
	}
	if p == "" {
		return "", errors.New("nothing is left of the password after SASLprep (RFC 4013)")
	}
	return p, nil
}

// A verifier is RFC 5803's authentication information, taken apart.
type verifier struct{ scram.StoredCredentials }

// derive does what scram.Client.GetStoredCredentials does; it is done here on
// the standard library, which is several times as fast, since each PLAIN pays.
func derive(prepared string, salt []byte, iterations int) (verifier, error) {
	salted, err := pbkdf2.Key(sha256.New, prepared, salt, iterations, sha256.Size)
	if err != nil {
		return verifier{}, err
	}
	stored := sha256.Sum256(mac(salted, "Client Key"))
	return verifier{scram.StoredCredentials{
		KeyFactors: scram.KeyFactors{Salt: string(salt), Iters: iterations},
		StoredKey:  stored[:],
		ServerKey:  mac(salted, "Server Key"),
	}}, nil
}

func mac(key []byte, text string) []byte {
	h := hmac.New(sha256.New, key)
	h.Write([]byte(text))
	return h.Sum(nil)
}

func (v verifier) format() string {
	b64 := base64.StdEncoding.EncodeToString
	return fmt.Sprintf("%s$%d:%s$%s:%s", Scram, v.Iters, b64([]byte(v.Salt)), b64(v.StoredKey), b64(v.ServerKey))
}

func (v verifier) matches(password string) bool {
	p, prepErr := prepare(password)
	if prepErr != nil {
		p = "-" // the work is done all the same: time tells nothing
	}
	got, err := derive(p, []byte(v.Salt), v.Iters)
	return err == nil && prepErr == nil && hmac.Equal(got.StoredKey, v.StoredKey)
}

// parseVerifier reads RFC 5803's text form.
func parseVerifier(s string) (verifier, error) {
	bad := func(why string) (verifier, error) { return verifier{}, errors.New("verifier: " + why) }
	scheme, rest, ok1 := strings.Cut(s, "$")
	head, keys, ok2 := strings.Cut(rest, "$")
	count, salt, ok3 := strings.Cut(head, ":")
	stored, server, ok4 := strings.Cut(keys, ":")
	if !ok1 || !ok2 || !ok3 || !ok4 || scheme != Scram {
		return bad("not of the form SCRAM-SHA-256$iterations:salt$StoredKey:ServerKey")
	}
	n, err := strconv.Atoi(count)
	if err != nil || n < minIterations || n > maxIterations {
		return bad(fmt.Sprintf("the iterations must be %d to %d", minIterations, maxIterations))
	}
	v := verifier{scram.StoredCredentials{KeyFactors: scram.KeyFactors{Iters: n}}}
	rawSalt, err := base64.StdEncoding.DecodeString(salt)
	if err != nil || len(rawSalt) == 0 {
		return bad("the salt is not base64")
	}
	v.Salt = string(rawSalt)
	if v.StoredKey, err = base64.StdEncoding.DecodeString(stored); err != nil || len(v.StoredKey) != sha256.Size {
		return bad("StoredKey is not 32 octets in base64")
	}
	if v.ServerKey, err = base64.StdEncoding.DecodeString(server); err != nil || len(v.ServerKey) != sha256.Size {
		return bad("ServerKey is not 32 octets in base64")
	}
	return v, nil
}
