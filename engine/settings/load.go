// SPDX-License-Identifier: Apache-2.0

package settings

import (
	"fmt"
	"net/netip"
	"time"

	"restante/engine/mail"
	"restante/metabase"
	"restante/metabase/schema"
)

// A reader reads what holds at one key and gathers what is wrong with it.
type reader struct {
	snap     metabase.Snapshot
	schema   *schema.Schema
	path     metabase.Path
	problems []metabase.Problem
}

func newReader(snap metabase.Snapshot, path metabase.Path) *reader {
	return &reader{snap: snap, schema: schema.IIS(), path: path}
}

// bad notes a problem at the key that the property comes from, so that it is
// plain where to cure it; where nothing is stored, at the key itself.
func (r *reader) bad(id metabase.ID, err error) {
	p := metabase.Problem{Path: r.path, ID: id, Err: err}
	if _, from, ok := r.value(id); ok && from != "" {
		p.Path = from
	}
	if prop, ok := r.schema.ByID(id); ok {
		p.Property = prop.Name
	}
	r.problems = append(r.problems, p)
}

func (r *reader) value(id metabase.ID) (metabase.Value, metabase.Path, bool) {
	return r.schema.Effective(r.snap, r.path, id)
}

func (r *reader) number(id metabase.ID) uint32 {
	v, _, _ := r.value(id)
	return v.DWord()
}

func (r *reader) flag(id metabase.ID) bool { return r.number(id) != 0 }

func (r *reader) text(id metabase.ID) string {
	v, _, _ := r.value(id)
	return v.Str()
}

func (r *reader) list(id metabase.ID) []string {
	v, _, _ := r.value(id)
	return v.Strings()
}

// count reads a limit where 0 and very large numbers are none.
func (r *reader) count(id metabase.ID) int {
	if n := r.number(id); n < unlimited {
		return int(n)
	}
	return 0
}

func (r *reader) seconds(id metabase.ID) time.Duration {
	return time.Duration(r.number(id)) * time.Second
}

func (r *reader) minutes(id metabase.ID) time.Duration {
	return time.Duration(r.number(id)) * time.Minute
}

// A reason is an error of kind [metabase.Invalid].
type reason string

func (r reason) Error() string        { return string(r) }
func (r reason) Is(target error) bool { return target == metabase.Invalid }

func invalid(format string, args ...any) error { return reason(fmt.Sprintf(format, args...)) }

func load(snap metabase.Snapshot, n int) (*Site, []metabase.Problem) {
	path := SitePath(n)
	if !snap.Has(path) {
		return nil, []metabase.Problem{{Path: path, Err: metabase.NotFound}}
	}
	r := newReader(snap, path)
	version := r.number(ServiceVersion)
	s := &Site{
		Number: n, Name: SiteName(snap, n), Rev: snap.Rev(), AutoStart: r.flag(ServerAutoStart),
		Enabled: version >= 2 || n == DefaultSite, Greeting: r.text(ConnectResponse),
		TLS: r.tls(), Verbs: r.verbs(version >= 2), SignIn: r.signIn(), Limits: r.limits(),
		Relay: r.relay(), Release: r.release(), Out: r.out(), Retry: r.retry(), Folders: r.folders(), snap: snap, domains: DomainsPath(n),
	}
	s.Domain, s.FQDN = r.names()
	s.Callers = append(r.ipList(IPSecurity), r.prefixes(ConnectIPv6List)...)
	s.Bindings = r.bindings(s.TLS)
	r.defaultRoute()
	s.lazily()
	return s, r.problems
}

func (r *reader) names() (d mail.Domain, fqdn string) {
	if text := r.text(DefaultDomain); text != "" {
		var err error
		if d, err = mail.ParseDomain(text); err != nil {
			r.bad(DefaultDomain, err)
		}
	}
	switch fqdn = r.text(FQDN); {
	case fqdn != "":
	case d != "":
		fqdn = string(d)
	default:
		fqdn = "localhost"
	}
	return d, fqdn
}

func (r *reader) tls() TLS {
	t := TLS{CertFile: r.text(TLSCertificateFile), KeyFile: r.text(TLSKeyFile), Required: r.number(AccessSSLFlags)&accessTLS != 0}
	if t.KeyFile == "" {
		t.KeyFile = t.CertFile
	}
	if t.CertFile == "" {
		t.KeyFile = ""
		if t.Required {
			r.bad(AccessSSLFlags, invalid("asks for TLS, and there is no TlsCertificateFile"))
		}
	}
	return t
}

func (r *reader) bindings(t TLS) (out []Binding) {
	seen := map[netip.AddrPort]string{}
	add := func(id metabase.ID, odmr, implicit bool) {
		for _, text := range r.list(id) {
			b, err := schema.ParseBinding(text)
			if err != nil {
				r.bad(id, err)
				continue
			}
			at := b.AddrPort()
			if first, twice := seen[at]; twice && at.Port() != 0 {
				r.bad(id, invalid("%s is there already, as %s", text, first))
				continue
			}
			seen[at] = text
			out = append(out, Binding{Addr: at, ODMR: odmr, TLS: implicit})
		}
	}
	add(ServerBindings, false, false)
	add(SecureBindings, false, true)
	add(AtrnBindings, true, false)
	if len(out) == 0 && len(r.problems) == 0 {
		r.bad(ServerBindings, invalid("the site has no address to listen on; store ip:port:host or ADDR:PORT here, or in SecureBindings or AtrnBindings"))
	}
	if t.CertFile == "" && len(r.list(SecureBindings)) > 0 {
		r.bad(SecureBindings, invalid("TLS is to begin with the first octet, and there is no TlsCertificateFile"))
	}
	return out
}

