// SPDX-License-Identifier: Apache-2.0

package settings

import (
	"strconv"

	"restante/metabase"
)

// Where things stand in the tree.
const (
	Computer metabase.Path = "/LM"
	Service  metabase.Path = "/LM/SMTPSVC"
)

// DefaultSite is the number of the site that setup makes and nobody deletes.
const DefaultSite = 1

var defaultSite = SitePath(DefaultSite)

// SitePath is the key of site n.
func SitePath(n int) metabase.Path { return Service.Join(strconv.Itoa(n)) }

// DomainsPath is the container of site n's domains.
func DomainsPath(n int) metabase.Path { return SitePath(n).Join("Domain") }

// DomainPath is the key of one of site n's domains.
func DomainPath(n int, name string) metabase.Path { return DomainsPath(n).Join(name) }

// UsersPath is the container of site n's accounts; 0 is for the accounts of all
// sites.
func UsersPath(n int) metabase.Path {
	if n == 0 {
		return Service.Join("User")
	}
	return SitePath(n).Join("User")
}

// UserPath is the key of an account of site n, 0 for one of all sites.
func UserPath(n int, name string) metabase.Path { return UsersPath(n).Join(name) }

// HasAccount says whether site n has such an account, its own or one of all
// sites.
func HasAccount(snap metabase.Snapshot, n int, name string) bool {
	return snap.Has(UserPath(n, name)) || snap.Has(UserPath(0, name))
}

// The properties that the engine acts on, by the numbers of the schema.
const (
	ServerCommand      metabase.ID = 1012
	ConnectionTimeout  metabase.ID = 1013
	MaxConnections     metabase.ID = 1014
	ServerComment      metabase.ID = 1015
	ServerState        metabase.ID = 1016
	ServerAutoStart    metabase.ID = 1017
	ServerBindings     metabase.ID = 1023
	Win32Error         metabase.ID = 1099
	SecureBindings     metabase.ID = 2021
	AuthFlags          metabase.ID = 6000
	IPSecurity         metabase.ID = 6019
	AccessSSLFlags     metabase.ID = 6030
	MaxBatchedMessages metabase.ID = 36871
	QueueDirectory     metabase.ID = 36875
	PickupDirectory    metabase.ID = 36880
	DropDirectory      metabase.ID = 36882
	HopCount           metabase.ID = 36886
	MaxErrors          metabase.ID = 36887
	MaxMessageSize     metabase.ID = 36891
	MaxSessionSize     metabase.ID = 36892
	MaxOutConnections  metabase.ID = 36894
	MaxRecipients      metabase.ID = 36895
	PipelineOut        metabase.ID = 36901
	PipelineIn         metabase.ID = 36902
	SmartHostType      metabase.ID = 36905
	SmartHost          metabase.ID = 36906
	DefaultDomain      metabase.ID = 36908
	BadMailDirectory   metabase.ID = 36909
	RemotePort         metabase.ID = 36914
	RemoteTimeout      metabase.ID = 36921
	MaxOutPerDomain    metabase.ID = 36925
	ServiceVersion     metabase.ID = 36931
	RouteAction        metabase.ID = 36946
	RouteActionString  metabase.ID = 36947
	RouteUserName      metabase.ID = 36948
	RoutePassword      metabase.ID = 36949
	AuthTurnList       metabase.ID = 36966
	RelayIPList        metabase.ID = 36970
	RelayForAuth       metabase.ID = 36973
	RetryLadder        metabase.ID = 36996
	InboundVerbs       metabase.ID = 36998
	LocalDelay         metabase.ID = 37017
	LocalExpire        metabase.ID = 37018
	RemoteDelay        metabase.ID = 37019
	RemoteExpire       metabase.ID = 37020

	FQDN                metabase.ID = 0x00520004
	ConnectResponse     metabase.ID = 0x00520007
	EtrnSubdomains      metabase.ID = 0x0052000a
	AlwaysUseTLS        metabase.ID = 0x0052000e
	CheckCertificate    metabase.ID = 0x00520010
	CheckCertName       metabase.ID = 0x00520011
	DNSServers          metabase.ID = 0x00520100
	TLSCertificateFile  metabase.ID = 0x00520101
	TLSKeyFile          metabase.ID = 0x00520102
	AtrnBindings        metabase.ID = 0x00520103
	AcceptBareLinefeed  metabase.ID = 0x00520104
	ScramVerifier       metabase.ID = 0x00520105
	CramSecret          metabase.ID = 0x00520106
	HistoryMaxRevisions metabase.ID = 0x00520107
	HistoryMaxDays      metabase.ID = 0x00520108
	RelayIPv6List       metabase.ID = 0x00520109
	ClearTextAuth       metabase.ID = 0x0052010a
	TurnRequireTLS      metabase.ID = 0x0052010b
	EtrnRequireAuth     metabase.ID = 0x0052010c
	EtrnReportCounts    metabase.ID = 0x0052010d
	ReleaseInterval     metabase.ID = 0x0052010e
	ConnectIPv6List     metabase.ID = 0x0052010f
)

// Action is the value of RouteAction: a set of what happens to a domain's mail.
type Action uint32

// The actions that are acted on. The first group belongs to a domain's key, the
// second is also the default for all outgoing connections on a site or the
// service.
const (
	Drop        Action = 0x1    // local: into the folder that RouteActionString names
	SmartRoute  Action = 0x2    // to the host that RouteActionString names
	Alias       Action = 0x10   // another name of the default domain
	Deliver     Action = 0x20   // local
	Default     Action = 0x40   // the default domain
	Hold        Action = 0x200  // mail waits for a call
	DomainRelay Action = 0x1000 // anybody may send there
	NoETRN      Action = 0x8000 // never by ETRN

	NeedTLS     Action = 0x4
	SignInAny   Action = 0x8
	SignInCram  Action = 0x80
	SignInPlain Action = 0x100
	NoPipeline  Action = 0x100000
	Helo        Action = 0x400000
)

// localActions make a domain's mail ours; ofDomain belong to a domain alone.
const (
	localActions = Drop | Alias | Deliver | Default
	ofDomain     = localActions | SmartRoute | Hold | DomainRelay | NoETRN
)

// Has says that all of bits are in a.
func (a Action) Has(bits Action) bool { return a&bits == bits }

// Any says that one of bits is in a.
func (a Action) Any(bits Action) bool { return a&bits != 0 }

// Bits of InboundVerbs.
const (
	verbDSN           = 0x40
	verbETRN          = 0x80
	verbTURN          = 0x400
	verbEnhancedCodes = 0x1000
	verbChunking      = 0x100000
	verbEightBit      = 0x400000
)

// Bits of AuthFlags and AccessSSLFlags.
const (
	authAnonymous = 0x1
	authBasic     = 0x2
	authChallenge = 0x4
	accessTLS     = 0x8
)

// unlimited is what IIS stores in MaxConnections for no limit, and above all
// limits that are counts.
const unlimited = 2_000_000_000
