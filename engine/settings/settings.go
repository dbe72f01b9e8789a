// SPDX-License-Identifier: Apache-2.0

// Package settings reads the configuration of a site from a snapshot of the
// tree, inheritance and defaults included, and returns it as typed values. Its
// checks report, before a change is committed, what would be wrong with a site
// or a domain after it.
//
// A field that holds the value of one property has that property's name. What
// the value may be, its unit and its default are in the schema's table alone.
//
// The package is pure: a snapshot in, values out. Load reads the site and none
// of its domains. Each domain is looked up in the snapshot when it is asked
// for, so that a hundred thousand of them cost nothing before.
package settings

import (
	"errors"
	"fmt"
	"iter"
	"net/netip"
	"slices"
	"strings"
	"sync"
	"time"

	"restante/engine/account"
	"restante/engine/account/ldap"
	"restante/engine/mail"
	"restante/metabase"
	"restante/metabase/schema"
	"restante/metabase/schema/iplist"
)

// A Site holds the settings of one site at one revision. It never changes; its
// methods are safe for concurrent use.
type Site struct {
	Number          int
	Rev             metabase.Rev
	ServerAutoStart bool // starts with the service
	Enabled         bool // false: SmtpServiceVersion is less than 2, and this is not the default site

	SmtpEventlogLevel int64 // of what goes to the service's log; above 7: all

	Identity
	Bindings []Binding // each address and port once
	TLS      TLS
	Verbs    mail.Verbs
	Access   Access
	Ldap     Ldap
	Oauth    Oauth
	Limits   Limits
	Waits    Waits
	Relay    Relay
	Release  Release
	Out      Out
	Retry    Retry
	Folders  Folders
	Pickup   Pickup
	Log      Log
	Reports  Reports
	Verify   Verify

	routing *ldap.Config // knows the mailboxes of local domains; nil: LDAP routing is off
	lookup
}

// Identity is what a site is called.
type Identity struct {
	Name                     string      // for display: ServerComment, or "site N"
	DefaultDomain            mail.Domain // "" where none is set
	FullyQualifiedDomainName string      // the default domain's, or "localhost", where none is set
	EnableReverseDnsLookup   bool        // of clients, for the trace field
	ConnectResponse          string      // text after the name in the greeting; "" for the built-in one
}

// A Binding is an address to listen on. The unspecified IPv6 address is for all
// addresses of the machine, IPv4 too.
type Binding struct {
	Addr netip.AddrPort
	ODMR bool // for ATRN alone, as on the port of RFC 2645
	TLS  bool // from the first octet

	Backlog int // connections that may wait to be accepted; 0: the system's limit
}

// TLS is for incoming connections. The files are as stored: relative ones begin
// at the data folder. Without TlsCertificateFile there is no TLS.
type TLS struct {
	TlsCertificateFile  string
	TlsKeyFile          string   // "" where TlsCertificateFile has the key, too
	TlsMoreCertificates []string // these and their keys, in any order
	TlsMinVersion       uint16   // as crypto/tls has it
	TlsOldDevices       bool     // also older versions and weak ciphers
	TlsClientCaFile     string   // authorities of callers' certificates; "": none is asked for
	Required            bool     // before it only EHLO, STARTTLS, NOOP and QUIT

	// Of certificates that are ordered.
	AcmeDirectory   string // URL of the authority's; "": none are
	AcmeEmail       string
	AcmeNames       []string // beside FullyQualifiedDomainName
	AcmeChallenge   string   // see ParseChallenge
	AcmeTermsAgreed bool
}

// Files lists the files that have certificates and keys, each once and the default
// certificate first; none for no TLS.
func (t TLS) Files() (names []string) {
	if t.TlsCertificateFile == "" {
		return nil
	}
	for _, name := range slices.Concat([]string{t.TlsCertificateFile, t.TlsKeyFile}, t.TlsMoreCertificates) {
		if name != "" && !slices.Contains(names, name) {
			names = append(names, name)
		}
	}
	return names
}

