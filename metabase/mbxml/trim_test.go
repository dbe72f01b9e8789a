// SPDX-License-Identifier: Apache-2.0

package mbxml

import (
	"bytes"
	"fmt"
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"testing"
	"unicode/utf8"

	"golang.org/x/text/encoding/unicode"

	"restante/metabase"
)

const service0 = metabase.Path("/LM/SmtpSvc")

// TestTrimKeepsThePart checks that a trimmed file reads as the whole one does.
func TestTrimKeepsThePart(t *testing.T) {
	files, err := filepath.Glob("../../testdata/metabase/*.xml")
	if err != nil || len(files) < 4 {
		t.Fatal(files, err)
	}
	texts := map[string][]byte{"own": []byte(`<configuration><MBProperty><IIS_Global Origin="Restante"/>` + "\n" +
		`<IIsObject Location="/LM/Other" Comment="x"/></MBProperty></configuration>`)}
	for _, name := range files {
		if texts[name], err = os.ReadFile(name); err != nil {
			t.Fatal(err)
		}
		if !utf8.Valid(texts[name]) || bytes.HasPrefix(texts[name], []byte("\xff\xfe")) {
			continue
		}
		wide, err := unicode.UTF16(unicode.LittleEndian, unicode.UseBOM).NewEncoder().Bytes(bytes.TrimPrefix(texts[name], []byte("\xef\xbb\xbf")))
		if err != nil {
			t.Fatal(err)
		}
		texts[name+" in UTF-16"] = wide
	}
	web := 0
	for name, raw := range texts {
		want, err := ReadPart(bytes.NewReader(raw), Reading{Part: service0})
		if err != nil {
			t.Fatal(name, err)
		}
		var b bytes.Buffer
		if err := Trim(&b, bytes.NewReader(raw), service0); err != nil {
			t.Fatal(name, err)
		}
		got, err := ReadPart(bytes.NewReader(b.Bytes()), Reading{Part: service0})
		if err != nil || !reflect.DeepEqual(got, want) {
			t.Errorf("%s: trimmed, it reads as %+v, %v; want %+v", name, got, err, want)
		}
		if strings.Contains(b.String(), "/LM/W3SVC/1") {
			web++
		}
		if strings.Contains(b.String(), "AppPoolId") || strings.Contains(b.String(), "Default Web Site") {
			t.Errorf("%s: the web's properties are still there", name)
		}
	}
	if web != 2 {
		t.Errorf("%d trimmed files have the web's keys, want that of IIS 6 and the same in UTF-16", web)
	}
}

func FuzzTrim(f *testing.F) {
	f.Add([]byte(`<configuration><MBProperty><IIsA Location="/LM/W3SVC" x="1"><Custom ID="2"/></IIsA>` + "\n" +
		`<IIsSmtpServer Location="/LM/SmtpSvc/1" a="2"/></MBProperty></configuration>`))
	f.Add([]byte(`<?xml version="1.0" encoding="windows-1252"?><configuration><MBProperty><a Location="/x&amp;y"></MBProperty>`))
	f.Fuzz(func(t *testing.T, raw []byte) {
		want, before := ReadPart(bytes.NewReader(raw), Reading{Part: service0})
		var b bytes.Buffer
		if err := Trim(&b, bytes.NewReader(raw), service0); err != nil {
			if before == nil {
				t.Fatalf("only the trimmer says %v", err)
			}
			return
		}
		got, after := ReadPart(bytes.NewReader(b.Bytes()), Reading{Part: service0})
		if before == nil && (after != nil || !reflect.DeepEqual(got, want)) {
			t.Errorf("trimmed, it reads as %+v, %v; want %+v\n%s", got, after, want, b.Bytes())
		}
	})
}

// TestForeignKeysAreNotKept checks that reading keeps nothing of other services.
func TestForeignKeysAreNotKept(t *testing.T) {
	var b strings.Builder
	b.WriteString("<configuration><MBProperty>\n")
	for n := range 50 {
		fmt.Fprintf(&b, "<IIsWebServer Location=\"/LM/W3SVC/%d\"\n\tPath=\"x\"\n/>\n", n)
	}
	b.WriteString("<IIsComputer Location=\"/LM\"/>\n<IIsSmtpServer Location=\"/LM/SmtpSvc/1\" Nonsense=\"1\"/></MBProperty></configuration>")
	f, err := ReadPart(strings.NewReader(b.String()), Reading{Part: service0})
	if err != nil || len(f.Keys) != 2 || f.Keys[1].Line != 153 {
		t.Fatalf("%+v, %v", f, err)
	}
	_, report, err := Plan(f, metabase.Snapshot{}, props, Options{Part: service0})
	if err != nil || !strings.Contains(fmt.Sprint(report.Remarks), "50 keys: not below /LM/SmtpSvc") {
		t.Errorf("%+v, %v", report.Remarks, err)
	}
}

// TestTrimHidesNoFault checks that a malformed file is refused where Trim leaves its
// keys out, with the line that the file has.
func TestTrimHidesNoFault(t *testing.T) {
	for text, want := range map[string]string{
		"<IIsA Location=\"/LM/W3SVC\">\njunk</IIsA>":                        "line 3: text outside of the elements",
		"<IIsA Location=\"/LM/W3SVC\">\n<Custom></IIsA>":                    "line 3: element <Custom> closed by </IIsA>",
		"<IIsA Location=\"/LM/W3SVC\"/>\njunk":                              "line 3: text outside of the elements",
		"<IIsA Location=\"/LM/W3SVC\"/>\n</MBProperty></configuration><a/>": "line 3: the file ends before it: <a> is a second outermost element",
	} {
		raw := "<configuration><MBProperty>\n" + text + "</MBProperty></configuration>"
		var b bytes.Buffer
		err := Trim(&b, strings.NewReader(raw), service0)
		if err == nil {
			_, err = ReadPart(&b, Reading{Part: service0})
		}
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%q: %v, want %q", text, err, want)
		}
	}
}
