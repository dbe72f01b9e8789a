// SPDX-License-Identifier: Apache-2.0

package settings

import (
	"net"
	"path"
	"slices"
	"strconv"
	"strings"

	"restante/metabase"
)

// A Milter is a filter that speaks the milter protocol.
type Milter struct {
	Network, Address string // as package net has them
	Down             string // what becomes of mail while it is down: tempfail, accept or reject
}

var downActions = []string{"tempfail", "accept", "reject"}

// ParseMilter reads inet:HOST:PORT or unix:PATH, and behind a blank tempfail, accept or
// reject.
func ParseMilter(text string) (Milter, error) {
	m := Milter{Down: downActions[0]}
	where := text
	if i := strings.LastIndexByte(text, ' '); i >= 0 && slices.Contains(downActions, text[i+1:]) {
		where, m.Down = strings.TrimRight(text[:i], " "), text[i+1:]
	}
	kind, address, _ := strings.Cut(where, ":")
	m.Address = address
	switch kind {
	case "inet":
		m.Network = "tcp"
		host, port, err := net.SplitHostPort(address)
		if n, bad := strconv.ParseUint(port, 10, 16); err != nil || bad != nil || n == 0 || host == "" || strings.ContainsAny(host, " \t/") {
			return m, invalid("%q is not inet:HOST:PORT, such as inet:127.0.0.1:11332", text)
		}
	case "unix":
		m.Network = "unix"
		if !path.IsAbs(address) || strings.ContainsFunc(address, func(r rune) bool { return r < ' ' || r == 0x7f }) {
			return m, invalid("%q is not unix:PATH with an absolute path", text)
		}
	default:
		return m, invalid("%q: write inet:HOST:PORT or unix:PATH, and tempfail, accept or reject behind a blank for mail that comes while it is down", text)
	}
	return m, nil
}

// Filters are the Milters of the site.
func (s *Site) Filters() (list []Milter) {
	for _, text := range s.Verify.Milters {
		if m, err := ParseMilter(text); err == nil { // others are never stored
			list = append(list, m)
		}
	}
	return list
}

func checkMilter(text string) error {
	_, err := ParseMilter(text)
	return err
}

// checkMilterRights asks for control over the whole tree where a change adds a filter
// behind a socket of the file system: the service may speak to those that its callers
// may not.
func checkMilterRights(c metabase.Change) (problems []metabase.Problem) {
	for t := range c.PropertyChanges() {
		if t.ID != Milters || !stores(t) || allows(c, metabase.Root, metabase.Control) {
			continue
		}
		for _, text := range t.New.Value.Strings() {
			if m, err := ParseMilter(text); err == nil && m.Network == "unix" && (t.Old == nil || !slices.Contains(t.Old.Value.Strings(), text)) {
				problems = append(problems, problem(t.Path, t.ID, invalid("%s: that takes the right %s at %s", text, metabase.Control, metabase.Root)))
			}
		}
	}
	return problems
}