// Access says which clients may connect and how they sign in.
type Access struct {
	IPSecurity         *iplist.List // nil: none
	ConnectionIpv6List []netip.Prefix
	Basic              bool // PLAIN and LOGIN
	Challenge          bool // SCRAM-SHA-256 and CRAM-MD5
	ClearTextAuth      bool // PLAIN and LOGIN without TLS, from other machines too
	Required           bool // no mail without a sign-in

	// Domains of Windows that callers may name before the account.
	DefaultLogonDomain string
	SaslLogonDomain    string
}

// Rates bound what one client or account may bring in a time; 0 is no limit.
type Rates struct {
	MaxConnectionsPerMinute     int
	MaxMessagesPerHour          int
	MaxRecipientsPerHour        int
	MaxAccountMessagesPerHour   int
	MaxAccountRecipientsPerHour int
}

// Limits bound what one client may send; 0 is no limit.
type Limits struct {
	Rates

	MaxConnections           int
	MaxEndpointConnections   int
	MaxConnectionsPerAddress int
	ConnectionLimitExempt    []netip.Prefix // not counted by address
	ProxyFrom                []netip.Prefix // who says by the PROXY protocol whom it brings
	XclientFrom              []netip.Prefix // the same by XCLIENT
	MaxMessageSize           int64
	MaxSessionSize           int64 // of all messages of one connection
	MaxUnfinishedBytes       int64 // of the site's unfinished messages in memory
	MaxRecipients            int   // of one message
	MaxRefusedRecipients     int   // of one connection
	MaxSmtpErrors            int   // bad commands
	MaxJunkCommands          int   // without a message
	HopCount                 int   // Received fields
	MaxOwnHops               int   // of these, with our name and an ID of ours
	DiskReserve              int64 // MiB that mail leaves free; 0: 256, less on a small disk
	ConnectionTimeout        time.Duration
	SessionTimeout           time.Duration // without a message
	MinBodyRate              int64         // octets per second
	AcceptBareLinefeed       bool          // accept messages with a bare CR or LF
	SmtpHeloNoDomain         bool          // a greeting may have no name
	SmtpMailNoHelo           bool          // MAIL may come without a greeting
	ValidHello               bool          // the name of a greeting is a domain or an address literal; by SmtpDomainValidationFlags
	MaxBandwidth             int64         // octets per second of all connections
	DeliverByMin             time.Duration // the least that senders may give in mode R of DELIVERBY; 0: any
	FutureReleaseMax         time.Duration // for which senders may have a message held; 0: they may not
}

// Waits bound the silence of a client at one point of a session; 0:
// ConnectionTimeout.
type Waits struct {
	SmtpConnectTimeout  time.Duration
	ServerListenTimeout time.Duration
	SmtpHeloTimeout     time.Duration
	SmtpMailFromTimeout time.Duration
	SmtpRcptToTimeout   time.Duration
	SmtpDataTimeout     time.Duration
	SmtpBdatTimeout     time.Duration
	SmtpAuthTimeout     time.Duration
	SmtpSaslTimeout     time.Duration
	SmtpTurnTimeout     time.Duration
	SmtpRsetTimeout     time.Duration
}

// Relay says which clients may send to any domain.
type Relay struct {
	RelayIpList   *iplist.List // nil: none
	RelayIpv6List []netip.Prefix
	RelayForAuth  bool // any account may
}

// Grants reports whether a client may relay. RelayIpList decides for IPv4; for IPv6
// its names grant, beside RelayIpv6List.
func (r Relay) Grants(client netip.Addr, names iplist.Names) bool {
	if client = client.Unmap(); client.Is4() {
		return r.RelayIpList != nil && r.RelayIpList.Grants(client, names)
	}
	return contains(r.RelayIpv6List, client) || r.RelayIpList != nil && !r.RelayIpList.GrantByDefault && r.RelayIpList.Grants(client, names)
}

