// SPDX-License-Identifier: Apache-2.0

// Package turnrules reads the rules that narrow who may call for held mail, and finds the one
// that decides about a call.
//
// A rule is a text: allow or deny, and fields that must all match.
//
//	allow account=alice domain=*.w.test verb=ATRN from=192.0.2.0/24 tls=yes hours=Mon-Fri 08:00-18:00 UTC
//
// The first rule that matches decides. Where none does, a list that has an allow refuses the
// call, and one of denies alone lets it pass.
package turnrules

import (
	"fmt"
	"net/netip"
	"slices"
	"strings"
	"time"
	_ "time/tzdata" // for systems without the zones, such as Windows

	"restante/engine/mail"
	"restante/metabase/schema/iplist"
)

// A Call is what a rule is asked about.
type Call struct {
	Account string // signed in, or ""
	Domain  string // in lower case
	Verb    string // ETRN, TURN or ATRN
	From    netip.Addr
	TLS     bool
	At      time.Time
}

// A Rule is one of a list.
type Rule struct {
	Text  string
	allow bool
	match []func(Call) bool
}

// Parse reads a rule. An error says at which octet it is wrong, the first being 1.
func Parse(text string) (Rule, error) {
	r := Rule{Text: text}
	at := 0
	word := func() string {
		rest := strings.TrimLeft(text[at:], " \t")
		at = len(text) - len(rest)
		if end := strings.IndexAny(rest, " \t"); end >= 0 {
			return rest[:end]
		}
		return rest
	}
	bad := func(format string, args ...any) (Rule, error) {
		return Rule{}, fmt.Errorf("at octet %d: %s", at+1, fmt.Sprintf(format, args...))
	}
	switch w := word(); w {
	case "allow", "deny":
		r.allow = w == "allow"
		at += len(w)
	default:
		return bad("%q is neither allow nor deny", w)
	}
	seen := map[string]bool{}
	for w := word(); w != ""; w = word() {
		name, value, ok := strings.Cut(w, "=")
		if !ok {
			return bad("%q is no field: account=, domain=, verb=, from=, tls= or hours=", w)
		}
		if seen[name] {
			return bad("%s is there twice", name)
		}
		seen[name] = true
		if name == "hours" {
			value = strings.TrimSpace(text[at+len("hours="):])
			w = text[at:]
		}
		match, err := field(name, value)
		if err != nil {
			return bad("%v", err)
		}
		r.match = append(r.match, match)
		at += len(w)
	}
	return r, nil
}

