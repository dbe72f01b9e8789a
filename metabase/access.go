// SPDX-License-Identifier: Apache-2.0

package metabase

import (
	"slices"
	"time"

	"restante/metabase/acl"
)

// Rights is what somebody who is all of who may do with p, which need not
// exist: its parent's list then holds. Where no list is stored at or above p,
// everybody may read. An empty who may do nothing.
func (s Snapshot) Rights(who []Principal, p Path) Right {
	if slices.ContainsFunc(who, s.unrestricted) {
		return AllRights
	}
	if s.img == nil || len(who) == 0 {
		return 0
	}
	list, ok := s.accessList(p)
	if !ok {
		return Read
	}
	return list.Rights(who)
}

// unrestricted reports whether no access list limits p.
func (s Snapshot) unrestricted(p Principal) bool {
	return p == "" || s.img != nil && s.img.access != nil &&
		slices.ContainsFunc(s.img.access.admins, p.Equal)
}

// Allows says whether somebody who is all of who has every right of r at p.
func (s Snapshot) Allows(who []Principal, p Path, r Right) bool {
	return s.Rights(who, p)&r == r
}

// accessList finds the list that holds for p. A list that can't be read lets nobody in.
func (s Snapshot) accessList(p Path) (acl.List, bool) {
	for q := range p.Parents() {
		n := s.node(q)
		if n == nil {
			continue
		}
		if prop, ok := n.Get(AccessList); ok {
			list, err := acl.Parse(prop.Value)
			if err != nil {
				return nil, true
			}
			return list, true
		}
	}
	return nil, false
}

// A Refusal is told to Options.Audit.
type Refusal struct {
	Time   time.Time
	Actor  Principal
	Origin Origin
	Path   Path
	Need   Right
}
