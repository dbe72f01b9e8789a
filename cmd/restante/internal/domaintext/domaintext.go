// SPDX-License-Identifier: Apache-2.0

// Package domaintext words what is known of a domain.
package domaintext

import (
	"fmt"
	"slices"
	"strings"

	"restante/admin/api"
	"restante/cmd/restante/internal/words"
	"restante/engine/release/calls"
	"restante/metabase/schema"
)

// Rows gives each part of what domain show prints.
func Rows(row func(string, any), d api.Domain) {
	row("domain", d.Name)
	row("site", d.Site)
	row("kind", d.Kind)
	row("route action", fmt.Sprintf("%d (0x%x)", d.RouteAction, uint32(d.RouteAction)))
	row("held", words.YesNo(d.Held))
	row("turn", words.Dash(words.Quoted(d.Turn)))
	row("etrn", Etrn(d.Etrn))
	VerbsOff(row, d.Off)
	row("smart host", words.Dash(d.SmartHost))
	row("relay", words.YesNo(d.Relay))
	row("recipients", recipients(d))
	row("waiting", fmt.Sprintf("%s, %s", words.Plural(d.Messages, "message"), words.Size(d.Bytes)))
	if d.Held && d.Messages > 0 {
		row("oldest", words.Time(d.Oldest))
		row("largest", words.Size(d.Largest))
		row("in doubt", d.InDoubt)
	}
	if d.Held {
		row("quota", quota(d.Quota))
		row("link", link(d))
		row("last call", lastCall(d.LastCall))
		row("next call", words.Time(d.NextCall))
	}
	if !d.Expires.IsZero() {
		row("oldest expires", words.Time(d.Expires))
	}
	if d.LastError != "" {
		row("last error", d.LastError)
	}
}

// link tells what limits the link of a held domain has, and what it keeps.
func link(d api.Domain) string {
	text := words.Dash(d.Link)
	if d.LinkMissing != "" {
		text += ", no limits: there is no link profile " + d.LinkMissing
	}
	if d.TooLarge > 0 {
		text += ", " + tooLarge(d.Oversize)
	}
	return text
}

func tooLarge(o api.Oversize) string {
	return fmt.Sprintf("%s of %s above the size ceiling of %s", words.Plural(o.TooLarge, "message"), words.Size(o.TooLargeBytes), words.Size(o.SizeCeiling))
}

// LastError tells why mail waits on at a destination.
func LastError(d api.Destination) string {
	if d.TooLarge == 0 {
		return d.LastError
	}
	return strings.TrimSuffix(tooLarge(d.Oversize)+": "+d.LastError, ": ")
}

// lastCall tells who called last for held mail, and what became of it.
func lastCall(c *calls.Call) string {
	if c == nil {
		return "-"
	}
	tls := ""
	if c.TLS {
		tls = " over TLS"
	}
	from := ""
	if c.Address.IsValid() {
		from = " from " + c.Address.String()
	}
	return fmt.Sprintf("%s: %s%s, account %s%s: %d of %s, %s, refused: %d, in doubt: %d: %s", words.Time(c.Begin), c.Verb, from, words.Dash(c.Account), tls,
		c.Messages, words.Plural(c.Messages+c.Refused+c.Left, "message"), words.Size(c.Bytes), c.Refused, c.InDoubt, c.Outcome)
}

// quota tells how much may wait for a held domain.
func quota(q *api.HoldQuota) string {
	if q == nil {
		return "none"
	}
	var parts []string
	if q.MaxMessages > 0 {
		parts = append(parts, words.Plural(q.MaxMessages, "message"))
	}
	if q.MaxBytes > 0 {
		parts = append(parts, words.Size(q.MaxBytes))
	}
	text := ""
	if len(parts) > 0 {
		text = fmt.Sprintf("%d%% of %s", q.Percent, strings.Join(parts, " or "))
	}
	if q.ReserveBytes > 0 {
		text = strings.TrimPrefix(text+", "+words.Size(q.ReserveBytes)+" of the disk stay free", ", ")
	}
	return text
}

// recipients tells whose mail a domain takes.
func recipients(d api.Domain) string {
	more := d.Directories
	if d.File != "" {
		more = append([]string{d.File}, more...)
	}
	if p := d.Pushed; p != nil {
		more = append([]string{fmt.Sprintf("a list of %d that %s pushed at %s", p.Count, p.By, words.Time(p.At))}, more...)
	}
	switch {
	case len(more) == 0 && d.Recipients == 0 && d.Pushed == nil:
		return "any"
	case len(more) == 0:
		return fmt.Sprintf("%d listed", d.Recipients)
	}
	return fmt.Sprintf("%d listed, and those of %s", d.Recipients, strings.Join(more, " and "))
}

// VerbsOff tells which verbs a host cannot call for its mail with.
func VerbsOff(row func(string, any), off []string) {
	if len(off) > 0 {
		row("off at the site", strings.Join(off, ", "))
	}
}

// Etrn tells who may start delivery to a domain by ETRN.
func Etrn(callers []string) string {
	switch {
	case len(callers) == 0:
		return "nobody"
	case slices.Equal(callers, []string{schema.CallerAccounts}):
		return "the accounts of turn, signed in"
	case slices.Contains(callers, schema.CallerAny):
		return "any caller"
	}
	return strings.Replace(strings.Join(callers, ", "), schema.CallerAccounts, "the accounts of turn", 1)
}
