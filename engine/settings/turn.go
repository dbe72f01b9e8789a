// SPDX-License-Identifier: Apache-2.0

package settings

import (
	"fmt"
	"net/netip"
	"slices"
	"strings"

	"restante/engine/mail"
	"restante/engine/turnrules"
	"restante/metabase"
	"restante/metabase/schema"
	"restante/metabase/schema/iplist"
)

// Collects reports whether AuthTurnList names the account.
func (d Domain) Collects(account string) bool {
	return account != "" && slices.ContainsFunc(d.AuthTurnList, func(a string) bool { return strings.EqualFold(a, account) })
}

// EtrnCallers lists who may say ETRN for the domain, in the words of EtrnAllow;
// nil for nobody.
func (d Domain) EtrnCallers() []string {
	switch {
	case d.Standing != mail.Held || d.RouteAction.Has(NoETRN):
		return nil
	case len(d.EtrnAllow) > 0:
		return d.EtrnAllow
	case len(d.AuthTurnList) > 0:
		return []string{schema.CallerAccounts}
	}
	return []string{schema.CallerAny}
}

// ReleaseVerbsOff lists the verbs that hand over mail and that site n does not
// offer, and the properties that say so.
func ReleaseVerbsOff(snap metabase.Snapshot, n int) (off []string, by []metabase.ID) {
	r := newReader(snap, SitePath(n))
	var v mail.Verbs
	version := r.number(SmtpServiceVersion) >= 2
	r.verbs(&v, version)
	for _, verb := range []struct {
		name    string
		offered bool
	}{{"ETRN", v.ETRN}, {"TURN", v.TURN}, {"ATRN", v.ATRN}} {
		if !verb.offered {
			off = append(off, verb.name)
		}
	}
	switch {
	case len(off) == 0:
		return nil, nil
	case !version:
		return off, []metabase.ID{SmtpServiceVersion}
	}
	return off, []metabase.ID{SmtpInboundCommandSupportOptions}
}

// allowsEtrn reports whether a caller is one of EtrnCallers.
func (d Domain) allowsEtrn(account string, client netip.Addr) bool {
	client = client.Unmap().WithZone("")
	return slices.ContainsFunc(d.EtrnCallers(), func(who string) bool {
		switch who {
		case schema.CallerAny:
			return true
		case schema.CallerAccounts:
			return d.Collects(account)
		}
		n, err := iplist.ParsePrefix(who)
		return err == nil && n.Contains(client)
	})
}

// MayCollect reports whether an account may take the mail of a domain by TURN
// or ATRN. The key nearest to the name decides, as for its route: a wildcard
// gives nothing of a domain that has a key of its own or a longer wildcard.
func (s *Site) MayCollect(account string, name mail.Domain) bool {
	d, ok := s.DomainFor(name)
	return ok && d.Collects(account)
}

// MayPush says how many recipients of a domain an account may push; 0: none.
func (s *Site) MayPush(account string, name mail.Domain) int {
	d, ok := s.DomainFor(name)
	if !ok || !d.PushedRecipients || d.Standing != mail.Held || !d.Collects(account) {
		return 0
	}
	return s.Release.MaxPushedRecipients
}

// Pushes reports whether a pushed list of a domain's recipients counts.
func (s *Site) Pushes(name mail.Domain) bool {
	d, ok := s.DomainFor(name)
	return ok && d.PushedRecipients && d.Standing == mail.Held
}

func checkTurnRule(text string) error {
	if _, err := turnrules.Parse(text); err != nil {
		return invalid("%q: %v", text, err)
	}
	return nil
}

// Narrow returns nil if TurnRules let a call pass that is permitted otherwise, and
// otherwise, for the log, what refuses it.
func (s *Site) Narrow(c turnrules.Call) error {
	d, ok := s.DomainFor(mail.Domain(c.Domain))
	if !ok || len(d.TurnRules) == 0 {
		return nil
	}
	if err := turnrules.ParseList(d.TurnRules).Check(c); err != nil {
		return fmt.Errorf("TurnRules at %s refuse %s of %s: %w", d.Path, c.Verb, c.Domain, err)
	}
	return nil
}

