// SPDX-License-Identifier: Apache-2.0

package session

import (
	"crypto/tls"
	"net/netip"
	"strings"

	"restante/engine/mail"
)

// maxTraceAddress keeps the line with the recipient within the 998 octets of
// RFC 5322 §2.1.1.
const maxTraceAddress = 900

// dateTime is the form of RFC 5322 §3.3.
const dateTime = "Mon, 2 Jan 2006 15:04:05 -0700"

// trace is the Received field of RFC 5321 §4.4; client describes the caller's end.
func trace(hostname, client string, env mail.Envelope, extended bool, state tls.ConnectionState) string {
	var b strings.Builder
	b.WriteString("Received: from " + helloName(env.Helo, env.Client) + " (" + client + ")\r\n")
	b.WriteString("\tby " + hostname + " with " + protocol(env, extended) + " id " + string(env.ID))
	var about []string
	if env.TLS {
		about = append(about, strings.ReplaceAll(tls.VersionName(state.Version), " ", ""), tls.CipherSuiteName(state.CipherSuite))
	}
	if env.Session != "" {
		about = append(about, "session "+string(env.Session))
	}
	if len(about) > 0 {
		b.WriteString("\r\n\t(" + strings.Join(about, ", ") + ")")
	}
	writeTraceEnd(&b, env)
	return b.String()
}

// traceClient describes the caller's end: its address and, with EnableReverseDnsLookup,
// a name that leads back to the address, and IIS's words where that is not the one
// that it greeted with.
func (s *Session) traceClient(env mail.Envelope) string {
	literal := mail.AddressLiteral(env.Client)
	if !s.policy.ReverseDNS || s.deps.Host == nil {
		return literal
	}
	names, err := s.deps.Host.lookup()()
	if err != nil {
		return literal + " RDNS failed"
	}
	name := ""
	for _, one := range names {
		d, err := mail.ParseDomain(strings.TrimSuffix(one, "."))
		switch {
		case err != nil:
		case strings.EqualFold(string(d), env.Helo):
			return string(d) + " " + literal
		case name == "":
			name = string(d) + " "
		}
	}
	return name + literal + " unverified"
}

// submissionTrace is the Received field of a message that came by no connection,
// in Microsoft's words: there is no host to stand behind FROM (RFC 5321 §4.4).
func submissionTrace(hostname string, env mail.Envelope) string {
	var b strings.Builder
	b.WriteString("Received: from mail pickup service by " + hostname + "\r\n\tid " + string(env.ID))
	writeTraceEnd(&b, env)
	return b.String()
}

// ownTrace reports whether a Received field is one that a host of this name has written
// here: it has the name and a message's ID as this program makes them.
func ownTrace(field []byte, hostname string) bool {
	words := strings.Fields(string(field))
	for i, word := range words[:max(len(words)-1, 0)] {
		if word != "by" || !strings.EqualFold(words[i+1], hostname) {
			continue
		}
		for j, word := range words[i+2:] {
			if next := i + 2 + j + 1; word == "id" && next < len(words) {
				_, err := mail.ParseMessageID(strings.TrimSuffix(words[next], ";"))
				return err == nil
			}
		}
	}
	return false
}

func writeTraceEnd(b *strings.Builder, env mail.Envelope) {
	if len(env.To) == 1 { // the field would show each recipient the others
		if to := env.To[0].Address.String(); len(to) <= maxTraceAddress {
			b.WriteString("\r\n\tfor <" + to + ">")
		}
	}
	b.WriteString("; " + env.Received.Format(dateTime) + "\r\n")
}

// protocol is the WITH word of RFC 3848, and of RFC 6531 §4.3.
func protocol(env mail.Envelope, extended bool) string {
	if !extended && !env.TLS && env.Account == "" && !env.UTF8 {
		return "SMTP"
	}
	p := "ESMTP"
	if env.UTF8 {
		p = "UTF8SMTP"
	}
	if env.TLS {
		p += "S"
	}
	if env.Account != "" {
		p += "A"
	}
	return p
}

// helloName is the name of the greeting if it is a domain, and else the
// client's address: nothing else of a client's enters our field.
func helloName(name string, ip netip.Addr) string {
	if d, err := mail.ParseDomain(name); err == nil {
		return string(d)
	}
	return mail.AddressLiteral(ip)
}
