// SPDX-License-Identifier: Apache-2.0

package control

import (
	"context"
	"strings"

	"restante/metabase"
	"restante/metabase/mbxml"
	"restante/metabase/schema"
)

// The calls about MetaBase.xml.
const (
	MbExport Method[ExportRequest, Exported] = "mb/export"
	MbImport Method[ImportRequest, Imported] = "mb/import"
)

// An ExportRequest asks for the keys at and below a path.
type ExportRequest struct {
	Path string `json:"path"`
}

// Exported is the file.
type Exported struct {
	XML     string       `json:"xml"`
	Rev     metabase.Rev `json:"rev"`
	Secrets int          `json:"secrets"` // secure values that were left empty
}

// An ImportRequest brings a file in: one of ours, or of IIS.
type ImportRequest struct {
	XML    string `json:"xml"`
	At     string `json:"at,omitempty"`
	Merge  bool   `json:"merge,omitempty"`
	DryRun bool   `json:"dry_run,omitempty"`
}

// Imported says what an import did or would do.
type Imported struct {
	Applied
	Report *mbxml.Report `json:"report"`
}

func (d *Desk) export(ctx context.Context, who Caller, q ExportRequest) (Exported, error) {
	snap := d.tree.Snapshot()
	p, err := d.keyOf(ctx, who, snap, q.Path)
	if err != nil {
		return Exported{}, err
	}
	for below := range snap.Walk(p) {
		if !snap.Allows(who.Who, below, metabase.Read) {
			return Exported{}, d.allow(ctx, who, below, metabase.Read)
		}
	}
	var b strings.Builder
	secrets, err := mbxml.Write(&b, snap, p, naming{d.schema})
	return Exported{b.String(), snap.Rev(), secrets}, err
}

func (d *Desk) importXML(ctx context.Context, who Caller, q ImportRequest) (Imported, error) {
	f, err := mbxml.Read(strings.NewReader(q.XML))
	if err != nil {
		return Imported{}, refused("", err.Error())
	}
	opts := mbxml.Options{Merge: q.Merge}
	if q.At != "" {
		if opts.At, err = parsePath(q.At); err != nil {
			return Imported{}, err
		}
	}
	snap := d.tree.Snapshot()
	if f.Foreign {
		// Of another machine's services only this one is ours, and what is set
		// here and not there is not to go.
		opts.Part, opts.Folder, opts.Review, opts.Class, opts.Merge = servicePath, d.folder, d.review, classByPlace, true
	}
	ops, report, err := mbxml.Plan(f, snap, naming{d.schema}, opts)
	if err != nil {
		return Imported{}, problemsOf(err)
	}
	who.Origin = metabase.FromImport
	if !f.Foreign {
		applied, err := d.commit(ctx, who.batch(ops...), q.DryRun)
		return Imported{applied, report}, err
	}
	in := incoming{desk: d, snap: snap, report: report, ops: ops}
	in.ownFolders()
	in.onlyIPv4()
	applied, err := in.commit(ctx, who, q.DryRun)
	in.accounts()
	return Imported{applied, report}, err
}

// problemsOf gives each line of a joined error as a problem.
func problemsOf(err error) error {
	e := &Error{Kind: KindRefused}
	for line := range strings.SplitSeq(err.Error(), "\n") {
		e.Problems = append(e.Problems, Problem{Why: line})
	}
	return e
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
