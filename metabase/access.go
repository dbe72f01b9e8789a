// SPDX-License-Identifier: Apache-2.0

package metabase

import (
	"fmt"
	"os"
	"os/user"
	"slices"
	"strconv"
	"strings"
	"time"

	"restante/metabase/key"
)

// A Principal is somebody who may be given rights: "user:joe", "uid:1000",
// "group:staff". "*" in an access list is everybody; "" is the system itself,
// which may do everything.
type Principal string

// A Right is a set of things that one may do with a key.
type Right uint32

// The rights.
const (
	Read        Right = 1 << iota // see keys and plain properties
	Write                         // Change plain properties
	WriteSecret                   // Change secure properties, or copy them
	Create                        // add keys below
	Delete                        // remove keys
	Control                       // Change AccessList and locked properties
	AllRights   = Read | Write | WriteSecret | Create | Delete | Control
)

var rightNames = [...]string{"read", "write", "write_secret", "create", "delete", "control"}

// String lists the names, parted by commas; "none" for no right.
func (r Right) String() string {
	var out []string
	for i, name := range rightNames {
		if r&(1<<i) != 0 {
			out = append(out, name)
		}
	}
	if len(out) == 0 {
		return "none"
	}
	return strings.Join(out, ",")
}

// parseRights reads what String prints; "all" is every right.
func parseRights(s string) (Right, error) {
	switch strings.ToLower(s) {
	case "all":
		return AllRights, nil
	case "none":
		return 0, nil
	}
	var r Right
	for word := range strings.SplitSeq(s, ",") {
		i := slices.Index(rightNames[:], strings.ToLower(strings.TrimSpace(word)))
		if i < 0 {
			return 0, key.Errorf(Invalid, "%q is no right: use %s, all or none", key.Clip(word), strings.Join(rightNames[:], ", "))
		}
		r |= 1 << i
	}
	return r, nil
}

// An ace is one line of an access list.
type ace struct {
	Who    Principal
	Rights Right
}

// parseACL reads the value of AccessList: a MULTISZ of lines "principal
// right,right". The list that is nearest above a key, or at it, decides alone;
// who is not in it may do nothing. An administrator of the store needs no line.
func parseACL(v Value) ([]ace, error) {
	if v.Type() != MultiSZType {
		return nil, key.Errorf(Invalid, "an access list is a MULTISZ, not a %s", v.Type())
	}
	var list []ace
	for i, line := range v.Strings() {
		words := strings.Fields(line)
		if len(words) != 2 {
			return nil, fmt.Errorf("line %d: %w", i+1, key.Errorf(Invalid, "must be a principal and its rights, such as: user:joe read,write"))
		}
		if !isPrincipal(words[0]) {
			return nil, fmt.Errorf("line %d: %w", i+1, key.Errorf(Invalid, "%q is no principal: use user:NAME, uid:NUMBER, group:NAME, gid:NUMBER or *", key.Clip(words[0])))
		}
		r, err := parseRights(words[1])
		if err != nil {
			return nil, fmt.Errorf("line %d: %w", i+1, err)
		}
		list = append(list, ace{Principal(words[0]), r})
	}
	return list, nil
}

func isPrincipal(s string) bool {
	scheme, name, _ := strings.Cut(s, ":")
	switch strings.ToLower(scheme) {
	case "user", "group":
		return name != ""
	case "uid", "gid":
		_, err := strconv.ParseUint(name, 10, 32)
		return err == nil
	}
	return s == "*"
}

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
	acl, ok := s.acl(p)
	if !ok {
		return Read
	}
	var r Right
	for _, line := range acl {
		if line.Who == "*" || containsFold(who, line.Who) {
			r |= line.Rights
		}
	}
	return r
}

// unrestricted reports whether no access list limits p.
func (s Snapshot) unrestricted(p Principal) bool {
	return p == "" || s.img != nil && s.img.access != nil &&
		slices.ContainsFunc(s.img.access.admins, func(a Principal) bool { return strings.EqualFold(string(a), string(p)) })
}

// Allows says whether somebody who is all of who has every right of r at p.
func (s Snapshot) Allows(who []Principal, p Path, r Right) bool {
	return s.Rights(who, p)&r == r
}

// acl finds the list that holds for p. A list that can't be read lets nobody in.
func (s Snapshot) acl(p Path) ([]ace, bool) {
	for q := range p.Parents() {
		n := s.node(q)
		if n == nil {
			continue
		}
		if prop, ok := n.Get(AccessList); ok {
			list, err := parseACL(prop.Value)
			if err != nil {
				return nil, true
			}
			return list, true
		}
	}
	return nil, false
}

func containsFold(who []Principal, p Principal) bool {
	return slices.ContainsFunc(who, func(w Principal) bool { return strings.EqualFold(string(w), string(p)) })
}

// ownAdministrators are root and the owner of this process.
func ownAdministrators() []Principal {
	admins := []Principal{"user:root", "uid:0"}
	if uid := os.Getuid(); uid > 0 {
		admins = append(admins, Principal("uid:"+strconv.Itoa(uid)))
	}
	if u, err := user.Current(); err == nil && u.Username != "" {
		admins = append(admins, Principal("user:"+u.Username))
	}
	return admins
}

// A Refusal is told to Options.Audit.
type Refusal struct {
	Time   time.Time
	Actor  Principal
	Origin Origin
	Path   Path
	Need   Right
}
