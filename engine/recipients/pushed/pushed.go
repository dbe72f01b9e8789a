// SPDX-License-Identifier: Apache-2.0

// Package pushed keeps the lists of recipients that the hosts of held domains push, and
// answers the verb by which they do:
//
//	XRECIPIENTS domain                     the salt, the digest and the number of the stored list
//	XRECIPIENTS domain ADD hash ...        collects hashes
//	XRECIPIENTS domain SET salt digest     has the collected ones take the place of the stored list
//
// A list is replaced as a whole, in one commit, and only where the collected hashes have
// the digest; otherwise the stored one stays. A [Store] reads each list once.
package pushed

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"sync"
	"time"

	"restante/engine/mail"
	"restante/engine/recipients/hashed"
	"restante/internal/kv"
)

// maxLists bounds the lists of one site: an account may collect the mail of any number of
// names below a wildcard.
const maxLists = 1000

// A List is what one domain's host has pushed.
type List struct {
	*hashed.Set
	At time.Time
	By string // account
}

// stored is the form of a List in the DB.
type stored struct {
	Salt   string        `json:"salt"`
	Hashes []hashed.Hash `json:"-"`
	Raw    []byte        `json:"hashes"`
	At     time.Time     `json:"at"`
	By     string        `json:"by"`
}

// A Store has the lists of all sites. Its methods may be called concurrently. Without a DB
// there are none.
type Store struct {
	DB kv.DB

	mu    sync.Mutex      // guards what follows
	keys  map[string]bool // of all lists; nil: not read yet
	lists map[string]*List
}

// read reads the keys once, so that sites without lists cost nothing. The caller holds
// s.mu.
func (s *Store) read(ctx context.Context) error {
	if s.keys != nil {
		return nil
	}
	keys := map[string]bool{}
	for p, err := range s.DB.Scan(ctx, []byte("pushed/")) {
		if err != nil {
			return err
		}
		keys[string(p.Key)] = true
	}
	s.keys = keys
	return nil
}

// of lists the keys of one site. The caller holds s.mu.
func (s *Store) of(site int) (keys []string) {
	for key := range s.keys {
		if strings.HasPrefix(key, prefix(site)) {
			keys = append(keys, key)
		}
	}
	return keys
}

func prefix(site int) string               { return fmt.Sprintf("pushed/%d/", site) }
func keyOf(site int, d mail.Domain) string { return prefix(site) + string(d) }

// Find gives the list of a domain; nil where none was pushed.
func (s *Store) Find(site int, d mail.Domain) (*List, error) {
	if s == nil || s.DB == nil {
		return nil, nil
	}
	key := keyOf(site, d)
	s.mu.Lock()
	defer s.mu.Unlock()
	if l, known := s.lists[key]; known {
		return l, nil
	}
	raw, ok, err := s.DB.Get([]byte(key))
	if err != nil {
		return nil, fmt.Errorf("pushed list of recipients of %s: %w", d, err)
	}
	var l *List
	if ok {
		if l, err = decode(raw); err != nil {
			return nil, fmt.Errorf("pushed list of recipients of %s: %w", d, err)
		}
	}
	s.remember(key, l)
	return l, nil
}

// remember keeps what the DB has. The caller holds s.mu.
func (s *Store) remember(key string, l *List) {
	if s.lists == nil || len(s.lists) > 10*maxLists {
		s.lists = map[string]*List{} // they are read again
	}
	s.lists[key] = l
}

func decode(raw []byte) (*List, error) {
	var x stored
	if err := json.Unmarshal(raw, &x); err != nil {
		return nil, err
	}
	const size = len(hashed.Hash{})
	if len(x.Raw)%size != 0 {
		return nil, errors.New("it is damaged")
	}
	for at := 0; at < len(x.Raw); at += size {
		x.Hashes = append(x.Hashes, hashed.Hash(x.Raw[at:]))
	}
	return &List{hashed.New(x.Salt, x.Hashes), x.At, x.By}, nil
}

// errMany refuses one more list.
var errMany = errors.New("the site has as many lists of recipients as it may")

