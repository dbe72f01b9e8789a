// SPDX-License-Identifier: Apache-2.0

package settings

import (
	"go/ast"
	"go/parser"
	"go/token"
	"os"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"testing"

	"restante/metabase/schema"
)

// Each property that is acted on names a test that observes its effect on a running
// service, and that test exists and has the property's name: a dialogue or a script of
// commands sets it, and so does the function of a test or one that it calls.
func TestActedPropertiesAreProved(t *testing.T) {
	tests := readTests(t, "..", "../../internal/testpeer", "../../cmd/restante", "../site/ports")
	for prop := range schema.IIS().Props() {
		if !prop.Acted || prop.Syntax == schema.Flag {
			continue
		}
		name, sub, _ := strings.Cut(prop.Test, "/")
		text, ok := tests[name]
		switch name {
		case "TestDialogues":
			text, ok = readText("../../testdata/dialogues/" + sub + ".txt")
		case "TestCommands":
			text, ok = readText("../../cmd/restante/testdata/script/" + sub + ".txtar")
		}
		switch {
		case !ok:
			t.Errorf("%s: there is no %s that runs a service", prop.Label(), prop.Test)
		case !regexp.MustCompile(`\b` + prop.Label() + `\b`).MatchString(text):
			t.Errorf("%s: %s does not set it", prop.Label(), prop.Test)
		}
	}
}

func readText(file string) (string, bool) {
	text, err := os.ReadFile(file)
	return string(text), err == nil
}

// readTests gives the texts in quotes of each test in some folders, with those of the
// functions of the folder that it calls and of the tables that it reads.
func readTests(t *testing.T, folders ...string) map[string]string {
	t.Helper()
	tests := map[string]string{}
	for _, dir := range folders {
		files, err := filepath.Glob(filepath.Join(dir, "*_test.go"))
		if err != nil {
			t.Fatal(err)
		}
		own, names := map[string]string{}, map[string][]string{}
		for _, file := range files {
			f, err := parser.ParseFile(token.NewFileSet(), file, nil, parser.SkipObjectResolution)
			if err != nil {
				t.Fatal(err)
			}
			for _, d := range f.Decls {
				for _, name := range declared(d) {
					own[name], names[name] = texts(d)
				}
			}
		}
		for name, text := range own {
			if !strings.HasPrefix(name, "Test") {
				continue
			}
			for _, other := range names[name] {
				text += "\n" + own[other]
			}
			tests[name] = text
		}
	}
	return tests
}

func declared(d ast.Decl) (names []string) {
	switch d := d.(type) {
	case *ast.FuncDecl:
		return []string{d.Name.Name}
	case *ast.GenDecl:
		for _, s := range d.Specs {
			if v, ok := s.(*ast.ValueSpec); ok {
				for _, n := range v.Names {
					names = append(names, n.Name)
				}
			}
		}
	}
	return names
}

// texts gives the string literals of a declaration and the names in it.
func texts(d ast.Decl) (text string, names []string) {
	ast.Inspect(d, func(n ast.Node) bool {
		switch n := n.(type) {
		case *ast.BasicLit:
			if s, err := strconv.Unquote(n.Value); err == nil {
				text += s + "\n"
			}
		case *ast.Ident:
			names = append(names, n.Name)
		}
		return true
	})
	return text, names
}
