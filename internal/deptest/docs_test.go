// SPDX-License-Identifier: Apache-2.0

package deptest

import (
	"fmt"
	"go/build"
	"go/doc"
	"io/fs"
	"maps"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
)

const (
	module  = "restante"
	root    = "../.."
	hacking = root + "/HACKING.md"
)

// platforms are those that are shipped to.
var platforms = []string{"linux", "windows", "darwin"}

// A pkg is one package of the module. Test files do not count.
type pkg struct {
	path     string // below the module's root
	synopsis string
	imports  map[string]bool
}

// packages lists the packages of the module, by path.
func packages(t *testing.T) []pkg {
	t.Helper()
	all := map[string]pkg{}
	err := filepath.WalkDir(root, func(dir string, d fs.DirEntry, err error) error {
		if err != nil || !d.IsDir() {
			return err
		}
		if name := d.Name(); dir != root && (strings.HasPrefix(name, ".") || name == "testdata") {
			return filepath.SkipDir
		}
		for _, goos := range platforms {
			ctx := build.Default
			ctx.GOOS, ctx.CgoEnabled = goos, false
			p, err := ctx.ImportDir(dir, build.ImportComment)
			if err != nil || len(p.GoFiles) == 0 {
				continue // a folder without a package, or without one for this system
			}
			path, _ := filepath.Rel(root, dir)
			one, known := all[path]
			if !known {
				one = pkg{path: filepath.ToSlash(path), imports: map[string]bool{}}
			}
			if p.Doc != "" {
				one.synopsis = new(doc.Package).Synopsis(p.Doc)
			}
			for _, i := range p.Imports {
				one.imports[i] = true
			}
			all[path] = one
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	if len(all) < 30 {
		t.Fatalf("only %d packages in %s", len(all), root)
	}
	return slices.SortedFunc(maps.Values(all), func(a, b pkg) int { return strings.Compare(a.path, b.path) })
}

// TestDocs checks that the table of packages in HACKING.md is made from the
// packages' comments. With RESTANTE_WRITE_DOCS set it writes the table.
func TestDocs(t *testing.T) {
	const begin, end = "<!-- packages: made from the package comments by make docs -->\n", "<!-- end of packages -->\n"
	raw, err := os.ReadFile(hacking)
	if err != nil {
		t.Fatal(err)
	}
	text := strings.ReplaceAll(string(raw), "\r\n", "\n")
	before, rest, ok := strings.Cut(text, begin)
	_, after, closed := strings.Cut(rest, end)
	if !ok || !closed {
		t.Fatalf("HACKING.md lacks the lines %s and %s", strings.TrimSpace(begin), strings.TrimSpace(end))
	}
	want := before + begin + packageTable(t) + end + after
	if os.Getenv("RESTANTE_WRITE_DOCS") != "" {
		if err := os.WriteFile(hacking, []byte(want), 0o644); err != nil {
			t.Fatal(err)
		}
	} else if text != want {
		t.Error("the table of packages in HACKING.md does not match the package comments: run make docs")
	}
}

func packageTable(t *testing.T) string {
	t.Helper()
	var b strings.Builder
	b.WriteString("\n| package | what it does |\n|---|---|\n")
	for _, p := range packages(t) {
		if p.synopsis == "" {
			t.Errorf("%s has no package comment", p.path)
		}
		_, what, ok := strings.Cut(p.synopsis, " ")
		if strings.HasPrefix(p.synopsis, "Package ") && ok {
			_, what, _ = strings.Cut(what, " ")
		}
		fmt.Fprintf(&b, "| `%s` | %s |\n", p.path, strings.ReplaceAll(strings.TrimSuffix(what, "."), "|", "\\|"))
	}
	b.WriteString("\n")
	return b.String()
}

// direct matches a requirement of go.mod that the module itself imports.
var direct = regexp.MustCompile(`(?m)^\t(\S+) v\S+$`)

// manyImporters are the libraries that more than one package imports, with the
// reason.
var manyImporters = map[string]string{
	"github.com/emersion/go-sasl": "its interfaces are go-smtp's: account makes the mechanisms, and those between it and wire pass them on",
	"github.com/yuin/gopher-lua":  "a package for each part of a script's library",
	"golang.org/x/net":            "a package for each of its subjects: auth has the public suffixes, idn internationalized names",
	"golang.org/x/text":           "a package for each of its subjects: key and idn have its normal forms, mbxml and heading its encodings",
	"golang.org/x/sys":            "system calls: each package makes those of its own subject",
	"github.com/urfave/cli/v2":    "the definitions of the commands, and the order of their words",
}

// isTest reports whether a package is for tests alone.
func isTest(path string) bool {
	return strings.HasSuffix(path, "test") || path == "internal/testpeer" || path == "internal/bench" || path == "internal/attack"
}

// TestLibraries checks that each library of go.mod has one importing package in
// the product, and that the table of libraries in HACKING.md names it.
func TestLibraries(t *testing.T) {
	mod, err := os.ReadFile(root + "/go.mod")
	if err != nil {
		t.Fatal(err)
	}
	text, err := os.ReadFile(hacking)
	if err != nil {
		t.Fatal(err)
	}
	all := packages(t)
	var libraries []string
	for _, m := range direct.FindAllStringSubmatch(string(mod), -1) {
		libraries = append(libraries, m[1])
	}
	if len(libraries) < 10 {
		t.Fatalf("go.mod requires %q", libraries)
	}
	for _, lib := range libraries {
		users := importers(all, lib)
		if _, listed := manyImporters[lib]; (len(users) > 1) != listed {
			t.Errorf("%s is imported by %q; listed as a library of several packages: %v", lib, users, listed)
		}
		column := "tests"
		if len(users) > 0 {
			column = "`" + strings.Join(users, "`, `") + "`"
		}
		if row := fmt.Sprintf("| %s | %s | ", shortName(lib), column); !strings.Contains(string(text), "\n"+row) {
			t.Errorf("HACKING.md has no row that begins with %q", row)
		}
	}
	rows := regexp.MustCompile(`(?m)^\| [^|]+ \| (tests|`+"`[^|]+`"+`) \| [^|]+ \|$`).FindAllString(string(text), -1)
	if len(rows) != len(libraries) {
		t.Errorf("HACKING.md has %d rows of libraries, go.mod requires %d", len(rows), len(libraries))
	}
	for _, p := range all {
		for i := range p.imports {
			if first, _, _ := strings.Cut(i, "/"); strings.Contains(first, ".") && !slices.ContainsFunc(libraries, func(lib string) bool { return inModule(i, lib) }) {
				t.Errorf("%s imports %s, which go.mod does not require directly", p.path, i)
			}
		}
	}
}

// importers lists the packages that import a package of lib.
func importers(all []pkg, lib string) (users []string) {
	for _, p := range all {
		if !isTest(p.path) && slices.ContainsFunc(slices.Collect(maps.Keys(p.imports)), func(i string) bool { return inModule(i, lib) }) {
			users = append(users, p.path)
		}
	}
	return users
}

func inModule(path, lib string) bool { return path == lib || strings.HasPrefix(path, lib+"/") }

// shortName is the library's name in HACKING.md: without the host of most, and
// without the major version.
func shortName(lib string) string {
	return regexp.MustCompile(`/v\d+$`).ReplaceAllString(strings.TrimPrefix(lib, "github.com/"), "")
}
