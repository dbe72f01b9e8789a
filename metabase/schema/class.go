// SPDX-License-Identifier: Apache-2.0

package schema

import (
	"slices"
	"strconv"
	"strings"
	"unicode"
	"unicode/utf8"

	"restante/metabase"
)

// The classes of keys.
const (
	Computer      = "IIsComputer"
	Service       = "IIsSmtpService"
	Info          = "IIsSmtpInfo"
	Server        = "IIsSmtpServer"
	Domain        = "IIsSmtpDomain"
	User          = "IIsSmtpUser"
	Alias         = "IIsSmtpAlias"
	DL            = "IIsSmtpDL"
	RoutingSource = "IIsSmtpRoutingSource"
	Sessions      = "IIsSmtpSessions"
	Session       = "IIsSmtpSession"
	Link          = "IIsSmtpLink"
	VirtualDir    = "IIsSmtpVirtualDirectory"
	Object        = "IIsObject" // also what a key without a class is called
	schemaRoot    = "IIsSchema"
	schemaProp    = "IIsSchemaProperty"
	schemaClass   = "IIsSchemaClass"
)

// A Class says what its keys may hold and what their places are.
type Class struct {
	Name      string
	Sentence  string
	Mandatory []string // properties that each key has
	Optional  []string // properties that it may have, by name
	Contains  []string // classes of its child keys
	places    []place
}

// Container reports whether keys of the class may have child keys.
func (c Class) Container() bool { return len(c.Contains) > 0 }

// A place is a position in the tree that a class allows.
type place struct {
	above []string // the class of its parent, of the parent's parent, ...; "" for the root
	name  string   // the only name; "": fits decides
	fits  func(name string) bool
	what  string // describes the names for messages
}

func classTable() []Class {
	number := func(above ...string) place {
		return place{above: above, fits: isSiteNumber, what: "a number from 1 up"}
	}
	domain := func(above ...string) place {
		return place{above: above, fits: isDomainKey, what: "a domain name or *. and a domain name"}
	}
	account := func(above ...string) place {
		return place{above: above, fits: IsAccountName, what: "1 to 64 characters without blanks at the ends"}
	}
	any := func(above ...string) place {
		return place{above: above, fits: func(string) bool { return true }, what: "any name"}
	}
	called := func(name string, above ...string) place { return place{above: above, name: name, what: name} }
	return []Class{
		{Name: Computer, Sentence: "The machine, with its services.", places: []place{called("LM", "")}},
		{Name: Service, Sentence: "The SMTP service: what holds for all of its sites.", places: []place{called("SMTPSVC", Computer)}},
		{Name: Info, Sentence: "What there is to know of the service.", places: []place{called("Info", Service)}},
		{Name: Server, Sentence: "A site: a virtual server with addresses, limits and folders of its own.", places: []place{number(Service)}},
		{Name: Domain, Sentence: "Below a site, the container of its domains; below that, a domain.",
			places: []place{called("Domain", Server), domain(Domain, Server)}},
		{Name: User, Sentence: "Below a site or the service, the container of accounts; below that, an account.",
			places: []place{called("User", Server), called("User", Service), account(User, Server), account(User, Service)}},
		{Name: Alias, Sentence: "The container of aliases.", places: []place{called("Alias", Server), any(Alias, Server)}},
		{Name: DL, Sentence: "The container of distribution lists.", places: []place{called("DL", Server), any(DL, Server)}},
		{Name: RoutingSource, Sentence: "Where routes come from.", places: []place{called("RoutingSources", Server)}},
		{Name: Sessions, Sentence: "The callers of the moment.", places: []place{called("Sessions", Server)}},
		{Name: Session, Sentence: "A caller. The service makes and removes these keys, in memory alone; to remove one ends the session.",
			places: []place{{above: []string{Sessions, Server}, fits: func(string) bool { return false }, what: "none: the service alone makes them"}}},
		{Name: Link, Sentence: "Below a site, the container of its link profiles; below that, the limits of releases over one kind of line.",
			places: []place{called("Links", Server), any(Link, Server)}},
		{Name: VirtualDir, Sentence: "A folder that the site shows under a name.", places: []place{called("Root", Server), any(VirtualDir)}},
		{Name: Object, Sentence: "A key without a class of its own.", places: []place{any("*")}},
		{Name: schemaRoot, Sentence: "The schema, as keys.", places: []place{called("Schema", ""), any(schemaRoot, "")}},
		{Name: schemaProp, Sentence: "What there is to know of a property.", places: []place{any(schemaRoot)}},
		{Name: schemaClass, Sentence: "What there is to know of a class.", places: []place{any(schemaRoot)}},
	}
}

// fillClasses adds to each class its properties and the classes below it.
func (s *Schema) fillClasses() {
	for i := range s.classes {
		c := &s.classes[i]
		c.Mandatory = []string{"KeyType"}
		for _, p := range s.props {
			if p.In(c.Name) && p.ID != metabase.KeyType {
				c.Optional = append(c.Optional, p.Label())
			}
		}
		for _, child := range s.classes {
			for _, at := range child.places {
				if at.above[0] == c.Name && !slices.Contains(c.Contains, child.Name) {
					c.Contains = append(c.Contains, child.Name)
				}
			}
		}
	}
}

