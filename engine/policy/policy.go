// SPDX-License-Identifier: Apache-2.0

// Package policy makes the [session.Policy] of a site from its settings, and
// explains what that Policy decides. The running site and the explanation use
// the same Policy, so that they cannot differ.
package policy

import (
	"context"
	"errors"
	"fmt"
	"net/netip"
	"slices"
	"time"

	"restante/engine/account/ldap"
	"restante/engine/account/oauth"
	"restante/engine/auth"
	"restante/engine/dnsbl"
	"restante/engine/filter"
	"restante/engine/greylist"
	"restante/engine/mail"
	"restante/engine/recipients"
	"restante/engine/recipients/pushed"
	"restante/engine/session"
	"restante/engine/settings"
	"restante/metabase"
)

// Sources are where a Policy finds what the settings name.
type Sources struct {
	Lists  *recipients.Files
	Pushed *pushed.Store                                                                            // nil: no host has pushed a list
	Asked  func(ctx context.Context, s *settings.Site, d ldap.Config, a mail.Address) (bool, error) // whether a directory has a mailbox; nil: none can be asked
	DNS    func(servers []string) auth.DNS                                                          // nil: mail cannot be verified, nor blocklists be asked
	Block  *dnsbl.Checker
	Grey   *greylist.List // nil: nobody is put off

	Milters *filter.Health // nil: mail is shown to none
}

// For gives what the callers of a site live under.
func For(s *settings.Site, from Sources) session.Policy {
	p := session.Policy{
		Hostname: s.FullyQualifiedDomainName, Default: s.DefaultDomain, Domains: domains{s, from}, Stored: s.Recipient,
		MayConnect: s.MayConnect, Exempt: s.Exempt, RequireTLS: s.TLS.Required, ReverseDNS: s.EnableReverseDnsLookup,
		Limits: session.Limits{
			Connections: s.Limits.MaxConnections, PerEndpoint: s.Limits.MaxEndpointConnections, PerAddress: s.Limits.MaxConnectionsPerAddress,
			ConnectionRate: s.Limits.MaxConnectionsPerMinute, AddressMessages: s.Limits.MaxMessagesPerHour, AddressRecipients: s.Limits.MaxRecipientsPerHour,
			AccountMessages: s.Limits.MaxAccountMessagesPerHour, AccountRecipients: s.Limits.MaxAccountRecipientsPerHour,
			Size: s.Limits.MaxMessageSize, Session: s.Limits.MaxSessionSize,
			Recipients: s.Limits.MaxRecipients, Refused: s.Limits.MaxRefusedRecipients, Hops: s.Limits.HopCount, OwnHops: s.Limits.MaxOwnHops,
		},
		SignIn: session.SignIn{
			Lookup: s.Account, Name: s.AccountName, Plain: s.Access.Basic, Clear: s.Access.ClearTextAuth,
			Scram: s.Access.Challenge, Required: s.Access.Required, Outside: s.IsOutside, Kept: s.Kept,
		},
	}
	p.NeverRefuse = s.NeverRefuses
	if from.Grey != nil && s.Verify.GreylistDelay > 0 {
		p.Greylist = func(client netip.Addr, sender, to mail.Address, record bool) time.Duration {
			if s.GreylistExempts(client) {
				return 0
			}
			return from.Grey.Wait(greylist.Triplet{Site: s.Number, Client: client, From: sender, To: to}, s.Verify.GreylistDelay, record)
		}
	}
	if from.DNS != nil && len(s.Verify.DnsBlocklists) > 0 {
		dns := from.DNS(s.DNSServers())
		p.Blocklist = func(ctx context.Context, client netip.Addr) string {
			return from.Block.Listed(ctx, dns, s.Verify.DnsBlocklists, client)
		}
	}
	if from.DNS != nil && (s.Verify.AuthenticateMail || s.Verify.DmarcReject) {
		p.Inspect = verification(s, from.DNS(s.DNSServers()))
	}
	p.Sign = signing(s)
	p.Filter = filters(s, from.Milters)
	if s.Oauth.OauthIssuer != "" {
		p.SignIn.Tokens = oauth.New(oauth.Config{Issuer: s.Oauth.OauthIssuer, Audience: s.Oauth.OauthAudience, Claim: s.Oauth.OauthAccountClaim})
	}
	if s.TLS.TlsClientCaFile != "" {
		p.SignIn.Certificates = &session.Certificates{ID: "certificate " + s.TLS.TlsClientCaFile}
	}
	if s.Access.Challenge {
		p.SignIn.Cram = s.HasCram
	}
	return p
}

// domains is the site as a session asks it.
type domains struct {
	*settings.Site
	from Sources
}

