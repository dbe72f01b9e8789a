// SPDX-License-Identifier: Apache-2.0

package tree

import (
	"fmt"
	"go/ast"
	"go/parser"
	"go/token"
	"maps"
	"math"
	"path/filepath"
	"reflect"
	"slices"
	"strings"
	"testing"
	"time"

	"restante/admin/admintest"
	"restante/admin/api"
	"restante/internal/kv"
	"restante/metabase"
)

func TestReadCall(t *testing.T) {
	tests := []struct {
		in   string
		args string
		opts map[string]string
		err  string // a part of the reason
	}{
		{"set P Q V", "P Q V", nil, ""},
		{"SET P Q -1 -x", "P Q -1 -x", nil, ""}, // one hyphen begins no option
		{"set --type DWORD P Q V", "P Q V", map[string]string{"type": "DWORD"}, ""},
		{"set P Q --type=DWORD V --user-type 2", "P Q V", map[string]string{"type": "DWORD", "user-type": "2"}, ""},
		{"set P Q -- --type DWORD -- x", "P Q --type DWORD -- x", nil, ""},
		{"set P Q --type --", "P Q", map[string]string{"type": "--"}, ""},
		{"rm -r P", "P", map[string]string{"recursive": ""}, ""},
		{"cp --overwrite A B", "A B", map[string]string{"overwrite": ""}, ""},

		{"set P Q --type", "P Q", nil, "--type needs a value"},
		{"set P Q --loud V", "P Q V", nil, "set has no option --loud; a value that begins with -- follows the word --"},
		{"set P Q V --type A --type B", "P Q V", map[string]string{"type": "A"}, "--type is given twice"},
		{"rm P --children=1", "P", nil, "--children takes no value"},
		{"unset P Q --type DWORD", "P Q DWORD", nil, "unset has no option --type"},
		{"frob P", "", nil, `invalid operation "frob": use set, `},
	}
	for _, tt := range tests {
		c, err := readCall(api.Line{Words: strings.Fields(tt.in)})
		if got := strings.Join(c.args, " "); got != tt.args || !maps.Equal(c.opts, tt.opts) && len(c.opts)+len(tt.opts) > 0 {
			t.Errorf("%q: arguments %q, options %v; want %q, %v", tt.in, got, c.opts, tt.args, tt.opts)
		}
		if (err != nil) != (tt.err != "") || err != nil && !strings.Contains(err.Error(), tt.err) {
			t.Errorf("%q: %v, want %q", tt.in, err, tt.err)
		}
	}
}

// TestOperations checks that every type of operation in package metabase has a
// row with all columns. Replace has no words: mb restore makes it.
func TestOperations(t *testing.T) {
	types := map[string]bool{"Replace": true}
	for _, o := range operations {
		if o.name == "" || o.usage == "" || o.parse == nil || len(o.makes) == 0 {
			t.Errorf("the row %q lacks a column", o.name)
		}
		if !strings.Contains(operationNames(), o.name) {
			t.Errorf("%s is not named to users", o.name)
		}
		for _, op := range o.makes {
			types[reflect.TypeOf(op).Name()] = true
		}
	}
	files, err := filepath.Glob("../../metabase/*.go")
	if err != nil {
		t.Fatal(err)
	}
	found := 0
	for _, name := range files {
		file, err := parser.ParseFile(token.NewFileSet(), name, nil, 0)
		if err != nil {
			t.Fatal(err)
		}
		for _, decl := range file.Decls {
			f, ok := decl.(*ast.FuncDecl)
			if !ok || f.Recv == nil || f.Name.Name != "authorize" {
				continue
			}
			of := f.Recv.List[0].Type
			if star, ok := of.(*ast.StarExpr); ok {
				of = star.X
			}
			if found++; !types[of.(*ast.Ident).Name] {
				t.Errorf("no row makes a metabase.%s", of.(*ast.Ident).Name)
			}
		}
	}
	if found != len(types) {
		t.Errorf("found %d types of operations, the rows make %d", found, len(types))
	}
}

