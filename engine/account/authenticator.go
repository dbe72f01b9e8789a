// SPDX-License-Identifier: Apache-2.0

package account

import (
	"crypto/rand"
	"crypto/sha256"
	"fmt"
	"runtime"
	"strings"
	"sync"
	"time"

	"github.com/emersion/go-sasl"
	"github.com/xdg-go/scram"
)

// A Lookup finds the credential of a name; it folds case as the store does.
type Lookup func(name string) (Credential, bool)

// A Authenticator checks sign-ins. It remembers for a while, as a keyed digest in
// memory, which password was right, so that a client that signs in every
// minute does not cost a key derivation each time; and it lets only so many
// derivations run at once that a flood of guesses leaves processors for the
// mail. Use one per service. It may be used from anywhere.
type Authenticator struct {
	key   []byte // of decoys and digests; never leaves the process
	decoy verifier
	slots chan struct{}
	now   func() time.Time

	mu    sync.Mutex // guards what follows
	right map[[sha256.Size]byte]time.Time
}

const (
	rememberFor = 5 * time.Minute
	rememberMax = 4096 // entries of 56 octets
)

// NewAuthenticator makes a Authenticator with a key of its own.
func NewAuthenticator() *Authenticator {
	g := &Authenticator{
		key:   make([]byte, sha256.Size),
		slots: make(chan struct{}, max(1, runtime.GOMAXPROCS(0)/2)),
		now:   time.Now,
		right: map[[sha256.Size]byte]time.Time{},
	}
	_, _ = rand.Read(g.key) // never returns an error
	// What a name that nobody has is compared with: no password has this key.
	g.decoy = verifier{scram.StoredCredentials{
		KeyFactors: scram.KeyFactors{Salt: string(mac(g.key, "salt")[:saltSize]), Iters: iterations},
		StoredKey:  mac(g.key, "stored"),
		ServerKey:  mac(g.key, "server"),
	}}
	return g
}

// Server begins the server's side of one exchange by mech. The exchange ends
// without error only if the caller proved to be an account that lookup knows;
// done is then called once, before the last Next returns, with the account's
// name as the credential spells it. A malformed message ends it with a
// mail.Reply, wrong credentials with a [Refused].
func (g *Authenticator) Server(mech string, lookup Lookup, done func(name string)) (sasl.Server, error) {
	switch strings.ToUpper(mech) {
	case Plain:
		return g.plain(lookup, done), nil
	case Login:
		return g.login(lookup, done), nil
	case Cram:
		return g.cram(lookup, done)
	case Scram:
		return g.scram(lookup, done)
	}
	return nil, fmt.Errorf("sign-in by %q is not known", mech)
}

// A Refused is the error of an exchange whose credentials were wrong. Its text
// is for the log: it names the account that was tried and the reason.
type Refused struct {
	Name   string
	Reason string
}

func (r *Refused) Error() string { return fmt.Sprintf("sign-in as %q: %s", r.Name, r.Reason) }

const (
	wrong     = "no such account, or a wrong password"
	otherName = "asks to act for another name"
)

// check is PLAIN's and LOGIN's question.
func (g *Authenticator) check(lookup Lookup, name, password string) (account string, err error) {
	c, known := lookup(name)
	v, err := parseVerifier(c.Scram)
	usable := known && err == nil
	if !usable {
		v = g.decoy
	}
	if usable && g.remembers(c, password) {
		return c.Name, nil
	}
	g.slots <- struct{}{}
	matches := v.matches(password)
	<-g.slots
	if !matches || !usable {
		return "", &Refused{Name: name, Reason: wrong}
	}
	g.remember(c, password)
	return c.Name, nil
}

// digest binds the password to the verifier: a changed password is a changed
// verifier, so what was remembered of the old one is void at once.
func (g *Authenticator) digest(c Credential, password string) [sha256.Size]byte {
	return [sha256.Size]byte(mac(g.key, c.Scram+"\x00"+password))
}

func (g *Authenticator) remembers(c Credential, password string) bool {
	d := g.digest(c, password)
	g.mu.Lock()
	defer g.mu.Unlock()
	until, ok := g.right[d]
	return ok && g.now().Before(until)
}

func (g *Authenticator) remember(c Credential, password string) {
	d := g.digest(c, password)
	now := g.now()
	g.mu.Lock()
	defer g.mu.Unlock()
	if len(g.right) >= rememberMax {
		for k, until := range g.right {
			if !now.Before(until) || len(g.right) >= rememberMax {
				delete(g.right, k)
			}
		}
	}
	g.right[d] = now.Add(rememberFor)
}

// decoyFor is the verifier shown to SCRAM for a name that nobody has: the same
// salt each time, as a real account would show (RFC 5802 §9).
func (g *Authenticator) decoyFor(name string) verifier {
	v := g.decoy
	v.Salt = string(mac(g.key, "salt of "+strings.ToLower(name))[:saltSize])
	return v
}
