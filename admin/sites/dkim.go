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

// domainDkim makes, shows, rotates and removes the keys that sign a domain's mail. A key
// that was made by a rotation signs when the next call with Rotate finds it published:
// until then verifiers could not check its signatures.
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
	if q.Delete && (q.Selector == "" || q.Rotate || q.Type != "") {
		return api.Dkim{}, api.Usage("a key is deleted by its selector alone", "")
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
		id := k.Selector + " " + k.Record()
		if _, there := r.seen[id]; !there {
			state, found := k.Look(within, dns, domain)
			r.seen[id] = publication{state, found}
		}
		return r.seen[id]
	}
	r.elsewhere = func(selector string) bool {
		snap := h.Tree.Snapshot()
		return slices.ContainsFunc(settings.Numbers(snap), func(n int) bool {
			return n != q.Site && settings.DkimAt(snap, settings.DomainPath(n, p.Base())).Find(selector) >= 0
		})
	}
	if err := r.read(settings.DkimAt(h.Tree.Snapshot(), p)); err != nil {
		return api.Dkim{}, err
	}
	if q.Rotate || q.Delete || r.adds() {
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
	seen    map[string]publication // by selector and record

	elsewhere func(selector string) bool // whether another site has such a key of the domain

	keys          []auth.Key
	submitters    []string // DkimFor
	signs         []string // selectors
	made, retired []string // selectors
	deleted       string   // selector
}

