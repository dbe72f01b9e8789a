// SPDX-License-Identifier: Apache-2.0

package adsi

import (
	"os"
	"testing"

	"restante/internal/deptest"
)

func TestLayers(t *testing.T) {
	deptest.Forbid(t, map[string]string{
		"/engine":      "a script sees the tree; the engine follows it",
		"/admin":       "imports go down only",
		"/internal/kv": "objects are made of snapshots and batches",
		"/cmd":         "imports go down only",
		"gopher-lua":   "only luahost runs Lua",
	})
}

func TestParsePath(t *testing.T) {
	host, err := os.Hostname()
	if err != nil {
		t.Fatal(err)
	}
	tests := []struct{ in, want string }{
		{"IIS://LocalHost/SMTPSVC/1", "/LM/SMTPSVC/1"},
		{"iis://localhost/smtpsvc/", "/LM/smtpsvc"},
		{"IIS://LocalHost", "/LM"},
		{"IIS://./SMTPSVC", "/LM/SMTPSVC"},
		{"IIS://127.0.0.1/SMTPSVC", "/LM/SMTPSVC"},
		{"IIS://[::1]/SMTPSVC", "/LM/SMTPSVC"},
		{"IIS://" + host + "/SMTPSVC", "/LM/SMTPSVC"},
		{"IIS://192.0.2.1/SMTPSVC", ""},
		{"IIS:///SMTPSVC", ""},
		{"IIS://LocalHost/Schema/RouteAction", "/Schema/RouteAction"},
		{"IIS:/LocalHost", ""},
		{"IIS://", ""},
		{"IIS://no-such-host.invalid/SMTPSVC", ""},
	}
	for _, tt := range tests {
		got, err := parsePath(t.Context(), tt.in)
		if string(got) != tt.want || (err == nil) != (tt.want != "") {
			t.Errorf("parsePath(%q) = %q, %v; want %q", tt.in, got, err, tt.want)
		}
		if err == nil && adsPath(got) == "" {
			t.Errorf("%q has no way back", got)
		}
	}
}
