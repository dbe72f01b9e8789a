// SPDX-License-Identifier: Apache-2.0

package schema

import (
	"fmt"
	"go/format"
	"os"
	"strings"
	"testing"

	"restante/metabase"
)

// TestDocs checks that each file made from the table is current. With
// RESTANTE_WRITE_DOCS set it writes them.
func TestDocs(t *testing.T) {
	for p := range IIS().Props() {
		if p.Acted && p.Syntax != Flag && !strings.HasPrefix(p.Test, "Test") {
			t.Errorf("properties.tsv: %s: name the test that observes its effect instead of %q, such as TestDialogues/FILE or TestProperties", p.Label(), p.Test)
		}
	}
	for file, want := range map[string]string{
		"../../docs/properties.md":            reference(IIS()),
		"../../engine/settings/properties.go": constants(IIS()),
	} {
		if os.Getenv("RESTANTE_WRITE_DOCS") != "" {
			if err := os.WriteFile(file, []byte(want), 0o644); err != nil {
				t.Fatal(err)
			}
		}
		got, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		if strings.ReplaceAll(string(got), "\r\n", "\n") != want {
			t.Errorf("%s does not match the table: run make docs", file)
		}
	}
}

// constants is the Go source that names the ids of the properties with an
// effect. The ids that package metabase itself knows are left out.
func constants(s *Schema) string {
	var b strings.Builder
	b.WriteString("// SPDX-License-Identifier: Apache-2.0\n\n// Code generated from metabase/schema/properties.tsv by make docs. DO NOT EDIT.\n\n" +
		"package settings\n\nimport \"restante/metabase\"\n\n// The properties that have an effect, by the names of the schema.\nconst (\n")
	for p := range s.Props() {
		if p.Acted && p.Syntax != Flag && p.Name != "" && p.ID != metabase.KeyType && p.ID != metabase.AccessList {
			fmt.Fprintf(&b, "\t%s metabase.ID = %s\n", p.Name, idText(p))
		}
	}
	b.WriteString(")\n")
	source, err := format.Source([]byte(b.String()))
	if err != nil {
		panic(err)
	}
	return string(source)
}

func reference(s *Schema) string {
	var b strings.Builder
	b.WriteString("# Classes and properties\n\nMade from the schema by `make docs`. `restante mb schema NAME` says the same for one of them.\n\n## Classes\n\n")
	for c := range s.Classes() {
		fmt.Fprintf(&b, "- **%s**: %s", c.Name, c.Sentence)
		if c.Container() {
			fmt.Fprintf(&b, " Contains %s.", strings.Join(c.Contains, ", "))
		}
		b.WriteString("\n")
	}
	b.WriteString("\n## Properties\n\nThe service and its sites may hold a property unless *where* says otherwise. " +
		"A property in **bold** is acted on, and *effect* names the test that observes it; the others are kept as they are, for export and for " +
		"programs that ask for them, and their meaning says why.\n\n" +
		"| property | number | type | default | range | where | effect | meaning |\n|---|---|---|---|---|---|---|---|\n")
	for p := range s.Props() {
		if p.Syntax == Flag {
			continue
		}
		name := p.Label()
		if p.Acted {
			name = "**" + name + "**"
		}
		effect := "round trip"
		if p.Acted {
			effect = "acted on, " + proof(p)
		}
		limits := p.limits()
		if p.Unit != "" {
			limits = strings.TrimSpace(limits + " " + p.Unit)
		}
		fmt.Fprintf(&b, "| %s | %s | %s | %s | %s | %s | %s | %s |\n",
			name, idText(p), p.TypeText(), p.DefaultText(), limits, where(p), effect, strings.ReplaceAll(p.Sentence, "|", "\\|"))
	}
	b.WriteString("\n## Flags and named values\n")
	for p := range s.Props() {
		if len(p.Flags) == 0 {
			continue
		}
		fmt.Fprintf(&b, "\n### %s\n\n| name | value | in IIS | meaning |\n|---|---|---|---|\n", p.Name)
		for _, f := range p.Flags {
			fmt.Fprintf(&b, "| %s | %s | %s | %s |\n", f.Name, p.number(f.Mask), f.IIS, f.Sentence)
		}
	}
	return b.String()
}

// proof names the test, and the property in it unless the name of a subtest is there.
func proof(p Prop) string {
	if strings.Contains(p.Test, "/") {
		return p.Test
	}
	return p.Test + "/" + p.Label()
}

func idText(p Prop) string {
	if p.ID >= firstBorrowed {
		return fmt.Sprintf("0x%08x", uint32(p.ID))
	}
	return fmt.Sprint(uint32(p.ID))
}

func where(p Prop) string {
	switch c := strings.Join(p.Classes, ", "); c {
	case Service + ", " + Server:
		return ""
	case "*":
		return "every key"
	default:
		return c
	}
}
