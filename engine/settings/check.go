// SPDX-License-Identifier: Apache-2.0

package settings

import (
	"fmt"
	"maps"
	"net/netip"
	"slices"
	"strings"

	"restante/engine/account"
	"restante/engine/account/ldap"
	"restante/engine/account/oauth"
	"restante/engine/alert/hook"
	"restante/engine/mail"
	"restante/metabase"
	"restante/metabase/schema"
)

// Check is [Layout.Check] without a data folder.
func Check(c metabase.Change) []metabase.Problem { return Layout{}.Check(c) }

// Check is a [metabase.Check]. It loads each site and each domain that the
// change touches, as they would be after it. A problem that a site had before
// is accepted: a site must be curable step by step.
func (l Layout) Check(c metabase.Change) []metabase.Problem {
	sites := touchedSites(c)
	problems := slices.Concat(l.checkFolders(c, sites), l.checkAddressRights(c), checkAddresses(c, sites), checkValues(c), checkPasswords(c), checkBindPasswords(c), checkMilterRights(c), checkAcmeRights(c))
	for _, n := range sites {
		problems = append(problems, checkSite(c, n)...)
	}
	if c.Old.Has(defaultSite) && !c.New.Has(defaultSite) && c.Batch != nil && c.Batch.Actor != "" {
		problems = append(problems, metabase.Problem{
			Path: defaultSite, Err: invalid("the default site can be stopped, but not deleted"),
		})
	}
	problems = append(problems, checkGuards(c)...)
	return append(problems, checkDomains(c)...)
}

// Guarded reports whether site n must not be deleted: NotDeletable is stored there.
func Guarded(snap metabase.Snapshot, n int) bool {
	item, ok := snap.Stored(SitePath(n), NotDeletable)
	return ok && item.Value.DWord() != 0
}

// checkGuards refuses to remove and to rename a guarded site.
func checkGuards(c metabase.Change) (problems []metabase.Problem) {
	if c.Batch == nil || c.Batch.Actor == "" {
		return nil
	}
	for _, n := range Numbers(c.Old) {
		if !c.New.Has(SitePath(n)) && Guarded(c.Old, n) {
			problems = append(problems, problem(SitePath(n), NotDeletable, invalid("is true: set it to false before the site is deleted or renumbered")))
		}
	}
	return problems
}

// touchedSites lists the sites whose settings the change can alter: those that
// are touched outside of their domains and accounts or, where a key above them
// is touched, all.
func touchedSites(c metabase.Change) []int {
	var numbers []int
	for _, path := range c.Touched {
		if Service.Within(path) {
			return Numbers(c.New)
		}
		n, rest, ok := siteOf(path)
		if ok && !isBelow(rest, "Domain") && !isBelow(rest, "User") && !slices.Contains(numbers, n) && c.New.Has(SitePath(n)) {
			numbers = append(numbers, n)
		}
	}
	slices.Sort(numbers)
	return numbers
}

func checkSite(c metabase.Change, n int) []metabase.Problem {
	if !strings.EqualFold(c.New.Class(SitePath(n)), schema.Server) {
		return nil // the schema reports that
	}
	_, problems := load(c.New, n)
	if len(problems) == 0 || !c.Old.Has(SitePath(n)) {
		return problems
	}
	_, before := load(c.Old, n)
	return slices.DeleteFunc(problems, func(p metabase.Problem) bool {
		return slices.ContainsFunc(before, func(q metabase.Problem) bool { return p.Error() == q.Error() })
	})
}

// checkDomains checks each domain's key that is touched.
func checkDomains(c metabase.Change) (problems []metabase.Problem) {
	for _, path := range c.Touched {
		n, name, ok := domainOf(path)
		if !ok {
			continue
		}
		if c.New.Has(path) {
			problems = append(problems, checkDomain(c.New, path)...)
			continue
		}
		if own, _, _ := schema.IIS().Effective(c.New, SitePath(n), DefaultDomain); strings.EqualFold(own.Str(), name) && c.New.Has(SitePath(n)) {
			problems = append(problems, metabase.Problem{
				Path: path, Err: invalid("the default domain can't be deleted; make another one the default first, by DefaultDomain of the site"),
			})
		}
	}
	return problems
}

