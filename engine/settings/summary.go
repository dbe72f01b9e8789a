// SPDX-License-Identifier: Apache-2.0

package settings

import (
	"fmt"
	"slices"
	"strings"

	"restante/metabase"
)

// commandVerbs say what a site does on a ServerCommand.
var commandVerbs = map[uint32]string{1: "starts", 2: "stops", 3: "pauses", 4: "continues"}

// summary says what a change does to a site as a whole: that it is added or
// removed, starts or stops, listens elsewhere or has its queue elsewhere.
func (l Layout) summary(c metabase.Change, i SiteImpact) (out []string) {
	switch {
	case i.new == nil:
		return []string{"is removed"}
	case i.old == nil:
		return []string{"is new", l.startOf(c, i.new)}
	}
	if item, ok := c.New.Stored(SitePath(i.Number), ServerCommand); ok {
		out = append(out, commandVerbs[item.Value.DWord()])
	}
	if listens(c.New, i.Number) {
		if added := missing(i.new.Bindings, i.old.Bindings); added != "" {
			out = append(out, "listens on "+added)
		}
		if removed := missing(i.old.Bindings, i.new.Bindings); removed != "" {
			out = append(out, "listens no longer on "+removed)
		}
	}
	if was, to := i.old.Folders.QueueDirectory, i.new.Folders.QueueDirectory; l.place(was) != l.place(to) {
		out = append(out, fmt.Sprintf("has its queue in %s instead of %s from its next start on", to, was))
	}
	return out
}

// startOf says whether a new site starts.
func (l Layout) startOf(c metabase.Change, s *Site) string {
	why := l.Shared(c.New)[s.Number]
	switch {
	case why != nil:
		return "does not start: " + why.Error()
	case !s.ServerAutoStart:
		return "does not start by itself"
	case !HasAddress(c.New, s.Number):
		return "starts with the service"
	}
	return "starts"
}

// missing lists the addresses of a that are not in b.
func missing(a, b []Binding) string {
	var out []string
	for _, one := range a {
		if !slices.ContainsFunc(b, func(other Binding) bool { return other.Addr == one.Addr }) {
			out = append(out, one.Addr.String())
		}
	}
	return strings.Join(out, ", ")
}
