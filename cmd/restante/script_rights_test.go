// SPDX-License-Identifier: Apache-2.0

package main

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"restante/admin/admintest"
	"restante/admin/adsitree"
	"restante/admin/api"
	"restante/admin/tree"
	"restante/adsi-compat/luahost"
	"restante/adsi-compat/luahost/system"
	"restante/metabase"
)

// TestScriptsHaveTheirCallersRights runs scripts with the rights of their callers.
func TestScriptsHaveTheirCallersRights(t *testing.T) {
	d, store := admintest.New(t, nil)
	tree.Register(d)
	list := func(p metabase.Path, lines ...string) metabase.Op {
		return metabase.Set{Path: p, Property: metabase.Property{ID: metabase.AccessList, Value: metabase.MultiSZ(lines...)}}
	}
	secret := metabase.Set{Path: "/LM/SMTPSVC", Property: metabase.Property{ID: 61600, Value: metabase.String("of the service")}}
	_, err := store.Apply(t.Context(), metabase.Batch{Ops: []metabase.Op{
		secret, list("/", "user:watch read"), list("/LM/SMTPSVC/1", "group:ops read,write"),
	}})
	if err != nil {
		t.Fatal(err)
	}
	const read = `print(GetObject("IIS://LocalHost/SMTPSVC"):Get("61600"))`
	const write = `local o = GetObject("IIS://LocalHost/SMTPSVC/1"); o.MaxRecipients = 50; o:SetInfo(); print(o.MaxRecipients)`
	tests := []struct {
		who          metabase.Principal
		source, want string // of what is printed or of the error
	}{
		{"user:boss", read, "of the service\n"},
		{"user:joe", read, "IIS://LocalHost/SMTPSVC: /LM/SMTPSVC: denied (0x80070005)"},
		{"user:watch", read, "of the service\n"},
		{"user:watch", `local o = GetObject("IIS://LocalHost/SMTPSVC"); o.HopCount = 9; o:SetInfo()`, "HopCount: denied: the right to write is missing (0x80070005)"},
		{"group:ops", read, "IIS://LocalHost/SMTPSVC: /LM/SMTPSVC: denied (0x80070005)"},
		{"group:ops", `GetObject("IIS://LocalHost/SMTPSVC/9")`, "IIS://LocalHost/SMTPSVC/9: /LM/SMTPSVC/9: denied (0x80070005)"},
		{"group:ops", write, "50\n"},
		{"group:ops", `local o = GetObject("IIS://LocalHost/SMTPSVC/1"); o.AccessList = {"* all"}; o:SetInfo()`, "AccessList: denied: the right to control is missing"},
	}
	for _, tt := range tests {
		who := api.Caller{Who: []metabase.Principal{"user:somebody", tt.who}, Origin: metabase.FromCLI}
		var out strings.Builder
		err := runScript(t.Context(), adsitree.New(d.Direct(who), api.Terms{}), luahost.Script{Name: "x.lua", Source: tt.source, Streams: system.Streams{Out: &out}}, time.Minute)
		if err != nil {
			fmt.Fprint(&out, err)
		}
		got := out.String()
		if !strings.Contains(got, tt.want) {
			t.Errorf("%s runs %s: %q, want %q", tt.who, tt.source, got, tt.want)
		}
	}
}