func (r *keyring) read(d settings.Dkim) error {
	r.keys, r.made, r.retired, r.deleted, r.submitters = nil, nil, nil, "", append([]string{}, d.For...)
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

// waiting gives the keys that a rotation has made: those marked so that do not sign,
// beside one of their type that does.
func (r *keyring) waiting() (out []auth.Key) {
	for _, k := range r.keys {
		if len(k.Replaces) > 0 && !r.signing(k) && slices.ContainsFunc(r.keys, func(o auth.Key) bool { return o.Type() == k.Type() && r.signing(o) }) {
			out = append(out, k)
		}
	}
	return out
}

// find gives the index of the key of a selector; -1: there is none.
func (r *keyring) find(selector string) int {
	return slices.IndexFunc(r.keys, func(k auth.Key) bool { return strings.EqualFold(k.Selector, selector) })
}

// adds reports whether a request asks for a key that is not there.
func (r *keyring) adds() bool {
	q := r.request
	return len(r.keys) == 0 || q.Selector != "" && r.find(q.Selector) < 0 ||
		q.Selector == "" && q.Type != "" && !slices.ContainsFunc(r.keys, func(k auth.Key) bool { return k.Type() == q.Type })
}

// plan changes the keys as the request asks.
func (r *keyring) plan(now time.Time) error {
	q := r.request
	switch {
	case q.Delete:
		return r.delete()
	case q.Rotate:
		return r.rotate(now)
	case r.adds():
		return r.make(now, q.Selector, q.Type, nil)
	}
	return nil
}

// rotate ends the rotations that have begun, or begins one.
func (r *keyring) rotate(now time.Time) error {
	q := r.request
	waiting := slices.DeleteFunc(r.waiting(), func(k auth.Key) bool { return q.Type != "" && q.Type != k.Type() })
	if len(waiting) == 0 {
		return r.begin(now)
	}
	for _, k := range waiting {
		switch state := r.look(k).Publication; {
		case q.Selector != "" && !strings.EqualFold(q.Selector, k.Selector):
			return r.refuse(fmt.Sprintf("the rotation to the key %s has not ended: end it by --rotate alone, or give it up", k.Selector),
				fmt.Sprintf("domain dkim %d %s --delete --selector %s", q.Site, r.domain, k.Selector))
		case state != auth.Published:
			return r.refuse(fmt.Sprintf("the key %s of the last rotation is not published (%s): publish its record, then say this again", k.Selector, state),
				fmt.Sprintf("domain dkim %d %s", q.Site, r.domain))
		}
		r.replaceBy(k)
	}
	return nil
}

func (r *keyring) refuse(why, hint string) error {
	e := api.AsError(api.Refused(r.what, why))
	e.Hint = hint
	return e
}

// begin makes a key for each type that signs, or takes that of the selector if it is
// there and does not sign.
func (r *keyring) begin(now time.Time) error {
	q, old, kinds := r.request, map[string][]string{}, []string(nil)
	there := r.find(q.Selector)
	for i, k := range r.keys {
		if !r.signing(k) || q.Type != "" && q.Type != k.Type() || there >= 0 && r.keys[there].Type() != k.Type() {
			continue
		}
		if old[k.Type()] == nil {
			kinds = append(kinds, k.Type())
		}
		old[k.Type()] = append(old[k.Type()], k.Selector)
		r.keys[i].Replaces = nil // DkimSelectors has ended that rotation
	}
	switch {
	case len(kinds) == 0:
		return r.refuse("no such key signs, so that there is none to rotate", fmt.Sprintf("domain dkim %d %s", q.Site, r.domain))
	case len(kinds) > 1 && q.Selector != "":
		return r.refuse("two types of keys sign, and one selector is for one key: give the type, too", "")
	case there >= 0 && r.signing(r.keys[there]):
		return r.refuse("the key of selector "+q.Selector+" signs already", "")
	case there >= 0:
		r.keys[there].Replaces = old[kinds[0]]
		return nil
	}
	for _, kind := range kinds {
		if err := r.make(now, q.Selector, kind, old[kind]); err != nil {
			return err
		}
	}
	return nil
}

// make adds a key. It signs at once if it replaces no other one.
func (r *keyring) make(now time.Time, selector, kind string, replaces []string) error {
	if kind == "" {
		kind = auth.RSA
	}
	k, err := auth.NewKey(selector, kind)
	if err != nil {
		return api.Usage(err.Error(), "")
	}
	if selector == "" {
		r.name(&k, kind[:1]+now.UTC().Format("20060102"))
	}
	k.Replaces = replaces
	r.keys, r.made = append(r.keys, k), append(r.made, k.Selector)
	if replaces == nil {
		r.signs = append(r.signs, k.Selector)
	}
	return nil
}

// maxRecords bounds the records of others that are looked at for a free name: the domain
// may have a wildcard, which answers for each.
const maxRecords = 5

// name gives a key a selector that neither another key of the domain nor a record in DNS
// has.
func (r *keyring) name(k *auth.Key, base string) {
	k.Selector = base
	for n, records := 2, 0; ; n++ {
		free := r.find(k.Selector) < 0 && !r.elsewhere(k.Selector)
		if free && (records == maxRecords || r.look(*k).Publication != auth.Different) {
			return
		}
		if free {
			records++
		}
		k.Selector = fmt.Sprintf("%s-%d", base, n)
	}
}

// replaceBy has a key sign in the place of those that its rotation began with.
func (r *keyring) replaceBy(next auth.Key) {
	for _, selector := range next.Replaces {
		if r.remove(selector) {
			r.retired = append(r.retired, selector)
		}
	}
	r.keys[r.find(next.Selector)].Replaces = nil
	r.signs = append(r.signs, next.Selector)
}

// remove takes a key away, and reports whether it was there.
func (r *keyring) remove(selector string) bool {
	is := func(s string) bool { return strings.EqualFold(s, selector) }
	i := r.find(selector)
	if i < 0 {
		return false
	}
	r.keys = slices.Delete(r.keys, i, i+1)
	r.signs = slices.DeleteFunc(r.signs, is)
	for i := range r.keys { // a later key of this name is another one
		r.keys[i].Replaces = slices.DeleteFunc(slices.Clone(r.keys[i].Replaces), is)
	}
	return true
}

// delete removes the key of the request.
func (r *keyring) delete() error {
	q := r.request
	i := r.find(q.Selector)
	if i < 0 {
		return &api.Error{Kind: api.KindNotFound, Text: r.what + ": there is no key of selector " + q.Selector}
	}
	if r.signing(r.keys[i]) && len(r.signs) == 1 && !q.Force {
		return r.refuse("no other key signs than "+r.keys[i].Selector+": without it the domain's mail goes unsigned",
			fmt.Sprintf("--yes domain dkim %d %s --delete --selector %s", q.Site, r.domain, q.Selector))
	}
	r.deleted = r.keys[i].Selector
	r.remove(q.Selector)
	return nil
}

func (r *keyring) answer(name string) api.Dkim {
	out := api.Dkim{Site: r.request.Site, Name: name, Made: r.made, Deleted: r.deleted, Retired: r.retired, For: r.submitters, Keys: []api.DkimKey{}}
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
