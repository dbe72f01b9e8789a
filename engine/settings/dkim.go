// SPDX-License-Identifier: Apache-2.0

package settings

import (
	"net/netip"
	"slices"
	"strings"

	"restante/engine/auth"
	"restante/engine/mail"
	"restante/metabase"
	"restante/metabase/schema/iplist"
)

// Dkim is what signs mail whose author is of one domain. It is not inherited.
type Dkim struct {
	Selectors []string // of those of Keys that sign
	Keys      []string // as [auth.ParseKey] reads them
	For       []string // accounts and networks whose mail is signed; none: that of all who may submit
}

// DkimAt reads what is stored at the key of a domain.
func DkimAt(snap metabase.Snapshot, path metabase.Path) Dkim {
	selectors, _ := snap.Stored(path, DkimSelectors)
	keys, _ := snap.Stored(path, DkimKeys)
	who, _ := snap.Stored(path, DkimFor)
	return Dkim{selectors.Value.Strings(), keys.Value.Strings(), who.Value.Strings()}
}

// maySign reports whether mail of an account or a client is signed. What has no client is
// of this machine: our own reports, and files of the Pickup folder.
func (d Dkim) maySign(account string, client netip.Addr) bool {
	if len(d.For) == 0 || !client.IsValid() {
		return true
	}
	client = client.Unmap().WithZone("")
	return slices.ContainsFunc(d.For, func(who string) bool {
		if n, err := iplist.ParsePrefix(who); err == nil { // also if an account has this name
			return n.Contains(client)
		}
		return account != "" && strings.EqualFold(who, account)
	})
}

func checkDkimFor(who string) error {
	n, err := iplist.ParsePrefix(who)
	switch {
	case err == nil:
		err = iplist.CheckHost(n)
	case isName(who):
		return nil
	}
	if err != nil {
		return invalid("%q is neither the name of an account nor an address or a network: %v", who, err)
	}
	return nil
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

// DkimKeys are the keys that sign mail of an account or a client whose author is of a
// domain.
func (s *Site) DkimKeys(author mail.Domain, account string, client netip.Addr) []string {
	if author == "" || !s.HasDkim() {
		return nil
	}
	d := DkimAt(s.snap, s.domains.Join(string(author)))
	if !d.maySign(account, client) {
		return nil
	}
	return d.Signing()
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
