// SPDX-License-Identifier: Apache-2.0

package account

import (
	"cmp"
	"crypto/rand"
	"crypto/sha256"
	"fmt"
	"net/netip"
	"runtime"
	"strings"
	"sync"
	"time"
	"unicode"

	"github.com/emersion/go-sasl"
	"github.com/xdg-go/scram"
)

// A Lookup finds the credential of a name; it folds case as the store does. Of a name
// that it does not know it gives a Credential with the name alone, in the form that
// all forms of a known one would have: they must look alike.
type Lookup func(name string) (Credential, bool)

// An Authenticator runs the server's side of sign-ins. It caches right passwords
// as keyed digests, so that a client that signs in every minute costs one key
// derivation in rememberFor. It bounds the derivations that run at once, so
// that guesses leave processors for the mail. Use one per service; its methods
// may be called from anywhere.
type Authenticator struct {
	opts  Options
	key   []byte // of decoys and digests; never leaves the process
	salts []byte // from which the salts of unknown names are derived
	decoy verifier
	slots chan struct{}

	guesses throttle

	mu    sync.Mutex // guards what follows
	right map[[sha256.Size]byte]success
}

// A success is a right password that was checked.
type success struct {
	account string
	until   time.Time
}

const (
	rememberFor = 5 * time.Minute
	rememberMax = 4096 // entries of about 100 octets
)

// Options adjusts NewAuthenticator. The zero value is the production setting.
type Options struct {
	Key       []byte        // salts of unknown names are derived from it; nil: random, others after each start
	Nonce     func() string // of the server, for SCRAM; nil: random
	Challenge func() string // of CRAM-MD5; nil: random
}

// NewAuthenticator makes an Authenticator with a key of its own.
func NewAuthenticator(opts Options) *Authenticator {
	if opts.Nonce == nil {
		opts.Nonce = rand.Text
	}
	if opts.Challenge == nil {
		opts.Challenge = func() string { return fmt.Sprintf("<%s.%d@restante>", rand.Text(), time.Now().Unix()) }
	}
	g := &Authenticator{
		opts:    opts,
		key:     make([]byte, sha256.Size),
		slots:   make(chan struct{}, max(1, runtime.GOMAXPROCS(0)/2)),
		right:   map[[sha256.Size]byte]success{},
		guesses: throttle{addresses: map[netip.Prefix]*guesser{}, names: map[[sha256.Size]byte]*guesser{}},
	}
	_, _ = rand.Read(g.key) // never returns an error
	g.salts = opts.Key
	if g.salts == nil {
		g.salts = g.key
	}
	// Passwords of unknown names are compared with it: no password has this key.
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
		return g.cram(lookup, done), nil
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

// Reasons of a Refused, for the log alone.
const (
	unknown       = "no such account"
	wrongPassword = "wrong password"
	noCram        = "the account has no password for CRAM-MD5"
	otherName     = "asks to act for another name"
)

// refusal is the Refused of a name; reason is that of one that could sign in.
func refusal(name string, c Credential, known bool, reason string) *Refused {
	if !known {
		reason = cmp.Or(c.Unusable, unknown)
	}
	return &Refused{Name: name, Reason: reason}
}

// check verifies a password for PLAIN and LOGIN.
func (g *Authenticator) check(lookup Lookup, name, password string) (account string, err error) {
	c, known := lookup(name)
	if c.Verify != nil {
		return c.Verify(password)
	}
	v, err := parseVerifier(c.Scram)
	usable := known && err == nil
	if !usable {
		v = g.decoy
	}
	if usable {
		if account, ok := g.remembers(c, password); ok {
			return account, nil
		}
	}
	g.slots <- struct{}{}
	matches := v.matches(password)
	<-g.slots
	if !matches || !usable {
		return "", refusal(name, c, usable, wrongPassword)
	}
	g.remember(c, password, rememberFor)
	return c.Name, nil
}

// digest binds the password to the verifier: a changed password is a changed
// verifier, so what was remembered of the old one is void at once.
func (g *Authenticator) digest(c Credential, password string) [sha256.Size]byte {
	return [sha256.Size]byte(mac(g.key, c.Scram+"\x00"+password))
}

func (g *Authenticator) remembers(c Credential, password string) (account string, ok bool) {
	d := g.digest(c, password)
	g.mu.Lock()
	defer g.mu.Unlock()
	s, ok := g.right[d]
	return s.account, ok && time.Now().Before(s.until)
}

func (g *Authenticator) remember(c Credential, password string, keep time.Duration) {
	if keep <= 0 {
		return
	}
	d := g.digest(c, password)
	now := time.Now()
	g.mu.Lock()
	defer g.mu.Unlock()
	if len(g.right) >= rememberMax {
		for k, s := range g.right {
			if !now.Before(s.until) || len(g.right) >= rememberMax {
				delete(g.right, k)
			}
		}
	}
	g.right[d] = success{c.Name, now.Add(keep)}
}

// fold is equal for the spellings of a name that are one account: they differ in
// case only, as strings.EqualFold and the tree compare. ToLower would leave "boſs"
// beside "boss".
func fold(name string) string {
	return strings.Map(func(r rune) rune {
		least := r
		for c := unicode.SimpleFold(r); c != r; c = unicode.SimpleFold(c) {
			least = min(least, c)
		}
		return least
	}, name)
}

// decoyFor is the verifier that SCRAM shows for an unknown name: the same salt
// each time, as a real account would show (RFC 5802 §9).
func (g *Authenticator) decoyFor(name string) verifier {
	v := g.decoy
	v.Salt = string(mac(g.salts, "salt of "+fold(name))[:saltSize])
	return v
}
