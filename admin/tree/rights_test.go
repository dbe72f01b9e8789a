// SPDX-License-Identifier: Apache-2.0

package tree

import (
	"context"
	"testing"

	"restante/admin"
	"restante/admin/admintest"
	"restante/admin/api"
	"restante/metabase"
)

// A countingTree counts how often a call asks for rights: by Allow, and by
// Apply, which asks for those of its batch.
type countingTree struct {
	admin.Tree
	asked int
}

func (c *countingTree) Allow(ctx context.Context, who []metabase.Principal, from metabase.Origin, p metabase.Path, r metabase.Right) error {
	c.asked++
	return c.Tree.Allow(ctx, who, from, p, r)
}

func (c *countingTree) Apply(ctx context.Context, b metabase.Batch) (metabase.Rev, error) {
	c.asked++
	return c.Tree.Apply(ctx, b)
}

func TestSetAsksForRightsOnce(t *testing.T) {
	d, _ := admintest.New(t, nil)
	Register(d)
	tree := &countingTree{Tree: d.Tree}
	d.Tree = tree
	q := api.ApplyRequest{Lines: []api.Line{{Words: []string{"set", "SMTPSVC/1", "MaxMessageSize", "4000"}}}}
	if _, _, err := api.MbApply.Call(t.Context(), d.Direct(admintest.Admin()), q); err != nil {
		t.Fatal(err)
	}
	if tree.asked != 1 {
		t.Errorf("it asks for rights %d times", tree.asked)
	}
}
