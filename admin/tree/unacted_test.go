// SPDX-License-Identifier: Apache-2.0

package tree

import (
	"slices"
	"testing"

	"restante/admin/api"
	"restante/engine/settings"
	"restante/metabase"
	"restante/metabase/schema"
)

// Of a value, only the bits that the operation stores are told.
func TestNoteUnacted(t *testing.T) {
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
	log, _ := s.Property("LogExtFileFlags")
	for v, want := range map[uint32][]string{0: {"/LM/SMTPSVC/1/LogExtFileFlags: names no field: no line is written into the log file"}, 1: nil} {
		tests = append(tests, tests[1])
		last := &tests[len(tests)-1]
		last.name, last.op, last.want = "fields of the log", metabase.Set{Path: site, Property: log.Item(metabase.DWord(v))}, want
	}
	for _, tt := range tests {
		var got []string
		ctx := api.WithNotes(t.Context(), func(n api.Noted) { got = append(got, n.Subject+": "+n.Text) })
		noteUnacted(ctx, s, []metabase.Op{tt.op})
		if !slices.Equal(got, tt.want) {
			t.Errorf("%s: %q, want %q", tt.name, got, tt.want)
		}
	}
	var none []string
	noteUnacted(api.WithNotes(t.Context(), func(n api.Noted) { none = append(none, n.Text) }), &schema.Schema{}, []metabase.Op{tests[0].op})
	if len(none) > 0 {
		t.Errorf("by a schema without the property: %q", none)
	}
}
