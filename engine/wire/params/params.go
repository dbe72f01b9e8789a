// SPDX-License-Identifier: Apache-2.0

// Package params reads what stands behind MAIL and RCPT: the path, and the parameters of
// the extensions that a site offers.
package params

import (
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"

	"restante/engine/mail"
)

// params reads the ESMTP parameters of MAIL and RCPT, each at most once.
type params struct {
	seen []string
	bad  mail.Reply // code 0: none
}

// Mail is MAIL FROM with its parameters.
type Mail struct {
	From  mail.Address // without a domain where it came so
	Size  int64        // RFC 1870, 0 when not given
	Body8 bool         // RFC 6152, BODY=8BITMIME

	Binary bool // RFC 3030, BODY=BINARYMIME: the message comes by BDAT, octet for octet

	Ret   string
	EnvID string

	RequireTLS bool      // RFC 8689
	Priority   int8      // RFC 6710, -9 to 9
	HoldUntil  time.Time // RFC 4865; zero: not held
	UTF8       bool      // RFC 6531: SMTPUTF8

	By mail.Deadline // RFC 2852
}

// Rcpt is RCPT TO with its parameters.
type Rcpt struct {
	To     mail.Address // without a domain where it came so, as for <Postmaster>
	Notify string
	ORcpt  string
}

// TooBig refuses a message of more than limit octets. RFC 1870 §6.
func TooBig(limit int64) mail.Reply {
	return mail.Reply{Code: 552, Enhanced: "3.4", Text: fmt.Sprintf("Message size exceeds fixed limit of %d octets", limit)}
}

// ParseMail reads what stands behind MAIL. The Reply is zero when all is well. The
// parameters say how the path is read.
func ParseMail(arg string, v mail.Verbs, maxHold, minBy time.Duration) (m Mail, bad mail.Reply) {
	path, rest, bad := cutPath(arg, "FROM:")
	if bad.Code != 0 {
		return m, bad
	}
	var p params
	p.each(rest, func(key, value string) bool {
		switch {
		case key == "SIZE":
			m.Size = p.size(value)
		case key == "REQUIRETLS" && v.RequireTLS:
			if m.RequireTLS = true; value != "" {
				p.malformed(key)
			}
		case key == "MT-PRIORITY" && v.Priority:
			m.Priority = p.priority(value)
		case (key == "HOLDFOR" || key == "HOLDUNTIL") && maxHold > 0:
			m.HoldUntil = p.hold(key, value, maxHold)
		case key == "BY" && v.DeliverBy:
			m.By = p.by(value, minBy)
		case key == "SMTPUTF8" && v.UTF8 && v.EightBit: // RFC 6531 §3.1
			if m.UTF8 = true; value != "" {
				p.malformed(key)
			}
		case key == "BODY" && v.EightBit:
			m.Body8, m.Binary = p.body(value, v.Binary && v.Chunking)
		case key == "RET" && v.DSN:
			m.Ret = p.oneOf(key, value, "FULL", "HDRS")
		case key == "ENVID" && v.DSN:
			m.EnvID = xtext(value)
		case key == "AUTH": // RFC 4954 §5: no peer gets it from us, so no form of it is wrong
		default:
			return false
		}
		return true
	})
	var fault mail.Reply
	if m.From, fault = parsePath(path, "1.7", m.UTF8); p.bad.Code == 0 {
		p.bad = fault
	}
	return m, p.bad
}

// ParseRecipient reads the path of RCPT in a transaction with SMTPUTF8 or without. The
// Reply is zero when all is well.
func ParseRecipient(path string, wide bool) (to mail.Address, bad mail.Reply) {
	if to, bad = parsePath(path, "1.3", wide); bad.Code == 0 && to.IsNull() {
		bad = mail.Reply{Code: 501, Enhanced: "1.3", Text: "No recipient given"}
	}
	return to, bad
}

// ParseRcpt reads what stands behind RCPT.
func ParseRcpt(arg string, v mail.Verbs, wide bool) (r Rcpt, bad mail.Reply) {
	path, rest, bad := cutPath(arg, "TO:")
	if bad.Code != 0 {
		return r, bad
	}
	if r.To, bad = ParseRecipient(path, wide); bad.Code != 0 {
		return r, bad
	}
	var p params
	p.each(rest, func(key, value string) bool {
		switch {
		case key == "NOTIFY" && v.DSN:
			r.Notify = p.notify(value)
		case key == "ORCPT" && v.DSN:
			r.ORcpt = typedXtext(value, wide)
		default:
			return false
		}
		return true
	})
	return r, p.bad
}

