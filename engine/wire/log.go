// SPDX-License-Identifier: Apache-2.0

package wire

import (
	"net/netip"
	"slices"
	"strings"
	"time"

	"restante/engine/mail"
	"restante/engine/wire/params"
)

// An Exchange is one command of a caller with its reply. A handshake that failed
// is one, too, of STARTTLS or, from the first octet, of "TLS".
type Exchange struct {
	Caller   *Caller
	Verb     string     // "" for a word that is no verb, and between commands
	Arg      string     // never a credential
	Reply    mail.Reply // its code is 0 where there was none when the caller went
	Sent     int64      // octets of the reply; 0 where the caller did not get it
	Received int64      // octets of the command and its message
	Taken    time.Duration
}

// A Line is one command of a Client, or one reply of its peer.
type Line struct {
	Remote netip.AddrPort
	Verb   string // "" for a reply
	Text   string // behind the verb, never a credential; of a reply its first line
	Octets int64
	Taken  time.Duration // of a reply, since the last command
}

// beginRequest times and measures a command.
func (c *conn) beginRequest(line string) {
	if c.cfg.Log != nil {
		c.now.begin, c.now.received = time.Now(), int64(len(line)+len("\r\n"))
	}
}

// logExchange tells the log of a reply to the present command.
func (c *conn) logExchange(r mail.Reply, sent int) {
	greeting := r.Code == 220 && c.now.verb == ""
	if c.cfg.Log == nil || r.Code/100 == 3 || greeting {
		return
	}
	e := Exchange{
		Caller: c.caller, Verb: c.now.verb, Arg: c.now.publicArg(), Reply: r,
		Sent: int64(sent), Received: c.now.received,
	}
	if !c.now.begin.IsZero() {
		e.Taken = time.Since(c.now.begin)
	}
	c.cfg.Log(e)
}

// publicArg is what logs may have of the argument.
func (r *request) publicArg() string {
	if r.verb == "AUTH" {
		return mechanismIn(r.arg)
	}
	return r.arg
}

// mechanismIn is the mechanism in the argument of AUTH, without the initial
// response.
func mechanismIn(arg string) string {
	word, _, _ := strings.Cut(strings.ReplaceAll(arg, "\t", " "), " ")
	return KnownMechanism(word)
}

// KnownMechanism is the name of a mechanism in capitals; "" for one that is not
// known: it may be a credential, and is not for a log.
func KnownMechanism(word string) string {
	if name := params.Upper(word); slices.Contains(knownMechanisms, name) {
		return name
	}
	return ""
}

// knownMechanisms are those that callers ask for.
var knownMechanisms = []string{
	"PLAIN", "LOGIN", "CRAM-MD5", "DIGEST-MD5", "NTLM", "GSSAPI", "GSS-SPNEGO", "KERBEROS_V4", "EXTERNAL", "ANONYMOUS",
	"SCRAM-SHA-1", "SCRAM-SHA-1-PLUS", "SCRAM-SHA-256", "SCRAM-SHA-256-PLUS", "SCRAM-SHA-512", "SCRAM-SHA-512-PLUS", "XOAUTH2", "OAUTHBEARER",
}

// logCommand tells the log of a command that was sent.
func (p *peer) logCommand(line string) {
	if p.log == nil {
		return
	}
	verb, arg := splitVerb(strings.TrimRight(line, "\r\n"))
	if verb == "AUTH" {
		arg = mechanismIn(arg)
	}
	p.log(Line{Remote: addrPort(p.raw.RemoteAddr()), Verb: verb, Text: arg, Octets: int64(len(line))})
}

// logReply tells the log of a reply as it came, but for the challenges of a
// sign-in.
func (p *peer) logReply(code int, first string, octets int) {
	if p.log == nil || code == 334 {
		return
	}
	l := Line{Remote: addrPort(p.raw.RemoteAddr()), Text: first, Octets: int64(octets)}
	if sent := p.sent.Load(); sent != 0 {
		l.Taken = time.Since(time.Unix(0, sent))
	}
	p.log(l)
}
