// SPDX-License-Identifier: Apache-2.0

package session

import (
	"crypto/tls"
	"net/netip"
	"strings"

	"restante/engine/mail"
)

// trace is the Received field of RFC 5321 §4.4, with which we sign for having
// had the message.
func trace(hostname string, env mail.Envelope, extended bool, state tls.ConnectionState) string {
	var b strings.Builder
	b.WriteString("Received: from " + helloName(env.Helo, env.Client) + " (" + literal(env.Client) + ")\r\n")
	b.WriteString("\tby " + hostname + " with " + protocol(env, extended) + " id " + string(env.ID))
	if env.TLS {
		b.WriteString("\r\n\t(" + strings.ReplaceAll(tls.VersionName(state.Version), " ", "") + ", " + tls.CipherSuiteName(state.CipherSuite) + ")")
	}
	if len(env.To) == 1 { // more would tell each of the others
		b.WriteString("\r\n\tfor <" + env.To[0].Address.String() + ">")
	}
	b.WriteString("; " + env.Received.Format("Mon, 2 Jan 2006 15:04:05 -0700") + "\r\n")
	return b.String()
}

// protocol is the WITH word of RFC 3848.
func protocol(env mail.Envelope, extended bool) string {
	if !extended && !env.TLS && env.Account == "" {
		return "SMTP"
	}
	p := "ESMTP"
	if env.TLS {
		p += "S"
	}
	if env.Account != "" {
		p += "A"
	}
	return p
}

// literal is RFC 5321 §4.1.3.
func literal(ip netip.Addr) string {
	if !ip.IsValid() {
		return "unknown"
	}
	ip = ip.Unmap().WithZone("")
	if ip.Is6() {
		return "[IPv6:" + ip.String() + "]"
	}
	return "[" + ip.String() + "]"
}

// helloName is the name that the caller gave, if it is one; a stranger writes
// nothing else into our header.
func helloName(name string, ip netip.Addr) string {
	if d, err := mail.ParseDomain(name); err == nil {
		return string(d)
	}
	return literal(ip)
}
