// SPDX-License-Identifier: Apache-2.0

package sites

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"time"

	"restante/admin/api"
	"restante/engine/auth"
	"restante/engine/mail"
	"restante/engine/resolver"
	"restante/engine/settings"
	"restante/metabase"
)

// domainDkim makes, shows and rotates the keys that sign a domain's mail. A key that was
// made by a rotation signs when a later call finds it published: until then verifiers
// could not check its signatures.
func (h handlers) domainDkim(ctx context.Context, who api.Caller, q api.DkimRequest) (api.Dkim, error) {
	p, err := h.domainAt(ctx, who, q.Site, q.Name, metabase.Read)
	if err != nil {
		return api.Dkim{}, err
	}
	what := fmt.Sprintf("site %d: %s", q.Site, p.Base())
	domain, err := mail.ParseDomain(p.Base())
	if err != nil {
		return api.Dkim{}, api.Refused(what, "stands for the names below it, and keys belong to one domain")
	}
	if q.Selector != "" {
		if err := auth.CheckSelector(q.Selector); err != nil {
			return api.Dkim{}, api.Usage(err.Error(), "")
		}
	}
	// A resolver of its own: that of the service keeps what it was answered before.
	servers := settings.Unchecked(h.Tree.Snapshot(), q.Site).DNSServers()
	dns := resolver.New(resolver.Options{}).Lookup(resolver.Query{Servers: servers})
	within, cancel := context.WithTimeout(ctx, lookTime)
	defer cancel()
	r := &keyring{domain: domain, request: q, what: what, seen: map[string]publication{}}
	r.look = func(k auth.Key) publication {
		if _, there := r.seen[k.Record()]; !there {
			state, found := k.Look(within, dns, domain)
			r.seen[k.Record()] = publication{state, found}
		}
		return r.seen[k.Record()]
	}
	if err := r.read(settings.DkimAt(h.Tree.Snapshot(), p)); err != nil {
		return api.Dkim{}, err
	}
	if r.changes() && (q.Rotate || r.adds() || h.Allow(ctx, who, p, metabase.WriteSecret) == nil) {
		_, err = h.applyPlan(ctx, who, func(snap metabase.Snapshot) ([]metabase.Op, error) {
			if err := r.read(settings.DkimAt(snap, p)); err != nil {
				return nil, err
			}
			if err := r.plan(time.Now()); err != nil {
				return nil, err
			}
			w := opBuilder{schema: h.Schema, snap: snap}
			var keys []string
			for _, k := range r.keys {
				keys = append(keys, k.Secret())
			}
			w.amend(p, "DkimKeys", keys...)
			w.amend(p, "DkimSelectors", r.signs...)
			return w.ops, w.err
		})
	}
	if err != nil { // the change is refused, or is stored and not in force
		cancel()
	}
	return r.answer(p.Base()), err
}

// lookTime bounds the look-ups of one request.
const lookTime = 20 * time.Second

type publication struct {
	auth.Publication
	found string
}

// A keyring is the keys of one domain, and what a request makes of them.
type keyring struct {
	domain  mail.Domain
	what    string // the domain, for errors
	request api.DkimRequest
	look    func(auth.Key) publication
	seen    map[string]publication // by record

	keys          []auth.Key
	signs         []string // selectors
	made, retired []string // selectors
}

func (r *keyring) read(d settings.Dkim) error {
	r.keys, r.made, r.retired = nil, nil, nil
	r.signs = slices.DeleteFunc(slices.Clone(d.Selectors), func(s string) bool { return d.Find(s) < 0 }) // a file of another machine brings them without keys
	for _, text := range d.Keys {
		k, err := auth.ParseKey(text)
		if err != nil {
			return api.Refused(r.what, "DkimKeys: "+err.Error())
		}
		r.keys = append(r.keys, k)
	}
	return nil
}

func (r *keyring) signing(k auth.Key) bool {
	return slices.ContainsFunc(r.signs, func(s string) bool { return strings.EqualFold(s, k.Selector) })
}

// waiting gives the keys that a rotation has made: those that do not sign, beside
// one of their type that does.
func (r *keyring) waiting() (out []auth.Key) {
	for _, k := range r.keys {
		if !r.signing(k) && slices.ContainsFunc(r.keys, func(o auth.Key) bool { return o.Type() == k.Type() && r.signing(o) }) {
			out = append(out, k)
		}
	}
	return out
}