func contains(nets []netip.Prefix, ip netip.Addr) bool {
	ip = ip.Unmap().WithZone("")
	return slices.ContainsFunc(nets, func(n netip.Prefix) bool { return n.Contains(ip) })
}

// Release says how hosts may call for their mail.
type Release struct {
	TurnRequireTls   bool          // TURN and ATRN over TLS only
	EtrnRequireAuth  bool          // ETRN after a sign-in only
	EtrnSubdomains   bool          // ETRN @domain is accepted
	EtrnReportCounts bool          // the reply to a signed-in caller says how much mail is held
	ReleaseInterval  time.Duration // the least time between two calls for one domain; 0: any
	TurnHistoryDays  time.Duration // for which calls are kept

	MaxPushedRecipients int // of one domain

	ReleaseIdleTimeout time.Duration // for which a host may be silent that takes held mail
}

// Out says how other hosts are called.
type Out struct {
	RemoteSmtpPort             uint16
	RemoteTimeout              time.Duration // without a reply; 0: the timeouts of RFC 5321
	MaxOutConnections          int           // at one time; 0: no limit
	MaxOutConnectionsPerDomain int           // of these, to one domain; 0: no limit
	MaxBatchedMessages         int           // over one connection; 0: no limit
	DnsServers                 []netip.AddrPort
	DnsTransport               uint32 // SmtpUseTcpDns
	RemoteSmtpSecurePort       uint16 // there TLS begins with the first octet
	NameResolutionType         uint16
	AllowLoopbackHosts         bool // DNS may name hosts at loopback addresses
	MasqueradeDomain           mail.Domain
	DoMasquerade               bool // MasqueradeDomain is in force

	// Both are for routes that require TLS.
	SmtpSSLRequireTrustedCA       bool // the certificate has a trusted issuer
	SmtpSSLCertHostnameValidation bool // the certificate has the host's name

	UseDane           bool
	DnsServersTrusted bool // to say what DNSSEC has authenticated
	UseMtaSts         bool

	RemoteCertificateFile string // for hosts that ask for one, with its key; "": none
}

// Retry says when delivery is tried again, and when it ends.
type Retry struct {
	SmtpRemoteProgressiveRetry   []time.Duration // before the first, second ... retry; the last one repeats
	SmtpRemoteDelayExpireMinutes time.Duration   // after which a report of delay is sent
	ReportCollectTime            time.Duration   // for which a report waits for outcomes of other recipients
	SmtpRemoteNDRExpireMinutes   time.Duration   // after which the mail is returned
	SmtpLocalDelayExpireMinutes  time.Duration
	SmtpLocalNDRExpireMinutes    time.Duration
	SmtpRemoteRetryThreshold     int           // retries after a minute each, before the first of SmtpRemoteProgressiveRetry
	LocalRetryInterval           time.Duration // of mail for a folder
	EtrnDays                     time.Duration // after which held mail is returned; 0: SmtpRemoteNDRExpireMinutes
}

// Reports says whom reports on mail are from, and who gets a copy. An address without
// a domain is in the default one.
type Reports struct {
	SendNdrTo       string // gets each report of a failure; "": nobody
	SendBadTo       string // is told of bad mail; "": nobody
	PostmasterEmail string // "": postmaster at the site's name
	PostmasterName  string // for display; "": "Mail Delivery System"
}

// Verify says how the senders of incoming mail are verified.
type Verify struct {
	AuthenticateMail bool     // by SPF, DKIM and DMARC, and the message says the results
	DnsBlocklists    []string // zones
	GreylistDelay    time.Duration
	GreylistExempt   []netip.Prefix
	DmarcReject      bool // what DMARC records ask for is refused, too

	Milters              []string // filters that are shown the mail, in order; see Site.Filters
	MilterTimeout        time.Duration
	MilterContentTimeout time.Duration
	MilterMaxSize        int64 // octets of a message; 0: any
}