func (d domains) Relay(name mail.Domain) session.Relay {
	relay := d.Site.Relay
	if key, ok := d.DomainFor(name); ok {
		relay = key.Relay
	}
	return session.Relay{Grants: relay.Grants, SignedIn: relay.RelayForAuth}
}

// Mailbox looks a recipient up as it came, and as it is queued: in the lists first. A
// list that cannot be read, or a directory that is down, matters where no other one
// has the mailbox.
func (d domains) Mailbox(ctx context.Context, a mail.Address) (bool, error) {
	boxes := d.MailboxesOf(a.Domain)
	var list *pushed.List
	var err error
	if boxes.PushedRecipients && d.Pushes(a.Domain) {
		list, err = d.from.Pushed.Find(d.Number, a.Domain)
	}
	if err == nil && (list == nil && boxes.All() || list != nil && list.Has(a.Local)) {
		return true, nil
	}
	names := []mail.Address{a}
	if queued := d.Site.Recipient(a); queued != a {
		names = append(names, queued)
	}
	for _, name := range names {
		if slices.ContainsFunc(boxes.Recipients, func(entry string) bool { return recipients.Matches(entry, name) }) {
			return true, nil
		}
	}
	unread := []error{err}
	if boxes.RecipientsFile != "" {
		list, err := d.from.Lists.Find(boxes.RecipientsFile, recipients.User{Site: d.Number, Domain: a.Domain})
		if err == nil && slices.ContainsFunc(names, list.Has) {
			return true, nil
		}
		unread = append(unread, err)
	}
	for _, dir := range boxes.Directories {
		for _, name := range names {
			there, err := d.ask(ctx, dir, name)
			if there {
				return true, nil
			}
			unread = append(unread, err)
		}
	}
	return false, errors.Join(unread...)
}

func (d domains) ask(ctx context.Context, dir ldap.Config, a mail.Address) (bool, error) {
	if d.from.Asked == nil {
		return false, errors.New("the directory of recipients is asked by the service alone, which does not run")
	}
	return d.from.Asked(ctx, d.Site, dir, a)
}

// A Client is the caller that an explanation is about.
type Client struct {
	Addr        netip.Addr
	Names       session.Names // its names by DNS; nil: it has none
	AnyAddr     bool          // Addr stands for one that gives no rights
	From        mail.Address  // its sender
	Account     string        // it signs in as, or ""
	TLS         bool
	Paused      bool                                  // the site accepts no new connections
	Connections int                                   // the site's at that moment
	FromAddress int                                   // of these, from its address
	CheckQuota  func(d mail.Domain, size int64) error // as in [session.Question]; nil: it is not known
}

// host names the client by its address, for people.
func (c Client) host() string {
	if c.AnyAddr {
		return "an unknown caller"
	}
	return c.Addr.Unmap().String()
}

// name names the client by its account where it has one.
func (c Client) name() string {
	if c.Account != "" {
		return "account " + c.Account
	}
	return c.host()
}

// An Explanation is what a client is answered that sends to one recipient.
type Explanation struct {
	Reply   mail.Reply        // to RCPT, or to what is refused before it
	Refusal string            // "" where the recipient is accepted
	Reasons []settings.Reason // the properties that decided
}

// Recipient reads a recipient as RCPT does, of a caller that says SMTPUTF8 where it is
// offered. The Reply is zero when all is well.
func Recipient(s *settings.Site, path string) (mail.Address, mail.Reply) {
	p := For(s, Sources{})
	return p.Recipient(path, s.Verbs.UTF8 && s.Verbs.EightBit)
}

