// SPDX-License-Identifier: Apache-2.0

package unconfirmed

import (
	"cmp"
	"slices"
	"strings"

	"restante/metabase/internal/problem"
	"restante/metabase/internal/tree"
	"restante/metabase/item"
	"restante/metabase/key"
)

// Guard refuses what would prevent a move that is not confirmed from being taken back.
func Guard(l List, deltas []tree.KeyDelta) (out []problem.Problem) {
	for _, u := range l {
		for _, m := range u.Moves {
			for _, d := range deltas {
				if d.Removed && (m.To.Within(d.Path) || m.From.Parent().Within(d.Path)) || d.Added && d.Path.Equal(m.From) {
					out = append(out, problem.Problem{Path: d.Path, Other: m.To, Err: key.Errorf(key.Conflict,
						"is needed to take back the move to %s: confirm or revert revision %d first", m.To, u.Rev)})
				}
			}
		}
	}
	return out
}

// KeptTexts gives, for the history, what is kept of u, and what later maps to a revision.
func KeptTexts(u *Revision, later map[PartName]item.Rev) (out []problem.Problem) {
	bad := func(p key.Path, id item.ID, by item.Rev, more string) {
		did := "has set it since"
		if id == 0 {
			did = "has changed it or something in it since"
		}
		out = append(out, problem.Problem{Path: p, ID: id, Err: key.Errorf(key.Conflict, "revision %d%s %s", by, more, did)})
	}
	for _, k := range u.TakenOver {
		bad(k.Path, k.ID, k.By, "")
	}
	for n, by := range later {
		if by == 0 {
			continue
		}
		bad(u.Parts[n].Path, n.ID, by, ", which waits to be confirmed,")
	}
	slices.SortStableFunc(out, func(a, b problem.Problem) int {
		return cmp.Or(strings.Compare(string(a.Path), string(b.Path)), cmp.Compare(a.ID, b.ID))
	})
	return out
}
