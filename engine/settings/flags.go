// SPDX-License-Identifier: Apache-2.0

package settings

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

// Bits of SmtpInboundCommandSupportOptions.
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
