// SPDX-License-Identifier: Apache-2.0

package engine

import (
	"cmp"
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"io/fs"
	"net"
	"net/netip"
	"slices"
	"strings"
	"sync"
	"time"

	"restante/engine/account/ldap"
	"restante/engine/alert"
	"restante/engine/alert/hook"
	"restante/engine/delivery"
	"restante/engine/dsn"
	"restante/engine/mail"
	"restante/engine/pickup"
	"restante/engine/policy"
	"restante/engine/queue"
	"restante/engine/recipients/pushed"
	"restante/engine/release"
	"restante/engine/release/link"
	"restante/engine/resolver"
	"restante/engine/settings"
	"restante/engine/site"
	"restante/engine/site/acme"
	"restante/engine/site/certs"
	"restante/engine/site/ports"
	"restante/engine/spool"
	"restante/engine/w3clog"
	"restante/engine/wire"
	"restante/internal/disk"
	"restante/internal/kv"
	"restante/metabase"
)

// config turns settings into a site's Config. Shared says whose queue folder the
// site would work in, if it is not its own.
func (e *Engine) config(set *settings.Site, shared error) *site.Config {
	a := newAdapter(set, e.opts.DataDir)
	a.tokens = &e.grants
	a.shown = e.shownBy(a)
	e.lists.Keep(set.Number, func(path string, d mail.Domain) bool { return set.MailboxesOf(d).RecipientsFile == path })
	e.asked.Keep(set.Number, func(id string, d mail.Domain) bool {
		return slices.ContainsFunc(set.MailboxesOf(d).Directories, func(c ldap.Config) bool { return a.openDirectory(c).ID() == id })
	})
	e.milters.Keep(set.Number, policy.Milters(set))
	if err := e.pushed.Keep(context.Background(), set.Number, set.Pushes); err != nil { // tried again at the next change
		e.opts.Log.Warn("remove pushed lists of recipients", "site", set.Number, "err", err)
	}
	cfg := &site.Config{
		Trouble: func() error {
			return errors.Join(e.lists.Err(set.Number), e.asked.Err(set.Number), e.milters.Err(set.Number))
		},
		Name: set.Name, Rev: uint64(set.Rev),
		TLS:     a.certificates(),
		Shown:   a.shown,
		Acme:    a.acme(),
		Accepts: certs.Protocols{Min: set.TLS.TlsMinVersion, Old: set.TLS.TlsOldDevices},
		Wire:    a.wireConfig(),
		Session: policy.For(set, e.Sources()),
		Release: a.releasePolicy(),
		Mail: site.Mail{
			Folder:  a.path(set.Folders.QueueDirectory),
			Archive: a.path(settings.ArchiveFolder(set.Number, set.Folders.HoldArchiveDirectory)),
			Open: func(ctx context.Context, limits func() site.StorageLimits) (site.Storage, error) {
				return e.openStorage(ctx, set.Number, set.Folders.QueueDirectory, limits)
			},
			Limits: site.StorageLimits{Memory: set.Limits.MaxUnfinishedBytes, Reserve: set.Limits.DiskReserve << 20},
			Holds:  queue.RouterFunc(a.routeState),
			Quota:  a.quota,
			Alerts: a.alerts,
			Routes: routes{a},
			From:   dsn.Sender{Name: set.Reports.PostmasterName, Address: set.Postmaster()},
			Policy: a.queuePolicy(e.opts.Descriptors.Conversations),
		},
		Pickup:      a.pickup(),
		Settings:    source{set},
		CallHistory: set.Release.TurnHistoryDays,
		Pushed:      pushed.Rules{Store: &e.pushed, Site: set.Number, May: set.MayPush},
		Bandwidth:   set.Limits.MaxBandwidth,
		Proxy:       settings.Within(set.Limits.ProxyFrom),
		Xclient:     settings.Within(set.Limits.XclientFrom),
	}
	for name, path := range set.Folders.All() {
		perm := fs.FileMode(0o700)
		if name == "DropDirectory" || name == "PickupDirectory" {
			perm = 0o750 // another program reads or writes it
		}
		cfg.Folders = append(cfg.Folders, site.Folder{Name: site.Part(name), Path: a.path(path), Perm: perm})
	}
	if set.Log.On {
		cfg.Log = a.log()
		cfg.Folders = append(cfg.Folders, site.Folder{Name: site.LogFolder, Path: cfg.Log.Folder})
	}
	cfg.Session.SignIn.Directory = e.directory(a)
	cfg.Session.SignIn.Tokens = e.knownTokens(set.Number, cfg.Session.SignIn.Tokens)
	if ca := a.path(set.TLS.TlsClientCaFile); ca != "" {
		roots := certs.NewPool(ca).Roots
		cfg.Session.SignIn.Certificates.Roots = roots
		cfg.Wire.ClientCAs = roots
	}
	if cfg.Blocked = shared; !set.Enabled {
		cfg.Blocked = errOldVersion
	}
	for _, b := range set.Bindings {
		cfg.Bindings = append(cfg.Bindings, ports.Binding(b))
	}
	return cfg
}