// TestParsedOperations checks that each row makes what it says of a line.
func TestParsedOperations(t *testing.T) {
	d, who := setUp(t, kv.NewMem())
	lines := map[string][]string{
		"set": {"SMTPSVC/1 HopCount 3", "SMTPSVC/1 AccessSSL true"}, "unset": {"SMTPSVC/1 HopCount"}, "lock": {"SMTPSVC/1 HopCount"},
		"unlock": {"SMTPSVC/1/HopCount"}, "add": {"SMTPSVC/1/Domain/a.example"}, "rm": {"SMTPSVC/1 -r", "SMTPSVC/1 --children"},
		"cp": {"SMTPSVC/1 SMTPSVC/2"}, "mv": {"SMTPSVC/1 SMTPSVC/2"}, "clear": {"SMTPSVC/1"}, "cpdata": {"SMTPSVC/1 SMTPSVC"}, "touch": {"SMTPSVC/1"},
	}
	for _, o := range operations {
		var got, want []string
		made := []api.Line{}
		for _, args := range lines[o.name] {
			made = append(made, api.Line{Words: strings.Fields(o.name + " " + args)})
		}
		if o.name == "set" {
			hops := api.PropertyOf(metabase.Property{ID: 36886, Value: metabase.DWord(3)})
			made = append(made, api.Line{Words: []string{"set", "SMTPSVC/1"}, Property: &hops, Amends: true})
		}
		for _, args := range made {
			p, err := d.plan(t.Context(), who, []api.Line{args})
			if err != nil || len(p.ops) != 1 {
				t.Fatalf("%s %v: %v, %v", o.name, args, p.ops, err)
			}
			got = append(got, fmt.Sprintf("%T", p.ops[0]))
		}
		for _, op := range o.makes {
			want = append(want, fmt.Sprintf("%T", op))
		}
		if !slices.Equal(got, want) {
			t.Errorf("%s makes %v, want %v", o.name, got, want)
		}
	}
}

// What an earlier line makes is there for a later one, whatever the case and the
// octets of its name: K is the sign of Kelvin, of three octets, and a k without
// case.
func TestLaterLinesSeeWhatEarlierOnesMake(t *testing.T) {
	for _, tt := range []struct {
		lines []string
		err   string
	}{
		{[]string{"add SMTPSVC/1/Domain/kelvin.test", "set smtpsvc/1/domain/\u212aELVIN.test RouteAction 512"}, ""},
		{[]string{"add SMTPSVC/1/Domain/\u212aelvin.test", "set SMTPSVC/1/Domain/kelvin.test RouteAction 512"}, ""},
		{[]string{"cp SMTPSVC/1 SMTPSVC/2", "set SMTPSVC/2/Domain/hub.example 70000 x"}, ""},
		{[]string{"cp SMTPSVC/1/Domain/hub.example SMTPSVC/1/Domain/\u212a.test", "set SMTPSVC/1/Domain/k.test 70000 x"}, ""},
		{[]string{"cp SMTPSVC/1/Domain/hub.example SMTPSVC/1/Domain/\u212a.test", "set SMTPSVC/1/Domain/k.test/x 70000 x"}, "not found"},
	} {
		d, who := setUp(t, kv.NewMem())
		var q []api.Line
		for i, line := range tt.lines {
			q = append(q, api.Line{Number: i + 1, Words: strings.Fields(line)})
		}
		_, err := d.plan(t.Context(), who, q)
		if got := fmt.Sprint(err); tt.err == "" && err != nil || !strings.Contains(got, tt.err) {
			t.Errorf("%q: %v, want %q", tt.lines, err, tt.err)
		}
	}
}

func TestConfirmTime(t *testing.T) {
	for in, want := range map[float64]time.Duration{
		300: 5 * time.Minute, 0.001: time.Millisecond, 10 * 365 * 86400: 10 * 365 * 24 * time.Hour,
		0: 0, -1: 0, 1e-10: 0, 1e300: 0, 10*365*86400 + 1: 0, math.Inf(1): 0, math.Inf(-1): 0, math.NaN(): 0, // refused
	} {
		who := api.Caller{Terms: api.Terms{Confirm: &in}}
		err := who.Check()
		if (err != nil) != (want == 0) || err != nil && api.AsError(err).Kind != api.KindUsage || err == nil && who.Batch().Confirm != want {
			t.Errorf("%v seconds to confirm: %v, %v; want %v", in, who.Batch().Confirm, err, want)
		}
	}
	if err := (api.Caller{}).Check(); err != nil {
		t.Errorf("without a time: %v", err)
	}
}

