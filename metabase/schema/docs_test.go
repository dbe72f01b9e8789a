// SPDX-License-Identifier: Apache-2.0

package schema

import (
	"fmt"
	"os"
	"strings"
	"testing"
)

// docs/properties.md is made from the table. With RESTANTE_WRITE_DOCS set the
// test writes it, otherwise it compares.
func TestDocs(t *testing.T) {
	const file = "../../docs/properties.md"
	want := reference(IIS())
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
		t.Error("docs/properties.md is not what the table gives; make docs writes it again")
	}
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
		"A property in **bold** is acted on; the others are kept as they are.\n\n" +
		"| property | number | type | default | range | where | meaning |\n|---|---|---|---|---|---|---|\n")
	for p := range s.Props() {
		if p.Syntax == Flag {
			continue
		}
		name := p.Label()
		if p.Acted {
			name = "**" + name + "**"
		}
		limits := p.limits()
		if p.Unit != "" {
			limits = strings.TrimSpace(limits + " " + p.Unit)
		}
		fmt.Fprintf(&b, "| %s | %s | %s | %s | %s | %s | %s |\n",
			name, idText(p), p.TypeText(), p.DefaultText(), limits, where(p), strings.ReplaceAll(p.Sentence, "|", "\\|"))
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