// A source is what a Config was made from.
type source struct{ *settings.Site }

// Differs implements site.Settings.
func (s source) Differs(from site.Settings, parts []site.Part) bool {
	old, ok := from.(source)
	return !ok || s.Site.Differs(old.Site, func(id metabase.ID) bool {
		return slices.ContainsFunc(parts, func(p site.Part) bool { return settings.IsOfPart(id, string(p)) })
	})
}

// IsOwnAddress reports whether an address is one of this machine, or may be: the
// interfaces cannot always be read.
func IsOwnAddress(ip netip.Addr) bool {
	nets, err := ownNetworks()
	return err != nil || hasAddress(nets, ip.Unmap())
}

// hasAddress reports whether ip is the address of this machine in one of its networks.
func hasAddress(own []netip.Prefix, ip netip.Addr) bool {
	return slices.ContainsFunc(own, func(n netip.Prefix) bool { return n.Addr() == ip })
}

// ownNetworks gives the addresses of this machine with their networks.
func ownNetworks() (out []netip.Prefix, err error) {
	list, err := net.InterfaceAddrs()
	if err != nil {
		return nil, err
	}
	for _, a := range list {
		if n, ok := a.(*net.IPNet); ok {
			if ip, ok := netip.AddrFromSlice(n.IP); ok {
				bits, _ := n.Mask.Size()
				out = append(out, netip.PrefixFrom(ip.Unmap(), bits))
			}
		}
	}
	return out, nil
}

// A siteAdapter answers from the settings of one revision. It implements what
// session, release, queue and delivery ask of them.
type siteAdapter struct {
	*settings.Site
	dir     string
	tokens  *grants
	ownNets func() []netip.Prefix
	shown   *certs.Reloader // to hosts that ask for a certificate; nil: none is
}

func newAdapter(set *settings.Site, dir string) *siteAdapter {
	return &siteAdapter{Site: set, dir: dir, ownNets: sync.OnceValue(func() []netip.Prefix {
		nets, _ := ownNetworks() // without them, mail that comes back to us ends by its hop count
		return nets
	})}
}

func (a *siteAdapter) path(p string) string { return disk.Locate(a.dir, p) }

// acme are the settings of certificates that are ordered; nil: none are.
func (a *siteAdapter) acme() *acme.Settings {
	t := a.TLS
	if t.AcmeDirectory == "" {
		return nil
	}
	c, _ := settings.ParseChallenge(t.AcmeChallenge) // others are never stored
	names := slices.Concat([]string{a.FullyQualifiedDomainName}, t.AcmeNames)
	return &acme.Settings{
		Directory: t.AcmeDirectory, Email: t.AcmeEmail, Names: strings.Join(slices.Compact(names), " "),
		TLSALPN: c.TLSALPN, Listen: c.Listen, Storage: a.path(settings.AcmeFolder),
		File: a.path(fmt.Sprintf("%s/site-%d.pem", settings.AcmeFolder, a.Number)),
	}
}

// certificates are the files of the site, that of the ordered ones first.
func (a *siteAdapter) certificates() (files certs.Files) {
	if o := a.acme(); o != nil {
		files = append(files, certs.IfThere+o.File)
	}
	for _, name := range a.TLS.Files() {
		files = append(files, a.path(name))
	}
	return files
}