// Folders are as stored: relative ones begin at the data folder.
type Folders struct {
	QueueDirectory, DropDirectory, PickupDirectory, BadMailDirectory string
	HoldArchiveDirectory                                             string // see ArchiveFolder
}

// Pickup says how files of PickupDirectory are sent.
type Pickup struct {
	ShouldPickupMail           bool
	SmtpDotStuffPickupDirFiles bool // dots at the beginning of lines are doubled,
	DisablePickupDotStuff      int  // unless this is 1
	inherited                  bool // the folder is that of the first site
}

// PickupFolder is the folder whose files are sent; "" where there is none. One that
// several sites inherit is the first site's: each file is sent once.
func (s *Site) PickupFolder() string {
	if !s.Pickup.ShouldPickupMail || s.Pickup.inherited {
		return ""
	}
	return s.Folders.PickupDirectory
}

// All yields each folder that is made at the start, with the name of its property.
func (f Folders) All() iter.Seq2[string, string] {
	return func(yield func(name, path string) bool) {
		_ = yield("QueueDirectory", f.QueueDirectory) && yield("DropDirectory", f.DropDirectory) &&
			yield("PickupDirectory", f.PickupDirectory) && yield("BadMailDirectory", f.BadMailDirectory)
	}
}

// Log says what the site's log file has.
type Log struct {
	On                  bool   // by LogType and DontLog
	LogFileDirectory    string // as stored; see SiteLog
	LogFilePeriod       uint16
	LogFileTruncateSize int64 // 0: no limit
	LogExtFileFlags     int64
}

// empty reports whether a log is on whose lines have no field: none is written.
func (l Log) empty() bool { return l.On && l.LogExtFileFlags == 0 }

// SiteLog is the folder of site n in a LogFileDirectory.
func SiteLog(n int, directory string) string { return fmt.Sprintf("%s/SMTPSVC%d", directory, n) }