// Explain asks the Policy of a site what it decides about a client and a
// recipient.
func Explain(ctx context.Context, s *settings.Site, from Sources, c Client, to mail.Address) Explanation {
	p := For(s, from)
	var blocklist func() string
	if p.Blocklist != nil && !c.AnyAddr {
		blocklist = func() string { return p.Blocklist(ctx, c.Addr) }
	}
	var grey func() time.Duration
	if p.Greylist != nil && !c.AnyAddr {
		grey = func() time.Duration { return p.Greylist(c.Addr, c.From, to, false) }
	}
	d := p.Decide(ctx, session.AtConnect, session.AtRcpt, session.Question{
		Blocklist: blocklist, Greylist: grey, Client: c.Addr, Host: session.NewHost(c.Names), Account: c.Account, TLS: c.TLS, Paused: c.Paused, Connections: c.Connections, FromAddress: c.FromAddress, CheckQuota: c.CheckQuota, To: to,
	})
	e := Explanation{Reply: d.Reply}
	switch {
	case d.AtConnect():
		e.Reply = p.Greeting(d.Reply)
	case !s.Verbs.EnhancedCodes:
		e.Reply.Enhanced = ""
	}
	if !d.Accepted() {
		e.Refusal = refusal(d, c)
	}
	if d.Rule < session.Blocklisted {
		e.Reasons = s.Reasons("", siteProperties(d.Rule)...)
		return e
	}
	switch d.Rule {
	case session.HoldFull:
		queued := s.Recipient(to).Domain
		e.Reasons = append(s.HoldReasons(queued), s.StandingReasons(queued)...)
	case session.Greylisted:
		e.Reasons = s.Reasons("", settings.GreylistDelay, settings.GreylistExempt)
	case session.Blocklisted:
		e.Reasons = softened(s, d, to.Domain, s.Reasons("", settings.DnsBlocklists))
	case session.UnknownRecipient, session.RecipientsUnread:
		e.Reasons = softened(s, d, to.Domain, append(s.MailboxReasons(to.Domain), s.StandingReasons(to.Domain)...))
	case session.NoRelay:
		e.Reasons = s.Reasons(to.Domain, settings.RelayIpList, settings.RelayIpv6List, settings.RelayForAuth)
	case session.RelayAccount:
		e.Reasons = s.Reasons(to.Domain, settings.RelayForAuth)
	case session.RelayClient:
		id := settings.RelayIpList
		if c.Addr.Unmap().Is6() {
			id = settings.RelayIpv6List
		}
		e.Reasons = s.Reasons(to.Domain, id)
	default:
		e.Reasons = append(s.StandingReasons(to.Domain), s.MailboxReasons(to.Domain)...)
		e.Reasons = append(e.Reasons, s.HoldReasons(s.Recipient(to).Domain)...)
		if s.Verify.DmarcReject { // decides when the message is there
			e.Reasons = append(e.Reasons, s.Reasons("", settings.DmarcReject)...)
		}
	}
	if d.Accepted() {
		e.Reasons = append(e.Reasons, milterReasons(s, from.Milters)...)
	}
	return e
}

// softened adds the reason why a refusal for good became temporary.
func softened(s *settings.Site, d session.Decision, domain mail.Domain, reasons []settings.Reason) []settings.Reason {
	if d.Rule != session.RecipientsUnread && d.Reply.Temporary() {
		return append(reasons, s.Reasons(domain, settings.NeverRefuse)...)
	}
	return reasons
}

// siteProperties are those of the site's key that a rule goes by.
func siteProperties(r session.Rule) []metabase.ID {
	switch r {
	case session.ClientList:
		return []metabase.ID{settings.IPSecurity, settings.ConnectionIpv6List}
	case session.Pause:
		return []metabase.ID{settings.ServerState}
	case session.ConnectionLimit:
		return []metabase.ID{settings.MaxConnections}
	case session.EndpointLimit:
		return []metabase.ID{settings.MaxEndpointConnections}
	case session.AddressLimit:
		return []metabase.ID{settings.MaxConnectionsPerAddress, settings.ConnectionLimitExempt}
	case session.ConnectionRate:
		return []metabase.ID{settings.MaxConnectionsPerMinute, settings.ConnectionLimitExempt}
	case session.TLSRequired:
		return []metabase.ID{settings.AccessSSLFlags}
	case session.NoMechanism:
		return []metabase.ID{settings.AuthFlags, settings.ClearTextAuth}
	case session.AuthRequired:
		return []metabase.ID{settings.AuthFlags}
	case session.SizeLimit:
		return []metabase.ID{settings.MaxMessageSize, settings.MaxSessionSize}
	case session.SessionLimit:
		return []metabase.ID{settings.MaxSessionSize}
	case session.RecipientLimit:
		return []metabase.ID{settings.MaxRecipients}
	}
	return nil
}

// refusal says for people why a client is refused.
func refusal(d session.Decision, c Client) string {
	switch d.Rule {
	case session.Greylisted:
		return c.host() + " is to try again later: the greylist does not know it with this sender and recipient"
	case session.Blocklisted:
		return "a DNS blocklist has " + c.host()
	case session.UnknownRecipient:
		return "the list of recipients does not have it"
	case session.RecipientsUnread, session.HoldFull:
		return d.Reply.Cause.Error()
	case session.ClientList:
		return c.host() + " may not connect"
	case session.Pause:
		return "the site is paused"
	case session.ConnectionLimit:
		return fmt.Sprintf("the site has %d connections, which is its limit", c.Connections)
	case session.EndpointLimit:
		return "the address and port have as many connections as they may"
	case session.AddressLimit:
		return fmt.Sprintf("%s has %d connections, which is the limit of one address", c.host(), c.FromAddress)
	case session.TLSRequired:
		return "commands need TLS"
	case session.NoMechanism:
		return c.name() + " cannot sign in: no mechanism is offered, or none without TLS"
	case session.AuthRequired:
		return "callers must sign in first"
	case session.NoRelay:
		return "the domain is not ours, and " + c.name() + " may not relay"
	}
	return "the limits of the site"
}