func checkDomain(snap metabase.Snapshot, path metabase.Path) []metabase.Problem {
	r := newReader(snap, path)
	if _, err := mail.ParseDomain(strings.TrimPrefix(path.Base(), "*.")); err != nil {
		return nil // the schema reports that
	}
	action := Action(r.number(RouteAction))
	if action.Has(SmartRoute) && !action.Any(localActions) {
		if _, err := schema.ParseHosts(r.text(RouteActionString)); err != nil {
			r.bad(RouteActionString, err)
		}
	}
	r.routeUser(action)
	r.dkim(DkimAt(snap, path))
	if action.Has(Alias) && action.Has(Default) {
		r.bad(RouteAction, invalid("a domain is either the default one or an alias of it"))
	}
	return r.problems
}

// valueChecks check texts, and those of lists, whose form the schema does not know, by property. An
// empty text is accepted, but for a filter that has a default: it would find nobody.
var valueChecks = map[string]func(text string) error{
	"DkimKeys":        checkDkimKey,
	"DkimFor":         checkDkimFor,
	"RouteOauth":      checkRouteOauth,
	"PostmasterEmail": checkMailbox,
	"SendNdrTo":       checkMailbox,
	"SendBadTo":       checkMailbox,
	"HoldEnd":         checkHoldEnd,
	"LinkOrder":       checkLinkOrder,
	"HoldOwner":       checkOwner,
	"WakeUrl":         hook.CheckURL,
	"WakeSecret":      hook.CheckSecret,
	"TurnRules":       checkTurnRule,
	"Recipients":      checkListed,
	"DnsBlocklists":   checkZone,
	"Milters":         checkMilter,
	"AcmeDirectory":   checkDirectory,
	"AcmeEmail":       checkContact,
	"AcmeNames":       checkOrdered,
	"AcmeChallenge":   checkChallenge,
	"ScramVerifier":   account.CheckVerifier, // with another one an account could never sign in

	"RecipientsLdapUrls":   ldap.CheckURL,
	"RecipientsLdapFilter": ldap.CheckMailFilter,
	"RecipientsLdapBaseDn": ldap.CheckDN,
	"SmtpDsNamingContext":  ldap.CheckDN,

	"LdapUserFilter":    ldap.CheckFilter,
	"OauthIssuer":       oauth.CheckIssuer,
	"LdapBindTemplate":  ldap.CheckTemplate,
	"LdapBaseDn":        ldap.CheckDN,
	"LdapRequiredGroup": ldap.CheckDN,

	"DefaultLogonDomain": checkLogonDomain,
	"SaslLogonDomain":    checkLogonDomain,
}

// checkMailbox accepts an address. One without a domain is in the default
// domain.
func checkMailbox(text string) error {
	_, err := mail.ParseMailbox(text)
	return err
}

func checkListed(text string) error {
	if _, err := mail.ParseListed(text); err != nil {
		return invalid("%q: %v", text, err)
	}
	return nil
}

// checkForeign refuses a mailbox of another domain at a domain's key, where no
// recipient could be that. The default domain and its aliases are one.
func checkForeign(c metabase.Change, t metabase.PropertyChange) (problems []metabase.Problem) {
	n, name, ok := domainOf(t.Path)
	if !ok || t.ID != Recipients {
		return nil
	}
	own, err := mail.ParseDomain(strings.TrimPrefix(name, "*."))
	if err != nil {
		return nil // the schema reports that
	}
	for _, text := range t.New.Value.Strings() {
		a, err := mail.ParseListed(text)
		if err != nil || a.NoDomain() || a.Domain == own || a.Domain.Below(own) && name[0] == '*' {
			continue
		}
		s, _ := load(c.New, n)
		if s != nil && s.Recipient(mail.Address{Local: "x", Domain: a.Domain}) == s.Recipient(mail.Address{Local: "x", Domain: own}) {
			continue
		}
		problems = append(problems, problem(t.Path, t.ID, invalid("%q is not in %s: list it at the key of its domain, or at the site", text, name)))
	}
	return problems
}