// fields is the table of the properties of a site that have a field of their
// own. What is derived from several properties is in load.
func (s *Site) fields() []field {
	return []field{
		{ServerAutoStart, &s.ServerAutoStart},
		{DefaultDomain, &s.DefaultDomain},
		{FullyQualifiedDomainName, &s.FullyQualifiedDomainName},
		{ConnectResponse, &s.ConnectResponse},
		{EnableReverseDnsLookup, &s.EnableReverseDnsLookup},

		{TlsCertificateFile, &s.TLS.TlsCertificateFile},
		{TlsKeyFile, &s.TLS.TlsKeyFile},
		{TlsMoreCertificates, &s.TLS.TlsMoreCertificates},
		{TlsMinVersion, &s.TLS.TlsMinVersion},
		{TlsOldDevices, &s.TLS.TlsOldDevices},
		{TlsClientCaFile, &s.TLS.TlsClientCaFile},
		{AcmeDirectory, &s.TLS.AcmeDirectory},
		{AcmeEmail, &s.TLS.AcmeEmail},
		{AcmeNames, &s.TLS.AcmeNames},
		{AcmeChallenge, &s.TLS.AcmeChallenge},
		{AcmeTermsAgreed, &s.TLS.AcmeTermsAgreed},
		{IPSecurity, &s.Access.IPSecurity},
		{ConnectionIpv6List, &s.Access.ConnectionIpv6List},
		{ClearTextAuth, &s.Access.ClearTextAuth},
		{DefaultLogonDomain, &s.Access.DefaultLogonDomain},
		{SaslLogonDomain, &s.Access.SaslLogonDomain},

		{OauthIssuer, &s.Oauth.OauthIssuer},
		{OauthAudience, &s.Oauth.OauthAudience},
		{OauthAccountClaim, &s.Oauth.OauthAccountClaim},
		{LdapUrls, &s.Ldap.LdapUrls},
		{LdapStartTls, &s.Ldap.LdapStartTls},
		{LdapCaFile, &s.Ldap.LdapCaFile},
		{LdapBindDn, &s.Ldap.LdapBindDn},
		{LdapBindTemplate, &s.Ldap.LdapBindTemplate},
		{LdapBaseDn, &s.Ldap.LdapBaseDn},
		{LdapUserFilter, &s.Ldap.LdapUserFilter},
		{LdapAccountAttribute, &s.Ldap.LdapAccountAttribute},
		{LdapRequiredGroup, &s.Ldap.LdapRequiredGroup},
		{LdapTimeout, &s.Ldap.LdapTimeout},
		{LdapCacheTime, &s.Ldap.LdapCacheTime},

		{MaxConnections, &s.Limits.MaxConnections},
		{MaxEndpointConnections, &s.Limits.MaxEndpointConnections},
		{MaxConnectionsPerAddress, &s.Limits.MaxConnectionsPerAddress},
		{MaxConnectionsPerMinute, &s.Limits.MaxConnectionsPerMinute},
		{MaxMessagesPerHour, &s.Limits.MaxMessagesPerHour},
		{MaxRecipientsPerHour, &s.Limits.MaxRecipientsPerHour},
		{MaxAccountMessagesPerHour, &s.Limits.MaxAccountMessagesPerHour},
		{MaxAccountRecipientsPerHour, &s.Limits.MaxAccountRecipientsPerHour},
		{ConnectionLimitExempt, &s.Limits.ConnectionLimitExempt},
		{ProxyFrom, &s.Limits.ProxyFrom},
		{XclientFrom, &s.Limits.XclientFrom},
		{MaxMessageSize, &s.Limits.MaxMessageSize},
		{MaxSessionSize, &s.Limits.MaxSessionSize},
		{MaxUnfinishedBytes, &s.Limits.MaxUnfinishedBytes},
		{MaxRecipients, &s.Limits.MaxRecipients},
		{MaxRefusedRecipients, &s.Limits.MaxRefusedRecipients},
		{MaxSmtpErrors, &s.Limits.MaxSmtpErrors},
		{MaxJunkCommands, &s.Limits.MaxJunkCommands},
		{HopCount, &s.Limits.HopCount},
		{MaxOwnHops, &s.Limits.MaxOwnHops},
		{DiskReserve, &s.Limits.DiskReserve},
		{ConnectionTimeout, &s.Limits.ConnectionTimeout},
		{SessionTimeout, &s.Limits.SessionTimeout},
		{MinBodyRate, &s.Limits.MinBodyRate},
		{AcceptBareLinefeed, &s.Limits.AcceptBareLinefeed},
		{SmtpHeloNoDomain, &s.Limits.SmtpHeloNoDomain},
		{SmtpMailNoHelo, &s.Limits.SmtpMailNoHelo},
		{DeliverByMin, &s.Limits.DeliverByMin},
		{FutureReleaseMax, &s.Limits.FutureReleaseMax},
		{MaxBandwidth, &s.Limits.MaxBandwidth},

		{SmtpConnectTimeout, &s.Waits.SmtpConnectTimeout},
		{ServerListenTimeout, &s.Waits.ServerListenTimeout},
		{SmtpHeloTimeout, &s.Waits.SmtpHeloTimeout},
		{SmtpMailFromTimeout, &s.Waits.SmtpMailFromTimeout},
		{SmtpRcptToTimeout, &s.Waits.SmtpRcptToTimeout},
		{SmtpDataTimeout, &s.Waits.SmtpDataTimeout},
		{SmtpBdatTimeout, &s.Waits.SmtpBdatTimeout},
		{SmtpAuthTimeout, &s.Waits.SmtpAuthTimeout},
		{SmtpSaslTimeout, &s.Waits.SmtpSaslTimeout},
		{SmtpTurnTimeout, &s.Waits.SmtpTurnTimeout},
		{SmtpRsetTimeout, &s.Waits.SmtpRsetTimeout},

		{RelayIpList, &s.Relay.RelayIpList},
		{RelayIpv6List, &s.Relay.RelayIpv6List},
		{RelayForAuth, &s.Relay.RelayForAuth},

		{TurnRequireTls, &s.Release.TurnRequireTls},
		{EtrnRequireAuth, &s.Release.EtrnRequireAuth},
		{EtrnSubdomains, &s.Release.EtrnSubdomains},
		{EtrnReportCounts, &s.Release.EtrnReportCounts},
		{ReleaseInterval, &s.Release.ReleaseInterval},
		{TurnHistoryDays, &s.Release.TurnHistoryDays},
		{MaxPushedRecipients, &s.Release.MaxPushedRecipients},
		{ReleaseIdleTimeout, &s.Release.ReleaseIdleTimeout},

		{RemoteSmtpPort, &s.Out.RemoteSmtpPort},
		{RemoteTimeout, &s.Out.RemoteTimeout},
		{MaxOutConnections, &s.Out.MaxOutConnections},
		{MaxOutConnectionsPerDomain, &s.Out.MaxOutConnectionsPerDomain},
		{MaxBatchedMessages, &s.Out.MaxBatchedMessages},
		{DnsServers, &s.Out.DnsServers},
		{RemoteSmtpSecurePort, &s.Out.RemoteSmtpSecurePort},
		{NameResolutionType, &s.Out.NameResolutionType},
		{AllowLoopbackHosts, &s.Out.AllowLoopbackHosts},
		{MasqueradeDomain, &s.Out.MasqueradeDomain},
		{DoMasquerade, &s.Out.DoMasquerade},
		{SmtpSSLRequireTrustedCA, &s.Out.SmtpSSLRequireTrustedCA},
		{SmtpSSLCertHostnameValidation, &s.Out.SmtpSSLCertHostnameValidation},
		{UseDane, &s.Out.UseDane},
		{DnsServersTrusted, &s.Out.DnsServersTrusted},
		{UseMtaSts, &s.Out.UseMtaSts},
		{RemoteCertificateFile, &s.Out.RemoteCertificateFile},

		{SmtpRemoteProgressiveRetry, &s.Retry.SmtpRemoteProgressiveRetry},
		{SmtpRemoteDelayExpireMinutes, &s.Retry.SmtpRemoteDelayExpireMinutes},
		{ReportCollectTime, &s.Retry.ReportCollectTime},
		{SmtpRemoteNDRExpireMinutes, &s.Retry.SmtpRemoteNDRExpireMinutes},
		{SmtpLocalDelayExpireMinutes, &s.Retry.SmtpLocalDelayExpireMinutes},
		{SmtpLocalNDRExpireMinutes, &s.Retry.SmtpLocalNDRExpireMinutes},
		{SmtpRemoteRetryThreshold, &s.Retry.SmtpRemoteRetryThreshold},
		{LocalRetryInterval, &s.Retry.LocalRetryInterval},
		{EtrnDays, &s.Retry.EtrnDays},

		{SendNdrTo, &s.Reports.SendNdrTo},
		{SendBadTo, &s.Reports.SendBadTo},
		{PostmasterEmail, &s.Reports.PostmasterEmail},
		{PostmasterName, &s.Reports.PostmasterName},

		{DnsBlocklists, &s.Verify.DnsBlocklists},
		{GreylistDelay, &s.Verify.GreylistDelay},
		{GreylistExempt, &s.Verify.GreylistExempt},
		{AuthenticateMail, &s.Verify.AuthenticateMail},
		{DmarcReject, &s.Verify.DmarcReject},
		{Milters, &s.Verify.Milters},
		{MilterTimeout, &s.Verify.MilterTimeout},
		{MilterContentTimeout, &s.Verify.MilterContentTimeout},
		{MilterMaxSize, &s.Verify.MilterMaxSize},

		{QueueDirectory, &s.Folders.QueueDirectory},
		{DropDirectory, &s.Folders.DropDirectory},
		{PickupDirectory, &s.Folders.PickupDirectory},
		{BadMailDirectory, &s.Folders.BadMailDirectory},
		{HoldArchiveDirectory, &s.Folders.HoldArchiveDirectory},

		{ShouldPickupMail, &s.Pickup.ShouldPickupMail},
		{SmtpDotStuffPickupDirFiles, &s.Pickup.SmtpDotStuffPickupDirFiles},
		{DisablePickupDotStuff, &s.Pickup.DisablePickupDotStuff},
		{LogFileDirectory, &s.Log.LogFileDirectory},
		{LogFilePeriod, &s.Log.LogFilePeriod},
		{LogFileTruncateSize, &s.Log.LogFileTruncateSize},
		{LogExtFileFlags, &s.Log.LogExtFileFlags},
		{SmtpEventlogLevel, &s.SmtpEventlogLevel},
	}
}

