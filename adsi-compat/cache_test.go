// SPDX-License-Identifier: Apache-2.0

package adsi

import (
	"context"
	"errors"
	"testing"

	"restante/metabase"
)

// counted counts the reads.
type counted struct {
	Tree
	reads int
}

func (c *counted) Key(ctx context.Context, p metabase.Path) (Key, error) {
	c.reads++
	return c.Tree.Key(ctx, p)
}

func (c *counted) Children(ctx context.Context, p metabase.Path) ([]Key, error) {
	c.reads++
	return c.Tree.Children(ctx, p)
}

// TestAnObjectReadsItsKeyOnce counts reads, and sees whose changes show when.
func TestAnObjectReadsItsKeyOnce(t *testing.T) {
	w := newTreeFixture(t)
	ctx := t.Context()
	set := func(n uint32) {
		item := metabase.Property{ID: 61601, Attr: metabase.Inherit, Value: metabase.DWord(n)}
		w.apply(t, metabase.Set{Path: "/LM/SMTPSVC/1", Property: item})
	}
	set(30)
	d := w.as("user:root")
	c := &counted{Tree: d.tree}
	d.tree = c
	site, err := d.GetObject(ctx, site1)
	site.must(t, err)
	list, err := site.Children(ctx, "")
	site.must(t, err)
	child := list[0]
	check := func(what string, o *Object, want uint32, reads int) {
		t.Helper()
		before := c.reads
		if got, err := o.Get(ctx, "61601"); got != want || err != nil || c.reads-before != reads {
			t.Errorf("%s: %v after %d reads, %v; want %d after %d", what, got, c.reads-before, err, want, reads)
		}
	}
	if c.reads != 2 {
		t.Errorf("%d reads bind a key and list its children", c.reads)
	}
	check("bound", site, 30, 0)
	check("listed", child, 30, 0)
	set(31)
	check("changed by another", site, 30, 0)
	site.must(t, site.GetInfo(ctx))
	check("after GetInfo", site, 31, 0)
	check("the child, without its own", child, 30, 0)
	site.must(t, errors.Join(site.Put(ctx, "61601", 32.0), site.SetInfo(ctx)))
	check("written", site, 32, 1)
	check("inherited from what the script wrote", child, 32, 1)
	check("once more", child, 32, 0)
	site.must(t, w.Store.SetVolatile("/LM/SMTPSVC/1", metabase.Property{ID: 1016, Value: metabase.DWord(3)}))
	if got, err := site.Status(ctx); got != uint32(3) || err != nil {
		t.Errorf("the state is %v, %v", got, err)
	}
}
