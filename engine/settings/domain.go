// SPDX-License-Identifier: Apache-2.0

package settings

import (
	"iter"
	"slices"
	"strings"

	"restante/engine/account"
	"restante/engine/account/ldap"
	"restante/engine/mail"
	"restante/metabase"
	"restante/metabase/schema"
)

// A Domain is what is set for one domain.
type Domain struct {
	Name         string        // as its key is called: example.com, or *.example.com
	Path         metabase.Path // of its key; "" for the default domain where it has none
	Standing     mail.Standing
	RouteAction  Action
	AuthTurnList []string // accounts that may collect its mail by TURN and ATRN
	TurnRules    []string // that narrow both; see turnrules
	EtrnAllow    []string // callers that may start delivery to it by ETRN; see EtrnCallers
	Relay        Relay    // clients that may send to it where Standing does not allow all
	Mailboxes
	NeverRefuse bool // what would be refused for good is put off

	DkimSelectors []string // of the keys that sign mail whose author is of the domain
	DkimFor       []string // accounts and networks whose mail they sign; none: that of all who may submit
}

// Mailboxes are those of a domain of ours.
type Mailboxes struct {
	Recipients     []string
	RecipientsFile string // as stored: a relative one begins at the data folder
	Directories    []ldap.Config

	PushedRecipients bool // the list that the domain's host has pushed counts, where there is one
}

// All reports whether every mailbox is taken, if no host has pushed a list.
func (m Mailboxes) All() bool {
	return len(m.Recipients) == 0 && m.RecipientsFile == "" && len(m.Directories) == 0
}

// fields is the table of the properties of a domain that have a field of their
// own.
func (d *Domain) fields() []field {
	return []field{
		{RouteAction, &d.RouteAction},
		{AuthTurnList, &d.AuthTurnList},
		{EtrnAllow, &d.EtrnAllow},
		{TurnRules, &d.TurnRules},
		{RelayIpList, &d.Relay.RelayIpList},
		{RelayIpv6List, &d.Relay.RelayIpv6List},
		{RelayForAuth, &d.Relay.RelayForAuth},
		{Recipients, &d.Recipients},
		{RecipientsFile, &d.RecipientsFile},
		{PushedRecipients, &d.PushedRecipients},
		{NeverRefuse, &d.NeverRefuse},
		{DkimSelectors, &d.DkimSelectors},
		{DkimFor, &d.DkimFor},
	}
}

// A Reason is a property that decided something, and the key that it comes
// from; an empty Path is the schema's default.
type Reason struct {
	Property string
	Path     metabase.Path
	Text     string       // the value, as on the command line
	Rev      metabase.Rev // that set it; 0: the schema's default
}

// A Way is where mail goes.
type Way int

// Where mail goes.
const (
	ByMX        Way = iota // to the hosts in DNS
	BySmartHost            // to Route.Hosts
	ToFolder               // into Route.Folder
)

func (w Way) String() string { return [...]string{"mx", "smart host", "folder"}[w] }

// A Route says where a domain's mail goes, and how the hosts are spoken to.
type Route struct {
	Way         Way
	Held        bool // not before its host calls
	Folder      string
	Quota       int64 // octets in Folder from which on mail for it waits; 0: no limit
	Hosts       []schema.Host
	DirectFirst bool         // the hosts in DNS are tried before Hosts
	NeedTLS     bool         // no mail without TLS
	Helo        bool         // HELO instead of EHLO
	Without     []string     // extensions that are not used, even if the hosts offer them
	SignIn      *RouteSignIn // nil: none
	Why         []Reason
}

// A RouteSignIn is how we sign in at the next host.
type RouteSignIn struct {
	account.SignIn
	From  metabase.Path // the key that stores the password
	Grant *RouteGrant   // that gives tokens, in the place of the password; nil: none
}

// DomainFor finds what is set for a domain: by its own name, else by the
// longest wildcard above it. The default domain is found without a key, too. A
// name that begins with "*." finds that wildcard only.
func (s *Site) DomainFor(name mail.Domain) (Domain, bool) {
	path, ok := s.domainKey(name)
	if !ok {
		return Domain{}, false
	}
	return s.domain(path), true
}

