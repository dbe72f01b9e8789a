// SPDX-License-Identifier: Apache-2.0

package settings

import (
	"cmp"
	"crypto/tls"
	"fmt"
	"math"
	"net/netip"
	"time"

	"restante/engine/mail"
	"restante/metabase"
	"restante/metabase/schema"
	"restante/metabase/schema/iplist"
)

// A field is one row of a table of settings: a property, and a pointer to the
// variable for its value. The variable's type and the schema's unit decide how
// the value is read.
type field struct {
	id metabase.ID
	to any
}

// A reader reads the effective values at one key and collects what is wrong
// with them.
type reader struct {
	snap     metabase.Snapshot
	schema   *schema.Schema
	path     metabase.Path
	problems []metabase.Problem
}

func newReader(snap metabase.Snapshot, path metabase.Path) *reader {
	return &reader{snap: snap, schema: schema.IIS(), path: path}
}

// bad adds a problem at the key that stores the property, so that it is plain
// where to cure it; where none stores it, at the reader's key.
func (r *reader) bad(id metabase.ID, err error) {
	p := problem(r.path, id, err)
	if _, from, ok := r.value(id); ok && from != "" {
		p.Path = from
	}
	r.problems = append(r.problems, p)
}

// problem is a [metabase.Problem] with the name of the property.
func problem(path metabase.Path, id metabase.ID, err error) metabase.Problem {
	prop, _ := schema.IIS().ByID(id)
	return metabase.Problem{Path: path, ID: id, Property: prop.Name, Err: err}
}

// A reason is an error of kind [metabase.Invalid].
type reason string

func (r reason) Error() string        { return string(r) }
func (r reason) Is(target error) bool { return target == metabase.Invalid }

func invalid(format string, args ...any) error { return reason(fmt.Sprintf(format, args...)) }

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

// read sets the variable of each row.
func (r *reader) read(rows ...field) {
	for _, row := range rows {
		v, _, _ := r.value(row.id)
		if err := r.set(row, v); err != nil {
			r.bad(row.id, err)
		}
	}
}

func (r *reader) set(row field, v metabase.Value) (err error) {
	switch to := row.to.(type) {
	case *bool:
		*to = v.DWord() != 0
	case *int:
		*to = r.count(row.id, v.DWord())
	case *int64:
		*to, err = schema.SizeOf(v)
	case *uint16:
		*to = uint16(v.DWord())
	case *Action:
		*to = Action(v.DWord())
	case *time.Duration:
		*to = time.Duration(v.DWord()) * r.unit(row.id)
	case *string:
		*to = v.Str()
	case *mail.Domain:
		if v.Str() != "" {
			*to, err = mail.ParseDomain(v.Str())
		}
	case *[]string:
		*to = v.Strings()
	case *[]time.Duration:
		*to, err = schema.Minutes(v.Str())
	case *[]netip.AddrPort:
		*to, err = parseEach(v.Strings(), schema.ParseEndpoint)
	case *[]netip.Prefix:
		*to, err = parseEach(v.Strings(), iplist.ParsePrefix)
	case **iplist.List:
		*to = nil
		if len(v.Bytes()) > 0 { // with an error a list that grants nothing
			list, bad := iplist.Decode(v.Bytes())
			*to, err = &list, bad
		}
	default:
		panic(fmt.Sprintf("settings: property %d: no way to read a %T", row.id, row.to)) // a build that its own tests refuse
	}
	return err
}

// parseEach parses each text and returns those that parse, with the first
// error.
func parseEach[T any](list []string, parse func(string) (T, error)) (out []T, first error) {
	for _, text := range list {
		one, err := parse(text)
		switch {
		case err == nil:
			out = append(out, one)
		case first == nil:
			first = err
		}
	}
	return out, first
}

// unlimited is IIS's value of MaxConnections for no limit. A greater count is
// no limit, too.
const unlimited = 2_000_000_000

// count reads a number; of the schema's unit "count", 0 is no limit.
func (r *reader) count(id metabase.ID, n uint32) int {
	if prop, _ := r.schema.ByID(id); prop.Unit == "count" && n >= unlimited {
		return 0
	}
	return int(n)
}

// unit is the schema's unit of a property that is a time.
func (r *reader) unit(id metabase.ID) time.Duration {
	prop, _ := r.schema.ByID(id)
	switch prop.Unit {
	case "min":
		return time.Minute
	case "days":
		return 24 * time.Hour
	}
	return time.Second
}

