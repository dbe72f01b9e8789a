// SPDX-License-Identifier: Apache-2.0

package mbxml

import (
	"fmt"
	"slices"
	"strings"
	"testing"

	"restante/metabase"
)

// TestTwoElementsOfAKey has what a key inherits in an element of its own, as IIS
// exports it, and a key whose properties are parted in two.
func TestTwoElementsOfAKey(t *testing.T) {
	const head, tail = "<configuration><MBProperty>\n", "\n</MBProperty></configuration>"
	tests := []struct{ what, in, set, said string }{
		{"inherited before and beside", `<IIsInheritedProperties Location="inherited:/LM/SmtpSvc/1" Comment="above" AutoStart="1"/>` + "\n" +
			`<IIsSmtpServer Location="/LM/SmtpSvc/1" Comment="own"/>`, "AutoStart=1 Comment=own", "1 property that it inherited is stored at it"},
		{"inherited alone", `<IIsInheritedProperties Location="Inherited:/LM/SmtpSvc/1" Comment="above"/>`, "Comment=above", "1 property that it inherited is"},
		{"said above", `<IIsSmtpService Location="/LM/SmtpSvc" Comment="above"/>` + "\n" +
			`<IIsSmtpServer Location="/LM/SmtpSvc/1"/>` + "\n" + `<IIsInheritedProperties Location="inherited:/LM/SmtpSvc/1" Comment="above"/>`, "", ""},
		{"twice", `<IIsSmtpServer Location="/LM/SmtpSvc/1" Comment="one"/>` + "\n" + `<IIsSmtpServer Location="/lm/smtpsvc/1" Comment="one" AutoStart="1"/>`,
			"AutoStart=1 Comment=one", ""},
		{"two things", `<IIsSmtpServer Location="/LM/SmtpSvc/1" Comment="one"/>` + "\n" + `<IIsSmtpServer Location="/lm/smtpsvc/1" Comment="two"/>`,
			"Comment=one", "line 3: /lm/smtpsvc/1: Comment: line 2 has another value of it already"},
	}
	for _, tt := range tests {
		f, err := ReadPart(strings.NewReader(head+tt.in+tail), Reading{Part: service0})
		if err != nil {
			t.Fatal(tt.what, err)
		}
		ops, report, err := Plan(f, metabase.Snapshot{}, props, Options{Part: service0, Merge: true})
		said := fmt.Sprint(report.Remarks, err)
		if err != nil && !strings.Contains(err.Error(), "another value") {
			t.Fatal(tt.what, err)
		}
		var set []string
		for _, op := range ops {
			if s, ok := op.(metabase.Set); ok && s.Path.Equal(service0.Join("1")) {
				p, _ := props.ByID(s.Property.ID)
				set = append(set, p.Name+"="+fmt.Sprint(s.Property.Value))
			}
		}
		got := strings.ReplaceAll(strings.Join(slices.Sorted(slices.Values(set)), " "), `"`, "")
		if got != tt.set || !strings.Contains(said, tt.said) {
			t.Errorf("%s: stores %q, says %v; want %q, %q", tt.what, got, said, tt.set, tt.said)
		}
	}
}

func TestFragment(t *testing.T) {
	const text = "<IIsSmtpServer Location=\"/LM/SmtpSvc/1\" Comment=\"x\"/>\n<IIsSmtpServer Location=\"/LM/SmtpSvc/2\">\n</IIsSmtpServer>"
	_, err := Read(strings.NewReader(text))
	if err == nil || !strings.Contains(err.Error(), "<configuration><MBProperty>") || !strings.Contains(err.Error(), "--fragment") {
		t.Errorf("without a word: %v", err)
	}
	f, err := ReadPart(strings.NewReader(text), Reading{Fragment: true})
	if err != nil || len(f.Keys) != 2 || len(f.Keys[0].Items) != 1 || f.Keys[1].Line != 2 {
		t.Errorf("%+v, %v", f, err)
	}
	whole := "<configuration><MBProperty>" + text + "</MBProperty></configuration>"
	if f, err := ReadPart(strings.NewReader(whole), Reading{Fragment: true}); err != nil || len(f.Keys) != 2 {
		t.Errorf("a whole file: %+v, %v", f, err)
	}
}