// field reads one field of a rule.
func field(name, value string) (func(Call) bool, error) {
	if value == "" {
		return nil, fmt.Errorf("%s has no value", name)
	}
	var all []func(Call) bool
	list := func(one func(v string) (func(Call) bool, error)) (func(Call) bool, error) {
		for v := range strings.SplitSeq(value, ",") {
			match, err := one(v)
			if err != nil {
				return nil, err
			}
			all = append(all, match)
		}
		return func(c Call) bool { return slices.ContainsFunc(all, func(m func(Call) bool) bool { return m(c) }) }, nil
	}
	switch name {
	case "account":
		return list(func(v string) (func(Call) bool, error) {
			if v == "" {
				return nil, fmt.Errorf("account: a name is empty")
			}
			if windows, user, found := strings.Cut(v, `\`); found {
				return nil, fmt.Errorf("account %q: accounts have no domain of Windows such as %s: name it %s", v, windows, user)
			}
			return func(c Call) bool { return strings.EqualFold(c.Account, v) }, nil
		})
	case "domain":
		return list(domain)
	case "verb":
		return list(func(v string) (func(Call) bool, error) {
			if v = strings.ToUpper(v); v != "ETRN" && v != "TURN" && v != "ATRN" {
				return nil, fmt.Errorf("verb %q is none of ETRN, TURN and ATRN", v)
			}
			return func(c Call) bool { return c.Verb == v }, nil
		})
	case "from":
		return list(func(v string) (func(Call) bool, error) {
			n, err := iplist.ParsePrefix(v)
			return func(c Call) bool { return n.Contains(c.From.Unmap().WithZone("")) }, err
		})
	case "tls":
		if value != "yes" && value != "no" {
			return nil, fmt.Errorf("tls is yes or no, and not %q", value)
		}
		return func(c Call) bool { return c.TLS == (value == "yes") }, nil
	case "hours":
		return hours(value)
	}
	return nil, fmt.Errorf("there is no field %q: account, domain, verb, from, tls or hours", name)
}

// domain matches a name or, with "*." before it, all names below one.
func domain(v string) (func(Call) bool, error) {
	name, wild := strings.CutPrefix(v, "*.")
	d, err := mail.ParseDomain(name)
	if err != nil {
		return nil, fmt.Errorf("%q is neither a domain nor *. and a domain: %w", v, err)
	}
	if !wild {
		return func(c Call) bool { return c.Domain == string(d) }, nil
	}
	return func(c Call) bool { return strings.HasSuffix(c.Domain, "."+string(d)) }, nil // *.d too, which ETRN may name
}

var days = []string{"Sun", "Mon", "Tue", "Wed", "Thu", "Fri", "Sat"}

// hours matches a time of the week: [DAY[-DAY]] HH:MM-HH:MM [ZONE]. A time that ends before
// it begins goes on after midnight, and belongs to the day on which it began.
func hours(value string) (func(Call) bool, error) {
	words := strings.Fields(value)
	zone, from, to := time.UTC, 0, 6
	if len(words) > 1 && !strings.Contains(words[0], ":") {
		first, last, span := strings.Cut(words[0], "-")
		if !span {
			last = first
		}
		from, to = slices.Index(days, first), slices.Index(days, last)
		if from < 0 || to < 0 {
			return nil, fmt.Errorf("hours: %q is neither a day nor days, such as Mon-Fri", words[0])
		}
		words = words[1:]
	}
	if len(words) == 2 {
		var err error
		if zone, err = time.LoadLocation(words[1]); err != nil {
			return nil, fmt.Errorf("hours: there is no time zone %q: UTC, or a name such as Europe/Oslo", words[1])
		}
		words = words[:1]
	}
	if len(words) != 1 {
		return nil, fmt.Errorf("hours is [DAY[-DAY]] HH:MM-HH:MM [ZONE], as the last field, and not %q", value)
	}
	first, last, _ := strings.Cut(words[0], "-")
	begin, err := time.Parse("15:04", first)
	if last == "24:00" { // of the same day: the midnight after it
		last = "00:00"
	}
	end, err2 := time.Parse("15:04", last)
	if err != nil || err2 != nil {
		return nil, fmt.Errorf("hours: %q is no time, such as 08:00-18:00", words[0])
	}
	b, e := begin.Hour()*60+begin.Minute(), end.Hour()*60+end.Minute()
	within := func(day int) bool {
		return from <= to && day >= from && day <= to || from > to && (day >= from || day <= to)
	}
	return func(c Call) bool {
		t := c.At.In(zone)
		now, day := t.Hour()*60+t.Minute(), int(t.Weekday())
		switch {
		case b < e:
			return within(day) && now >= b && now < e
		case now >= b:
			return within(day)
		}
		return now < e && within((day+6)%7)
	}, nil
}

// A List is the rules of a key, in order.
type List []Rule

// ParseList reads rules. One that is wrong, which is refused when it is set, refuses each
// call that comes to it: it may be one that denies.
func ParseList(texts []string) (list List) {
	for _, text := range texts {
		r, err := Parse(text)
		if err != nil {
			r = Rule{Text: text}
		}
		list = append(list, r)
	}
	return list
}

// Check returns nil if the rules let a call pass, and otherwise which one does not.
func (l List) Check(c Call) error {
	allows := false
	for _, r := range l {
		if !slices.ContainsFunc(r.match, func(m func(Call) bool) bool { return !m(c) }) {
			if r.allow {
				return nil
			}
			return fmt.Errorf("the rule %q", r.Text)
		}
		allows = allows || r.allow
	}
	if allows {
		return fmt.Errorf("no rule allows it")
	}
	return nil
}