// shownBy is what a site shows to hosts that ask for a certificate; nil for nothing. While
// the setting stays, a site keeps the one that it has, which knows what was read.
func (e *Engine) shownBy(a *siteAdapter) *certs.Reloader {
	e.mu.Lock()
	defer e.mu.Unlock()
	if a.Out.RemoteCertificateFile == "" {
		delete(e.shown, a.Number)
		return nil
	}
	files := certs.Files{a.path(a.Out.RemoteCertificateFile)}
	if was := e.shown[a.Number]; was == nil || !slices.Equal(was.Files(), files) {
		e.shown[a.Number] = certs.New(files, e.opts.Log.With("site", a.Number))
	}
	return e.shown[a.Number]
}

func (a *siteAdapter) pickup() pickup.Settings {
	return pickup.Settings{
		Dir: a.path(a.PickupFolder()), Bad: a.path(a.Folders.BadMailDirectory), Default: a.DefaultDomain,
		Stuffed: a.Pickup.SmtpDotStuffPickupDirFiles && a.Pickup.DisablePickupDotStuff == 0,
	}
}

func (a *siteAdapter) wireConfig() wire.Config {
	return wire.Config{
		Hostname: a.FullyQualifiedDomainName, Greeting: a.ConnectResponse,
		Verbs: a.Verbs, MaxSize: a.Limits.MaxMessageSize, MaxRcpts: a.Limits.MaxRecipients, MaxHold: a.Limits.FutureReleaseMax, MinBy: a.Limits.DeliverByMin,
		Hello:        wire.HelloRules{Name: !a.Limits.SmtpHeloNoDomain, Valid: a.Limits.ValidHello, Optional: a.Limits.SmtpMailNoHelo},
		AcceptBareLF: a.Limits.AcceptBareLinefeed, IdleTimeout: a.Limits.ConnectionTimeout, Waits: a.waits(),
		Limits: wire.Limits{
			Errors: a.Limits.MaxSmtpErrors, Junk: a.Limits.MaxJunkCommands,
			Session: a.Limits.SessionTimeout, BodyRate: a.Limits.MinBodyRate,
		},
	}
}

func (a *siteAdapter) log() *w3clog.Settings {
	return &w3clog.Settings{
		Folder: a.path(settings.SiteLog(a.Number, a.Log.LogFileDirectory)),
		Fields: w3clog.Fields(a.Log.LogExtFileFlags), Period: w3clog.Period(a.Log.LogFilePeriod), Size: a.Log.LogFileTruncateSize,
	}
}

// waits has the properties that are set in place of ConnectionTimeout. The shorter
// of two for one wait holds.
func (a *siteAdapter) waits() wire.Waits {
	w, out := a.Waits, wire.Waits{}
	for _, one := range []struct {
		time     time.Duration
		property string
		verbs    []string
	}{
		{w.SmtpConnectTimeout, "SmtpConnectTimeout", []string{wire.Connect}},
		{w.ServerListenTimeout, "ServerListenTimeout", []string{wire.Connect}},
		{w.SmtpHeloTimeout, "SmtpHeloTimeout", []string{"EHLO", "HELO"}},
		{w.SmtpMailFromTimeout, "SmtpMailFromTimeout", []string{"MAIL"}},
		{w.SmtpRcptToTimeout, "SmtpRcptToTimeout", []string{"RCPT"}},
		{w.SmtpDataTimeout, "SmtpDataTimeout", []string{"DATA"}},
		{w.SmtpBdatTimeout, "SmtpBdatTimeout", []string{"BDAT"}},
		{w.SmtpAuthTimeout, "SmtpAuthTimeout", []string{"AUTH"}},
		{w.SmtpSaslTimeout, "SmtpSaslTimeout", []string{wire.WithinAuth}},
		{w.SmtpTurnTimeout, "SmtpTurnTimeout", []string{"TURN", "ATRN"}},
		{w.SmtpRsetTimeout, "SmtpRsetTimeout", []string{"RSET"}},
	} {
		for _, verb := range one.verbs {
			if set, ok := out[verb]; one.time > 0 && (!ok || one.time < set.Time) {
				out[verb] = wire.Wait{Time: one.time, Property: one.property}
			}
		}
	}
	return out
}

func (a *siteAdapter) releasePolicy() release.Policy {
	return release.Policy{
		ETRN: a.Verbs.ETRN, TURN: a.Verbs.TURN, ATRN: a.Verbs.ATRN,
		RequireTLS: a.Release.TurnRequireTls, RequireAuth: a.Release.EtrnRequireAuth,
		Subdomains: a.Release.EtrnSubdomains, Counts: a.Release.EtrnReportCounts, Interval: a.Release.ReleaseInterval,
		Hello: a.FullyQualifiedDomainName, Timeouts: a.turnTimeouts(a.Release.ReleaseIdleTimeout), Rules: a,
		Without:    func(d mail.Domain) []string { return a.Site.Route(d).Without },
		Masquerade: a.Masquerade(),
		Narrow:     a.Narrow,
		Link:       a.link, Patient: a.turnTimeouts,
	}
}

