// SPDX-License-Identifier: Apache-2.0

package testpeer_test

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"restante/metabase"
	"restante/metabase/schema"
)

// TestWhatNothingActsOnIsTold sets each property without effect by a batch, its dry
// run and a script: each says so.
func TestWhatNothingActsOnIsTold(t *testing.T) {
	t.Parallel()
	s := startService(t)
	var batch, script strings.Builder
	for class, path := range map[string]string{schema.VirtualDir: "SMTPSVC/1/Root", schema.RoutingSource: "SMTPSVC/1/RoutingSources", schema.Info: "SMTPSVC/Info", schema.Domain: "SMTPSVC/1/Domain/x.test"} {
		if code, _, _ := tryCommand(t, s, "", "mb", "ls", path); code != 0 {
			runCommand(t, s, "", "mb", "add", path, "--class", class)
		}
	}
	puts := map[string]string{} // lines of the script, by path
	var told []string           // PATH/PROPERTY of each
	for p := range schema.IIS().Props() {
		if p.Acted || p.Syntax == schema.Flag || strings.HasPrefix(p.Classes[0], "IIsSchema") {
			continue
		}
		path, value := unactedAt(t, p), unactedValue(p)
		told = append(told, path+"/"+p.Label())
		fmt.Fprintf(&batch, "set %s %s %q\n", path, p.Label(), value)
		puts[path] += fmt.Sprintf("k:Put(%q, %s)\n", p.Label(), luaValue(p, value))
	}
	for path, lines := range puts {
		fmt.Fprintf(&script, "k = GetObject(%q)\n%sk:SetInfo()\n", "IIS://LocalHost"+strings.TrimPrefix(path, "/LM"), lines)
	}
	if len(told) < 50 {
		t.Fatalf("only %d properties are without effect", len(told))
	}
	lua := filepath.Join(t.TempDir(), "all.lua")
	if err := os.WriteFile(lua, []byte(script.String()), 0o600); err != nil {
		t.Fatal(err)
	}
	for _, way := range []struct {
		name string
		args []string
	}{
		{"the dry run of a batch", []string{"mb", "apply", "--dry-run"}}, {"a batch", []string{"mb", "apply"}}, {"a script", []string{"run", lua}},
	} {
		code, _, errs := tryCommand(t, s, batch.String(), way.args...)
		if code != 0 {
			t.Errorf("%s: exit %d: %s", way.name, code, errs)
		}
		for _, one := range told {
			if !strings.Contains(errs, one+": kept; nothing acts on it") {
				t.Errorf("%s does not say that nothing acts on %s", way.name, one)
			}
		}
	}
}

// unactedAt is a key that may hold p.
func unactedAt(t *testing.T, p schema.Prop) string {
	t.Helper()
	for _, at := range []struct{ class, path string }{
		{schema.Server, "/LM/SMTPSVC/1"}, {schema.Service, "/LM/SMTPSVC"}, {schema.Computer, "/LM"}, {schema.Info, "/LM/SMTPSVC/Info"},
		{schema.RoutingSource, "/LM/SMTPSVC/1/RoutingSources"}, {schema.VirtualDir, "/LM/SMTPSVC/1/Root"}, {schema.Domain, "/LM/SMTPSVC/1/Domain/x.test"},
	} {
		if p.In(at.class) {
			return at.path
		}
	}
	t.Fatalf("no key may hold %s", p.Label())
	return ""
}

// unactedValue is a value of p that is not its default.
func unactedValue(p schema.Prop) string {
	switch {
	case p.Type == metabase.BinaryType:
		return "0a0b"
	case p.Type != metabase.DWordType:
		return "x.test"
	case p.Syntax == schema.Boolean && p.Default.DWord() == 0:
		return "true"
	case p.Syntax == schema.Boolean:
		return "false"
	}
	for v := max(p.Min, 0); ; v++ {
		if p.Default.DWord() != uint32(v) || p.Default.IsZero() && v > 0 {
			return fmt.Sprint(v)
		}
	}
}

func luaValue(p schema.Prop, value string) string {
	if p.Type == metabase.DWordType {
		return value
	}
	return fmt.Sprintf("%q", value)
}
