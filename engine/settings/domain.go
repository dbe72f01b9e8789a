// SPDX-License-Identifier: Apache-2.0

package settings

import (
	"iter"
	"net/netip"
	"slices"
	"strings"

	"restante/engine/account"
	"restante/engine/mail"
	"restante/metabase"
	"restante/metabase/schema"
)

// Standing is what a domain is to a site.
type Standing int

// Foreign is a domain without a key, or with one that says no more than how
// its hosts are spoken to.
const (
	Foreign Standing = iota
	Local            // the default domain, an alias of it, or one with a drop folder
	Held             // its mail waits for a call
	Relayed          // anybody may send to it
)

func (s Standing) String() string {
	return [...]string{"foreign", "local", "held", "relayed"}[s]
}

// A Domain is what is set for one domain.
type Domain struct {
	Name     string        // as its key is called: example.com, or *.example.com
	Path     metabase.Path // of its key; "" for the default domain where it has none
	Standing Standing
	Action   Action
	Accounts []string // who may have its mail by TURN and ATRN
	Relay    Relay    // who may send to it, beside those whom Standing allows
}

// NoETRN says that its mail is not to be had by ETRN.
func (d Domain) NoETRN() bool { return d.Action.Has(NoETRN) }

// Wildcard says that it stands for all names below it.
func (d Domain) Wildcard() bool { return strings.HasPrefix(d.Name, "*.") }

// A Reason is a property that decided something, and the key that it comes
// from; an empty Path is the schema's default.
type Reason struct {
	Property string
	Path     metabase.Path
	Text     string // the value, as on the command line
}

// A Way is where mail goes.
type Way int

// Where mail goes.
const (
	ByMX        Way = iota // to the hosts that DNS names
	BySmartHost            // to Route.Hosts
	ToFolder               // into Route.Folder
)

func (w Way) String() string { return [...]string{"mx", "smart host", "folder"}[w] }

// A Route says where a domain's mail goes, and how the hosts are spoken to.
type Route struct {
	Way         Way
	Held        bool // not before somebody calls for it
	Folder      string
	Hosts       []schema.Host
	DirectFirst bool // the hosts that DNS names are tried before Hosts
	NeedTLS     bool // no mail without TLS
	Helo        bool // HELO instead of EHLO
	NoPipeline  bool
	SignIn      *RouteSignIn // nil: none
	Why         []Reason
}

// A RouteSignIn is how we sign in at the next host.
type RouteSignIn struct {
	User     string
	Password account.Secret
	Plain    bool // by PLAIN or LOGIN
	Cram     bool // by CRAM-MD5
}

// DomainFor finds what is set for a domain: by its own name, else by the
// longest wildcard above it. The default domain is found without a key, too. A
// name that begins with "*." asks for that wildcard itself.
func (s *Site) DomainFor(name mail.Domain) (Domain, bool) {
	path, ok := s.domainKey(name)
	if !ok {
		return Domain{}, false
	}
	return s.domain(path), true
}

// domainKey gives the key for a domain; "" stands for the default domain
// without a key.
func (s *Site) domainKey(name mail.Domain) (metabase.Path, bool) {
	container := s.domains
	if path := container.Join(string(name)); name != "" && s.snap.Has(path) {
		return path, true
	}
	if name == s.Domain && name != "" {
		return "", true
	}
	rest := strings.TrimPrefix(string(name), "*.")
	for {
		_, above, ok := strings.Cut(rest, ".")
		if !ok {
			return "", false
		}
		rest = above
		if path := container.Join("*." + rest); s.snap.Has(path) {
			return path, true
		}
	}
}

func (s *Site) domain(path metabase.Path) Domain {
	if path == "" {
		return Domain{Name: string(s.Domain), Standing: Local, Action: Default, Relay: s.Relay}
	}
	r := newReader(s.snap, path)
	d := Domain{
		Name: path.Base(), Path: path, Action: Action(r.number(RouteAction)), Accounts: r.list(AuthTurnList), Relay: r.relay(),
	}
	if key, ok := s.snap.Key(path); ok {
		d.Name, d.Path = key.Path.Base(), key.Path
	}
	d.Standing = s.standing(d.Name, d.Action)
	return d
}

// standing reads an action: to hold wins over all, and what is ours over
// relaying.
func (s *Site) standing(name string, a Action) Standing {
	switch {
	case a.Has(Hold):
		return Held
	case a.Any(localActions) || strings.EqualFold(name, string(s.Domain)):
		return Local
	case a.Has(DomainRelay):
		return Relayed
	}
	return Foreign
}

// Standing says what a domain is to the site.
func (s *Site) Standing(name mail.Domain) Standing {
	path, ok := s.domainKey(name)
	switch {
	case !ok:
		return Foreign
	case path == "":
		return Local
	}
	r := reader{snap: s.snap, schema: schema.IIS(), path: path}
	return s.standing(path.Base(), Action(r.number(RouteAction)))
}