// replace stores a list.
func (s *Store) replace(ctx context.Context, site int, d mail.Domain, l *List) error {
	x := stored{Salt: l.Salt(), At: l.At, By: l.By}
	for _, h := range l.Hashes() {
		x.Raw = append(x.Raw, h[:]...)
	}
	text, err := json.Marshal(x)
	if err != nil {
		return err
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if err := s.read(ctx); err != nil {
		return err
	}
	key := keyOf(site, d)
	if !s.keys[key] && len(s.of(site)) >= maxLists {
		return errMany
	}
	s.keys[key] = true
	if err := s.DB.Commit(ctx, kv.Put([]byte(key), text)); err != nil {
		delete(s.lists, key) // it may be stored
		return err
	}
	s.remember(key, l)
	return nil
}

// Keep removes the lists of a site that uses says are not used any more.
func (s *Store) Keep(ctx context.Context, site int, uses func(mail.Domain) bool) error {
	if s.DB == nil {
		return nil
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	var ops []kv.Op
	if err := s.read(ctx); err != nil {
		return err
	}
	var gone []string
	for _, key := range s.of(site) {
		if !uses(mail.Domain(strings.TrimPrefix(key, prefix(site)))) {
			gone, ops = append(gone, key), append(ops, kv.Del([]byte(key)))
			delete(s.lists, key)
		}
	}
	if len(ops) == 0 {
		return nil
	}
	err := s.DB.Commit(ctx, ops...)
	for _, key := range gone {
		if err == nil {
			delete(s.keys, key)
		}
	}
	return err
}

// Rules say who may push which list.
type Rules struct {
	Store *Store // nil: there is none
	Site  int

	// May says how many recipients the account may push for a domain; 0: it may not.
	May func(account string, d mail.Domain) int
}

// An Upload collects what one caller pushes. Its methods must not be called concurrently.
type Upload struct {
	domain mail.Domain
	hashes []hashed.Hash
}

var (
	needAuth = mail.Reply{Code: 530, Enhanced: "7.0", Text: "authentication required"}
	syntax   = mail.Reply{Code: 501, Enhanced: "5.4", Text: "Syntax: XRECIPIENTS domain [ADD hash... | SET salt digest]"}
	denied   = mail.Reply{Code: 550, Enhanced: "7.1", Text: "not allowed for this name"}
	tooMany  = mail.Reply{Code: 552, Enhanced: "3.4", Text: "too many recipients"}
	notWhole = mail.Reply{Code: 554, Enhanced: "6.0", Text: "the list did not come whole: the digest is another one"}
)

func unreachable(err error) mail.Reply {
	return mail.Reply{Code: 451, Enhanced: "3.0", Text: "the lists are out of reach now", Cause: err}
}

// Say answers the verb with its argument, said by an account that has signed in.
func (u *Upload) Say(ctx context.Context, r Rules, account, arg string) mail.Reply {
	words := strings.Fields(arg)
	if account == "" {
		return needAuth
	}
	if len(words) == 0 {
		return syntax
	}
	d, err := mail.ParseDomain(words[0])
	if err != nil {
		return syntax
	}
	most := 0
	if r.Store != nil && r.Store.DB != nil {
		most = r.May(account, d)
	}
	if most == 0 {
		return denied
	}
	if u.domain != d {
		u.domain, u.hashes = d, nil
	}
	switch {
	case len(words) == 1:
		return current(r, d)
	case strings.EqualFold(words[1], "ADD"):
		return u.add(words[2:], most)
	case strings.EqualFold(words[1], "SET") && len(words) == 4 && hashed.IsSalt(words[2]):
		return u.set(ctx, r, account, words[2], words[3])
	}
	return syntax
}

func current(r Rules, d mail.Domain) mail.Reply {
	l, err := r.Store.Find(r.Site, d)
	switch {
	case err != nil:
		return unreachable(err)
	case l == nil:
		return mail.Reply{Code: 250, Enhanced: "0.0", Text: "- - 0"}
	}
	return mail.Reply{Code: 250, Enhanced: "0.0", Text: fmt.Sprintf("%s %s %d", l.Salt(), l.Digest(), len(l.Hashes()))}
}

func (u *Upload) add(words []string, most int) mail.Reply {
	for _, w := range words {
		h, err := hashed.Parse(w)
		if err != nil {
			u.hashes = nil
			return syntax
		}
		if len(u.hashes) >= most {
			u.hashes = nil
			return tooMany
		}
		u.hashes = append(u.hashes, h)
	}
	return mail.Reply{Code: 250, Enhanced: "0.0", Text: fmt.Sprintf("%d collected", len(u.hashes))}
}

func (u *Upload) set(ctx context.Context, r Rules, account, salt, digest string) mail.Reply {
	l := &List{hashed.New(salt, u.hashes), time.Now(), account}
	u.hashes = nil
	if len(l.Hashes()) == 0 || l.Digest() != digest {
		return notWhole
	}
	if err := r.Store.replace(ctx, r.Site, u.domain, l); err != nil {
		return unreachable(err)
	}
	return mail.Reply{Code: 250, Enhanced: "0.0", Text: fmt.Sprintf("%d recipients of %s", len(l.Hashes()), u.domain)}
}
