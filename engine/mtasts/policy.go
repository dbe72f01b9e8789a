// SPDX-License-Identifier: Apache-2.0

package mtasts

import (
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"
)

// Modes of a policy (RFC 8461 §5).
const (
	Enforce = "enforce" // no mail without TLS to a host of the policy that proves its name
	Testing = "testing" // the same is to be reported, and the mail sent
	None    = "none"
)

// maxAge bounds how long a policy is kept (RFC 8461 §3.2).
const maxAge = 31557600 * time.Second

// A Policy is what a domain wants of those who send to it.
type Policy struct {
	Mode   string
	MX     []string // names of its hosts, each with a label * in front of it or not
	MaxAge time.Duration
}

// parse reads a policy (RFC 8461 §3.2). Of a field that is there twice the first counts.
func parse(text string) (p Policy, err error) {
	fields := map[string]string{}
	for line := range strings.SplitSeq(text, "\n") {
		name, value, ok := strings.Cut(strings.TrimRight(line, " \t\r"), ":")
		if !ok {
			continue // of a later version, as are unknown fields
		}
		value = strings.Trim(value, " \t")
		if name == "mx" {
			p.MX = append(p.MX, strings.ToLower(strings.TrimSuffix(value, ".")))
		} else if _, twice := fields[name]; !twice {
			fields[name] = value
		}
	}
	seconds, err := strconv.ParseUint(fields["max_age"], 10, 62)
	p.Mode, p.MaxAge = fields["mode"], time.Duration(min(seconds, uint64(maxAge/time.Second)))*time.Second
	switch {
	case fields["version"] != "STSv1":
		return p, fmt.Errorf("version %q is none that is known", fields["version"])
	case !slices.Contains([]string{Enforce, Testing, None}, p.Mode):
		return p, fmt.Errorf("mode %q is none that is known", p.Mode)
	case err != nil:
		return p, fmt.Errorf("max_age %q is no number of seconds", fields["max_age"])
	case len(p.MX) == 0 && p.Mode != None:
		return p, errors.New("it names no mx")
	}
	return p, nil
}

// Allows reports whether a host is one of the policy's (RFC 8461 §4.1): * stands for one
// label.
func (p Policy) Allows(host string) bool {
	host = strings.ToLower(strings.TrimSuffix(host, "."))
	_, parent, _ := strings.Cut(host, ".")
	return slices.ContainsFunc(p.MX, func(mx string) bool {
		below, wild := strings.CutPrefix(mx, "*.")
		return mx == host || wild && parent == below && parent != ""
	})
}

// recordID reads the TXT records at _mta-sts (RFC 8461 §3.1); "" where there is not
// exactly one that is a policy's.
func recordID(records []string) (id string) {
	found := 0
	for _, text := range records {
		fields := strings.Split(text, ";")
		if strings.TrimSpace(fields[0]) != "v=STSv1" {
			continue
		}
		found++
		for _, f := range fields[1:] {
			if name, value, ok := strings.Cut(strings.TrimSpace(f), "="); ok && strings.TrimSpace(name) == "id" {
				id = strings.TrimSpace(value)
			}
		}
	}
	if found != 1 {
		return ""
	}
	return id
}