// What is given explicitly over the socket is taken for what it is.
func TestConfirmOfNothingKeepsNothing(t *testing.T) {
	d, store := admintest.New(t, nil)
	Register(d)
	before := store.Snapshot().Rev()
	for _, seconds := range []float64{0, -5, 1e-12, 1e12} {
		q := api.ApplyRequest{Lines: []api.Line{{Words: []string{"set", "SMTPSVC/1", "HopCount", "33"}}}}
		_, _, err := api.MbApply.Call(api.WithTerms(t.Context(), api.Terms{Confirm: &seconds}), d.Direct(admintest.Admin()), q)
		if err == nil || api.AsError(err).Kind != api.KindUsage || store.Snapshot().Rev() != before {
			t.Errorf("confirm %v: %v, revision %d", seconds, err, store.Snapshot().Rev())
		}
	}
}

func TestLineOfAProblem(t *testing.T) {
	item := func(path metabase.Path, id metabase.ID) metabase.Op {
		return metabase.Set{Path: path, Property: metabase.Property{ID: id}}
	}
	b := planned{}
	for i, op := range []metabase.Op{
		item("/LM/S", 1),                            // 1
		item("/LM/S/1", 1),                          // 2
		item("/lm/s/1", 1),                          // 3: the later one of the same
		metabase.AddKey{Path: "/LM/S/2"},            // 4
		item("/LM/S/2", 3),                          // 5
		metabase.Copy{From: "/LM/S/1", To: "/LM/C"}, // 6
		metabase.Unset{Path: "/LM/S/2", ID: 4},      // 7
		metabase.Remove{Path: "/LM/R"},              // 8
		item("/LM/O", 9),                            // 9
	} {
		b.add(op, i+1)
	}
	tests := []struct {
		path metabase.Path
		id   metabase.ID
		want int
	}{
		{"/LM/S/1", 1, 3},
		{"/LM/S", 1, 1},
		{"/LM/S/3", 1, 1},    // inherits it
		{"/LM/S/2", 3, 5},    // exactly, although the key is newer
		{"/LM/S/2", 1002, 4}, // the key's class
		{"/LM/S/2", 4, 7},
		{"/LM/C/x", 1, 6},
		{"/LM/R/x", 0, 8},
		{"/LM/O/1", 8, 9}, // nothing else bears on it
		{"/LM/S/1", 2, 0}, // several do
		{"/LM/T", 5, 0},
		{"/", 5, 0},
	}
	for _, tt := range tests {
		if got := b.line(metabase.Problem{Path: tt.path, ID: tt.id}); got != tt.want {
			t.Errorf("%s %d comes from line %d, want %d", tt.path, tt.id, got, tt.want)
		}
	}
}

// Keys with the same data have the same number, and lists of keys have it only
// where it is asked for.
func TestDataSets(t *testing.T) {
	d, who := setUp(t, kv.NewMem())
	for _, words := range []string{"add SMTPSVC/1/Domain/a.example", "add SMTPSVC/1/Domain/b.example", "set SMTPSVC/1/Domain/hub.example RouteUserName joe"} {
		if _, err := d.apply(t.Context(), who, api.ApplyRequest{Lines: []api.Line{{Words: strings.Fields(words)}}}); err != nil {
			t.Fatal(err)
		}
	}
	sets := map[string]uint64{}
	keys, err := d.list(t.Context(), who, api.ListRequest{Path: "SMTPSVC/1/Domain", Data: true})
	for _, k := range keys {
		sets[k.Name] = k.DataSet
	}
	if err != nil || sets["a.example"] == 0 || sets["a.example"] != sets["b.example"] || sets["a.example"] == sets["hub.example"] {
		t.Errorf("%v, %v", sets, err)
	}
	if keys, err := d.list(t.Context(), who, api.ListRequest{Path: "SMTPSVC/1/Domain"}); err != nil || keys[0].DataSet != 0 {
		t.Errorf("%v, %v", keys, err)
	}
}
