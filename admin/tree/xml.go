// SPDX-License-Identifier: Apache-2.0

package tree

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"net/netip"
	"slices"
	"strconv"
	"strings"

	"restante/admin"
	"restante/admin/api"
	"restante/admin/iisimport"
	"restante/engine/settings"
	"restante/internal/progress"
	"restante/metabase"
	"restante/metabase/mbxml"
)

func (d handlers) export(ctx context.Context, who api.Caller, q api.ExportRequest) (api.Exported, error) {
	v := d.View(who)
	p, err := d.keyOf(ctx, who, v.Snapshot, q.Path)
	if err != nil {
		return api.Exported{}, err
	}
	if err := d.whole(ctx, who, v, p); err != nil {
		return api.Exported{}, err
	}
	count := progress.From(ctx)
	count.ExpectCounted(func() int { return keys(v.Snapshot, p) })
	scope := mbxml.Scope{Inherited: q.Inherited, NodeOnly: q.NodeOnly, Each: func() { count.Add(1) }}
	if q.Inherited {
		if err := d.mayInherit(ctx, who, v, p); err != nil {
			return api.Exported{}, err
		}
	}
	var b bytes.Buffer
	secrets, err := mbxml.Write(&b, v.Snapshot, p, d.Schema, scope)
	return api.Exported{XML: b.Bytes(), Rev: v.Rev(), Secrets: secrets}, err
}

// mayInherit refuses to show what comes from a key that the caller may not read.
func (d handlers) mayInherit(ctx context.Context, who api.Caller, v *metabase.View, p metabase.Path) error {
	for _, l := range v.AllProperties(p) {
		if !v.Sees(l.From) {
			return d.Allow(ctx, who, l.From, metabase.Read)
		}
	}
	return nil
}

func (d handlers) importXML(ctx context.Context, who api.Caller, q api.ImportRequest) (api.Imported, error) {
	f, err := mbxml.ReadPart(progress.From(ctx).Reader(bytes.NewReader(q.XML), len(q.XML)), mbxml.Reading{Part: settings.Service, Fragment: q.Fragment})
	if err != nil {
		return api.Imported{}, api.Refused("", err.Error())
	}
	opts := mbxml.Options{Merge: q.Merge, Class: d.Schema.ClassBelow}
	if f.Foreign {
		opts = iisimport.Options(d.Schema)
	}
	opts.NodeOnly = q.NodeOnly
	if q.At != "" {
		if opts.At, err = admin.ParsePath(q.At); err != nil {
			return api.Imported{}, err
		}
	}
	who.Origin = metabase.FromImport
	return d.importFile(ctx, who, f, opts, q)
}

func (d handlers) importFile(ctx context.Context, who api.Caller, f *mbxml.File, opts mbxml.Options, q api.ImportRequest) (api.Imported, error) {
	v := d.View(who)
	if err := d.mayCompare(ctx, who, v, f, opts); err != nil {
		return api.Imported{}, err
	}
	ops, report, err := mbxml.Plan(f, v.Snapshot, d.Schema, opts)
	var bad mbxml.Problems
	if err != nil && !errors.As(err, &bad) {
		return api.Imported{}, api.Refused("", err.Error())
	}
	b := iisimport.New(d.Schema, v.Snapshot, ops, report)
	if f.Foreign {
		b.Adapt()
	}
	// All that is wrong is told at once: of what reads, what the checks say.
	if opts.Merge {
		isDefault := d.setBySetup(ctx, v.Snapshot)
		b.Merge(func(p metabase.Path, prop metabase.Property) bool { return !v.Sees(p) || !isDefault(prop) })
	}
	applied, next, err := d.bringIn(ctx, who, b, f.Foreign, q, len(bad) > 0)
	err = remarkStopped(report, err)
	if err != nil && !admin.IsStored(err) || len(bad) > 0 {
		return api.Imported{}, refusedFile(report, bad, err)
	}
	tellAddresses(next, who, report)
	b.TellShadows(v.Sees)
	if f.Foreign {
		b.TellAccounts(v.Sees)
	}
	report.Finish()
	return api.Imported{Applied: applied, Report: report}, err
}

