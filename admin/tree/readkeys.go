// SPDX-License-Identifier: Apache-2.0

package tree

import (
	"context"
	"iter"

	"restante/admin"
	"restante/admin/api"
	adsi "restante/adsi-compat"
	"restante/metabase"
)

// pageKeys is how many keys a page of an answer has.
const pageKeys = 256

// read answers a program that works with keys and typed values.
func (d handlers) read(ctx context.Context, who api.Caller, q api.ReadRequest) iter.Seq2[api.KeyPage, error] {
	return func(yield func(api.KeyPage, error) bool) {
		v, p, err := d.readable(ctx, who, q)
		if err != nil {
			yield(api.KeyPage{}, err)
			return
		}
		page := api.KeyPage{Rev: v.Rev(), Keys: []api.KeyData{}}
		for key := range asked(v, p, q) {
			if err := ctx.Err(); err != nil {
				yield(api.KeyPage{}, err)
				return
			}
			page.Keys = append(page.Keys, key)
			if len(page.Keys) < pageKeys {
				continue
			}
			if !yield(page, nil) {
				return
			}
			page.Keys = page.Keys[:0]
		}
		yield(page, nil)
	}
}

// readable gives the state that q asks for, and the key in it, to a caller who
// may read the key.
func (d handlers) readable(ctx context.Context, who api.Caller, q api.ReadRequest) (*metabase.View, metabase.Path, error) {
	p, err := admin.ParsePath(q.Path)
	if err != nil {
		return nil, "", err
	}
	v := d.View(who)
	if len(q.After) > 0 {
		plan, err := d.plan(ctx, who, q.After)
		if err != nil {
			return nil, "", err
		}
		c, err := d.As(who).Try(ctx, who.Batch(plan.ops...))
		if err != nil {
			return nil, "", err
		}
		v = c.New.View(who.Who)
	}
	if !v.Sees(p) {
		return nil, "", d.Deny(ctx, who, p, metabase.Read, p, "")
	}
	return v, p, nil
}

// asked yields the keys that q asks for.
func asked(v *metabase.View, p metabase.Path, q api.ReadRequest) iter.Seq[api.KeyData] {
	return func(yield func(api.KeyData) bool) {
		if q.Storing != 0 {
			for _, at := range v.DataPaths(p, q.Storing) {
				if !yield(api.KeyData{Path: at, Exists: true}) {
					return
				}
			}
			return
		}
		if !yield(keyData(adsi.ReadKey(v, p))) || !q.Children {
			return
		}
		for key := range adsi.ReadChildren(v, p) {
			if !yield(keyData(key)) {
				return
			}
		}
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
