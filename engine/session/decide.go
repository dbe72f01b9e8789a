// SPDX-License-Identifier: Apache-2.0

package session

import (
	"context"
	"errors"
	"fmt"
	"math"
	"net/netip"
	"slices"
	"strings"
	"time"

	"restante/engine/account"
	"restante/engine/mail"
	"restante/engine/wire/params"
)

// A Stage is the point of a session at which a rule is looked at.
type Stage int

// The stages, in the order in which a caller meets them.
const (
	AtConnect Stage = iota // before the greeting
	AtVerb                 // each command but QUIT
	AtCommand              // each command but EHLO, NOOP, QUIT and STARTTLS
	AtMail                 // MAIL
	AtRcpt                 // RCPT
)

// A Question is what a decision depends on, beside the Policy.
type Question struct {
	Client      netip.Addr
	Host        *Host  // the client's names; nil: not known yet, and decided about later
	Account     string // signed in as, or ""
	Void        bool   // the account is gone since, or has another password
	Untrusted   bool   // a proxy told who the client is, and is not trusted any more
	TLS         bool
	Paused      bool                                  // the site takes no new callers
	Connections int                                   // the site's, without this one
	FromAddress int                                   // of these, from the client's address
	AtEndpoint  int                                   // of these, at the address and port that this one came to
	Octets      int64                                 // of messages that came over this connection
	Size        int64                                 // that MAIL declared, or 0
	Recipients  int                                   // accepted in this transaction, To not counted
	Blocklist   func() string                         // why a DNS blocklist has the client, "" where none has; nil: none is asked
	Greylist    func() time.Duration                  // how long the caller is to wait; nil: it is not asked
	CheckQuota  func(d mail.Domain, size int64) error // why no message more is held for d, or nil; nil: it is not asked
	Submitted   bool                                  // as a file: it comes from this machine's administrator, who may relay
	Exceeds     Rule                                  // the limit of what one caller may bring in a time that one more exceeds; 0: none
	To          mail.Address
}

// A Rule is what decided.
type Rule int

// The rules. The last six accept a recipient.
const (
	ClientList       Rule = iota + 1 // the addresses that may connect
	Pause                            // the site is paused
	ConnectionLimit                  // connections at once
	EndpointLimit                    // connections at once at one address and port of ours
	AddressLimit                     // connections at once from one address
	ConnectionRate                   // connections of one address in a time
	ProxyVoid                        // the proxy that told who the client is, is not trusted any more
	SignInVoid                       // the account is gone, or has another password
	TLSRequired                      // commands need TLS
	NoMechanism                      // no mechanism is offered to this caller, so that it cannot sign in
	AuthRequired                     // MAIL needs a sign-in
	SizeLimit                        // octets of one message
	SessionLimit                     // octets of one connection
	MessageRate                      // messages of one address or account in a time
	BadMailbox                       // the recipient has no domain
	RecipientLimit                   // recipients of one message
	Blocklisted                      // the caller's address is on a DNS blocklist
	UnknownRecipient                 // the domain is ours, and has no such mailbox
	RecipientsUnread                 // the domain is ours, and which mailboxes it has cannot be found out now
	HoldFull                         // the domain is held, and its quota is reached
	Greylisted                       // nobody knows the caller yet, and it is to try again
	RecipientRate                    // recipients of one address or account in a time
	NoRelay                          // a foreign domain, and a caller without the right to relay
	LocalDomain                      // the domain is ours
	HeldDomain                       // the domain is held for its host
	RelayedDomain                    // the domain's mail is relayed for everybody
	RelayClient                      // the caller's address may relay
	RelayAccount                     // the caller has signed in, and may therefore relay
	RelaySubmitted                   // the message comes from this machine's administrator
)

// A Decision is the Rule that decided, and what the caller is answered.
type Decision struct {
	Rule  Rule // 0: no rule refused, and no recipient was asked about
	Reply mail.Reply
}

// Accepted says that the caller is not refused.
func (d Decision) Accepted() bool { return d.Reply.Positive() }