func checkZone(text string) error {
	_, err := mail.ParseDomain(text)
	return err
}

func checkLogonDomain(text string) error {
	if text != anyLogonDomain && strings.ContainsAny(text, "\\/,; \t@") {
		return invalid(`%q is not one domain of Windows, such as CORP, nor \ for all of them`, text)
	}
	return nil
}

// checkValues checks the values that a change stores.
func checkValues(c metabase.Change) (problems []metabase.Problem) {
	for t := range c.PropertyChanges() {
		if !stores(t) {
			continue
		}
		if err := checkLinkProfiles(c, t); err != nil {
			problems = append(problems, problem(t.Path, t.ID, err))
		}
		prop, _ := schema.IIS().ByID(t.ID)
		problems = append(problems, checkWakeCommand(c, t)...)
		check := valueChecks[prop.Name]
		if check == nil {
			continue
		}
		for _, text := range t.New.Value.Strings() {
			if text == "" && t.ID != RecipientsLdapFilter {
				continue
			}
			if err := check(text); err != nil {
				problems = append(problems, problem(t.Path, t.ID, invalid("%v", err)))
			}
		}
		problems = append(problems, checkForeign(c, t)...)
		problems = append(problems, checkOwners(c, t)...)
	}
	return problems
}

// stores reports whether a property gets another value.
func stores(t metabase.PropertyChange) bool {
	return t.New != nil && (t.Old == nil || !t.Old.Value.Equal(t.New.Value))
}

// bindingIDs are the properties of a site's key that name addresses. They are
// not inherited.
var bindingIDs = []metabase.ID{ServerBindings, SecureBindings, AtrnBindings}

// Values of ServerState of a site that has its addresses.
const (
	stateStarting = 1
	stateStarted  = 2
	statePaused   = 6
)

// listens reports whether a site has its addresses, or gets them when the
// service starts.
func listens(snap metabase.Snapshot, n int) bool {
	r := newReader(snap, SitePath(n))
	state := r.number(ServerState)
	return r.flag(ServerAutoStart) || state == stateStarting || state == stateStarted || state == statePaused
}

// HasAddress reports whether a site's own key names an address to listen on.
func HasAddress(snap metabase.Snapshot, n int) bool {
	return slices.ContainsFunc(bindingIDs, func(id metabase.ID) bool {
		_, ok := snap.Stored(SitePath(n), id)
		return ok
	})
}

// addressesOf lists the addresses that a site stores, each with its property.
// One of port 0 is left out: its port is chosen at the start.
func addressesOf(snap metabase.Snapshot, n int) map[netip.AddrPort]metabase.ID {
	out := map[netip.AddrPort]metabase.ID{}
	for _, id := range bindingIDs {
		item, _ := snap.Stored(SitePath(n), id)
		for _, text := range item.Value.Strings() {
			if b, err := schema.ParseBinding(text); err == nil && b.Port != 0 {
				out[b.AddrPort()] = id
			}
		}
	}
	return out
}

// Exclude reports whether only one of two addresses can be listened on at a time.
// All addresses of a port are IPv6's unspecified address, IPv4's are 0.0.0.0.
func Exclude(a, b netip.AddrPort) bool {
	return a.Port() == b.Port() && a.Port() != 0 && (includes(a.Addr(), b.Addr()) || includes(b.Addr(), a.Addr()))
}

func includes(a, b netip.Addr) bool {
	return a == b || a.IsUnspecified() && (a.Is6() || b.Is4())
}

// A siteAddress is an address that a site stores.
type siteAddress struct {
	site int
	id   metabase.ID
	at   netip.AddrPort
}