func load(snap metabase.Snapshot, n int) (*Site, []metabase.Problem) {
	path := SitePath(n)
	if !snap.Has(path) {
		return nil, []metabase.Problem{{Path: path, Err: metabase.NotFound}}
	}
	r := newReader(snap, path)
	version := r.number(SmtpServiceVersion)
	s := &Site{Number: n, Rev: snap.Rev(), Enabled: version >= 2 || n == DefaultSite, Identity: Identity{Name: SiteName(snap, n)}}
	r.read(s.fields()...)
	if s.FullyQualifiedDomainName == "" {
		s.FullyQualifiedDomainName = cmp.Or(string(s.DefaultDomain), "localhost")
	}
	r.tls(&s.TLS)
	r.acme(s.TLS)
	r.verbs(&s.Verbs, version >= 2)
	r.access(&s.Access, s.TLS, s.Oauth)
	r.ldap(s.Ldap, s.Access)
	r.oauth(s.Oauth)
	r.limits(s.Limits)
	if n := r.number(SmtpDomainValidationFlags); n != 0 && n != math.MaxUint32 { // as IIS stores it by default
		s.Limits.ValidHello = true
	}
	r.folders(s.Folders)
	_, from, _ := r.value(PickupDirectory)
	s.Pickup.inherited = n != DefaultSite && !from.Equal(path)
	r.log(&s.Log)
	s.Bindings = r.bindings(s.TLS)
	s.Out.DnsTransport = r.number(SmtpUseTcpDns)
	r.oldSwitches(s)
	r.defaultRoute()
	s.lookup = newLookup(s, snap)
	s.routing, _ = s.readRouting()
	return s, r.problems
}

// maxRetryInterval is the most minutes that SmtpRemoteProgressiveRetry may have.
const maxRetryInterval = 5_256_000

// oldSwitches reads what IIS's sheets and NT 4 store beside another property, where it
// is stored: their defaults would override that. Of the two intervals, the one that is
// stored nearer to the site holds.
func (r *reader) oldSwitches(s *Site) {
	if v, from, _ := r.value(LimitRemoteConnections); from != "" && v.DWord() == 0 {
		s.Out.MaxOutConnections, s.Out.MaxOutConnectionsPerDomain = 0, 0
	}
	_, newer, _ := r.value(SmtpRemoteProgressiveRetry)
	if v, from, _ := r.value(RemoteRetryInterval); len(from) > len(newer) {
		minutes := min(max(v.DWord(), 1), maxRetryInterval)
		s.Retry.SmtpRemoteProgressiveRetry = []time.Duration{time.Duration(minutes) * time.Minute}
	}
}

func (r *reader) tls(t *TLS) {
	t.Required = r.number(AccessSSLFlags)&accessTLS != 0
	if t.Required && t.TlsCertificateFile == "" {
		r.bad(AccessSSLFlags, invalid("asks for TLS, and there is no TlsCertificateFile"))
	}
	if t.TlsOldDevices && t.TlsMinVersion > tls.VersionTLS12 {
		r.bad(TlsOldDevices, invalid("lets callers use TLS 1.0, and TlsMinVersion is tls1.3: set one of the two only"))
	}
}

func (r *reader) bindings(t TLS) (out []Binding) {
	seen, backlog := map[netip.AddrPort]string{}, r.count(ServerListenBacklog, r.number(ServerListenBacklog))
	add := func(id metabase.ID, odmr, implicit bool) (n int) {
		v, _, _ := r.value(id)
		for _, text := range v.Strings() {
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
			out = append(out, Binding{Addr: at, ODMR: odmr, TLS: implicit, Backlog: backlog})
		}
		return len(v.Strings())
	}
	add(ServerBindings, false, false)
	implicit := add(SecureBindings, false, true)
	add(AtrnBindings, true, false)
	if len(out) == 0 && len(r.problems) == 0 {
		r.bad(ServerBindings, invalid("the site has no address to listen on; store ip:port:host or ADDR:PORT here, or in SecureBindings or AtrnBindings"))
	}
	if t.TlsCertificateFile == "" && implicit > 0 {
		r.bad(SecureBindings, invalid("TLS is to begin with the first octet, and there is no TlsCertificateFile"))
	}
	return out
}