// cutPath parts arg into the path, without its brackets, and the parameters.
// Blanks before the path and missing brackets are common, and forgiven.
func cutPath(arg, prefix string) (path, rest string, bad mail.Reply) {
	verb := "MAIL "
	if prefix == "TO:" {
		verb = "RCPT "
	}
	bad = Syntax(verb + prefix + "<address>")
	if len(arg) < len(prefix) || !strings.EqualFold(arg[:len(prefix)], prefix) {
		return "", "", bad
	}
	arg = strings.TrimLeft(arg[len(prefix):], " \t")
	if !strings.HasPrefix(arg, "<") {
		path, rest, _ = strings.Cut(arg, " ")
		if path == "" || strings.ContainsAny(path, `<>"`) {
			return "", "", bad
		}
		return path, rest, mail.Reply{}
	}
	end := closing(arg)
	if end < 0 || end+1 < len(arg) && arg[end+1] != ' ' && arg[end+1] != '\t' {
		return "", "", bad
	}
	return arg[1:end], arg[end+1:], mail.Reply{}
}

// closing is the place of the > that ends the path: one inside a quoted local
// part does not. It is -1 when there is none.
func closing(s string) int {
	quoted := false
	for i := 1; i < len(s); i++ {
		switch {
		case s[i] == '\\' && quoted:
			i++
		case s[i] == '"':
			quoted = !quoted
		case s[i] == '>' && !quoted:
			return i
		}
	}
	return -1
}

// parsePath takes an address without a domain as it is: the Session knows whose it
// is.
func parsePath(path, status string, wide bool) (mail.Address, mail.Reply) {
	if !wide && !mail.IsASCII(path) { // RFC 6531 §3.5
		return mail.Address{}, notASCII
	}
	a, err := mail.ParseMailbox(path)
	if err != nil {
		return a, mail.Reply{Code: 501, Enhanced: status, Text: "Bad address syntax", Cause: err}
	}
	return a, mail.Reply{}
}

var notASCII = mail.Reply{Code: 553, Enhanced: "6.7", Text: "The address must be ASCII without the parameter SMTPUTF8 of MAIL"}

// each calls use for every parameter, its key in upper case; use says whether
// it knows the key. The first fault ends it.
func (p *params) each(s string, use func(key, value string) bool) {
	for word := range strings.FieldsSeq(s) {
		key, value, _ := strings.Cut(word, "=")
		key = Upper(key)
		if slices.Contains(p.seen, key) {
			p.bad = badParam("Duplicate parameter " + key)
			return
		}
		p.seen = append(p.seen, key)
		if !use(key, value) {
			p.bad = mail.Reply{Code: 555, Enhanced: "5.4", Text: "Unsupported parameter " + key}
		}
		if p.bad.Code != 0 {
			return
		}
	}
}

func (p *params) malformed(key string) string {
	p.bad = badParam("Malformed parameter " + key)
	return ""
}

func badParam(text string) mail.Reply { return mail.Reply{Code: 501, Enhanced: "5.4", Text: text} }

// size reads RFC 1870's SIZE. A number that an int64 cannot hold is the largest
// that it can: the Session knows the limit in force.
func (p *params) size(value string) int64 {
	n, err := strconv.ParseUint(value, 10, 63)
	if err != nil && !errors.Is(err, strconv.ErrRange) {
		p.malformed("SIZE")
	}
	return int64(n)
}

// body reads BODY of RFC 6152 and RFC 3030.
func (p *params) body(value string, binaryToo bool) (eightBit, binary bool) {
	switch value = Upper(value); {
	case value == "7BIT":
	case value == "8BITMIME":
		return true, false
	case value == "BINARYMIME" && binaryToo:
		return false, true
	case value == "BINARYMIME":
		p.bad = mail.Reply{Code: 504, Enhanced: "5.4", Text: "BODY=BINARYMIME is not supported"}
	default:
		p.malformed("BODY")
	}
	return false, false
}

// priority reads the priority-value of RFC 6710 §3.
func (p *params) priority(value string) int8 {
	n, err := strconv.ParseInt(value, 10, 8)
	if err != nil || n < -9 || n > 9 || strings.HasPrefix(value, "+") {
		p.malformed("MT-PRIORITY")
	}
	return int8(n)
}