func (r *keyring) has(selector string) bool {
	return slices.ContainsFunc(r.keys, func(k auth.Key) bool { return strings.EqualFold(k.Selector, selector) })
}

// adds reports whether a request asks for a key that is not there.
func (r *keyring) adds() bool {
	q := r.request
	return len(r.keys) == 0 || q.Selector != "" && !r.has(q.Selector) ||
		q.Selector == "" && q.Type != "" && !slices.ContainsFunc(r.keys, func(k auth.Key) bool { return k.Type() == q.Type })
}

// changes reports whether a request changes the keys as they are.
func (r *keyring) changes() bool {
	return r.adds() || r.request.Rotate ||
		slices.ContainsFunc(r.waiting(), func(k auth.Key) bool { return r.look(k).Publication == auth.Published })
}

// plan changes the keys as the request asks.
func (r *keyring) plan(now time.Time) error {
	q := r.request
	waiting := r.waiting()
	switch {
	case q.Rotate && len(waiting) == 0:
		return r.rotate(now)
	case r.adds() && !q.Rotate:
		return r.make(now, q.Selector, q.Type, true)
	}
	for _, k := range waiting {
		switch state := r.look(k).Publication; {
		case state == auth.Published:
			r.replaceBy(k)
		case q.Rotate:
			return r.refuse(fmt.Sprintf("the key %s of the last rotation is not published (%s): publish its record, then say this again", k.Selector, state),
				fmt.Sprintf("domain dkim %d %s", q.Site, r.domain))
		}
	}
	return nil
}

func (r *keyring) refuse(why, hint string) error {
	e := api.AsError(api.Refused(r.what, why))
	e.Hint = hint
	return e
}

// rotate makes a key for each type that signs.
func (r *keyring) rotate(now time.Time) error {
	var kinds []string
	for _, k := range r.keys {
		if r.signing(k) && !slices.Contains(kinds, k.Type()) && (r.request.Type == "" || r.request.Type == k.Type()) {
			kinds = append(kinds, k.Type())
		}
	}
	switch {
	case len(kinds) == 0:
		return r.refuse("no such key signs, so that there is none to rotate", fmt.Sprintf("domain dkim %d %s", r.request.Site, r.domain))
	case len(kinds) > 1 && r.request.Selector != "":
		return r.refuse("two types of keys sign, and one selector is for one key: give the type, too", "")
	case r.has(r.request.Selector):
		return r.refuse("there is a key of selector "+r.request.Selector+" already", "")
	}
	for _, kind := range kinds {
		if err := r.make(now, r.request.Selector, kind, false); err != nil {
			return err
		}
	}
	return nil
}

// make adds a key.
func (r *keyring) make(now time.Time, selector, kind string, signs bool) error {
	if kind == "" {
		kind = auth.RSA
	}
	if selector == "" {
		base := kind[:1] + now.UTC().Format("20060102")
		selector = base
		for n := 'b'; r.has(selector); n++ {
			selector = base + string(n)
		}
	}
	k, err := auth.NewKey(selector, kind)
	if err != nil {
		return api.Usage(err.Error(), "")
	}
	r.keys, r.made = append(r.keys, k), append(r.made, selector)
	if signs {
		r.signs = append(r.signs, selector)
	}
	return nil
}

// replaceBy has a key sign in the place of those of its type.
func (r *keyring) replaceBy(next auth.Key) {
	r.keys = slices.DeleteFunc(r.keys, func(k auth.Key) bool {
		old := k.Type() == next.Type() && r.signing(k)
		if old {
			r.retired = append(r.retired, k.Selector)
			r.signs = slices.DeleteFunc(r.signs, func(s string) bool { return strings.EqualFold(s, k.Selector) })
		}
		return old
	})
	r.signs = append(r.signs, next.Selector)
}

func (r *keyring) answer(name string) api.Dkim {
	out := api.Dkim{Site: r.request.Site, Name: name, Made: r.made, Retired: r.retired, Keys: []api.DkimKey{}}
	waiting := r.waiting()
	for _, k := range r.keys {
		p := r.look(k)
		one := api.DkimKey{
			Selector: k.Selector, Type: k.Type(), Signs: r.signing(k), Record: k.Name(r.domain), Text: k.Record(),
			Published: string(p.Publication), Found: p.found,
		}
		one.Waits = slices.ContainsFunc(waiting, func(w auth.Key) bool { return w.Selector == k.Selector })
		out.Keys = append(out.Keys, one)
	}
	return out
}
