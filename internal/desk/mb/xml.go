// SPDX-License-Identifier: Apache-2.0

package mb

import (
	"context"
	"errors"
	"strings"

	"restante/internal/control"
	"restante/internal/desk"
	"restante/internal/desk/foreign"
	"restante/metabase"
	"restante/metabase/mbxml"
	"restante/metabase/schema"
)

func (d drawer) export(ctx context.Context, who control.Caller, q control.ExportRequest) (control.Exported, error) {
	v := d.View(who)
	p, err := d.keyOf(ctx, who, v.Snapshot, q.Path)
	if err != nil {
		return control.Exported{}, err
	}
	if err := d.whole(ctx, who, v, p); err != nil {
		return control.Exported{}, err
	}
	var b strings.Builder
	secrets, err := mbxml.Write(&b, v.Snapshot, p, naming{d.Schema})
	return control.Exported{XML: b.String(), Rev: v.Rev(), Secrets: secrets}, err
}

func (d drawer) importXML(ctx context.Context, who control.Caller, q control.ImportRequest) (control.Imported, error) {
	f, err := mbxml.Read(strings.NewReader(q.XML))
	if err != nil {
		return control.Imported{}, control.Refused("", err.Error())
	}
	opts := mbxml.Options{Merge: q.Merge}
	if f.Foreign {
		opts = foreign.Options(d.Schema)
	}
	if q.At != "" {
		if opts.At, err = desk.ParsePath(q.At); err != nil {
			return control.Imported{}, err
		}
	}
	who.Origin = metabase.FromImport
	v := d.View(who)
	if err := d.mayCompare(ctx, who, v, f, opts); err != nil {
		return control.Imported{}, err
	}
	ops, report, err := mbxml.Plan(f, v.Snapshot, naming{d.Schema}, opts)
	if err != nil {
		return control.Imported{}, control.RefusedAll(err)
	}
	if !f.Foreign {
		applied, err := d.commit(ctx, who, who.Batch(ops...), q.DryRun)
		return control.Imported{Applied: applied, Report: report}, err
	}
	b := foreign.New(d.Schema, v.Snapshot, ops, report)
	applied, err := d.commitForeign(ctx, who, b, q.DryRun)
	b.TellAccounts(v.Sees)
	return control.Imported{Applied: applied, Report: report}, err
}

// mayCompare asks for the right to read all that the file is compared with: a
// value that is what is stored makes no operation, and so would be told before
// the tree asks. Keys that the file does not name are compared, too, where it
// takes the place of what is there.
func (d drawer) mayCompare(ctx context.Context, who control.Caller, v *desk.View, f *mbxml.File, o mbxml.Options) error {
	var top, first metabase.Path
	var keys []metabase.Path
	for _, k := range f.Keys {
		if f.Foreign && o.Part != "" && !k.Path.Within(o.Part) {
			continue
		}
		if keys = append(keys, k.Path); top == "" || top.Within(k.Path) {
			top = k.Path
		}
	}
	for _, p := range keys {
		if o.At != "" && p.Within(top) {
			p = o.At.Join(strings.TrimPrefix(string(p[len(top):]), "/"))
		}
		if !v.Sees(p) {
			return d.Deny(ctx, who, p, metabase.Read, p, "")
		}
		if first == "" || strings.Count(string(p), "/") < strings.Count(string(first), "/") || p == metabase.Root {
			first = p
		}
	}
	if o.Merge || first == "" {
		return nil
	}
	return d.whole(ctx, who, v, first)
}

// commitForeign applies the batch or tries it. The values that a check here
// stands against are left out, each with a remark; what cannot be left out is
// refused.
func (d drawer) commitForeign(ctx context.Context, who control.Caller, b *foreign.Batch, dry bool) (control.Applied, error) {
	const rounds = 5 // one value may hide what is wrong with another
	for n := 0; ; n++ {
		applied, err := d.commit(ctx, who, who.Batch(b.Ops...), dry)
		var no *metabase.Refused
		if n == rounds || !errors.As(err, &no) || !b.LeaveOut(no.Problems) {
			return applied, err
		}
	}
}

// naming shows the schema as mbxml wants it.
type naming struct{ *schema.Schema }

func (n naming) ByID(id metabase.ID) (mbxml.Prop, bool) {
	p, ok := n.Schema.ByID(id)
	return n.prop(p), ok
}

func (n naming) ByName(name string) (mbxml.Prop, bool) {
	p, ok := n.Property(name)
	return n.prop(p), ok && p.Name != ""
}

func (n naming) Holds(class string, id metabase.ID) bool {
	p, ok := n.Schema.ByID(id)
	return ok && p.In(class)
}

func (n naming) Class(name string) (string, bool) {
	c, ok := n.Schema.Class(name)
	return c.Name, ok
}

func (n naming) prop(p schema.Prop) mbxml.Prop {
	out := mbxml.Prop{
		Name: p.Name, ID: p.ID, Type: p.Type, Attr: p.Attr, UserType: p.UserType,
		Bool: p.Syntax == schema.Boolean, Folder: p.Syntax == schema.FilePath, IPList: p.Syntax == schema.IPList,
	}
	if p.Syntax != schema.Flags {
		return out
	}
	for _, f := range p.Flags {
		name := f.IIS
		if name == "" {
			name = f.Name
		}
		out.Flags = append(out.Flags, mbxml.Flag{Name: name, Mask: f.Mask})
	}
	return out
}