// AtConnect says that the caller is refused in place of the greeting.
func (d Decision) AtConnect() bool {
	return slices.Contains([]Rule{ClientList, Pause, ConnectionLimit, EndpointLimit, AddressLimit, ConnectionRate}, d.Rule)
}

// checks are the rules that refuse, each at its stage and in order.
var checks = [...]struct {
	stage  Stage
	rule   Rule
	refuse func(*Policy, Question) bool
	reply  mail.Reply
}{
	{AtConnect, ClientList, func(p *Policy, q Question) bool { return p.keepsOut(q) },
		mail.Reply{Code: 554, Enhanced: "7.1", Text: "Access denied"}},
	{AtConnect, Pause, func(_ *Policy, q Question) bool { return q.Paused },
		mail.Reply{Code: 421, Enhanced: "3.2", Text: "Service paused, try again later"}},
	{AtConnect, ConnectionLimit, func(p *Policy, q Question) bool { return over(q.Connections, p.Limits.Connections) },
		mail.Reply{Code: 421, Enhanced: "3.2", Text: "Too many connections, try again later"}},
	{AtConnect, EndpointLimit, func(p *Policy, q Question) bool { return over(q.AtEndpoint, p.Limits.PerEndpoint) },
		mail.Reply{Code: 421, Enhanced: "3.2", Text: "Too many connections, try again later"}},
	{AtConnect, AddressLimit, func(p *Policy, q Question) bool {
		return over(q.FromAddress, p.Limits.PerAddress) && (p.Exempt == nil || !p.Exempt(q.Client))
	},
		mail.Reply{Code: 421, Enhanced: "7.0", Text: "Too many connections from your address, try again later"}},
	{AtConnect, ConnectionRate, func(_ *Policy, q Question) bool { return q.Exceeds == ConnectionRate },
		mail.Reply{Code: 421, Enhanced: "7.0", Text: "Too many connections from your address in a short time, try again later"}},
	{AtVerb, ClientList, func(p *Policy, q Question) bool { return p.keepsOut(q) },
		mail.Reply{Code: 421, Enhanced: "7.1", Text: "Access denied, closing connection"}},
	{AtVerb, ProxyVoid, func(_ *Policy, q Question) bool { return q.Untrusted },
		mail.Reply{Code: 421, Enhanced: "7.1", Text: "The proxy is no longer trusted, closing connection"}},
	{AtVerb, SignInVoid, func(_ *Policy, q Question) bool { return q.Void },
		mail.Reply{Code: 421, Enhanced: "7.0", Text: "The sign-in is no longer valid, closing connection"}},
	{AtCommand, TLSRequired, func(p *Policy, q Question) bool { return p.RequireTLS && !q.TLS },
		mail.Reply{Code: 530, Enhanced: "7.0", Text: "Must issue a STARTTLS command first"}},
	{AtMail, NoMechanism, func(p *Policy, q Question) bool {
		return q.Account != "" && len(p.SignIn.mechanisms(q.TLS, q.Client)) == 0
	},
		mail.Reply{Code: 504}},
	{AtMail, AuthRequired, func(p *Policy, q Question) bool { return p.SignIn.Required && q.Account == "" },
		mail.Reply{Code: 530, Enhanced: "7.0", Text: "Authentication required"}},
	{AtMail, SizeLimit, func(p *Policy, q Question) bool { return p.Limits.messageSize() < max(q.Size, 0) }, mail.Reply{Code: 552}},
	{AtMail, SessionLimit, func(p *Policy, q Question) bool { return p.Limits.full(q.Octets, q.Size) },
		sessionFull},
	{AtMail, MessageRate, func(_ *Policy, q Question) bool { return q.Exceeds == MessageRate },
		mail.Reply{Code: 450, Enhanced: "7.0", Text: "Too many messages in a short time, try again later"}},
	{AtRcpt, BadMailbox, func(_ *Policy, q Question) bool { return q.To.Domain == "" || q.To.Local == "" },
		mail.Reply{Code: 550, Enhanced: "1.3", Text: "Recipient address has no domain"}},
	// RFC 5321 §4.5.3.1.10: the sender opens another transaction for the rest.
	{AtRcpt, RecipientLimit, func(p *Policy, q Question) bool { return over(q.Recipients, p.Limits.Recipients) },
		mail.Reply{Code: 452, Enhanced: "5.3", Text: "Too many recipients"}},
	{AtRcpt, RecipientRate, func(_ *Policy, q Question) bool { return q.Exceeds == RecipientRate },
		mail.Reply{Code: 450, Enhanced: "7.0", Text: "Too many recipients in a short time, try again later"}},
}