func (r *reader) verbs(released bool) Verbs {
	bits := r.number(InboundVerbs)
	return Verbs{
		ETRN: released && bits&verbETRN != 0, TURN: released && bits&verbTURN != 0, ATRN: released && bits&verbTURN != 0,
		Chunking: bits&verbChunking != 0, EightBit: bits&verbEightBit != 0, DSN: bits&verbDSN != 0,
		Pipelining: r.flag(PipelineIn), EnhancedCodes: bits&verbEnhancedCodes != 0,
	}
}

func (r *reader) signIn() SignIn {
	bits := r.number(AuthFlags)
	if bits&(authAnonymous|authBasic|authChallenge) == 0 {
		r.bad(AuthFlags, invalid("nobody could send mail: needs auth_anonymous, auth_basic or auth_ntlm"))
	}
	return SignIn{
		Basic: bits&authBasic != 0, Challenge: bits&authChallenge != 0,
		Clear: r.flag(ClearTextAuth), Required: bits&authAnonymous == 0,
	}
}

func (r *reader) limits() Limits {
	l := Limits{
		Connections: r.count(MaxConnections), MessageSize: int64(r.number(MaxMessageSize)), SessionSize: int64(r.number(MaxSessionSize)),
		Recipients: r.count(MaxRecipients), Errors: r.count(MaxErrors), Hops: r.count(HopCount),
		Idle: r.seconds(ConnectionTimeout), BareLF: r.flag(AcceptBareLinefeed),
	}
	if l.SessionSize != 0 && l.SessionSize < l.MessageSize {
		r.bad(MaxSessionSize, invalid("%d bytes are less than MaxMessageSize, which is %d: no such message could come", l.SessionSize, l.MessageSize))
	}
	return l
}

func (r *reader) relay() Relay {
	return Relay{Nets: append(r.ipList(RelayIPList), r.prefixes(RelayIPv6List)...), ForAuth: r.flag(RelayForAuth)}
}

func (r *reader) ipList(id metabase.ID) []netip.Prefix {
	v, _, _ := r.value(id)
	nets, err := schema.DecodeIPList(v.Bytes())
	if err != nil {
		r.bad(id, err)
	}
	return nets
}

func (r *reader) prefixes(id metabase.ID) (nets []netip.Prefix) {
	for _, text := range r.list(id) {
		n, err := schema.ParsePrefix(text)
		if err != nil {
			r.bad(id, err)
			continue
		}
		nets = append(nets, n)
	}
	return nets
}

func (r *reader) release() Release {
	return Release{
		TurnTLS: r.flag(TurnRequireTLS), EtrnSignIn: r.flag(EtrnRequireAuth), Subdomains: r.flag(EtrnSubdomains),
		Counts: r.flag(EtrnReportCounts), Interval: r.seconds(ReleaseInterval),
	}
}

func (r *reader) out() Out {
	o := Out{
		Port: uint16(r.number(RemotePort)), Timeout: r.seconds(RemoteTimeout), Connections: r.count(MaxOutConnections),
		PerDomain: r.count(MaxOutPerDomain), Messages: r.count(MaxBatchedMessages),
		NoCA: !r.flag(CheckCertificate), NoCertName: !r.flag(CheckCertName),
	}
	for _, text := range r.list(DNSServers) {
		server, err := schema.ParseEndpoint(text)
		if err != nil {
			r.bad(DNSServers, err)
			continue
		}
		o.DNS = append(o.DNS, server)
	}
	return o
}

func (r *reader) retry() Retry {
	t := Retry{
		Delay: r.minutes(RemoteDelay), Expire: r.minutes(RemoteExpire),
		LocalDelay: r.minutes(LocalDelay), LocalExpire: r.minutes(LocalExpire),
	}
	var err error
	if t.Ladder, err = schema.Minutes(r.text(RetryLadder)); err != nil {
		r.bad(RetryLadder, err)
	}
	return t
}

func (r *reader) folders() Folders {
	f := Folders{Queue: r.text(QueueDirectory), Drop: r.text(DropDirectory), Pickup: r.text(PickupDirectory), Badmail: r.text(BadMailDirectory)}
	if f.Queue == "" {
		r.bad(QueueDirectory, errNoFolder)
	}
	if f.Drop == "" {
		r.bad(DropDirectory, errNoFolder)
	}
	return f
}

const errNoFolder = reason("the site needs this folder")

// defaultRoute looks at what a site says of all outgoing connections.
func (r *reader) defaultRoute() {
	if action := Action(r.number(RouteAction)); action.Any(ofDomain) {
		prop, _ := r.schema.ByID(RouteAction)
		r.bad(RouteAction, invalid("%s belong to a domain's key, not to a site or the service",
			prop.Plain(metabase.DWord(uint32(action & ofDomain)))[0]))
	}
	if _, err := schema.ParseHosts(r.text(SmartHost)); err != nil {
		r.bad(SmartHost, err)
	}
	if action := Action(r.number(RouteAction)); action.Any(SignInAny|SignInCram|SignInPlain) && r.text(RouteUserName) == "" {
		r.bad(RouteAction, invalid("asks for a sign-in at the next host, and RouteUserName is empty"))
	}
}