// checkAddresses refuses an address that a change gives to a site while it
// excludes one that a site has or gets at the start: only one of the two could
// be listened on. Two sites can have one address by turns if one of them has
// ServerAutoStart false.
func checkAddresses(c metabase.Change, sites []int) (problems []metabase.Problem) {
	if c.Batch != nil && (c.Batch.Actor == "" || c.Batch.Origin == metabase.FromImport) {
		return nil // an import or a roll-back is not refused for this: the state of the site shows it
	}
	added := map[siteAddress]bool{}
	for _, n := range sites {
		for at, id := range addedAddresses(c, n) {
			added[siteAddress{n, id, at}] = true
		}
	}
	if len(added) == 0 {
		return nil
	}
	byPort := map[uint16][]siteAddress{}
	for _, n := range Numbers(c.New) {
		if !listens(c.New, n) {
			continue
		}
		mine := addressesOf(c.New, n)
		for _, at := range slices.SortedFunc(maps.Keys(mine), netip.AddrPort.Compare) {
			one, there := siteAddress{n, mine[at], at}, byPort[at.Port()]
			byPort[at.Port()] = append(there, one)
			i := slices.IndexFunc(there, func(o siteAddress) bool { return Exclude(at, o.at) && (added[one] || added[o]) })
			switch {
			case i < 0:
			case added[one]:
				problems = append(problems, taken(one, there[i]))
			default:
				problems = append(problems, taken(there[i], one))
			}
		}
	}
	return problems
}

// firstFreePort is the first of the ports that every user of a machine may
// listen on.
const firstFreePort = 1024

// checkAddressRights asks for control over the whole tree where a change adds an
// address that only the service may listen on: a port that the system keeps for
// its services, or an address of another machine.
func (l Layout) checkAddressRights(c metabase.Change) (problems []metabase.Problem) {
	if allows(c, metabase.Root, metabase.Control) {
		return nil
	}
	before, sites := map[netip.AddrPort]bool{}, map[int]bool{}
	for _, path := range c.Touched {
		if n, rest, ok := siteOf(path); ok && rest == "" && !sites[n] {
			sites[n] = true
			for at := range addressesOf(c.Old, n) {
				before[at] = true // a site that moves takes its addresses along
			}
		}
	}
	for n := range sites {
		for at, id := range addressesOf(c.New, n) {
			why := ""
			switch ip := at.Addr(); {
			case before[at]:
			case at.Port() < firstFreePort:
				why = fmt.Sprintf("a port below %d", firstFreePort)
			case !ip.IsUnspecified() && !ip.IsLoopback() && l.OwnAddress != nil && !l.OwnAddress(ip):
				why = "an address that is not this machine's"
			}
			if why != "" {
				problems = append(problems, problem(SitePath(n), id, invalid("%s has %s: that takes the right %s at %s", at, why, metabase.Control, metabase.Root)))
			}
		}
	}
	return problems
}

// addedAddresses are those that a site listens on after the change, or will,
// and did not before.
func addedAddresses(c metabase.Change, n int) map[netip.AddrPort]metabase.ID {
	now := addressesOf(c.New, n)
	if listens(c.Old, n) {
		for at := range addressesOf(c.Old, n) {
			delete(now, at)
		}
	}
	return now
}

// taken is the problem of an address that excludes other.
func taken(one, other siteAddress) metabase.Problem {
	what := one.at.String()
	if one.at != other.at {
		what = fmt.Sprintf("%s excludes %s, which", one.at, other.at)
	}
	if one.site == other.site {
		return problem(SitePath(one.site), one.id, invalid("%s is an address of this site, too; keep one of the two", what))
	}
	p := problem(SitePath(one.site), one.id, invalid(
		"%s is an address of site %d; name another, or set ServerAutoStart false at one of the two and have them take turns", what, other.site))
	p.Other = SitePath(other.site)
	return p
}

// allows reports whether the actor of a change has a right; a change without a
// batch is allowed everything.
func allows(c metabase.Change, p metabase.Path, r metabase.Right) bool {
	return c.Batch == nil || c.Old.Allows(append([]metabase.Principal{c.Batch.Actor}, c.Batch.Also...), p, r)
}
