// SPDX-License-Identifier: Apache-2.0

// Package acl parses access lists and decides what a list allows to whom.
//
// A list is the value of the property AccessList. Which list holds for a key is
// decided by package metabase.
package acl

import (
	"fmt"
	"os"
	"os/user"
	"slices"
	"strconv"
	"strings"

	"restante/metabase/item"
	"restante/metabase/key"
)

// A Principal is somebody who may be given rights: "user:joe", "uid:1000",
// "group:staff". "*" in an access list is everybody; "" is the system itself,
// which may do everything.
type Principal string

// Equal compares without case.
func (p Principal) Equal(q Principal) bool { return strings.EqualFold(string(p), string(q)) }

// A Right is a set of things that one may do with a key.
type Right uint32

// The rights.
const (
	Read        Right = 1 << iota // see keys and plain properties
	Write                         // change plain properties
	WriteSecret                   // change secure properties, or copy them
	Create                        // add keys below
	Delete                        // remove keys
	Control                       // change AccessList and locked properties
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

// ParseRights reads what String prints; "all" is every right.
func ParseRights(s string) (Right, error) {
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
			return 0, key.Errorf(key.Invalid, "%q is no right: use %s, all or none", key.Clip(word), strings.Join(rightNames[:], ", "))
		}
		r |= 1 << i
	}
	return r, nil
}

// A List is the value of AccessList. The list that is nearest above a key, or at
// it, decides alone.
type List []entry

// An entry is one line of a list.
type entry struct {
	Who    Principal
	Rights Right
}

// Rights returns the rights of somebody who is all of who: those of every line
// that names one of them. Who is in no line has none.
func (l List) Rights(who []Principal) (r Right) {
	for _, line := range l {
		if line.Who == "*" || slices.ContainsFunc(who, line.Who.Equal) {
			r |= line.Rights
		}
	}
	return r
}

// Parse reads the value of AccessList: a MULTISZ of lines "principal
// right,right". Errors are key.Invalid, and name the line.
func Parse(v item.Value) (List, error) {
	if v.Type() != item.MultiSZType {
		return nil, key.Errorf(key.Invalid, "an access list is a MULTISZ, not a %s", v.Type())
	}
	var list List
	for i, line := range v.Strings() {
		words := strings.Fields(line)
		if len(words) != 2 {
			return nil, fmt.Errorf("line %d: %w", i+1, key.Errorf(key.Invalid, "must be a principal and its rights, such as: user:joe read,write"))
		}
		if !isPrincipal(words[0]) {
			return nil, fmt.Errorf("line %d: %w", i+1, key.Errorf(key.Invalid, "%q is no principal: use user:NAME, uid:NUMBER, group:NAME, gid:NUMBER or *", key.Clip(words[0])))
		}
		r, err := ParseRights(words[1])
		if err != nil {
			return nil, fmt.Errorf("line %d: %w", i+1, err)
		}
		list = append(list, entry{Principal(words[0]), r})
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

// Owners returns root and the owner of this process: the administrators of a
// store that names no others.
func Owners() []Principal {
	admins := []Principal{"user:root", "uid:0"}
	if uid := os.Getuid(); uid > 0 {
		admins = append(admins, Principal("uid:"+strconv.Itoa(uid)))
	}
	if u, err := user.Current(); err == nil && u.Username != "" {
		admins = append(admins, Principal("user:"+u.Username))
	}
	return admins
}
