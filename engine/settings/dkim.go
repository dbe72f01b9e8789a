// SPDX-License-Identifier: Apache-2.0

package settings

import (
	"slices"
	"strings"

	"restante/engine/auth"
	"restante/engine/mail"
	"restante/metabase"
)

// Dkim is what signs mail whose author is of one domain. It is not inherited.
type Dkim struct {
	Selectors []string // of those of Keys that sign
	Keys      []string // as [auth.ParseKey] reads them
}

// DkimAt reads what is stored at the key of a domain.
func DkimAt(snap metabase.Snapshot, path metabase.Path) Dkim {
	selectors, _ := snap.Stored(path, DkimSelectors)
	keys, _ := snap.Stored(path, DkimKeys)
	return Dkim{selectors.Value.Strings(), keys.Value.Strings()}
}

// Signing gives the keys that sign.
func (d Dkim) Signing() (keys []string) {
	for _, selector := range d.Selectors {
		if i := d.Find(selector); i >= 0 {
			keys = append(keys, d.Keys[i])
		}
	}
	return keys
}

// Find gives the index of the key of a selector; -1: there is none.
func (d Dkim) Find(selector string) int {
	return slices.IndexFunc(d.Keys, func(key string) bool { return strings.EqualFold(selectorOf(key), selector) })
}

func selectorOf(key string) string {
	name, _, _ := strings.Cut(key, " ")
	return name
}

// DkimKeys are the keys that sign mail whose author is of a domain.
func (s *Site) DkimKeys(author mail.Domain) []string {
	if author == "" || !s.HasDkim() {
		return nil
	}
	return DkimAt(s.snap, s.domains.Join(string(author))).Signing()
}

// HasDkim reports whether mail of any domain is signed.
func (s *Site) HasDkim() bool { return s.dkim() }

func (s *Site) findDkim() bool {
	for name := range s.Domains() {
		if item, ok := s.snap.Stored(s.domains.Join(name), DkimSelectors); ok && len(item.Value.Strings()) > 0 {
			return true
		}
	}
	return false
}

// dkim refuses a selector without a key. Where there is no key at all, a file of another
// machine has brought the selectors without their secrets.
func (r *reader) dkim(d Dkim) {
	for i, key := range d.Keys {
		if name := selectorOf(key); d.Find(name) != i && checkDkimKey(key) == nil { // what is no key may be all secret
			r.bad(DkimKeys, invalid("two keys have the selector %s", name))
		}
	}
	for _, selector := range d.Selectors {
		if len(d.Keys) > 0 && d.Find(selector) < 0 {
			r.bad(DkimSelectors, invalid("DkimKeys has no key of selector %q; `domain dkim` makes one", selector))
		}
	}
}

func checkDkimKey(text string) error {
	_, err := auth.ParseKey(text)
	return err
}