// noMechanism answers AUTH with a mechanism that is not offered, "" for all of
// them: RFC 4954 §4 tells a caller that TLS would help.
func (p *Policy) noMechanism(name string, secure bool, remote netip.Addr) mail.Reply {
	over := p.SignIn.mechanisms(true, remote)
	if !secure && (slices.Contains(over, name) || name == "" && len(over) > 0) {
		return mail.Reply{Code: 538, Enhanced: "7.11", Text: "Encryption required for requested authentication mechanism"}
	}
	return mail.Reply{Code: 504, Enhanced: "5.4", Text: "Unrecognized authentication type"}
}

// The reply is temporary: the sender opens another session and tries again.
var sessionFull = mail.Reply{Code: 421, Enhanced: "3.2", Text: "Session size limit reached, open another connection"}

func over(n, limit int) bool { return limit > 0 && n >= limit }

// Decide looks at the rules of the stages from first to last and gives the
// first that refuses. At AtRcpt, the domain's standing and the relay lists
// decide at the end. It is the only place where mail is accepted or refused
// before it comes.
func (p *Policy) Decide(ctx context.Context, first, last Stage, q Question) Decision {
	q.Client = q.Client.Unmap()
	if d := p.refuse(first, last, q); d.Rule != 0 {
		return d
	}
	if last < AtRcpt {
		return Decision{Reply: ok}
	}
	return p.decideRecipient(ctx, q)
}

// refuse gives the first rule of the stages that refuses; none where Rule is 0.
func (p *Policy) refuse(first, last Stage, q Question) Decision {
	for i := range checks {
		c := &checks[i]
		if c.stage < first || c.stage > last || !c.refuse(p, q) {
			continue
		}
		switch d := (Decision{c.rule, c.reply}); c.rule {
		case SizeLimit:
			d.Reply = params.TooBig(p.Limits.messageSize())
			return d
		case NoMechanism:
			d.Reply = p.noMechanism("", q.TLS, q.Client)
			return d
		case ClientList:
			if q.Host.failed() {
				d.Reply = unnamed(421)
			}
			return d
		default:
			d.Reply.Cause = p.Limits.cause(c.rule, q.Account != "")
			return d
		}
	}
	return Decision{}
}

func (p *Policy) decideRecipient(ctx context.Context, q Question) Decision {
	rule := p.relays(q)
	switch rule {
	case NoRelay:
		if q.Host.failed() {
			return Decision{rule, unnamed(450)}
		}
		return Decision{rule, mail.Reply{Code: 550, Enhanced: "7.1", Text: "Unable to relay for <" + q.To.String() + ">"}}
	case LocalDomain, HeldDomain, RelayedDomain:
		if d := p.blocklist(q); d.Rule != 0 {
			return d
		}
		if d := p.mailbox(ctx, q.To); d.Rule != 0 {
			return d
		}
	}
	if d := p.checkQuota(q); d.Rule != 0 {
		return d
	}
	if rule == LocalDomain || rule == HeldDomain || rule == RelayedDomain {
		if d := p.greylist(q); d.Rule != 0 {
			return d
		}
	}
	return Decision{rule, mail.Reply{Code: 250, Enhanced: "1.5", Text: "<" + q.To.String() + "> Recipient OK"}}
}

