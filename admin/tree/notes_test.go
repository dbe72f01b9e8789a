// SPDX-License-Identifier: Apache-2.0

package tree

import (
	"fmt"
	"math"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"restante/admin"
	"restante/admin/api"
	"restante/engine/settings"
	"restante/metabase"
	"restante/metabase/schema"
)

// Of flags, only the bits that the operation stores are told.
func TestNoteValues(t *testing.T) {
	const md5 = 0x10 // of AuthFlags, without effect
	s := schema.IIS()
	flags, _ := s.Property("AuthFlags")
	item := func(v uint32) metabase.Property { return flags.Item(metabase.DWord(v)) }
	site := settings.SitePath(1)
	tests := []struct {
		name string
		op   metabase.Op
		want []string
	}{
		{"set", metabase.Set{Path: site, Property: item(md5 | 1)}, []string{"/LM/SMTPSVC/1/AuthFlags: auth_md5 kept; nothing acts on it"}},
		{"set without it", metabase.Set{Path: site, Property: item(1)}, nil},
		{"its bit", metabase.SetBits{Path: site, Property: item(md5), Mask: md5}, []string{"/LM/SMTPSVC/1/AuthFlags: auth_md5 kept; nothing acts on it"}},
		{"its bit is off", metabase.SetBits{Path: site, Property: item(0), Mask: md5}, nil},
		{"another bit", metabase.SetBits{Path: site, Property: item(md5 | 1), Mask: 1}, nil},
		{"another operation", metabase.Unset{Path: site, ID: flags.ID}, nil},
	}
	extensions, _ := s.Property("InboundExtensions")
	for v, want := range map[uint32]string{255: "192", math.MaxUint32: "4294967232", 63 | 1<<20: "1048576"} {
		tests = append(tests, tests[0])
		last := &tests[len(tests)-1]
		last.name, last.op = "bits that nobody knows", metabase.Set{Path: site, Property: extensions.Item(metabase.DWord(v))}
		last.want = []string{"/LM/SMTPSVC/1/InboundExtensions: unknown bits " + want + " kept; nothing acts on it"}
	}
	for p := range s.Props() { // any of flags
		if p.Syntax != schema.Flags || !p.Acted {
			continue
		}
		var known uint32
		for _, f := range p.Flags {
			known |= f.Mask
		}
		if text := p.Unacted(metabase.DWord(math.MaxUint32)); known != math.MaxUint32 && !strings.Contains(text, fmt.Sprintf("unknown bits %d kept", ^known)) {
			t.Errorf("all bits of %s: %q", p.Name, text)
		}
	}
	log, _ := s.Property("LogExtFileFlags")
	for v, want := range map[uint32][]string{0: {"/LM/SMTPSVC/1/LogExtFileFlags: names no field: no line is written into the log file"}, 1: nil} {
		tests = append(tests, tests[1])
		last := &tests[len(tests)-1]
		last.name, last.op, last.want = "fields of the log", metabase.Set{Path: site, Property: log.Item(metabase.DWord(v))}, want
	}
	tests = append(tests, tests[2])
	last := &tests[len(tests)-1]
	last.name, last.op, last.want = "a field of the log is off", metabase.SetBits{Path: site, Property: log.Item(metabase.DWord(0)), Mask: 1}, nil
	dir := t.TempDir()
	if err := os.WriteFile(filepath.Join(dir, "list"), []byte("joe\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	for _, tt := range []struct{ property, value, want string }{
		{"RecipientsFile", "list", ""},
		{"RecipientsFile", "", ""},
		{"RecipientsFile", "typo", "open " + filepath.Join(dir, "typo") + ": no such file or directory; recipients are put off with 451 until it can be read"},
		{"RecipientsFile", ".", "open " + dir + ": is not a regular file; recipients are put off with 451 until it can be read"},
		{"ProxyFrom", "192.0.2.0/24", ""},
		{"ProxyFrom", "0.0.0.0/0", "has every address: every caller may say which client it brings, and use that client's rights"},
		{"XclientFrom", "::/0", "has every address: every caller may say which client it brings, and use that client's rights"},
	} {
		p, _ := s.Property(tt.property)
		v := metabase.String(tt.value)
		if p.Type == metabase.MultiSZType {
			v = metabase.MultiSZ("127.0.0.1", tt.value)
		}
		row := tests[0]
		row.name, row.op, row.want = tt.property+" "+tt.value, metabase.Set{Path: site, Property: p.Item(v)}, nil
		if tt.want != "" {
			row.want = []string{"/LM/SMTPSVC/1/" + tt.property + ": " + tt.want}
		}
		tests = append(tests, row)
	}
	d := handlers{&admin.API{Schema: s, Env: admin.Env{Data: dir}}}
	for _, tt := range tests {
		var got []string
		ctx := api.WithNotes(t.Context(), func(n api.Noted) { got = append(got, n.Subject+": "+n.Text) })
		d.noteValues(ctx, []metabase.Op{tt.op})
		if !slices.Equal(got, tt.want) {
			t.Errorf("%s: %q, want %q", tt.name, got, tt.want)
		}
	}
	var none []string
	handlers{&admin.API{Schema: &schema.Schema{}}}.noteValues(api.WithNotes(t.Context(), func(n api.Noted) { none = append(none, n.Text) }), []metabase.Op{tests[0].op})
	if len(none) > 0 {
		t.Errorf("by a schema without the property: %q", none)
	}
}
