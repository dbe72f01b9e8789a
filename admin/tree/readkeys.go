// SPDX-License-Identifier: Apache-2.0

package tree

import (
	"context"
	"fmt"
	"iter"
	"slices"

	"restante/admin"
	"restante/admin/api"
	adsi "restante/adsi-compat"
	"restante/metabase"
)

// pageKeys is how many keys a page of an answer has, and pageOctets about how many
// octets one that is packed.
const (
	pageKeys   = 256
	pageOctets = 64 << 10
)

// read answers a program that works with keys and typed values.
func (d handlers) read(ctx context.Context, who api.Caller, q api.ReadRequest) iter.Seq2[api.KeyPage, error] {
	return func(yield func(api.KeyPage, error) bool) {
		v, p, rev, err := d.readable(ctx, who, q)
		if err != nil {
			yield(api.KeyPage{}, err)
			return
		}
		page := api.KeyPage{Rev: rev, Keys: []api.KeyData{}}
		for key := range asked(v, p, q) {
			if err := context.Cause(ctx); err != nil {
				yield(api.KeyPage{}, err)
				return
			}
			if q.Packed {
				page.Packed = adsi.AppendKey(page.Packed, key)
			} else {
				page.Keys = append(page.Keys, keyData(key))
			}
			if len(page.Keys) < pageKeys && len(page.Packed) < pageOctets {
				continue
			}
			if !yield(page, nil) {
				return
			}
			page.Keys, page.Packed = page.Keys[:0], page.Packed[:0]
		}
		yield(page, nil)
	}
}

// readable gives the state that q asks for, the key in it, to a caller who may read
// the key, and the revision that the state is made of.
func (d handlers) readable(ctx context.Context, who api.Caller, q api.ReadRequest) (*metabase.View, metabase.Path, metabase.Rev, error) {
	p, err := admin.ParsePath(q.Path)
	if err != nil {
		return nil, "", 0, err
	}
	d = d.live(p, false, false)
	c, err := d.after(ctx, who, q.After)
	if err != nil {
		return nil, "", 0, err
	}
	v := c.New.View(who.Who)
	if !v.Sees(p) {
		return nil, "", 0, d.Deny(ctx, who, p, metabase.Read, p, "")
	}
	return v, p, c.Old.Rev(), nil
}

// after is what lines would change, for a caller who only reads: the terms of his
// changes do not matter.
func (d handlers) after(ctx context.Context, who api.Caller, lines []api.Line) (metabase.Change, error) {
	if len(lines) == 0 {
		now := d.Tree.Snapshot()
		return metabase.Change{Old: now, New: now}, nil
	}
	who.Terms = api.Terms{}
	plan, err := d.plan(ctx, who, lines)
	if err != nil {
		return metabase.Change{}, err
	}
	return d.As(who).Try(ctx, who.Batch(plan.ops...))
}

// asIf answers another call.
func (d handlers) asIf(ctx context.Context, who api.Caller, q api.AsIfRequest) (api.AsIfAnswer, error) {
	if !slices.Contains(api.TreeReads, q.Method) {
		return api.AsIfAnswer{}, api.Usage(fmt.Sprintf("%q is no call that only reads the tree", q.Method), "")
	}
	c, err := d.after(ctx, who, q.After)
	if err != nil {
		return api.AsIfAnswer{}, err
	}
	a, err := d.AsIf(c).Direct(who).Call(ctx, q.Method, q.Request)
	return api.AsIfAnswer{Rev: c.Old.Rev(), Answer: a}, err
}

// asked yields the keys that q asks for.
func asked(v *metabase.View, p metabase.Path, q api.ReadRequest) iter.Seq[adsi.Key] {
	return func(yield func(adsi.Key) bool) {
		if q.Storing != 0 {
			for _, at := range v.DataPaths(p, q.Storing) {
				if !yield(adsi.Key{Path: at, Exists: true}) {
					return
				}
			}
			return
		}
		if !yield(adsi.ReadKey(v, p)) || !q.Children {
			return
		}
		adsi.ReadChildren(v, p)(yield)
	}
}

func keyData(k adsi.Key) api.KeyData {
	return api.KeyData{Path: k.Path, Class: k.Class, Exists: k.Exists, Stored: properties(k.Stored), Inherited: properties(k.Inherited)}
}

func properties(list []metabase.Property) []api.Property {
	out := make([]api.Property, len(list))
	for i, p := range list {
		out[i] = api.PropertyOf(p)
	}
	return out
}