// blocklist refuses a caller who is on a DNS blocklist. It may write to postmaster, and
// have itself taken off.
func (p *Policy) blocklist(q Question) Decision {
	if q.Blocklist == nil || strings.EqualFold(q.To.Local, "postmaster") || p.trusts(q) {
		return Decision{}
	}
	why := q.Blocklist()
	if why == "" {
		return Decision{}
	}
	return Decision{Blocklisted, p.soften(q.To.Domain, mail.Reply{Code: 550, Enhanced: "7.1", Text: why})}
}

// checkQuota puts off mail that would exceed the quota of a held domain. An alias is queued under
// another name.
func (p *Policy) checkQuota(q Question) Decision {
	if q.CheckQuota == nil {
		return Decision{}
	}
	to := q.To
	if p.Stored != nil {
		to = p.Stored(to)
	}
	err := q.CheckQuota(to.Domain, q.Size)
	if err == nil {
		return Decision{}
	}
	r := mail.Reply{Code: 451, Enhanced: "3.0", Text: "Cannot store the message now, try again later", Cause: err}
	errors.As(err, &r)
	return Decision{HoldFull, r}
}

// greylist puts off a caller whom nobody knows (RFC 6647).
func (p *Policy) greylist(q Question) Decision {
	if q.Greylist == nil || strings.EqualFold(q.To.Local, "postmaster") || p.trusts(q) {
		return Decision{}
	}
	wait := q.Greylist()
	if wait <= 0 {
		return Decision{}
	}
	seconds := int64((wait + time.Second - 1) / time.Second)
	return Decision{Greylisted, mail.Reply{Code: 451, Enhanced: "7.1", Text: fmt.Sprintf("Greylisted, try again in %d seconds", seconds)}}
}

// mailbox refuses a recipient in a domain of ours that has no such mailbox. Postmaster
// is always there (RFC 5321 §4.5.1).
func (p *Policy) mailbox(ctx context.Context, to mail.Address) Decision {
	if strings.EqualFold(to.Local, "postmaster") {
		return Decision{}
	}
	switch there, err := p.Domains.Mailbox(ctx, to); {
	case err != nil:
		return Decision{RecipientsUnread, mail.Reply{Code: 451, Enhanced: "3.0", Text: "Recipients cannot be verified now, try again later", Cause: err}}
	case !there:
		return Decision{UnknownRecipient, p.soften(to.Domain, mail.Reply{Code: 550, Enhanced: "1.1", Text: "<" + to.String() + "> User unknown"})}
	}
	return Decision{}
}

// soften makes a refusal for good of a recipient in d temporary, if that is asked for.
func (p *Policy) soften(d mail.Domain, r mail.Reply) mail.Reply {
	if p.NeverRefuse != nil && r.Code/100 == 5 && p.NeverRefuse(d) {
		r.Code = 450
	}
	return r
}

// submits reports whether a caller may send to any domain, so that what it asks for
// beyond delivery is the business of the site.
func (p *Policy) submits(q Question) bool {
	relay := p.Domains.Relay("")
	return relay.SignedIn && q.Account != "" || relay.grants(q.Client.Unmap(), q.Host.lookup())
}

// relays says by what rule the recipient's mail is taken.
func (p *Policy) relays(q Question) Rule {
	switch p.Domains.Standing(q.To.Domain) {
	case mail.Local:
		return LocalDomain
	case mail.Held:
		return HeldDomain
	case mail.Relayed:
		return RelayedDomain
	}
	if q.Submitted {
		return RelaySubmitted
	}
	relay := p.Domains.Relay(q.To.Domain)
	switch {
	case relay.grants(q.Client, q.Host.lookup()):
		return RelayClient
	case relay.SignedIn && q.Account != "":
		return RelayAccount
	}
	return NoRelay
}

// messageSize is the most octets that a message may have: Size, or Session where
// that is less.
func (l Limits) messageSize() int64 {
	limit := int64(math.MaxInt64)
	for _, n := range []int64{l.Size, l.Session} {
		if n > 0 {
			limit = min(limit, n)
		}
	}
	return limit
}