// domainKey returns the key for a domain; "" is the default domain without a
// key.
func (s *Site) domainKey(name mail.Domain) (metabase.Path, bool) {
	container := s.domains
	if path := container.Join(string(name)); name != "" && s.has(path) {
		return path, true
	}
	if name == s.DefaultDomain && name != "" {
		return "", true
	}
	return s.wildcardAbove(mail.Domain(strings.TrimPrefix(string(name), "*.")))
}

func (s *Site) domain(path metabase.Path) Domain {
	if path == "" {
		return Domain{Name: string(s.DefaultDomain), Standing: mail.Local, RouteAction: Default, Relay: s.Relay}
	}
	d := DomainAt(s.snap, path)
	d.Standing = d.RouteAction.Standing(s.isDefault(d.Name))
	return d
}

// DomainAt is what is set at the key of a domain. Of its Standing, it says only
// whether it is held; the rest depends on its site.
func DomainAt(snap metabase.Snapshot, path metabase.Path) Domain {
	d := Domain{Name: path.Base(), Path: path}
	newReader(snap, path).read(d.fields()...)
	if key, ok := snap.Key(path); ok {
		d.Name, d.Path = key.Path.Base(), key.Path
	}
	if standing := d.RouteAction.Standing(false); standing == mail.Held {
		d.Standing = standing
	}
	return d
}

func (s *Site) isDefault(name string) bool { return strings.EqualFold(name, string(s.DefaultDomain)) }

// Standing derives the standing of a domain from its action: Held comes before
// Local, and Local before Relayed. The default domain is local without an action.
func (a Action) Standing(isDefault bool) mail.Standing {
	switch {
	case a.Has(Hold):
		return mail.Held
	case a.Any(localActions) || isDefault:
		return mail.Local
	case a.Has(DomainRelay):
		return mail.Relayed
	}
	return mail.Foreign
}

// Standing is what a domain is to the site.
func (s *Site) Standing(name mail.Domain) mail.Standing {
	path, ok := s.domainKey(name)
	switch {
	case !ok:
		return mail.Foreign
	case path == "":
		return mail.Local
	}
	return Action(newReader(s.snap, path).number(RouteAction)).Standing(s.isDefault(path.Base()))
}

// NeverRefuses is NeverRefuse as it holds for a domain.
func (s *Site) NeverRefuses(name mail.Domain) bool {
	path, _ := s.domainKey(name)
	if path == "" {
		path = SitePath(s.Number)
	}
	return newReader(s.snap, path).flag(NeverRefuse)
}

// MailboxesOf gives the mailboxes of a domain; of an alias of the default domain those
// of that, unless its key stores some.
func (s *Site) MailboxesOf(name mail.Domain) (m Mailboxes) {
	r := newReader(s.snap, s.mailboxesKey(name))
	r.read(field{Recipients, &m.Recipients}, field{RecipientsFile, &m.RecipientsFile}, field{PushedRecipients, &m.PushedRecipients})
	if d, _ := s.recipientsDirectory(r); len(d.URLs) > 0 {
		m.Directories = append(m.Directories, d)
	}
	if s.routing != nil && s.Standing(name) == mail.Local {
		m.Directories = append(m.Directories, *s.routing)
	}
	return m
}

// mailboxIDs name the mailboxes of a domain.
var mailboxIDs = []metabase.ID{Recipients, RecipientsFile, RecipientsLdapUrls}

func (s *Site) mailboxesKey(name mail.Domain) metabase.Path {
	path, _ := s.domainKey(name)
	if path == "" {
		return SitePath(s.Number)
	}
	if other := s.Recipient(mail.Address{Local: "x", Domain: name}).Domain; other != name {
		if !slices.ContainsFunc(mailboxIDs, func(id metabase.ID) bool { _, own := s.snap.Stored(path, id); return own }) {
			return s.mailboxesKey(other)
		}
	}
	return path
}