// Load reads the settings of site n. The error joins every problem, each with
// its path and property; it is of kind [metabase.NotFound] where there is no
// such site.
func Load(snap metabase.Snapshot, n int) (*Site, error) {
	s, problems := load(snap, n)
	if len(problems) == 0 {
		return s, nil
	}
	errs := make([]error, len(problems))
	for i, p := range problems {
		errs[i] = p
	}
	return nil, errors.Join(errs...)
}

// Unchecked is the site as it can be read, whatever is wrong with it. It is for
// lists of what is stored.
func Unchecked(snap metabase.Snapshot, n int) *Site {
	s, _ := load(snap, n)
	return s
}

// SiteName is the name of a site for display: "site N" where it has none of its
// own. The schema's default would give all sites the same name.
func SiteName(snap metabase.Snapshot, n int) string {
	if item, ok := snap.Stored(SitePath(n), ServerComment); ok && item.Value.Str() != "" {
		return item.Value.Str()
	}
	return fmt.Sprintf("site %d", n)
}

// DefaultDomainOf is the default domain of a site; "" where none is set.
func DefaultDomainOf(snap metabase.Snapshot, n int) (d mail.Domain) {
	newReader(snap, SitePath(n)).read(field{DefaultDomain, &d})
	return d
}

// DNSServers are DnsServers as a resolver takes them.
func (s *Site) DNSServers() (out []string) {
	for _, one := range s.Out.DnsServers {
		out = append(out, one.String())
	}
	return out
}