// full says that octets of earlier messages and size together exceed what one
// connection may bring.
func (l Limits) full(octets, size int64) bool {
	return l.Session > 0 && octets > 0 && (octets >= l.Session || size > l.Session-octets)
}

// A Policy is what callers live under. It is shared by all of them, and never
// changed. A session keeps the names and the Limits of its greeting; the rest
// are rights, which it asks anew at each verb.
type Policy struct {
	Hostname string      // our name, in trace headers and greetings
	Default  mail.Domain // of addresses that have none, as <postmaster> (RFC 5321 §4.5.1); "": there is none
	Limits   Limits

	MayConnect  func(netip.Addr, Names) bool // nil: everybody
	Exempt      func(netip.Addr) bool        // from Limits.PerAddress and the counting of wrong passwords by address; nil: nobody
	ReverseDNS  bool                         // the trace field has the client's name by DNS
	RequireTLS  bool                         // before all commands but EHLO, STARTTLS, NOOP and QUIT
	Domains     Domains
	SignIn      SignIn
	Blocklist   func(context.Context, netip.Addr) string                                  // for Question.Blocklist; nil: no blocklist is asked
	Greylist    func(client netip.Addr, from, to mail.Address, record bool) time.Duration // for Question.Greylist; nil: nobody waits
	Inspect     func(context.Context, Arrival) Opinion                                    // of messages that have come whole; nil: none is inspected
	Sign        func(mail.Envelope) Signing                                               // begins the signatures of a message that is submitted; it may give nil: it is not signed
	Filter      func(Transaction) Filter                                                  // is shown each message; nil: none is
	NeverRefuse func(mail.Domain) bool                                                    // recipients of the domain are put off where others are refused for good; nil: none are
	Stored      func(mail.Address) mail.Address                                           // the address under which mail for a recipient is queued; nil: its own
}

// Domains says how we stand to a domain.
type Domains interface {
	Standing(d mail.Domain) mail.Standing

	// Relay gives the callers that may send to a foreign domain.
	Relay(d mail.Domain) Relay

	// Mailbox reports whether a domain of ours has a mailbox. An error says why that
	// cannot be found out now; the sender is told to try again later.
	Mailbox(ctx context.Context, a mail.Address) (there bool, err error)
}

// Relay names the callers that may send to a foreign domain.
type Relay struct {
	Grants   func(netip.Addr, Names) bool // nil: nobody
	SignedIn bool                         // also a caller that has signed in
}

func (r Relay) grants(client netip.Addr, names Names) bool {
	return r.Grants != nil && r.Grants(client, names)
}

// Limits bound what callers bring; 0 is no limit.
type Limits struct {
	Connections int // at once (MaxConnections)
	PerEndpoint int // of these, at one address and port (MaxEndpointConnections)
	PerAddress  int // of these, from one address (MaxConnectionsPerAddress)

	// What one address or one account may bring in a time; see Rates.
	ConnectionRate    int // per minute (MaxConnectionsPerMinute)
	AddressMessages   int // per hour, without a sign-in (MaxMessagesPerHour)
	AddressRecipients int // the same (MaxRecipientsPerHour)
	AccountMessages   int // per hour (MaxAccountMessagesPerHour)
	AccountRecipients int // the same (MaxAccountRecipientsPerHour)

	Size       int64 // octets of one message (MaxMessageSize)
	Session    int64 // octets of all messages of one connection (MaxSessionSize)
	Recipients int   // of one message (MaxRecipients)
	Refused    int   // recipients of one connection that are refused for good (MaxRefusedRecipients)
	Hops       int   // Received fields of a message, before it is taken for one that runs in circles
	OwnHops    int   // of these, that this host wrote (MaxOwnHops)
}

