// SPDX-License-Identifier: Apache-2.0

package admin_test

import (
	"fmt"
	"slices"
	"testing"

	"restante/admin/admintest"
	"restante/admin/api"
	"restante/admin/tree"
	"restante/internal/kv"
	"restante/metabase"
)

// TestSetAsksForItsRightOnce counts what one mb set asks of the access lists.
func TestSetAsksForItsRightOnce(t *testing.T) {
	var asked []string
	db := kv.NewMem()
	defer db.Close()
	d, _ := admintest.Over(t, db, nil, metabase.Options{
		Admins: []metabase.Principal{"user:boss"},
		OnAsk:  func(p metabase.Path, r metabase.Right) { asked = append(asked, fmt.Sprintf("%s at %s", r, p)) },
	})
	tree.Register(d)
	list := lines("set SMTPSVC/1 AccessList 'user:joe read,write'")
	if _, _, err := api.MbApply.Call(t.Context(), d.Direct(admintest.Admin()), list); err != nil {
		t.Fatal(err)
	}
	asked = nil
	if _, _, err := api.MbApply.Call(t.Context(), d.Direct(as("user:joe")), set("SMTPSVC/1", "MaxRecipients", "7")); err != nil {
		t.Fatal(err)
	}
	if want := []string{"write at /LM/SMTPSVC/1"}; !slices.Equal(asked, want) {
		t.Errorf("asked for %v, want %v", asked, want)
	}
}