// Retention says how much of the tree's history is to be kept.
func Retention(snap metabase.Snapshot) metabase.Retention {
	var keep metabase.Retention
	r := newReader(snap, Computer)
	r.read(field{HistoryMaxRevisions, &keep.Count}, field{HistoryMaxDays, &keep.Age})
	if !r.flag(EnableHistory) {
		keep.Count = 1
	}
	return keep
}

// A Trace says how much is kept of what happened to messages. TraceDays 0: nothing.
type Trace struct {
	TraceDays  time.Duration
	TraceBytes int64
}

// TraceLimits are those of the service.
func TraceLimits(snap metabase.Snapshot) (t Trace) {
	newReader(snap, Service).read(field{TraceDays, &t.TraceDays}, field{TraceBytes, &t.TraceBytes})
	return t
}

// A lookup finds what is below a site's key.
type lookup struct {
	snap    metabase.Snapshot
	domains metabase.Path                   // container of the domains
	turns   func() map[string][]mail.Domain // by account in lower case; computed on first use
	cram    func() bool                     // computed on first use
	dkim    func() bool                     // computed on first use
	hides   func(metabase.Path) bool        // keys of domains that count as absent; nil: none
}

func newLookup(s *Site, snap metabase.Snapshot) lookup {
	return lookup{
		snap: snap, domains: DomainsPath(s.Number),
		turns: sync.OnceValue(s.findTurns), cram: sync.OnceValue(s.findCram), dkim: sync.OnceValue(s.findDkim),
	}
}