// MailboxReasons gives those properties that name mailboxes of a domain.
func (s *Site) MailboxReasons(name mail.Domain) []Reason {
	list := s.why(s.mailboxesKey(name), mailboxIDs...)
	if s.Pushes(name) {
		list = append(list, s.why(s.mailboxesKey(name), PushedRecipients)...)
	}
	if s.routing != nil && s.Standing(name) == mail.Local {
		list = append(list, s.why(RoutingPath(s.Number), SmtpDsUseCat, SmtpDsHost)...)
	}
	return slices.DeleteFunc(list, func(r Reason) bool { return r.Text == "" })
}

// Postmaster is PostmasterEmail; the null address where none is set.
func (s *Site) Postmaster() mail.Address { return s.ownAddress(s.Reports.PostmasterEmail) }

// NdrCopies is SendNdrTo; the null address where none is set.
func (s *Site) NdrCopies() mail.Address { return s.Recipient(s.ownAddress(s.Reports.SendNdrTo)) }

// BadMailbox is SendBadTo; the null address where none is set.
func (s *Site) BadMailbox() mail.Address { return s.Recipient(s.ownAddress(s.Reports.SendBadTo)) }

func (s *Site) ownAddress(text string) mail.Address {
	a, err := mail.ParseAddressIn(text, s.DefaultDomain)
	if err != nil { // no default domain
		return mail.Address{}
	}
	return a
}

// Recipient is the address under which mail for a is queued: in the default domain for
// an alias of it, as IIS stamps it, and PostmasterEmail for the default domain's
// postmaster.
func (s *Site) Recipient(a mail.Address) mail.Address {
	if s.DefaultDomain == "" || a.IsNull() {
		return a
	}
	if a.Domain != s.DefaultDomain {
		d, ok := s.DomainFor(a.Domain)
		if !ok || d.Standing != mail.Local || !d.RouteAction.Has(Alias) || d.RouteAction.Has(Drop) {
			return a
		}
		a.Domain = s.DefaultDomain
	}
	if p := s.Postmaster(); !p.IsNull() && strings.EqualFold(a.Local, "postmaster") {
		return p
	}
	return a
}

// Masquerade is how senders of the site are told to other hosts.
func (s *Site) Masquerade() mail.Masquerade {
	if !s.Out.DoMasquerade {
		return mail.Masquerade{}
	}
	return mail.Masquerade{Domain: s.Out.MasqueradeDomain, Local: func(d mail.Domain) bool { return s.Standing(d) == mail.Local }}
}

// Reasons gives properties as they hold for a domain, at its key where it has
// one and else at the site; "" stands for the site itself.
func (s *Site) Reasons(name mail.Domain, ids ...metabase.ID) []Reason {
	path, _ := s.domainKey(name)
	if path == "" {
		path = SitePath(s.Number)
	}
	return s.why(path, ids...)
}

// StandingReasons gives the property that decides what a domain is to the site.
func (s *Site) StandingReasons(name mail.Domain) []Reason {
	d, _ := s.DomainFor(name)
	return s.Reasons(name, s.decider(d))
}

// decider is the property that decides a domain's standing.
func (s *Site) decider(d Domain) metabase.ID {
	if d.Standing == mail.Local && !d.RouteAction.Any(localActions) || d.Path == "" {
		return DefaultDomain
	}
	return RouteAction
}

// why reads the properties that decided something.
func (s *Site) why(path metabase.Path, ids ...metabase.ID) (out []Reason) {
	for _, id := range ids {
		v, from, _ := schema.IIS().Effective(s.snap, path, id)
		prop, _ := schema.IIS().ByID(id)
		r := Reason{Property: prop.Name, Path: from, Text: strings.Join(prop.Format(v), " ")}
		if prop.Attr&metabase.Secure != 0 && r.Text != "" {
			r.Text = metabase.Asterisks
		}
		if from != "" {
			stored, _ := s.snap.Stored(from, id)
			r.Rev = stored.Rev
		}
		out = append(out, r)
	}
	return out
}