// MayEtrn reports whether a caller may start delivery to a domain by ETRN; a
// name that begins with "*." asks for that wildcard. Owner says that its account
// may also collect the mail. The error is for the log: it says why not, and
// which property would allow it.
func (s *Site) MayEtrn(name mail.Domain, account string, client netip.Addr) (owner bool, err error) {
	d, ok := s.DomainFor(name)
	switch {
	case !ok || d.Standing != mail.Held:
		return false, fmt.Errorf("%s is not a held domain", name)
	case d.RouteAction.Has(NoETRN):
		return false, fmt.Errorf("RouteAction at %s has disable_etrn", d.Path)
	case !d.allowsEtrn(account, client):
		return false, fmt.Errorf("EtrnAllow at %s is %s; set it to accounts and the caller's address, or to any, to allow this", d.Path, strings.Join(d.EtrnCallers(), " "))
	}
	return d.Collects(account), nil
}

// A Grant lets an account collect the mail of a domain. A Domain that begins
// with "*." stands for all names below it but those of Except: these have keys
// of their own, which do not name the account.
type Grant struct {
	Account string
	Domain  string
	Rules   []string // TurnRules, as they hold for Domain
	Except  []string
}

// Grants lists who may collect which domain's mail, ordered by domain.
func (s *Site) Grants() []Grant {
	var out []Grant
	at := map[string]int{} // in out, by account and domain
	index := func(account, domain string) string { return strings.ToLower(account + "\x00" + domain) }
	var keys []Domain
	for name := range s.snap.Names(s.domains) {
		keys = append(keys, s.domain(s.domains.Join(name)))
	}
	slices.SortFunc(keys, func(a, b Domain) int { return strings.Compare(strings.ToLower(a.Name), strings.ToLower(b.Name)) })
	for _, d := range keys {
		for _, account := range d.AuthTurnList {
			at[index(account, d.Name)] = len(out)
			out = append(out, Grant{Account: account, Domain: d.Name, Rules: d.TurnRules})
		}
	}
	for _, d := range keys {
		above, ok := s.wildcardAbove(mail.Domain(strings.TrimPrefix(d.Name, "*.")))
		if !ok {
			continue
		}
		for _, account := range s.domain(above).AuthTurnList {
			if i, ok := at[index(account, above.Base())]; ok && !d.Collects(account) {
				out[i].Except = append(out[i].Except, d.Name)
			}
		}
	}
	return out
}

// wildcardAbove returns the key of the longest wildcard above a name.
func (s *Site) wildcardAbove(name mail.Domain) (metabase.Path, bool) {
	rest := string(name)
	for {
		_, above, ok := strings.Cut(rest, ".")
		if !ok {
			return "", false
		}
		rest = above
		if path := s.domains.Join("*." + rest); s.has(path) {
			return path, true
		}
	}
}

// TurnDomains lists the domains whose mail an account may collect by TURN, in
// order; the account's case does not count. One that begins with "*." is for
// the names below it for which MayCollect holds. The caller must not change the
// list.
func (s *Site) TurnDomains(account string) []mail.Domain { return s.turns()[strings.ToLower(account)] }

func (s *Site) findTurns() map[string][]mail.Domain {
	turns := map[string][]mail.Domain{}
	container := s.domains
	for name := range s.snap.Names(container) {
		item, _, ok := s.snap.Effective(container.Join(name), AuthTurnList)
		if !ok {
			continue
		}
		for _, account := range item.Value.Strings() {
			account = strings.ToLower(account)
			turns[account] = append(turns[account], mail.Domain(strings.ToLower(name)))
		}
	}
	for _, list := range turns {
		slices.Sort(list)
	}
	return turns
}
