// SPDX-License-Identifier: Apache-2.0

package mbxml

import (
	"cmp"
	"errors"
	"fmt"
	"strings"

	"restante/metabase"
	"restante/metabase/schema"
)

var (
	errNoSuchProperty = errors.New("there is no such property")
	errDuplicate      = errors.New("is there twice")
)

// importItem imports one property of the file.
func (p *planner) importItem(k placed, it Item) {
	prop, want, faults := p.find(it)
	it.Name = cmp.Or(it.Name, it.ID) // of the remarks
	if _, twice := k.lines[want.ID]; twice && len(faults) == 0 {
		if want.ID == metabase.KeyType {
			return
		}
		faults = []error{errDuplicate}
	}
	if len(faults) > 0 {
		p.reportFaults(k, it, faults)
		return
	}
	k.lines[want.ID] = it.Line
	if want.Attr&metabase.Volatile != 0 || prop.Attr&metabase.Volatile != 0 {
		p.remark(Ignored, it.Line, k.to, it.Name, "is VOLATILE, and so is set by the service alone")
		return
	}
	if want.Attr&metabase.Secure != 0 {
		p.keepSecret(k, it, prop, want)
		return
	}
	v, err := value(prop, want.Value.Type(), it)
	unread := err != nil && p.file.Foreign && prop.Syntax == schema.IPList
	if err != nil && !unread {
		p.reportFaults(k, it, []error{err})
		return
	}
	want.Value = v
	if unread {
		want.Value = metabase.Value{} // tells Review that the value did not parse
	}
	if p.file.Foreign && !p.translate(k, it, prop, &want) || want.Value.IsZero() {
		return
	}
	p.report.Properties++
	p.report.imports(k.to, want.ID, it.Name, prop.Label(), it.ID)
	p.store(k.to, want)
}

// reportFaults reports what is wrong with a property. A property of a foreign file is
// left out.
func (p *planner) reportFaults(k placed, it Item, faults []error) {
	if !p.file.Foreign {
		for _, err := range faults {
			p.problem(it.Line, k.to, it.Name, err)
		}
		return
	}
	if faults[0] == errNoSuchProperty {
		p.remark(Ignored, it.Line, k.to, it.Name, "is not a property that is known here")
		return
	}
	texts := make([]string, len(faults))
	for i, err := range faults {
		texts[i] = err.Error()
	}
	p.remark(Decision, it.Line, k.to, it.Name, "%s; it is left out: %.200q", strings.Join(texts, "; "), it.Value)
}

// store sets a property, unless it is there for good already. Only an own file that
// replaces the tree removes a lock.
func (p *planner) store(at metabase.Path, want metabase.Property) {
	was, ok := p.snap.Stored(at, want.ID)
	switch locked := was.Attr &^ want.Attr & metabase.Locked; {
	case locked == 0:
	case p.file.Foreign || p.opts.Merge:
		want.Attr |= metabase.Locked
	default:
		p.ops = append(p.ops, metabase.Lock{Path: at, ID: want.ID, Off: true})
		was.Attr &^= metabase.Locked
	}
	if ok && was.Attr == want.Attr && was.UserType == want.UserType && was.Value.Equal(want.Value) && !p.snap.Waits(at, want.ID) {
		return
	}
	p.ops = append(p.ops, metabase.Set{Path: at, Property: want})
}

// keepSecret keeps the stored value: a file has no readable secure value. Where none
// is stored, an own file stores an empty one: it grants nothing, and marks where
// the secret has to be set again.
func (p *planner) keepSecret(k placed, it Item, prop schema.Prop, want metabase.Property) {
	was, stored := p.snap.Stored(k.to, want.ID)
	stored = stored && was.Attr&metabase.Secure != 0 && was.Value.Type() == want.Value.Type()
	switch {
	case it.Value != "" && !p.file.Foreign:
		p.problem(it.Line, k.to, it.Name, errors.New("a file has no secure values"))
	case it.Value != "":
		text := "is encrypted for the machine that wrote the file: set it again"
		if p.opts.Review != nil {
			if f := p.opts.Review(k.to, prop, want.Value, ""); f.Text != "" {
				text = f.Text
			}
		}
		p.remark(Decision, it.Line, k.to, it.Name, "%s", text)
	case p.file.Foreign:
	case stored && p.snap.Waits(k.to, want.ID): // the file does not confirm what it does not have
	case stored:
		want.Value = was.Value
		p.store(k.to, want)
	default:
		p.remark(Decision, it.Line, k.to, it.Name, "is secret and not in the file: set it again")
		p.ops = append(p.ops, metabase.Set{Path: k.to, Property: want})
	}
}