// link is the profile that holds when an account calls for the mail of a domain.
func (a *siteAdapter) link(account string, d mail.Domain) link.Profile {
	l := a.LinkOf(account, d)
	return link.Profile{
		Name: l.Name, Missing: l.Missing, Of: l.Of, Ceiling: l.LinkSizeCeiling, Smallest: l.LinkOrder == settings.SmallestFirst,
		Session: link.Budget{Bytes: l.LinkSessionBytes, Time: l.LinkSessionMinutes},
		Day:     link.Budget{Bytes: l.LinkDayBytes, Time: l.LinkDayMinutes},
		Silence: l.ReleaseIdleTimeout,
	}
}

func (a *siteAdapter) routeState(d mail.Domain) queue.RouteState {
	if d == queue.Badmail {
		return queue.RouteState{Held: a.Folders.BadMailDirectory == ""}
	}
	standing := a.Site.Standing(d)
	state := queue.RouteState{Held: standing == mail.Held, Local: standing == mail.Local}
	if state.Held {
		state.End = holdEnds[a.HoldEnd(d)]
	}
	return state
}

var holdEnds = map[string]queue.End{
	settings.ReturnAtEnd: queue.Return, settings.ArchiveAtEnd: queue.Archive, settings.KeepAtEnd: queue.Keep,
}

func (a *siteAdapter) quota(d mail.Domain) queue.Quota {
	h, held := a.HoldOf(d)
	if !held {
		return queue.Quota{}
	}
	return queue.Quota{Key: h.Key, Messages: h.HoldMaxMessages, Bytes: h.HoldMaxBytes, Reserve: h.HoldReserveBytes, Warn: h.HoldWarnPercent}
}

func (a *siteAdapter) alerts(d mail.Domain) alert.Policy {
	h, held := a.HoldOf(d)
	if !held {
		return alert.Policy{}
	}
	set := a.AlertsOf(d)
	return alert.Policy{
		Key: h.Key, Owners: a.Owners(set), Warn: h.HoldWarnPercent, Percent: h.Percent, Hold: cmp.Or(a.Retry.EtrnDays, a.Retry.SmtpRemoteNDRExpireMinutes),
		Every: h.CallInterval, URL: set.WakeUrl, Secret: hook.Secret(set.WakeSecret), Command: set.WakeCommand, After: set.WakeAfter,
	}
}

// manyConversations is the queue's limit where none is set.
const manyConversations = 10000

// queuePolicy has no limit of conversations above most.
func (a *siteAdapter) queuePolicy(most int) queue.Policy {
	unlimited := func(n int) int {
		if n == 0 {
			n = manyConversations
		}
		return min(n, most)
	}
	return queue.Policy{
		Ladder: a.Retry.SmtpRemoteProgressiveRetry, Quick: a.Retry.SmtpRemoteRetryThreshold,
		Expire: a.Retry.SmtpRemoteNDRExpireMinutes, DelayNotice: a.Retry.SmtpRemoteDelayExpireMinutes,
		Local: queue.Times{
			Retry: a.Retry.LocalRetryInterval, Expire: a.Retry.SmtpLocalNDRExpireMinutes, DelayNotice: a.Retry.SmtpLocalDelayExpireMinutes,
		},
		Held:          queue.Times{Expire: cmp.Or(a.Retry.EtrnDays, a.Retry.SmtpRemoteNDRExpireMinutes)},
		Collect:       a.Retry.ReportCollectTime,
		Copies:        a.NdrCopies(),
		BadMail:       a.BadMailbox(),
		Conversations: unlimited(a.Out.MaxOutConnections), PerDestination: unlimited(a.Out.MaxOutConnectionsPerDomain),
	}
}