// mayCompare asks for the right to read all that the file is compared with: a
// value that is what is stored makes no operation, and so would be told before
// the tree asks. Keys that the file does not name are compared, too, where it
// takes the place of what is there.
func (d handlers) mayCompare(ctx context.Context, who api.Caller, v *metabase.View, f *mbxml.File, o mbxml.Options) error {
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

// bringIn applies the batch or tries it, and gives the tree as it is after it.
// Of a foreign file, the values and keys that a check here stands against are
// left out, each with a remark; what cannot be left out is refused. Of an own file, that
// is DkimSelectors alone: it names keys, which no file has, and the domain may have others
// since.
func (d handlers) bringIn(ctx context.Context, who api.Caller, b *iisimport.Batch, isForeign bool, q api.ImportRequest, bad bool) (api.Applied, metabase.Snapshot, error) {
	const rounds = 10 // one value may hide what is wrong with another
	for n := 0; ; n++ {
		a, next, err := d.attempt(ctx, who, who.Batch(b.All()...), q.DryRun || bad, q.Brief)
		var no *metabase.Refused
		if n == rounds || !errors.As(err, &no) {
			return a, next, err
		}
		out := no.Problems
		if !isForeign {
			out = slices.DeleteFunc(slices.Clone(out), func(p metabase.Problem) bool { return p.ID != settings.DkimSelectors })
		}
		if !b.LeaveOut(out) {
			return a, next, err
		}
	}
}

// setBySetup returns a function that reports whether a property still has the
// value that setup gave it: it was stored with the service's key, by no actor.
func (d handlers) setBySetup(ctx context.Context, snap metabase.Snapshot) func(metabase.Property) bool {
	class, _ := snap.Stored(settings.Service, metabase.KeyType)
	r, err := d.Tree.Record(ctx, class.Rev)
	setup := err == nil && r.Actor == "" && r.Origin == metabase.FromSystem
	return func(p metabase.Property) bool { return setup && p.Rev == class.Rev }
}

func (d handlers) attempt(ctx context.Context, who api.Caller, b metabase.Batch, dry, brief bool) (api.Applied, metabase.Snapshot, error) {
	switch {
	case !dry && brief:
		before := d.Tree.Snapshot().Rev()
		rev, err := d.As(who).Apply(ctx, b)
		return api.Applied{Rev: rev, Made: rev != before, Changes: []api.Change{}}, d.Tree.Snapshot(), err
	case !dry:
		a, err := d.commit(ctx, who, b, false)
		return a, d.Tree.Snapshot(), err
	}
	c, err := d.As(who).Try(ctx, b)
	if err != nil {
		return api.Applied{}, metabase.Snapshot{}, err
	}
	return d.tried(who, c), c.New, nil
}

// refusedFile is all that stands against a file, in the order of its lines:
// what does not read, and what the checks said of the rest.
func refusedFile(report *mbxml.Report, bad mbxml.Problems, err error) error {
	var no *metabase.Refused
	if err != nil && !errors.As(err, &no) {
		return err
	}
	e := &api.Error{Kind: api.KindRefused}
	if no != nil {
		e = api.AsError(no)
		for i, p := range no.Problems {
			e.Problems[i].Line, _ = report.Line(p.Path, p.ID)
		}
	}
	for _, p := range bad {
		e.Kind = api.KindRefused
		e.Problems = append(e.Problems, api.Problem{Line: p.Line, Path: string(p.Path), Property: p.Property, Why: p.Err.Error()})
	}
	slices.SortStableFunc(e.Problems, func(a, b api.Problem) int { return a.Line - b.Line })
	told := map[api.Problem]bool{} // two checks may say the same
	e.Problems = slices.DeleteFunc(e.Problems, func(p api.Problem) bool {
		defer func() { told[p] = true }()
		return told[p]
	})
	return e
}

// remarkStopped makes a remark of each new site that does not start. Other sites
// without the change stay in the error.
func remarkStopped(report *mbxml.Report, err error) error {
	var late *admin.NotInForce
	if !errors.As(err, &late) {
		return err
	}
	rest := &admin.NotInForce{Rev: late.Rev}
	for _, st := range late.Sites {
		if st.Running != 0 {
			rest.Sites = append(rest.Sites, st)
			continue
		}
		p := settings.SitePath(st.Number)
		line, _ := report.Line(p, settings.ServerBindings)
		report.Remarks = append(report.Remarks, mbxml.Remark{Verdict: mbxml.Decision, Line: line, Path: p, Text: "does not run: " + st.Why})
	}
	if len(rest.Sites) == 0 {
		return nil
	}
	return admin.Stored{Err: rest}
}

// An ownedAddress is an address of a site.
type ownedAddress struct {
	site int
	at   netip.AddrPort
}

// tellAddresses tells which sites of the file have an address that excludes
// another one.
func tellAddresses(next metabase.Snapshot, who api.Caller, report *mbxml.Report) {
	byPort := map[uint16][]ownedAddress{}
	for _, n := range settings.Numbers(next) {
		site, err := settings.Load(next, n)
		if err != nil {
			continue // it cannot start, and says so itself
		}
		for _, b := range site.Bindings {
			there := byPort[b.Addr.Port()]
			byPort[b.Addr.Port()] = append(there, ownedAddress{n, b.Addr})
			if i := slices.IndexFunc(there, func(o ownedAddress) bool { return settings.Exclude(b.Addr, o.at) }); i >= 0 {
				tellAddress(next, who, report, ownedAddress{n, b.Addr}, there[i])
			}
		}
	}
}

// tellAddress remarks it of the site that the file names, of the second one
// where it names both.
func tellAddress(next metabase.Snapshot, who api.Caller, report *mbxml.Report, one, other ownedAddress) {
	line, _ := report.Line(settings.SitePath(one.site), settings.ServerBindings)
	if line == 0 {
		one, other = other, one
		line, _ = report.Line(settings.SitePath(one.site), settings.ServerBindings)
	}
	if line == 0 {
		return // both were there before
	}
	name, what := "site "+strconv.Itoa(other.site), "only one will start"
	switch {
	case one.site == other.site:
		name, what = "the same site", "it will not start"
	case !next.Allows(who.Who, settings.SitePath(other.site), metabase.Read):
		name = "another site"
	}
	text := fmt.Sprintf("the same address as %s, %s; %s", name, other.at, what)
	if one.at != other.at {
		text = fmt.Sprintf("%s excludes %s of %s; %s", one.at, other.at, name, what)
	}
	report.Remarks = append(report.Remarks, mbxml.Remark{
		Verdict: mbxml.Decision, Line: line, Path: settings.SitePath(one.site), Property: "ServerBindings", Text: text,
	})
}
