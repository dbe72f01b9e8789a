// SPDX-License-Identifier: Apache-2.0

package settings

import (
	"fmt"
	"slices"
	"strings"

	"restante/metabase"
)

// commands say what a site does that is given a ServerCommand.
var commands = map[uint32]string{1: "starts", 2: "stops", 3: "pauses", 4: "continues"}

// becomes says what a change makes of a site itself: that it comes or goes,
// starts or stops, listens elsewhere or has its queue elsewhere.
func (g Ground) becomes(c metabase.Change, i SiteImpact) (out []string) {
	switch {
	case i.new == nil:
		return []string{"is removed"}
	case i.old == nil:
		return []string{"is new", g.begins(c, i.new)}
	}
	if item, ok := c.New.Stored(SitePath(i.Number), ServerCommand); ok {
		out = append(out, commands[item.Value.DWord()])
	}
	if listens(c.New, i.Number) {
		if come := beyond(i.new.Bindings, i.old.Bindings); come != "" {
			out = append(out, "listens on "+come)
		}
		if gone := beyond(i.old.Bindings, i.new.Bindings); gone != "" {
			out = append(out, "listens no longer on "+gone)
		}
	}
	if was, to := i.old.Folders.Queue, i.new.Folders.Queue; g.place(was) != g.place(to) {
		out = append(out, fmt.Sprintf("has its queue in %s instead of %s from its next start on", to, was))
	}
	return out
}

// begins says whether a new site starts.
func (g Ground) begins(c metabase.Change, s *Site) string {
	why := g.Shared(c.New)[s.Number]
	switch {
	case why != nil:
		return "does not start: " + why.Error()
	case !s.AutoStart:
		return "does not start by itself"
	case !HasAddress(c.New, s.Number):
		return "starts with the service"
	}
	return "starts"
}

// HasAddress says that a site's own key says where to listen.
func HasAddress(snap metabase.Snapshot, n int) bool {
	return slices.ContainsFunc(bindingIDs, func(id metabase.ID) bool {
		_, ok := snap.Stored(SitePath(n), id)
		return ok
	})
}

// beyond lists the addresses of a that b has not.
func beyond(a, b []Binding) string {
	var out []string
	for _, one := range a {
		if !slices.ContainsFunc(b, func(other Binding) bool { return other.Addr == one.Addr }) {
			out = append(out, one.Addr.String())
		}
	}
	return strings.Join(out, ", ")
}