// timeouts bounds each wait for a peer by the configured one, where that is
// shorter than what RFC 5321 §4.5.3.2 gives.
func (a *siteAdapter) timeouts() wire.Timeouts {
	shorter := func(rfc time.Duration) time.Duration {
		if t := a.Out.RemoteTimeout; t > 0 && t < rfc {
			return t
		}
		return 0
	}
	return wire.Timeouts{
		Greeting: shorter(5 * time.Minute), Command: shorter(5 * time.Minute), DataInit: shorter(2 * time.Minute),
		DataBlock: shorter(3 * time.Minute), DataDone: shorter(10 * time.Minute),
	}
}

// releaseTimeouts are those of a conversation that hands over held mail: a peer that is
// silent for idle keeps the mail from others. A peer that has the whole message keeps its
// time for the reply, because without it the message is sent again.
func (a *siteAdapter) releaseTimeouts(idle time.Duration) wire.Timeouts {
	t := a.timeouts()
	for _, one := range []*time.Duration{&t.Greeting, &t.Command, &t.DataInit, &t.DataBlock} {
		if *one == 0 || *one > idle {
			*one = idle
		}
	}
	return t
}

// turnTimeouts are those of a conversation that TURN or ATRN has turned.
func (a *siteAdapter) turnTimeouts(idle time.Duration) wire.Timeouts {
	t := a.releaseTimeouts(idle)
	if w := a.Waits.SmtpTurnTimeout; w > 0 {
		t.Greeting = min(t.Greeting, w)
	}
	return t
}

// routes implements delivery.Router.
type routes struct{ *siteAdapter }

func (r routes) Route(d mail.Domain) delivery.Route {
	if d == queue.Badmail {
		return delivery.Route{Kind: delivery.Archive, Dir: r.path(r.Folders.BadMailDirectory)}
	}
	set := r.Site.Route(d)
	out := delivery.Route{Dir: r.path(set.Folder), Quota: set.Quota, DirectFirst: set.DirectFirst, Held: set.Held, Client: r.clientSettings(set)}
	if set.Held {
		out.Client.Timeouts = r.releaseTimeouts(cmp.Or(r.LinkOf("", d).ReleaseIdleTimeout, r.Release.ReleaseIdleTimeout))
	}
	switch set.Way {
	case settings.ToFolder:
		out.Kind = delivery.Drop
	case settings.BySmartHost:
		out.Kind = delivery.SmartHost
		for _, h := range set.Hosts {
			out.Smart = append(out.Smart, delivery.Hop{Host: h.Name, Port: h.Port, Shares: h.Shares, Weight: h.Weight})
		}
	}
	return out
}

func (r routes) clientSettings(set settings.Route) delivery.ClientSettings {
	t := delivery.ClientSettings{
		Hello: r.FullyQualifiedDomainName, Port: r.Out.RemoteSmtpPort, RequireTLS: set.NeedTLS, HELO: set.Helo,
		Without: set.Without, MaxMessages: r.Out.MaxBatchedMessages, Timeouts: r.timeouts(),
		DNS:  resolver.Query{Self: r.self, Networks: r.ownNets, Loopback: r.Out.AllowLoopbackHosts, Secure: r.Out.UseDane, Trusted: r.Out.DnsServersTrusted},
		DANE: r.Out.UseDane, STS: r.Out.UseMtaSts, Own: r.listensAt, TLS: peerTLS(set.NeedTLS, r.Out),
	}
	if r.shown != nil {
		t.TLS = cmp.Or(t.TLS, &tls.Config{MinVersion: tls.VersionTLS12})
		t.TLS.GetClientCertificate = r.shown.Client
	}
	t.Masquerade = r.Masquerade()
	t.Patience = r.Release.ReleaseIdleTimeout
	t.DNS.Servers, t.SecurePort = r.DNSServers(), r.Out.RemoteSmtpSecurePort
	t.DNS.Transport, t.DNS.Names = r.transport(), resolver.Names(r.Out.NameResolutionType)
	if in := set.SignIn; in != nil {
		by := in.SignIn
		if in.Grant != nil {
			by.Token = token{r.tokens, in.Grant}
		}
		t.Auth = by
	}
	return t
}

// transport reads SmtpUseTcpDns.
func (r routes) transport() resolver.Transport {
	switch r.Out.DnsTransport {
	case 0:
		return resolver.UDP
	case 1:
		return resolver.TCP
	}
	return resolver.UDPThenTCP
}

