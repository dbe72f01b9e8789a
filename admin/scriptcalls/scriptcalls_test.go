// SPDX-License-Identifier: Apache-2.0

package scriptcalls

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"restante/admin/admintest"
	"restante/admin/api"
	"restante/admin/queues"
	"restante/admin/sites"
	"restante/admin/tree"
	"restante/internal/deptest"
	"restante/metabase"
)

func TestLayers(t *testing.T) {
	deptest.Forbid(t, map[string]string{
		"/adsi-compat": "a request is JSON, whatever the language",
		"/engine":      "what it needs comes by calls",
		"/admin/tree":  "what it needs comes by calls",
		"/cmd":         "imports go down only",
	})
}

// A runner notes what is applied.
type runner struct {
	dry, open bool
	lines     []string
}

func (r *runner) DryRun() bool { return r.dry }
func (r *runner) OwnChange() error {
	if r.open {
		return errors.New("is in a transaction")
	}
	return nil
}
func (r *runner) ApplyLines(_ context.Context, lines []api.Line) (api.Applied, error) {
	for _, l := range lines {
		r.lines = append(r.lines, strings.Join(l.Words, " "))
	}
	return api.Applied{}, nil
}

// What changes something is applied, tried or refused, by how the script runs.
func TestEffects(t *testing.T) {
	d, store := admintest.New(t, nil)
	tree.Register(d)
	conn := d.Direct(api.Caller{Who: []metabase.Principal{"user:boss"}})
	set := metabase.Set{Path: "/LM/SMTPSVC/1", Property: metabase.Property{ID: 61600, Value: metabase.DWord(1)}}
	before, err := store.Apply(t.Context(), metabase.Batch{Ops: []metabase.Op{set}, Origin: metabase.FromSystem})
	if err != nil {
		t.Fatal(err)
	}
	revert := fmt.Sprintf(`{"rev":%d,"path":"/"`, before)
	tests := []struct {
		name, request string
		dry, open     bool
		want          string // in the answer, a line or the error
	}{
		{"metabase.set", `{"words":["a","b","1"]}`, true, true, "set a b 1"},
		{"metabase.apply", `{"lines":[{"words":["rm","a"]}]}`, false, false, "rm a"},
		{"metabase.revert", revert + `}`, true, true, `"dry_run":true`},
		{"metabase.revert", revert + `}`, false, true, "metabase revert: is in a transaction (failed)"},
		{"metabase.revert", revert + `,"dry_run":true}`, false, true, `"dry_run":true`},
		{"metabase.backup", `{"name":"x"}`, true, false, "metabase backup: cannot be tried: it has no dry run (failed)"},
		{"metabase.backup", `{"nam":"x"}`, false, false, "metabase backup: there is no field nam: there are name, password (failed)"},
		{"metabase.get", `{"words":["/LM/SMTPSVC/1","MaxRecipients"]}`, true, true, `"value":100`},
		{"metabase.get", `{"words":7}`, false, false, "metabase get: words: a list is wanted, not a number (failed)"},
		{"metabase.export", `{"path":"/LM/SMTPSVC/1"}`, false, false, `"xml":"\u003c?xml`},
		{"site.start", `{"site":1,"command":"stop"}`, false, false, "site start: there is no field command: there are site (failed)"},
		{"site.rename", `{"site":1,"bind":["127.0.0.1:0"]}`, false, false, "site rename: there is no field bind: there are site, name (failed)"},
		{"site.bind", `{"site":1,"name":"x"}`, false, false, "site bind: there is no field name: there are site, bind (failed)"},
		{"account.delete", `{"name":"x","password":"y"}`, false, false, "account delete: there is no field password: there are name (failed)"},
		{"account.add", `{"name":"x","change":true}`, false, false, "account add: there is no field change: there are name, password, cram_md5 (failed)"},
		{"metabase.ls", `[]`, false, false, "metabase ls: the fields of a request have names (failed)"},
	}
	for _, tt := range tests {
		r := &runner{dry: tt.dry, open: tt.open}
		answer, err := find(t, tt.name).Call(t.Context(), conn, r, []byte(tt.request))
		got := string(answer) + strings.Join(r.lines, "; ")
		if err != nil {
			got = err.Error()
		}
		if !strings.Contains(got, tt.want) {
			t.Errorf("%s %s: %.200s, want %s", tt.name, tt.request, got, tt.want)
		}
	}
	if rev := store.Snapshot().Rev(); rev != before {
		t.Errorf("revision %d, was %d", rev, before)
	}
}

func find(t *testing.T, path string) Function {
	t.Helper()
	for _, f := range Functions() {
		if f.Path() == path {
			return f
		}
	}
	t.Fatalf("there is no %s", path)
	return Function{}
}

// A method is the conn that notes the last method of a call.
type method struct {
	api.Conn
	name string
}

func (m *method) Call(_ context.Context, name string, _ []byte) (json.RawMessage, error) {
	m.name = name
	return json.RawMessage("{}"), nil
}

// Each function that only reads either reads the tree, so that it shows the changes of a
// transaction, or something else.
func TestReads(t *testing.T) {
	var others []string
	for _, f := range Functions() {
		var m method
		if f.effect != reads {
			continue
		}
		if _, err := f.Call(t.Context(), &m, &runner{}, []byte(`{}`)); m.name == "" {
			t.Fatal(err)
		}
		if !slices.Contains(api.TreeReads, m.name) {
			others = append(others, f.Path())
		}
	}
	const want = "metabase.schema metabase.log metabase.diff metabase.backups metabase.verify site.sessions" +
		" turn.history queue.list queue.messages queue.show queue.trace service.status service.explain_message"
	if got := strings.Join(others, " "); got != want {
		t.Errorf("these do not read the tree: %s\nwant %s", got, want)
	}
}

// In a sandbox a request that names a folder of the caller's is refused. A new function
// with a field of such a name must say in the table that it is one.
func TestSandbox(t *testing.T) {
	d, _ := admintest.New(t, nil)
	sites.Register(d)
	queues.Register(d)
	conn := d.Direct(admintest.Admin())
	refused := []string{}
	for _, f := range Functions() {
		f.Sandbox = true
		for _, field := range f.Fields {
			if !slices.Contains([]string{"dir", "folder", "file", "export", "path"}, field) || f.Module == "metabase" || f.Path() == "site.create" {
				continue
			}
			dir := filepath.Join(t.TempDir(), "out")
			_, err := f.Call(t.Context(), conn, &runner{}, fmt.Appendf(nil, `{"site":2,%q:%q}`, field, dir))
			if want := f.Module + " " + f.Name + ": " + field + ": --sandbox keeps the script from folders (failed)"; err == nil || err.Error() != want {
				t.Errorf("%s: %v, want %s", f.Path(), err, want)
			}
			if _, err := os.Stat(dir); err == nil {
				t.Errorf("%s has made the folder", f.Path())
			}
			refused = append(refused, f.Path())
		}
	}
	if got := strings.Join(refused, " "); got != "site.delete queue.export queue.import" {
		t.Errorf("functions with a folder: %s", got)
	}
	_, err := find(t, "site.delete").Call(t.Context(), conn, &runner{}, []byte(`{"site":9,"discard":true}`))
	if err == nil || strings.Contains(err.Error(), "sandbox") {
		t.Errorf("without a folder: %v", err)
	}
}