// Route decides where a domain's mail goes.
func (s *Site) Route(name mail.Domain) Route {
	path, found := s.domainKey(name)
	if path == "" {
		path = SitePath(s.Number)
	}
	r := newReader(s.snap, path)
	action := Action(r.number(RouteAction))
	route := Route{
		NeedTLS: action.Has(NeedTLS) || r.flag(AlwaysUseSsl), Helo: action.Has(Helo),
		Without: r.without(action),
	}
	if found {
		d, _ := s.DomainFor(name)
		switch d.Standing {
		case mail.Local:
			route = Route{Way: ToFolder, Folder: s.Folders.DropDirectory, Quota: int64(r.number(DropQuota)) << 20, Why: s.why(path, s.decider(d), DropDirectory)}
			if folder := r.text(RouteActionString); d.RouteAction.Has(Drop) && folder != "" {
				route.Folder = folder
				route.Why = s.why(path, RouteAction, RouteActionString)
			}
			return route
		case mail.Held:
			route.Held = true
		}
		if s.ownHosts(&route, r, d.RouteAction) || route.Held {
			return route
		}
	}
	s.siteHosts(&route, r)
	return route
}

// without lists the extensions that are not used towards hosts that offer them.
func (r *reader) without(action Action) (names []string) {
	used := r.number(SmtpOutboundCommandSupportOptions)
	if used == iisOutbound {
		used = verbDSN | verbEightBit | verbChunking | verbBinary
	}
	for _, one := range []struct {
		name string
		off  bool
	}{
		{"PIPELINING", action.Has(NoPipeline) || !r.flag(ShouldPipelineOut)},
		{"DSN", action.Has(NoDSN) || used&verbDSN == 0},
		{"8BITMIME", used&verbEightBit == 0},
		{"CHUNKING", action.Has(NoChunk) || used&verbChunking == 0},
		{"BINARYMIME", action.Any(NoChunk|NoBinary) || used&verbBinary == 0 || used&verbChunking == 0},
	} {
		if one.off {
			names = append(names, one.name)
		}
	}
	return names
}

// ownHosts sets the smart host of the domain itself. The action smarthost
// without a host is none: IIS's instructions for TURN store it so.
func (s *Site) ownHosts(route *Route, r *reader, action Action) bool {
	route.Why = s.why(r.path, RouteAction)
	hosts := r.hosts(RouteActionString)
	if !action.Has(SmartRoute) || len(hosts) == 0 {
		return false
	}
	route.Way, route.Hosts = BySmartHost, hosts
	route.signIn(r)
	route.Why = s.why(r.path, RouteAction, RouteActionString)
	return true
}

// siteHosts sets the smart host of the site, if one is in force.
func (s *Site) siteHosts(route *Route, r *reader) {
	hosts := r.hosts(SmartHost)
	kind := r.number(SmartHostType)
	route.Why = append(route.Why, s.why(r.path, SmartHostType)...)
	if kind == 0 || len(hosts) == 0 {
		return
	}
	route.Way, route.Hosts, route.DirectFirst = BySmartHost, hosts, kind == 1
	route.signIn(r)
	route.Why = append(route.Why, s.why(r.path, SmartHost)...)
}

// hosts are those that a property names or, where it is empty, those of the provider that
// RouteOauth names.
func (r *reader) hosts(id metabase.ID) []schema.Host {
	if hosts := storedHosts(r.text(id)); len(hosts) > 0 {
		return hosts
	}
	return r.presetHosts()
}

// signIn sets how we sign in at the hosts. With a token, these must prove their names.
func (route *Route) signIn(r *reader) {
	route.SignIn = r.routeSignIn()
	route.NeedTLS = route.NeedTLS || route.SignIn != nil && route.SignIn.Grant != nil
}