// self reports whether a host is this site: by its name, whatever the port
// (which may be forwarded), or by an address of this machine that it listens on,
// at the port that delivery would connect to.
func (r routes) self(name string, addrs []netip.Addr) bool {
	name = strings.TrimSuffix(name, ".")
	if strings.EqualFold(name, r.FullyQualifiedDomainName) || r.DefaultDomain != "" && strings.EqualFold(name, string(r.DefaultDomain)) {
		return true
	}
	return slices.ContainsFunc(addrs, func(a netip.Addr) bool { return r.listensAt(netip.AddrPortFrom(a, r.Out.RemoteSmtpPort)) })
}

// listensAt reports whether a connection to a ends at this site.
func (r routes) listensAt(a netip.AddrPort) bool {
	ip := resolver.Embedded(a.Addr())
	if ip.IsUnspecified() { // the system connects to a loopback address
		if ip = netip.IPv6Loopback(); a.Addr().Unmap().Is4() {
			ip = netip.AddrFrom4([4]byte{127, 0, 0, 1})
		}
	}
	return slices.ContainsFunc(r.Bindings, func(b settings.Binding) bool {
		at := b.Addr.Addr().Unmap()
		here := ip == at || at.IsUnspecified() && (ip.IsLoopback() || hasAddress(r.ownNets(), ip))
		return here && b.Addr.Port() == a.Port()
	})
}

// spoolStore is a spool as a queue's Store.
type spoolStore struct{ *spool.Spool }

func (s spoolStore) Create(ctx context.Context) (queue.Draft, error) {
	w, err := s.Spool.Create(ctx)
	if err != nil {
		return nil, err
	}
	return w, nil
}

// openStorage opens the spool of site n in folder, named as in the tree, and
// records that the site has a queue there.
func (e *Engine) openStorage(ctx context.Context, n int, folder string, limits func() site.StorageLimits) (site.Storage, error) {
	data := e.opts.DataDir
	if err := recordFolder(ctx, e.opts.IndexDB, data, n, folder); err != nil {
		return site.Storage{}, err
	}
	index := queueIndex(e.opts.IndexDB, data, n, folder)
	s, err := spool.Open(ctx, disk.Locate(data, folder), index, spool.Options{
		Log:    e.opts.Log.With("site", n),
		Owner:  fmt.Sprintf("site %d of %s as %s", n, data, indexName(data, folder)),
		Memory: func() int64 { return limits().Memory }, MinFree: func() int64 { return limits().Reserve }, Files: e.opts.Descriptors.Files,
	})
	if err != nil {
		return site.Storage{}, err
	}
	return site.Storage{Messages: spoolStore{s}, DB: index, Maintain: s.Run, Broken: s.Broken, Close: s.Close,
		Free: func() (int64, int64, error) { return disk.Free(disk.Locate(data, folder)) }}, nil
}

// recordFolder records that site n has a queue in folder.
func recordFolder(ctx context.Context, db kv.DB, data string, n int, folder string) error {
	key := []byte(folderPrefix(n) + indexName(data, folder))
	if _, ok, err := db.Get(key); ok || err != nil {
		return err
	}
	return db.Commit(ctx, kv.Put(key, nil))
}

// peerTLS gives the verification of a host that must speak TLS; nil for the full
// one, and for hosts without that demand.
func peerTLS(need bool, out settings.Out) *tls.Config {
	if !need || out.SmtpSSLRequireTrustedCA && out.SmtpSSLCertHostnameValidation {
		return nil
	}
	return &tls.Config{
		MinVersion:         tls.VersionTLS12,
		InsecureSkipVerify: true, // VerifyConnection does the part that is demanded
		VerifyConnection:   func(cs tls.ConnectionState) error { return verify(cs, out, nil) },
	}
}

// verify checks what is not excepted against roots, nil for the system's.
func verify(cs tls.ConnectionState, out settings.Out, roots *x509.CertPool) error {
	if len(cs.PeerCertificates) == 0 {
		return errors.New("the host shows no certificate")
	}
	leaf := cs.PeerCertificates[0]
	if out.SmtpSSLCertHostnameValidation {
		if err := leaf.VerifyHostname(cs.ServerName); err != nil {
			return err
		}
	}
	if !out.SmtpSSLRequireTrustedCA {
		return nil
	}
	opts := x509.VerifyOptions{Roots: roots, Intermediates: x509.NewCertPool()}
	for _, c := range cs.PeerCertificates[1:] {
		opts.Intermediates.AddCert(c)
	}
	_, err := leaf.Verify(opts)
	return err
}