// Within gives whether a client is in nets; nil where there are none.
func Within(nets []netip.Prefix) func(client netip.Addr) bool {
	if len(nets) == 0 {
		return nil
	}
	return func(client netip.Addr) bool { return contains(nets, client) }
}

// Exempt reports whether a client is exempt from what counts by address:
// connections and wrong passwords.
func (s *Site) Exempt(client netip.Addr) bool {
	return contains(s.Limits.ConnectionLimitExempt, client)
}

// GreylistExempts reports whether a client passes the greylist.
func (s *Site) GreylistExempts(client netip.Addr) bool {
	return contains(s.Verify.GreylistExempt, client)
}

// Without is the site as it would be without those keys of domains that hides
// names.
func (s *Site) Without(hides func(metabase.Path) bool) *Site {
	next := *s
	next.lookup = newLookup(&next, s.snap)
	next.hides = hides
	return &next
}

// has reports whether a domain has a key.
func (s *Site) has(domain metabase.Path) bool {
	return s.snap.Has(domain) && (s.hides == nil || !s.hides(domain))
}

// MayConnect reports whether a client may connect at all. Without a list everybody
// may. A list of one family keeps out the other, unless it says who is kept out. One
// without an entry keeps out all but this machine.
func (s *Site) MayConnect(client netip.Addr, names iplist.Names) bool {
	list, six := s.Access.IPSecurity, s.Access.ConnectionIpv6List
	client = client.Unmap()
	switch {
	case list == nil && len(six) == 0, contains(six, client):
		return true
	case list == nil, list.GrantByDefault && client.Is6() && len(six) > 0:
		return false
	}
	return list.Grants(client, names) || list.Empty() && client.IsLoopback()
}

// Account finds a credential by the account's name, in any case: the site's
// own first, then one of all sites. An account without a password is not
// found.
func (s *Site) Account(name string) (account.Credential, bool) {
	if !schema.IsAccountName(name) || strings.ContainsAny(name, `/\`) {
		return account.Credential{}, false
	}
	for _, path := range []metabase.Path{UserPath(s.Number, name), UserPath(0, name)} {
		key, ok := s.snap.Key(path)
		if !ok {
			continue
		}
		scram, _ := s.snap.Stored(path, ScramVerifier)
		cram, _ := s.snap.Stored(path, CramSecret)
		c := account.Credential{Name: key.Path.Base(), Scram: scram.Value.Str(), Secret: account.Secret(cram.Value.Str())}
		return c, c.Scram != ""
	}
	return account.Credential{}, false
}

// AccountName is the account that a caller means by a name: of DOMAIN\user it is user,
// as in an imported AuthTurnList, unless the logon domains are others.
func (s *Site) AccountName(name string) string {
	domain, user, found := schema.CutLogonDomain(name)
	if !found || user == "" || !s.Access.logsOn(domain) {
		return name
	}
	return user
}

// logsOn reports whether accounts here are those of a Windows domain. "." and "" are
// this machine.
func (a Access) logsOn(domain string) bool {
	if domain == "" || domain == "." || a.DefaultLogonDomain == "" && a.SaslLogonDomain == "" {
		return true
	}
	return slices.ContainsFunc([]string{a.DefaultLogonDomain, a.SaslLogonDomain}, func(d string) bool {
		return d == anyLogonDomain || strings.EqualFold(d, domain)
	})
}

// anyLogonDomain is IIS's value of DefaultLogonDomain for all domains.
const anyLogonDomain = `\`

// HasCram reports whether there is an account that can sign in by CRAM-MD5.
func (s *Site) HasCram() bool { return s.cram() }

func (s *Site) findCram() bool {
	for _, container := range []metabase.Path{UsersPath(s.Number), UsersPath(0)} {
		for name := range s.snap.Names(container) {
			if item, ok := s.snap.Stored(container.Join(name), CramSecret); ok && item.Value.Str() != "" {
				return true
			}
		}
	}
	return false
}
