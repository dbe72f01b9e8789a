// SPDX-License-Identifier: Apache-2.0

package mb

import (
	"strings"
	"testing"

	"restante/internal/control"
	"restante/internal/deptest"
	"restante/internal/desk/desktest"
	"restante/metabase"
)

func TestFind(t *testing.T) {
	on, store := desktest.New(t, nil)
	d := drawer{on}
	has := store.Snapshot().Has
	tests := []struct {
		words string
		path  metabase.Path
		prop  string
		rest  int
		kind  control.Kind
	}{
		{"/LM/SMTPSVC/1 MaxConnections", "/LM/SMTPSVC/1", "MaxConnections", 0, ""},
		{"smtpsvc/1/maxconnections", "/LM/smtpsvc/1", "MaxConnections", 0, ""},
		{"SMTPSVC/1/MaxConnections 5", "/LM/SMTPSVC/1", "MaxConnections", 1, ""},
		{"LM/SMTPSVC/1/1014 5", "/LM/SMTPSVC/1", "MaxConnections", 1, ""},
		{`\\LM\\SMTPSVC\\1 1014`, "/LM/SMTPSVC/1", "MaxConnections", 0, ""},
		{"/Schema/Properties KeyType", "/Schema/Properties", "KeyType", 0, ""},
		{"SMTPSVC/1014 MaxConnections 5", "", "", 0, control.KindNotFound}, // a site that is not there
		{"SMTPSVC/9/MaxConnections", "", "", 0, control.KindNotFound},
		{"SMTPSVC/9 MaxConnections", "", "", 0, control.KindNotFound},
		{"SMTPSVC/1 NoSuch", "", "", 0, control.KindNotFound},
		{"SMTPSVC/1", "", "", 0, control.KindUsage},
		{"", "", "", 0, control.KindUsage},
	}
	for _, tt := range tests {
		got, err := d.find(has, strings.Fields(tt.words))
		if tt.kind != "" {
			if err == nil || control.AsError(err).Kind != tt.kind {
				t.Errorf("find(%q) = %v, want %s", tt.words, err, tt.kind)
			}
			continue
		}
		if err != nil || got.path != tt.path || got.prop.Name != tt.prop || len(got.rest) != tt.rest {
			t.Errorf("find(%q) = %s %s %v, %v", tt.words, got.path, got.prop.Name, got.rest, err)
		}
	}
}

func TestLayers(t *testing.T) {
	deptest.Forbid(t, map[string]string{
		"/internal/desk/sites":  "subjects stand beside each other",
		"/internal/desk/queues": "subjects stand beside each other",
		"/engine/wire":          "a Desk asks sites, it speaks no SMTP",
		"/engine/session":       "a Desk asks sites",
		"/engine/site":          "a Desk sees sites by its own interfaces",
		"/adsi-compat":          "scripts are brought by cmd",
		"/cmd":                  "imports go down only",
		"urfave":                "only cmd reads arguments",
		"badger":                "only internal/kv/badgerkv knows what the store is made of",
	})
}