// Accepts says whether mail to a domain is taken from a caller; account is ""
// for who has not signed in. Reasons tell what decided.
func (s *Site) Accepts(name mail.Domain, client netip.Addr, account string) (bool, []Reason) {
	relay, path := s.Relay, SitePath(s.Number)
	if d, ok := s.DomainFor(name); ok {
		if d.Path != "" {
			path = d.Path
		}
		if d.Standing != Foreign {
			return true, s.why(path, s.decider(d))
		}
		relay = d.Relay
	}
	switch {
	case contains(relay.Nets, client):
		id := RelayIPList
		if client.Unmap().Is6() {
			id = RelayIPv6List
		}
		return true, s.why(path, id)
	case relay.ForAuth && account != "":
		return true, s.why(path, RelayForAuth)
	}
	return false, s.why(path, RelayIPList, RelayIPv6List, RelayForAuth)
}

// decider is the property that gives a domain its standing.
func (s *Site) decider(d Domain) metabase.ID {
	if d.Standing == Local && !d.Action.Any(localActions) || d.Path == "" {
		return DefaultDomain
	}
	return RouteAction
}

// why reads the properties that decided.
func (s *Site) why(path metabase.Path, ids ...metabase.ID) (out []Reason) {
	for _, id := range ids {
		v, from, _ := schema.IIS().Effective(s.snap, path, id)
		prop, _ := schema.IIS().ByID(id)
		out = append(out, Reason{Property: prop.Name, Path: from, Text: strings.Join(prop.Format(v), " ")})
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
		NeedTLS: action.Has(NeedTLS) || r.flag(AlwaysUseTLS), Helo: action.Has(Helo),
		NoPipeline: action.Has(NoPipeline) || !r.flag(PipelineOut),
	}
	if found {
		d, _ := s.DomainFor(name)
		switch d.Standing {
		case Local:
			route = Route{Way: ToFolder, Folder: s.Folders.Drop, Why: s.why(path, s.decider(d), DropDirectory)}
			if folder := r.text(RouteActionString); d.Action.Has(Drop) && folder != "" {
				route.Folder = folder
				route.Why = s.why(path, RouteAction, RouteActionString)
			}
			return route
		case Held:
			route.Held = true
		}
		if s.ownHosts(&route, r, d.Action) || route.Held {
			return route
		}
	}
	s.siteHosts(&route, r)
	return route
}

// ownHosts takes the smart host of the domain itself. SMARTHOST without a host,
// as the recipe for TURN stores it, is none.
func (s *Site) ownHosts(route *Route, r *reader, action Action) bool {
	route.Why = s.why(r.path, RouteAction)
	hosts, err := schema.ParseHosts(r.text(RouteActionString))
	if !action.Has(SmartRoute) || err != nil || len(hosts) == 0 {
		return false
	}
	route.Way, route.Hosts, route.SignIn = BySmartHost, hosts, r.routeSignIn()
	route.Why = s.why(r.path, RouteAction, RouteActionString)
	return true
}

// siteHosts takes the smart host of the site, if there is one in force.
func (s *Site) siteHosts(route *Route, r *reader) {
	hosts, err := schema.ParseHosts(r.text(SmartHost))
	kind := r.number(SmartHostType)
	route.Why = append(route.Why, s.why(r.path, SmartHostType)...)
	if kind == 0 || err != nil || len(hosts) == 0 {
		return
	}
	route.Way, route.Hosts, route.DirectFirst = BySmartHost, hosts, kind == 1
	route.SignIn = r.routeSignIn()
	route.Why = append(route.Why, s.why(r.path, SmartHost)...)
}

func (r *reader) routeSignIn() *RouteSignIn {
	action := Action(r.number(RouteAction))
	user := r.text(RouteUserName)
	if user == "" || !action.Any(SignInAny|SignInCram|SignInPlain) {
		return nil
	}
	any := action.Has(SignInAny) && !action.Any(SignInCram|SignInPlain)
	return &RouteSignIn{
		User: user, Password: account.Secret(r.text(RoutePassword)),
		Plain: any || action.Has(SignInPlain), Cram: any || action.Has(SignInCram),
	}
}

// Domains yields the names of the domains that have a key, in no order.
func (s *Site) Domains() iter.Seq[string] { return s.snap.Names(s.domains) }

// TurnDomains lists the domains whose mail an account may have by TURN, in
// order; the account's case does not count. One that begins with "*." stands
// for all names below it. The caller must not change the list.
func (s *Site) TurnDomains(account string) []mail.Domain { return s.turns()[strings.ToLower(account)] }

func (s *Site) findTurns() map[string][]mail.Domain {
	turns := map[string][]mail.Domain{}
	container := s.domains
	for name := range s.snap.Names(container) {
		item, _, ok := s.snap.Effective(container.Join(name), AuthTurnList)
		if !ok {
			continue
		}
		for _, who := range item.Value.Strings() {
			who = strings.ToLower(who)
			turns[who] = append(turns[who], mail.Domain(strings.ToLower(name)))
		}
	}
	for _, list := range turns {
		slices.Sort(list)
	}
	return turns
}