// hold reads HOLDFOR, seconds, or HOLDUNTIL, a time, of RFC 4865 §4, of which there may
// be one.
func (p *params) hold(key, value string, most time.Duration) time.Time {
	if slices.Contains(p.seen, "HOLDFOR") && slices.Contains(p.seen, "HOLDUNTIL") {
		p.bad = badParam("Both HOLDFOR and HOLDUNTIL")
		return time.Time{}
	}
	now := time.Now()
	until, err := time.Time{}, error(nil)
	if key == "HOLDFOR" {
		var n uint64
		n, err = strconv.ParseUint(value, 10, 30)
		until = now.Add(time.Duration(n) * time.Second)
	} else {
		// What to do with a time that is over is up to the server, whatever the
		// sender asks for behind the semicolon (§4.1): the message goes at once.
		value, _, _ = strings.Cut(value, ";")
		until, err = time.Parse(time.RFC3339, value)
	}
	switch {
	case err != nil:
		p.malformed(key)
	case until.Sub(now) > most:
		p.bad = badParam(fmt.Sprintf("%s is more than %d seconds ahead", key, int64(most.Seconds())))
	}
	return until
}

// by reads the by-value of RFC 2852 §4: seconds, from now on; the mode; whether it is
// traced.
func (p *params) by(value string, least time.Duration) (d mail.Deadline) {
	number, mode, _ := strings.Cut(Upper(value), ";")
	digits := strings.TrimLeft(number, "+-")
	seconds, err := strconv.ParseInt(number, 10, 64)
	d.Return, d.Trace = strings.HasPrefix(mode, "R"), strings.HasSuffix(mode, "T")
	after := time.Duration(seconds) * time.Second
	switch {
	case err != nil || len(number)-len(digits) > 1 || len(digits) > 9 || !slices.Contains([]string{"N", "R", "NT", "RT"}, mode):
		p.malformed("BY")
	case d.Return && after <= 0:
		p.bad = badParam("BY with mode R needs a time to come")
	case d.Return && after < least:
		p.bad = badParam(fmt.Sprintf("BY is less than the %d seconds that are needed here", int64(least.Seconds())))
	}
	d.At, d.Over = time.Now().Add(after), after <= 0
	return d
}

func (p *params) oneOf(key, value string, allowed ...string) string {
	if value = Upper(value); slices.Contains(allowed, value) {
		return value
	}
	return p.malformed(key)
}

// xtext is a value of RFC 3461 §4 as it came, to be passed on; "" for one that
// has no form that a peer would take. Tracking data never costs the mail.
func xtext(value string) string {
	hex := func(i int) bool { return i < len(value) && strings.IndexByte("0123456789ABCDEFabcdef", value[i]) >= 0 }
	for i := 0; i < len(value); i++ {
		c := value[i]
		if c <= ' ' || c > '~' || c == '=' || c == '+' && !(hex(i+1) && hex(i+2)) {
			return ""
		}
	}
	return value
}

func (p *params) notify(value string) string {
	value = Upper(value)
	var seen []string
	for word := range strings.SplitSeq(value, ",") {
		never := word == "NEVER" && value != "NEVER"
		if never || slices.Contains(seen, word) || !slices.Contains([]string{"NEVER", "SUCCESS", "FAILURE", "DELAY"}, word) {
			return p.malformed("NOTIFY")
		}
		seen = append(seen, word)
	}
	return value
}

// typedXtext is ORCPT's type;xtext, RFC 3461 §4.2, or "" for another form. In an address
// of type utf-8, characters beyond ASCII are embedded, which every host may be told (RFC
// 6533 §3).
func typedXtext(value string, wide bool) string {
	kind, addr, _ := strings.Cut(value, ";")
	if wide && strings.EqualFold(kind, "utf-8") {
		addr = mail.EmbedUnicode(addr)
	}
	if xtext(kind) == "" || xtext(addr) == "" {
		return ""
	}
	return kind + ";" + addr
}

// Syntax refuses an argument that has not that form.
func Syntax(form string) mail.Reply {
	return mail.Reply{Code: 501, Enhanced: "5.4", Text: "Syntax: " + form}
}

// Upper makes ASCII letters capitals. Strings.ToUpper would make verbs of words
// that hold other letters: a dotless i, a long s.
func Upper(s string) string {
	return strings.Map(func(r rune) rune {
		if r >= 'a' && r <= 'z' {
			r -= 'a' - 'A'
		}
		return r
	}, s)
}