// cause names for the log the property that sets the limit of a rule; nil for a
// rule without one.
func (l Limits) cause(r Rule, signedIn bool) error {
	switch r {
	case ConnectionLimit:
		return fmt.Errorf("MaxConnections is %d", l.Connections)
	case EndpointLimit:
		return fmt.Errorf("MaxEndpointConnections is %d", l.PerEndpoint)
	case AddressLimit:
		return fmt.Errorf("MaxConnectionsPerAddress is %d", l.PerAddress)
	case ConnectionRate, MessageRate, RecipientRate:
		return l.rate(r, signedIn).cause()
	case SessionLimit:
		return fmt.Errorf("MaxSessionSize is %d", l.Session)
	case RecipientLimit:
		return fmt.Errorf("MaxRecipients is %d", l.Recipients)
	}
	return nil
}

// SignIn gives the accounts and the mechanisms of AUTH.
type SignIn struct {
	Lookup   account.Lookup
	Name     func(string) string // the account that a caller means by a name; nil: the one of that name
	Plain    bool                // PLAIN and LOGIN, over TLS or from this machine
	Clear    bool                // these also otherwise
	Scram    bool                // SCRAM-SHA-256
	Cram     func() bool         // some account can use CRAM-MD5; nil: none
	Required bool                // no mail from a caller that has not signed in

	Directory account.Directory      // for the accounts that Lookup does not know; nil: none
	Outside   func(name string) bool // whether a name can be one of these

	Tokens account.Tokens // that are taken, as passwords are in clear; nil: none is

	Certificates *Certificates                               // that are identities; nil: none is
	Kept         func(name string) (account string, ok bool) // the account here of a name, with a password or without
}

// vouches reports whether the source of a sign-in is one still, and may speak for the
// account.
func (p *SignIn) vouches(source, name string) bool {
	if p.Certificates != nil && p.Certificates.ID == source {
		_, ok := p.Kept(name)
		return ok
	}
	return p.Tokens != nil && p.Tokens.ID() == source ||
		p.Directory != nil && p.Directory.ID() == source && p.Outside(name)
}

// Recipient reads the path of RCPT as a session does, utf8 behind a MAIL with SMTPUTF8.
// The Reply is zero when all is well.
func (p *Policy) Recipient(path string, utf8 bool) (mail.Address, mail.Reply) {
	to, bad := params.ParseRecipient(path, utf8)
	return to.In(p.Default), bad
}

// stored gives the recipients as they are queued, each once.
func (p *Policy) stored(to []mail.Recipient) []mail.Recipient {
	if p.Stored == nil {
		return to
	}
	out := make([]mail.Recipient, 0, len(to))
	seen := make(map[mail.Address]bool, len(to))
	for _, r := range to {
		if r.Address = p.Stored(r.Address); !seen[r.Address] {
			seen[r.Address] = true
			out = append(out, r)
		}
	}
	return out
}

// Greeting is the refusal r as a greeting, which names the host (RFC 5321 §4.2).
func (p *Policy) Greeting(r mail.Reply) mail.Reply {
	r.Text = p.Hostname + " " + r.Text
	return r
}

// Account looks an account up by what a caller calls it.
func (p *SignIn) Account(name string) (account.Credential, bool) { return p.Lookup(p.account(name)) }

func (p *SignIn) account(name string) string {
	if p.Name == nil {
		return name
	}
	return p.Name(name)
}

// mechanisms lists what may be offered to a caller. A password does not travel
// in clear, but on a connection that does not leave the machine.
func (p *SignIn) mechanisms(secure bool, remote netip.Addr) []string {
	var m []string
	if p.Plain && (secure || p.Clear || remote.IsLoopback()) {
		m = append(m, account.Plain, account.Login)
	}
	if p.Cram != nil && p.Cram() {
		m = append(m, account.Cram)
	}
	// The accounts of a directory have no verifier: a client that prefers SCRAM could
	// not sign in, and those that know it know PLAIN.
	if p.Scram && (p.Directory == nil || len(m) == 0 || m[0] != account.Plain) {
		m = append(m, account.Scram)
	}
	if p.Tokens != nil && (secure || p.Clear || remote.IsLoopback()) {
		m = append(m, account.OAuthBearer, account.XOAuth2)
	}
	if p.Certificates != nil && secure {
		m = append(m, account.External)
	}
	return m
}