// storedHosts reads hosts as they are stored. Blanks parted them in earlier versions.
// What does not read names no host and has the mail wait: it must not go elsewhere.
func storedHosts(text string) []schema.Host {
	hosts, err := schema.ParseHosts(text)
	if err != nil {
		hosts, err = schema.ParseHosts(strings.Join(strings.Fields(text), ","))
	}
	if err != nil {
		hosts = []schema.Host{{Name: text, Weight: 1}}
	}
	return hosts
}

func (r *reader) routeSignIn() *RouteSignIn {
	action := Action(r.number(RouteAction))
	user := r.text(RouteUserName)
	if user == "" || !action.Any(signInActions) {
		return nil
	}
	if g := r.routeGrant(); g != nil {
		return &RouteSignIn{SignIn: account.SignIn{Name: user, Mechanisms: account.ByToken}, Grant: g}
	}
	any := action.Has(SignInAny) && !action.Any(SignInCram|SignInPlain)
	password, from, _ := r.value(RoutePassword)
	in := &RouteSignIn{SignIn: account.SignIn{Name: user, Password: account.Secret(password.Str()), InClear: r.flag(RouteClearTextAuth)}, From: from}
	for _, mech := range account.ByPassword {
		if any || action.Has(SignInPlain) && account.Shows(mech) || action.Has(SignInCram) && !account.Shows(mech) {
			in.Mechanisms = append(in.Mechanisms, mech)
		}
	}
	return in
}

// Domains yields the names of the domains that have a key, in no particular
// order.
func (s *Site) Domains() iter.Seq[string] { return s.snap.Names(s.domains) }

// Action is the value of RouteAction: a set of what happens to a domain's mail.
type Action uint32

// The actions that have an effect. The first group belongs to a domain's key.
// The second is also the default for all outgoing connections of a site or the
// service.
const (
	Drop        Action = 0x1    // local: into the folder that RouteActionString names
	SmartRoute  Action = 0x2    // to the host that RouteActionString names
	Alias       Action = 0x10   // another name of the default domain
	Deliver     Action = 0x20   // local
	Default     Action = 0x40   // the default domain
	Hold        Action = 0x200  // mail is held until its host calls for it
	DomainRelay Action = 0x1000 // every client may send to the domain
	NoETRN      Action = 0x8000 // ETRN does not start delivery

	NeedTLS     Action = 0x4
	SignInAny   Action = 0x8
	SignInCram  Action = 0x80
	SignInPlain Action = 0x100
	NoChunk     Action = 0x20000
	NoBinary    Action = 0x40000
	NoDSN       Action = 0x80000
	NoPipeline  Action = 0x100000
	Helo        Action = 0x400000
)

// Groups of actions.
const (
	localActions  = Drop | Alias | Deliver | Default
	domainActions = localActions | SmartRoute | Hold | DomainRelay | NoETRN // for the key of a domain only
	signInActions = SignInAny | SignInCram | SignInPlain
)

// Has reports whether a has all of bits.
func (a Action) Has(bits Action) bool { return a&bits == bits }

// Any reports whether a has at least one of bits.
func (a Action) Any(bits Action) bool { return a&bits != 0 }

// eightBitSwitch is the property of the NT 4 Option Pack for 8BITMIME, which has no
// name.
const eightBitSwitch metabase.ID = 36865

// iisOutbound is what IIS stores in SmtpOutboundCommandSupportOptions for all that it
// can do; its three bits are none of those below.
const iisOutbound = 7

// Bits of SmtpInboundCommandSupportOptions and SmtpOutboundCommandSupportOptions.
const (
	verbDSN           = 0x40
	verbETRN          = 0x80
	verbTURN          = 0x400
	verbEnhancedCodes = 0x1000
	verbChunking      = 0x100000
	verbBinary        = 0x200000
	verbEightBit      = 0x400000
)

// Bits of InboundExtensions.
const (
	extHelp = 1 << iota
	extLimits
	extRequireTLS
	extPriority
	extUTF8
	extDeliverBy
)

// Bits of AuthFlags and AccessSSLFlags.
const (
	authAnonymous = 0x1
	authBasic     = 0x2
	authChallenge = 0x4
	accessTLS     = 0x8
)