// Class finds a class by its name, in any case.
func (s *Schema) Class(name string) (Class, bool) {
	for _, c := range s.classes {
		if strings.EqualFold(c.Name, name) {
			return c, true
		}
	}
	return Class{}, false
}

// spelledClass is the name of a class as the schema spells it; an unknown name is
// returned unchanged.
func spelledClass(name string) string {
	for _, c := range classTable() {
		if strings.EqualFold(c.Name, name) {
			return c.Name
		}
	}
	return name
}

// classless reports whether a key of the class holds only properties that every
// key may hold.
func classless(class string) bool { return class == "" || strings.EqualFold(class, Object) }

// matches reports whether a key belongs here; above are the classes of the keys
// over it, the nearest first, ending in "" for the root.
func (at place) matches(above []string, name string) bool {
	return at.below(above) && at.called(name)
}

func (at place) below(above []string) bool {
	if at.above[0] == "*" {
		return true
	}
	if len(above) < len(at.above) {
		return false
	}
	for i, class := range at.above {
		if !strings.EqualFold(class, above[i]) {
			return false
		}
	}
	// An empty class is the root's, which has nothing above.
	return at.above[len(at.above)-1] != "" || len(above) == len(at.above)
}

func (at place) called(name string) bool {
	if at.name != "" {
		return strings.EqualFold(at.name, name)
	}
	return at.fits(name)
}

// ClassAt returns the class that a new key at path has by its place, or "" where
// the place allows several.
func (s *Schema) ClassAt(snap metabase.Snapshot, path metabase.Path) string {
	return s.ClassBelow(classesAbove(snap, path), path.Base())
}

// ClassBelow is ClassAt for a key whose parents need not exist: above are their
// classes, the nearest first, ending in "" for the root.
func (s *Schema) ClassBelow(above []string, name string) string {
	for _, c := range s.classes {
		if c.Name != Object && slices.ContainsFunc(c.places, func(at place) bool { return at.matches(above, name) }) {
			return c.Name
		}
	}
	return ""
}

// classesAbove lists the classes of the keys over path, the nearest first.
func classesAbove(snap metabase.Snapshot, path metabase.Path) (above []string) {
	for path != metabase.Root {
		path = path.Parent()
		above = append(above, snap.Class(path))
	}
	return above
}

// checkPlace returns an error if a key of the class does not belong at path.
func (s *Schema) checkPlace(snap metabase.Snapshot, path metabase.Path, class string) error {
	if classless(class) {
		if c := s.ClassAt(snap, path); c != "" {
			return invalid("a key here is of class %s", c)
		}
		return s.checkClassless(snap, path)
	}
	c, ok := s.Class(class)
	if !ok {
		names := make([]string, len(s.classes))
		for i, c := range s.classes {
			names[i] = c.Name
		}
		return invalid("there is no class %q%s", clip(class), Suggest(class, names))
	}
	above, name := classesAbove(snap, path), path.Base()
	var where []string
	for _, at := range c.places {
		if at.matches(above, name) {
			return nil
		}
		if at.below(above) && at.name == "" {
			return invalid("%q is no name for a key of class %s here; allowed is %s", clip(name), c.Name, at.what)
		}
		where = append(where, at.String())
	}
	return invalid("a key of class %s does not stand here; it stands %s", c.Name, strings.Join(where, " or "))
}

// checkClassless refuses a key without a class below a parent whose children all have
// one.
func (s *Schema) checkClassless(snap metabase.Snapshot, path metabase.Path) error {
	parent := snap.Class(path.Parent())
	switch {
	case strings.EqualFold(parent, Domain):
		return invalid("%q is no name for a domain; allowed is a domain name or *. and a domain name", clip(path.Base()))
	case strings.EqualFold(parent, Sessions):
		return invalid("a session is made by its caller alone")
	case strings.EqualFold(parent, User):
		return invalid("%q is no name for an account", clip(path.Base()))
	case strings.EqualFold(parent, Service) && strings.Trim(path.Base(), "+-0123456789") == "":
		return invalid("%q is no number of a site; allowed is a number from 1 up, without a sign or a zero before it", clip(path.Base()))
	}
	return nil
}

func (at place) String() string {
	name := "called " + at.name
	if at.name == "" {
		name = "with " + at.what + " as its name"
	}
	above := make([]string, len(at.above))
	for i, class := range at.above {
		if above[i] = class; class == "" {
			above[i] = "the root"
		}
	}
	return "below " + strings.Join(above, " below ") + ", " + name
}

// isSiteNumber reports whether name is the number of a site: no sign, no leading
// zero.
func isSiteNumber(name string) bool {
	n, err := strconv.ParseUint(name, 10, 31)
	return err == nil && n > 0 && name[0] != '0' && name[0] != '+'
}

// isDomainKey reports whether name is a domain or, after "*.", all names below
// one.
func isDomainKey(name string) bool {
	return CheckDomain(strings.TrimPrefix(name, "*.")) == nil
}

// maxAccount is the length of an account's name in characters.
const maxAccount = 64

// IsAccountName reports whether name can be an account's: 1 to 64 characters, no
// control character, no blanks at the ends.
func IsAccountName(name string) bool {
	return name != "" && utf8.RuneCountInString(name) <= maxAccount && strings.TrimSpace(name) == name &&
		strings.IndexFunc(name, unicode.IsControl) < 0
}