// translate adapts a value of another machine; false leaves it out.
func (p *planner) translate(k placed, it Item, prop schema.Prop, want *metabase.Property) bool {
	if p.opts.Review != nil {
		f := p.opts.Review(k.to, prop, want.Value, it.Value)
		if f.Text != "" {
			p.remark(f.Verdict, it.Line, k.to, it.Name, "%s", f.Text)
		}
		if f.LeaveOut {
			return false
		}
		want.Value = f.Value
	}
	old := want.Value.Str()
	if p.opts.Folder == nil || old == "" || prop.Syntax != schema.FilePath && !strings.ContainsAny(old, `\/`) {
		return true
	}
	folder := p.opts.Folder(k.to, it.Name, old)
	if folder == old {
		return true
	}
	if want.Value.Type() == metabase.ExpandSZType {
		want.Value = metabase.ExpandSZ(folder)
	} else {
		want.Value = metabase.String(folder)
	}
	p.remark(Translated, it.Line, k.to, it.Name, "folder %s is %s here", old, folder)
	return true
}

// find returns the schema's definition of an item, and the property to store with
// an empty value of its type.
func (p *planner) find(it Item) (schema.Prop, metabase.Property, []error) {
	if !it.Custom {
		prop, err := p.byName(it.Name)
		if err != nil {
			return schema.Prop{}, metabase.Property{}, []error{err}
		}
		return prop, metabase.Property{ID: prop.ID, Attr: prop.Attr, UserType: prop.UserType, Value: zero(prop.Type)}, nil
	}
	var faults []error
	try := func(err error) {
		if err != nil {
			faults = append(faults, err)
		}
	}
	id, err := customID(it)
	try(err)
	t, err := parseType(it.Type)
	try(err)
	u, err := parseUserType(it.UserType)
	try(err)
	a, err := parseAttributes(it.Attr)
	try(err)
	prop, ok := p.schema.ByID(id)
	if !ok {
		prop = schema.Prop{Name: it.Name, ID: id, Type: t}
	}
	return prop, metabase.Property{ID: id, Attr: a, UserType: u, Value: zero(t)}, faults
}

// byName finds the property of an attribute by its name. The name of a property
// without one has its number; the schema must know its type.
func (p *planner) byName(name string) (schema.Prop, error) {
	id, numbered := numberedName(name)
	if !numbered {
		prop, ok := p.schema.Property(name)
		if !ok || prop.Name == "" || prop.Syntax == schema.Flag { // a flag is written with the others
			return schema.Prop{}, errNoSuchProperty
		}
		return prop, nil
	}
	prop, ok := p.schema.ByID(id)
	if !ok {
		return schema.Prop{}, errors.New("has no data type: a number that is not known here needs a Custom element with a Type")
	}
	return prop, nil
}

// numberedName reads the number in IIS's name for a property without a name.
func numberedName(name string) (metabase.ID, bool) {
	if len(name) <= len(unknownName) || !strings.EqualFold(name[:len(unknownName)], unknownName) {
		return 0, false
	}
	n, err := schema.ParseNumber(name[len(unknownName):])
	return metabase.ID(n), err == nil && n != 0
}

// customID is the number of a Custom element, from its ID or its name.
func customID(it Item) (metabase.ID, error) {
	if id, ok := numberedName(it.Name); ok && it.ID == "" {
		return id, nil
	}
	n, err := schema.ParseNumber(it.ID)
	if err != nil || n == 0 || it.ID[0] == '-' {
		return 0, fmt.Errorf("ID %q is not a number of a property", it.ID)
	}
	return metabase.ID(n), nil
}

// zero is an empty value of a type.
func zero(t metabase.Type) metabase.Value {
	switch t {
	case metabase.StringType:
		return metabase.String("")
	case metabase.BinaryType:
		return metabase.Binary(nil)
	case metabase.ExpandSZType:
		return metabase.ExpandSZ("")
	case metabase.MultiSZType:
		return metabase.MultiSZ()
	}
	return metabase.DWord(0)
}

func value(prop schema.Prop, t metabase.Type, it Item) (metabase.Value, error) {
	switch it.Enc {
	case "":
		return parse(prop, t, it.Value)
	case "base64":
		return fromBase64(t, it.Value)
	}
	return metabase.Value{}, fmt.Errorf("encoding %q is not known", it.Enc)
}
