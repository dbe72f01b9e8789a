// SPDX-License-Identifier: Apache-2.0

package item

import (
	"encoding/json"
	"fmt"
	"io"
	"strconv"
	"strings"

	"restante/metabase/key"
)

// An ID is the number of a property. Names are the schema's.
type ID uint32

func (id ID) String() string { return "property " + strconv.FormatUint(uint64(id), 10) }

// The properties that the store itself acts on.
const (
	KeyType    ID = 1002       // STRING: the class of the key, never inherited
	AccessList ID = 0x00520000 // MULTISZ: who may do what here and below, see package acl
)

// Attr is a set of attribute bits, by IIS's numbers.
type Attr uint32

// The attributes.
const (
	Inherit          Attr = 0x001   // keys below have it, too
	partialPath      Attr = 0x002   // in questions only
	Secure           Attr = 0x004   // encrypted at rest, shown as asterisks
	Reference        Attr = 0x008   // kept for IIS's sake, without effect
	Volatile         Attr = 0x010   // in memory only
	IsInherited      Attr = 0x020   // in answers only: it came from above
	InsertPath       Attr = 0x040   // the text may hold the token of [Property.Inserted]
	LocalMachineOnly Attr = 0x080   // stays out of exports
	nonSecureOnly    Attr = 0x100   // in questions only
	Locked           Attr = 0x10000 // can't be overridden below; our own
)

// askOnly are the bits that belong to a question or an answer.
const askOnly = partialPath | IsInherited | nonSecureOnly

const knownAttrs = Inherit | partialPath | Secure | Reference | Volatile | IsInherited |
	InsertPath | LocalMachineOnly | nonSecureOnly | Locked

// String lists the names as IIS writes them: "INHERIT | SECURE".
func (a Attr) String() string {
	if a == 0 {
		return "NO_ATTRIBUTES"
	}
	names := []struct {
		bit  Attr
		name string
	}{
		{Inherit, "INHERIT"}, {partialPath, "PARTIAL_PATH"}, {Secure, "SECURE"}, {Reference, "REFERENCE"},
		{Volatile, "VOLATILE"}, {IsInherited, "ISINHERITED"}, {InsertPath, "INSERT_PATH"},
		{LocalMachineOnly, "LOCAL_MACHINE_ONLY"}, {nonSecureOnly, "NON_SECURE_ONLY"}, {Locked, "LOCKED"},
	}
	var out []string
	for _, n := range names {
		if a&n.bit != 0 {
			out = append(out, n.name)
			a &^= n.bit
		}
	}
	if a != 0 {
		out = append(out, "0x"+strconv.FormatUint(uint64(a), 16))
	}
	return strings.Join(out, " | ")
}

// A UserType parts properties by whom they are for; a filter, not part of a
// property's identity.
type UserType uint32

// The user types of IIS.
const (
	UTServer UserType = 1
	UTFile   UserType = 2
	UTWAM    UserType = 100
	UTApp    UserType = 101
)

// A Rev numbers the states of a store: 0 is the empty one, and each commit
// adds one. It is IIS's system change number.
type Rev uint64

// A Property is one item of a key; a key has one per ID.
type Property struct {
	ID       ID
	Attr     Attr
	UserType UserType
	Value    Value
	Rev      Rev // the revision that stored it; ignored when it is set
}

// Same says that p and q differ in nothing but when they were stored.
func (p Property) Same(q Property) bool {
	return p.ID == q.ID && p.Attr == q.Attr && p.UserType == q.UserType && p.Value.Equal(q.Value)
}

// Marked gives p with a value that prints as its attributes ask.
func (p Property) Marked() Property {
	p.Value.secret = p.Attr&Secure != 0
	return p
}

// Redacted is p as it may stand in a log: a secure value is left out.
func (p Property) Redacted() Property {
	if p.Attr&Secure != 0 {
		p.Value = Value{kind: p.Value.kind, secret: true}
	}
	return p
}

// String prints id, attributes and value; a secure value as asterisks.
func (p Property) String() string {
	return fmt.Sprintf("%d (%s, %s) = %s", p.ID, p.Value.Type(), p.Attr, p.Marked().Value)
}

// Format prints as String does whatever the verb: no verb shows a secret.
func (p Property) Format(f fmt.State, _ rune) { io.WriteString(f, p.String()) }

// MarshalJSON writes the fields in lower_snake_case; a secure value as
// asterisks.
func (p Property) MarshalJSON() ([]byte, error) {
	return json.Marshal(struct {
		ID         ID       `json:"id"`
		Type       string   `json:"type"`
		Attributes string   `json:"attributes"`
		UserType   UserType `json:"user_type"`
		Value      Value    `json:"value"`
		Rev        Rev      `json:"rev,omitempty"`
	}{p.ID, p.Value.Type().String(), p.Attr.String(), p.UserType, p.Marked().Value, p.Rev})
}

const pathToken = "<%INSERT_PATH%>"

// Inserted gives the value with IIS's token <%INSERT_PATH%> replaced by rel,
// the path of the key that holds it seen from the one that asks. ok is false,
// and the value as it is, where the property does not ask for that or holds no
// token.
func (p Property) Inserted(rel string) (v Value, ok bool) {
	if p.Attr&InsertPath == 0 || !strings.Contains(p.Value.text, pathToken) {
		return p.Value, false
	}
	put := func(s string) string { return strings.ReplaceAll(s, pathToken, rel) }
	switch p.Value.Type() {
	case StringType:
		v = String(put(p.Value.text))
	case ExpandSZType:
		v = ExpandSZ(put(p.Value.text))
	case MultiSZType:
		list := p.Value.Strings()
		for i := range list {
			list[i] = put(list[i])
		}
		v = MultiSZ(list...)
	default:
		return p.Value, false
	}
	v.secret = p.Value.secret
	return v, true
}

// Check says whether p can be stored as it is.
func (p Property) Check() error {
	switch {
	case p.ID == 0:
		return key.Errorf(key.Invalid, "0 is no property")
	case p.Attr&askOnly != 0:
		return key.Errorf(key.Invalid, "attribute %s cannot be stored", p.Attr&askOnly)
	case p.Attr&^knownAttrs != 0:
		return key.Errorf(key.Invalid, "unknown attribute %s", p.Attr&^knownAttrs)
	case p.Attr&Volatile != 0 && p.Attr&(Secure|Locked) != 0:
		return key.Errorf(key.Invalid, "VOLATILE goes neither with SECURE nor with LOCKED")
	case p.ID == KeyType && (p.Value.Type() != StringType || p.Attr&(Locked|Secure|Volatile) != 0):
		return key.Errorf(key.Invalid, "the class of a key is a STRING, not locked, secure or volatile")
	}
	return p.Value.Check()
}

// SamePointed reports whether both are there and the same, or neither is.
func SamePointed(a, b *Property) bool {
	if a == nil || b == nil {
		return a == b
	}
	return a.Same(*b)
}
