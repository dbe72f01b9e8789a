// SPDX-License-Identifier: Apache-2.0

package sites

import (
	"context"
	"fmt"
	"io"
	"testing"

	"restante/admin"
	"restante/admin/admintest"
	"restante/admin/api"
	"restante/internal/kv"
	"restante/metabase"
)

// Who may change nothing anywhere takes no time of the service by scripts, and
// the log knows that he wanted to.
func TestWhoMayRun(t *testing.T) {
	var refused []metabase.Refusal
	db := kv.NewMem()
	t.Cleanup(func() { db.Close() })
	d, store := admintest.Over(t, db, nil, metabase.Options{
		Admins: []metabase.Principal{"user:boss"},
		Audit:  func(_ context.Context, r metabase.Refusal) { refused = append(refused, r) },
	})
	ran := 0
	Register(d, func(context.Context, admin.Tree, metabase.Batch, api.Script, io.Writer) error {
		ran++
		return nil
	})
	list := func(p metabase.Path, lines ...string) metabase.Op {
		return metabase.Set{Path: p, Property: metabase.Property{ID: metabase.AccessList, Value: metabase.MultiSZ(lines...)}}
	}
	tests := []struct {
		who  metabase.Principal
		acls []metabase.Op
		want bool
	}{
		{"user:boss", nil, true},
		{"user:joe", nil, false}, // without a list everybody reads
		{"user:joe", []metabase.Op{list("/LM", "* read", "user:ann all")}, false},
		{"user:joe", []metabase.Op{list("/LM", "user:joe none")}, false},
		{"user:joe", []metabase.Op{list("/LM", "user:ann all"), list("/LM/SMTPSVC/1/Domain", "user:joe read,write")}, true},
		{"user:joe", []metabase.Op{list("/LM/SMTPSVC/1/Domain", "user:joe read,create")}, true},
		{"user:joe", []metabase.Op{list("/", "* read,write")}, true},
		{"", nil, false}, // nobody
	}
	for _, tt := range tests {
		ops := append([]metabase.Op{
			metabase.Clear{Path: "/", Type: metabase.MultiSZType}, metabase.Clear{Path: "/LM", Type: metabase.MultiSZType},
			metabase.Clear{Path: "/LM/SMTPSVC/1/Domain", Type: metabase.MultiSZType},
		}, tt.acls...)
		if _, err := store.Apply(t.Context(), metabase.Batch{Ops: ops}); err != nil {
			t.Fatal(err)
		}
		who := api.Caller{Origin: metabase.FromCLI}
		if tt.who != "" {
			who.Who = []metabase.Principal{tt.who}
		}
		ran, refused = 0, nil
		var err error
		for _, e := range api.Run.Open(t.Context(), d.Direct(who), api.Script{Name: "x.lua"}) {
			err = e
		}
		if (ran == 1) != tt.want || (err == nil) != tt.want || err != nil && api.AsError(err).Kind != api.KindRefused {
			t.Errorf("%s by %v: ran %d times, %v", tt.who, tt.acls, ran, err)
		}
		told := fmt.Sprint(len(refused) == 1 && refused[0].Actor == tt.who && refused[0].Origin == metabase.FromLua)
		if tt.who != "" && (told == "true") == tt.want {
			t.Errorf("%s by %v: the log was told %v", tt.who, tt.acls, refused)
		}
	}
}
