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
			return 0, because(Invalid, "%q is no right: use %s, all or none", clip(word), strings.Join(rightNames[:], ", "))
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
		return nil, because(Invalid, "an access list is a MULTISZ, not a %s", v.Type())
	}
	var list []ace
	for i, line := range v.Strings() {
		words := strings.Fields(line)
		if len(words) != 2 {
			return nil, fmt.Errorf("line %d: %w", i+1, because(Invalid, "must be a principal and its rights, such as: user:joe read,write"))
		}
		if !isPrincipal(words[0]) {
			return nil, fmt.Errorf("line %d: %w", i+1, because(Invalid, "%q is no principal: use user:NAME, uid:NUMBER, group:NAME, gid:NUMBER or *", clip(words[0])))
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
	if slices.Contains(who, "") {
		return AllRights
	}
	if s.img == nil {
		return 0
	}
	for _, a := range s.img.admins {
		if containsFold(who, a) {
			return AllRights
		}
	}
	if len(who) == 0 {
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

// Allows says whether somebody who is all of who has every right of r at p.
func (s Snapshot) Allows(who []Principal, p Path, r Right) bool {
	return s.Rights(who, p)&r == r
}

// acl finds the list that holds for p. A list that can't be read lets nobody in.
func (s Snapshot) acl(p Path) ([]ace, bool) {
	for q := range p.parents() {
		n := s.node(q)
		if n == nil {
			continue
		}
		if prop, ok := n.get(AccessList); ok {
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

// ownAdministrators are root and whoever runs this process.
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

// needs collects where the ops of a batch lack a right.
type needs struct {
	old      Snapshot
	who      []Principal
	free     bool // the caller may do everything
	refusals []Problem
	missing  []Refusal
}

func (n *needs) begin(old Snapshot, b *Batch) {
	n.old, n.free = old, isFree(old, b.Actor, b.Also)
	if !n.free {
		n.who = b.who()
	}
}

// isFree says that no access list can take anything from somebody, who is also
// all of others.
func isFree(s Snapshot, who Principal, others []Principal) bool {
	if who == "" || slices.Contains(others, "") {
		return true
	}
	if s.img == nil {
		return false
	}
	for _, a := range s.img.admins {
		if strings.EqualFold(string(a), string(who)) || containsFold(others, a) {
			return true
		}
	}
	return false
}

// met says that every right that op needs is there.
func (n *needs) met(op Op) bool {
	if n.free {
		return true
	}
	missing := len(n.missing)
	op.needs(n)
	return len(n.missing) == missing
}

// at asks for a right.
func (n *needs) at(p Path, id ID, r Right) {
	if n.old.Allows(n.who, p, r) {
		return
	}
	n.missing = append(n.missing, Refusal{Path: p, Need: r})
	n.refusals = append(n.refusals, Problem{Path: p, ID: id, Err: because(Denied, "denied: the right to %s is missing", r)})
}

// hidden is at for a key that the caller has not named, but which lies below
// one that it has: where it may not read it, it is not named in the answer.
func (n *needs) hidden(p Path, r Right) {
	if n.old.Allows(n.who, p, Read) {
		n.at(p, 0, r)
		return
	}
	n.missing = append(n.missing, Refusal{Path: p, Need: r | Read})
	for p != Root && !n.old.Allows(n.who, p, Read) {
		p = p.Parent()
	}
	n.refusals = append(n.refusals, Problem{Path: p, Err: because(Denied, "denied: the right to %s all that is below it is missing", r)})
}

// item asks for the right to change the item old into what next is; either may
// be nil.
func (n *needs) item(p Path, id ID, items ...*Property) {
	right := Write
	for _, item := range items {
		if item != nil && item.Attr&Secure != 0 {
			right = WriteSecret
		}
	}
	for _, item := range items {
		if item != nil && (item.ID == AccessList || item.Attr&Locked != 0) {
			right = Control
		}
	}
	n.at(p, id, right)
}

func (n *needs) stored(p Path, id ID) *Property {
	if item, ok := n.old.Stored(p, id); ok {
		return &item
	}
	return nil
}

func (op Set) needs(n *needs) {
	n.item(op.Path, op.Property.ID, n.stored(op.Path, op.Property.ID), &op.Property)
}

func (op SetBits) needs(n *needs) { Set{op.Path, op.Property}.needs(n) }
func (op Lock) needs(n *needs)    { n.at(op.Path, op.ID, Control) }

func (op Unset) needs(n *needs) {
	n.item(op.Path, op.ID, n.stored(op.Path, op.ID), &Property{ID: op.ID})
}

func (op AddKey) needs(n *needs)         { n.at(op.Path.Parent(), 0, Create) }
func (op Remove) needs(n *needs)         { n.at(op.Path, 0, Delete) }
func (op RemoveChildren) needs(n *needs) { n.at(op.Path, 0, Delete) }
func (op Clear) needs(n *needs)          { n.at(op.Path, 0, Write) }
func (op Touch) needs(n *needs)          { n.at(op.Path, 0, Write) }

func (op Copy) needs(n *needs) {
	n.source(op.From, true)
	n.at(op.To.Parent(), 0, Create)
}

func (op Move) needs(n *needs) {
	n.source(op.From, true)
	n.at(op.From, 0, Delete)
	n.at(op.To.Parent(), 0, Create)
}

func (op CopyData) needs(n *needs) {
	n.source(op.From, false)
	n.at(op.To, 0, Write)
}

// source asks for the right to take what is at p, and below it with deep: a
// secret must not be carried to where its taker can use it. Of what the taker
// may not read nothing is named.
func (n *needs) source(p Path, deep bool) {
	top := n.old.node(p)
	n.at(p, 0, Read)
	if top == nil || !n.old.Allows(n.who, p, Read) {
		return
	}
	hidden := false
	top.walk(p, func(q Path, k *node) bool {
		if !n.old.Allows(n.who, q, Read) {
			hidden = true
			n.missing = append(n.missing, Refusal{Path: q, Need: Read})
			return deep
		}
		for _, item := range k.items.list {
			if item.Attr&Secure != 0 {
				n.at(q, item.ID, WriteSecret)
			}
		}
		return deep
	})
	if hidden {
		n.refusals = append(n.refusals, Problem{Path: p, Err: because(Denied, "denied: the right to read all that is below it is missing")})
	}
}

// deltas asks for what the whole change needs, whichever ops made it.
func (n *needs) deltas(list []keyDelta) {
	if n.free {
		return
	}
	for _, d := range list {
		switch {
		case d.added:
			n.at(d.path.Parent(), 0, Create)
		case d.removed:
			n.hidden(d.path, Delete)
		case d.oldName != d.newName:
			n.at(d.path, 0, Delete)
		case len(d.props) == 0:
			n.at(d.path, 0, Write)
		}
		for _, p := range d.props {
			switch {
			case d.removed && p.old.Attr&Locked == 0:
				// Whoever may remove the key may remove what is in it.
			case d.added && p.new.Attr&(Secure|Locked) == 0 && p.id != AccessList:
				// Whoever may create the key may fill it.
			default:
				n.item(d.path, p.id, p.old, p.new)
			}
		}
	}
}
