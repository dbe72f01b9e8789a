// SPDX-License-Identifier: Apache-2.0

package wire

import (
	"errors"
	"fmt"
	"math"
	"slices"
	"strconv"
	"strings"

	"restante/engine/mail"
)

// params reads the ESMTP parameters of MAIL and RCPT, each at most once.
type params struct {
	seen []string
	bad  mail.Reply // code 0: none
}

func syntax(text string) mail.Reply {
	return mail.Reply{Code: 501, Enhanced: "5.4", Text: text}
}

func tooBig(limit int64) mail.Reply {
	return mail.Reply{Code: 552, Enhanced: "3.4", Text: fmt.Sprintf("more than the %d octets that are taken here", limit)}
}

// parseMail reads what stands behind MAIL. The Reply is zero when all is well.
func parseMail(arg string, v Verbs, auth bool) (m MailArgs, bad mail.Reply) {
	path, rest, bad := cutPath(arg, "FROM:")
	if bad.Code != 0 {
		return m, bad
	}
	if m.From, bad = parsePath(path, "1.7"); bad.Code != 0 {
		return m, bad
	}
	var p params
	p.each(rest, func(key, value string) bool {
		switch {
		case key == "SIZE":
			m.Size = p.size(value)
		case key == "BODY" && v.EightBit:
			m.Body8 = p.body(value)
		case key == "RET" && v.DSN:
			m.Ret = p.oneOf(key, value, "FULL", "HDRS")
		case key == "ENVID" && v.DSN:
			m.EnvID = p.xtext(key, value, 100)
		case key == "AUTH" && auth:
			m.Auth = p.xtext(key, value, 500)
		default:
			return false
		}
		return true
	})
	return m, p.bad
}

// parseRcpt reads what stands behind RCPT. A bare <Postmaster> is taken as it
// is (RFC 5321 §4.5.1): the Session knows whose that is.
func parseRcpt(arg string, v Verbs) (r RcptArgs, bad mail.Reply) {
	path, rest, bad := cutPath(arg, "TO:")
	if bad.Code != 0 {
		return r, bad
	}
	if strings.EqualFold(path, "postmaster") {
		r.To.Local = path
	} else {
		r.To, bad = parsePath(path, "1.3")
	}
	if bad.Code == 0 && r.To.IsNull() {
		bad = mail.Reply{Code: 501, Enhanced: "1.3", Text: "no recipient named"}
	}
	if bad.Code != 0 {
		return r, bad
	}
	var p params
	p.each(rest, func(key, value string) bool {
		switch {
		case key == "NOTIFY" && v.DSN:
			r.Notify = p.notify(value)
		case key == "ORCPT" && v.DSN:
			r.ORcpt = p.typed(value)
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
	bad = syntax("the form is " + prefix + "<address>")
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

func parsePath(path, status string) (mail.Address, mail.Reply) {
	for _, c := range []byte(path) {
		if c >= 0x80 { // RFC 6531 §3.5: we do not offer SMTPUTF8
			return mail.Address{}, mail.Reply{Code: 553, Enhanced: "6.7", Text: "only ASCII addresses are taken here"}
		}
	}
	a, err := mail.ParseAddress(path)
	if err != nil {
		return a, mail.Reply{Code: 501, Enhanced: status, Text: "malformed address", Cause: err}
	}
	return a, mail.Reply{}
}

// each calls use for every parameter, its key in upper case; use says whether
// it knows the key. The first fault ends it.
func (p *params) each(s string, use func(key, value string) bool) {
	for word := range strings.FieldsSeq(s) {
		key, value, _ := strings.Cut(word, "=")
		key = upper(key)
		if slices.Contains(p.seen, key) {
			p.bad = syntax(key + " is given twice")
			return
		}
		p.seen = append(p.seen, key)
		if !use(key, value) {
			p.bad = mail.Reply{Code: 555, Enhanced: "5.4", Text: "unknown parameter " + key}
		}
		if p.bad.Code != 0 {
			return
		}
	}
}

func (p *params) malformed(key string) string {
	p.bad = syntax("malformed " + key)
	return ""
}

// size reads RFC 1870's SIZE. More than an int64 holds is more than we take.
func (p *params) size(value string) int64 {
	n, err := strconv.ParseUint(value, 10, 63)
	if errors.Is(err, strconv.ErrRange) {
		p.bad = tooBig(math.MaxInt64)
	} else if err != nil {
		p.malformed("SIZE")
	}
	return int64(n)
}

func (p *params) body(value string) bool {
	switch upper(value) {
	case "7BIT":
	case "8BITMIME":
		return true
	case "BINARYMIME":
		p.bad = mail.Reply{Code: 504, Enhanced: "5.4", Text: "BINARYMIME is not available here"}
	default:
		p.malformed("BODY")
	}
	return false
}

func (p *params) oneOf(key, value string, allowed ...string) string {
	if value = upper(value); slices.Contains(allowed, value) {
		return value
	}
	return p.malformed(key)
}

// xtext checks the form of RFC 3461 §4 and keeps it as it is.
func (p *params) xtext(key, value string, most int) string {
	if value == "" || len(value) > most || !isXtext(value) {
		return p.malformed(key)
	}
	return value
}

func isXtext(s string) bool {
	hex := func(i int) bool {
		return i < len(s) && (s[i] >= '0' && s[i] <= '9' || s[i] >= 'A' && s[i] <= 'F')
	}
	for i := 0; i < len(s); i++ {
		switch {
		case s[i] == '+':
			if !hex(i+1) || !hex(i+2) {
				return false
			}
			i += 2
		case s[i] <= ' ' || s[i] > '~' || s[i] == '=':
			return false
		}
	}
	return true
}

func (p *params) notify(value string) string {
	value = upper(value)
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

// typed is ORCPT's type;xtext, RFC 3461 §4.2.
func (p *params) typed(value string) string {
	kind, addr, ok := strings.Cut(value, ";")
	if !ok || kind == "" || addr == "" || len(value) > 500 || !isXtext(addr) || !isXtext(kind) {
		return p.malformed("ORCPT")
	}
	return value
}