func (r *reader) verbs(v *mail.Verbs, release bool) {
	bits := r.number(SmtpInboundCommandSupportOptions)
	if r.number(eightBitSwitch) == 0 {
		bits &^= verbEightBit
	}
	v.ETRN, v.TURN, v.ATRN = release && bits&verbETRN != 0, release && bits&verbTURN != 0, release && bits&verbTURN != 0
	v.Chunking, v.EightBit, v.DSN = bits&verbChunking != 0, bits&verbEightBit != 0, bits&verbDSN != 0
	v.EnhancedCodes, v.Pipelining = bits&verbEnhancedCodes != 0, r.flag(ShouldPipelineIn)
	v.Verify = r.flag(AllowVerify)
	more := r.number(InboundExtensions)
	v.Help, v.Limits = more&extHelp != 0, more&extLimits != 0
	v.RequireTLS, v.Priority = more&extRequireTLS != 0, more&extPriority != 0
	v.UTF8, v.Binary = more&extUTF8 != 0, bits&verbBinary != 0
	v.DeliverBy = more&extDeliverBy != 0
	v.Recipients = release && r.flag(PushedRecipients)
}

func (r *reader) access(a *Access, t TLS, o Oauth) {
	bits := r.number(AuthFlags)
	a.Basic, a.Challenge, a.Required = bits&authBasic != 0, bits&authChallenge != 0, bits&authAnonymous == 0
	if v, _, set := r.value(AllowAnonymous); set && v.DWord() == 0 {
		a.Required = true
	}
	if r.flag(AnonymousOnly) {
		if a.Basic, a.Challenge = false, false; a.Required || t.TlsClientCaFile != "" || o.OauthIssuer != "" {
			r.bad(AnonymousOnly, invalid("lets nobody sign in, and another property asks for that or offers it: AllowAnonymous, AuthFlags, TlsClientCaFile or OauthIssuer"))
		}
	}
	if a.Required && !a.Basic && !a.Challenge && t.TlsClientCaFile == "" && o.OauthIssuer == "" {
		r.bad(AuthFlags, invalid("no client could send mail: needs auth_anonymous, auth_basic or auth_ntlm"))
	}
	if t.TlsClientCaFile != "" && t.TlsCertificateFile == "" {
		r.bad(TlsClientCaFile, invalid("a client shows its certificate over TLS, and there is no TlsCertificateFile"))
	}
}

func (r *reader) limits(l Limits) {
	if l.MaxSessionSize != 0 && l.MaxSessionSize < l.MaxMessageSize {
		r.bad(MaxSessionSize, invalid("%d bytes are less than MaxMessageSize, which is %d: no such message could come", l.MaxSessionSize, l.MaxMessageSize))
	}
}

func (r *reader) folders(f Folders) {
	if f.QueueDirectory == "" {
		r.bad(QueueDirectory, errNoFolder)
	}
	if f.DropDirectory == "" {
		r.bad(DropDirectory, errNoFolder)
	}
}

const errNoFolder = reason("the site needs this folder")

// As in IIS: a smaller limit of a log file stands for this one.
const minLogSize = 131072

func (r *reader) log(l *Log) {
	l.On = r.flag(LogType) && !r.flag(DontLog)
	if l.On && l.LogFileDirectory == "" {
		r.bad(LogFileDirectory, errNoFolder)
	}
	if l.LogFileTruncateSize = max(l.LogFileTruncateSize, minLogSize); l.LogFileTruncateSize == math.MaxUint32 {
		l.LogFileTruncateSize = 0
	}
}

// defaultRoute checks the route of all outgoing connections of the site.
func (r *reader) defaultRoute() {
	action := Action(r.number(RouteAction))
	if action.Any(domainActions) {
		prop, _ := r.schema.ByID(RouteAction)
		r.bad(RouteAction, invalid("%s belong to a domain's key, not to a site or the service",
			prop.Plain(metabase.DWord(uint32(action & domainActions)))[0]))
	}
	r.routeUser(action)
}

// routeUser refuses a route that signs in without a name.
func (r *reader) routeUser(action Action) {
	if action.Any(signInActions) && r.text(RouteUserName) == "" {
		r.bad(RouteAction, invalid("asks for a sign-in at the next host, and RouteUserName is empty"))
	}
}
