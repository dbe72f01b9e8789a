// SPDX-License-Identifier: Apache-2.0

package iisimport

import (
	"slices"
	"strings"
	"testing"

	"restante/engine/settings"
	"restante/internal/deptest"
	"restante/metabase"
	"restante/metabase/mbxml"
	"restante/metabase/schema"
	"restante/metabase/schema/iplist"
)

func TestFolder(t *testing.T) {
	tests := []struct {
		key              metabase.Path
		property, folder string
		want             string
	}{
		{"/LM/SMTPSVC", "QueueDirectory", `C:\Inetpub\mailroot\Queue`, "Mailroot/Queue"},
		{"/LM/SmtpSvc/1", "queuedirectory", `C:\Inetpub\mailroot\Queue`, "Mailroot/Queue"},
		{"/LM/SMTPSVC/2", "BadMailDirectory", `D:\bad`, "Mailroot-2/Badmail"},
		{"/LM/SMTPSVC/2/Domain/a.test", "RouteActionString", `D:\drop`, "Mailroot-2/Domains/a.test"},
		{"/LM/SMTPSVC/1/domain/*.a.test", "RouteActionString", `D:\drop`, "Mailroot/Domains/_.a.test"},
		{"/LM/SMTPSVC/1", "ServerComment", "a/b", "a/b"}, // a text with a slash in it
	}
	folder := Options(schema.IIS()).Folder
	for _, tt := range tests {
		if got := folder(tt.key, tt.property, tt.folder); got != tt.want {
			t.Errorf("%s %s: %q = %q, want %q", tt.key, tt.property, tt.folder, got, tt.want)
		}
	}
}

func TestFileName(t *testing.T) {
	for in, want := range map[string]string{
		"a.test": "a.test", "*.a": "_.a", `..\x`: ".._x", "../x": ".._x", "..": "_", "a. ": "a", "": "_", "a\x00b": "a_b",
		"con.example": "_con.example",
	} {
		if got := fileName(in); got != want {
			t.Errorf("fileName(%q) = %q, want %q", in, got, want)
		}
	}
}

func TestRename(t *testing.T) {
	for in, want := range map[metabase.Path]metabase.Path{
		"/LM/SmtpSvc/1/Domain/a.test.":    "/LM/SmtpSvc/1/Domain/a.test",
		"/LM/SmtpSvc/01/domain/a.test./x": "/LM/SmtpSvc/01/domain/a.test/x",
		"/LM/SmtpSvc/1/Domain/a.test":     "/LM/SmtpSvc/1/Domain/a.test",
		"/LM/SmtpSvc/1/Domain/..":         "/LM/SmtpSvc/1/Domain/..",
		"/LM/SmtpSvc/1/Domain":            "/LM/SmtpSvc/1/Domain",
		"/LM/SmtpSvc/1/User/joe.":         "/LM/SmtpSvc/1/User/joe.",
	} {
		if got := rename(in); got != want {
			t.Errorf("rename(%s) = %s, want %s", in, got, want)
		}
	}
}

func TestReviewNames(t *testing.T) {
	tests := []struct {
		in, want []string
		told     bool
	}{
		{[]string{"joe", "sue"}, []string{"joe", "sue"}, false},
		{[]string{"joe, sue"}, []string{"joe", "sue"}, true},
		{[]string{"joe,sue", " Sue ", ","}, []string{"joe", "sue"}, true},
		{[]string{`DOM\user1;DOM\user2`}, []string{"user1", "user2"}, true},
		{[]string{`DOM\user1 user2`, "user3; user4"}, []string{"user1", "user2", "user3", "user4"}, true},
		{[]string{`HUB\field`, "field", `a\b\c`}, []string{"field", "c"}, true},
		{nil, nil, false},
	}
	for _, tt := range tests {
		f := reviewNames(metabase.MultiSZ(tt.in...))
		if !slices.Equal(f.Value.Strings(), tt.want) || f.LeaveOut || (f.Text != "") != tt.told {
			t.Errorf("reviewNames(%q) = %+v", tt.in, f)
		}
	}
}

func TestReviewList(t *testing.T) {
	list := func(words string) metabase.Value {
		l, err := iplist.Parse([]string{words})
		if err != nil {
			t.Fatal(err)
		}
		b, err := l.Encode()
		if err != nil {
			t.Fatal(err)
		}
		return metabase.Binary(b)
	}
	tests := []struct {
		id    metabase.ID
		v     metabase.Value
		text  string
		told  string
		words string // of the value; "-" for none
		plain bool
	}{
		{settings.RelayIpList, metabase.Binary(nil), "", "lets everybody relay in IIS but who is denied", "-", false},
		{settings.RelayIpList, list("all"), "", "nobody may relay by address until the list is set; as IIS read it, it is: all", "-", false},
		{settings.RelayIpList, list("all deny:10.0.0.1"), "", "it is: all deny:10.0.0.1", "-", false},
		{settings.RelayIpList, list(""), "", "", "none", true},
		{settings.RelayIpList, list("10.0.0.0/8"), "", "", "10.0.0.0/8", true},
		{settings.RelayIpList, metabase.Binary([]byte{1, 2}), "0102", "its bytes: 0102", "-", false},
		{settings.RelayIpList, metabase.Value{}, "18000080200", `its text: "18000080200"`, "-", false},
		{settings.IPSecurity, metabase.Value{}, "1800008", `nobody but this machine may connect; its text: "1800008"`, "none", false},
		{settings.IPSecurity, metabase.Binary(nil), "", "", "-", true},
		{settings.IPSecurity, list(""), "", "", "none", true},
		{settings.IPSecurity, list("all deny:10.0.0.1"), "", "", "all deny:10.0.0.1", true},
	}
	for _, tt := range tests {
		f := reviewList(tt.id, tt.v, tt.text)
		words, err := "-", error(nil)
		if b := f.Value.Bytes(); len(b) > 0 {
			var l iplist.List
			l, err = iplist.Decode(b)
			words = strings.Join(l.Format(), " ")
		}
		if err != nil || words != tt.words || !strings.Contains(f.Text, tt.told) || tt.plain != (f.Text == "") {
			t.Errorf("reviewList(%d, %q) = %q with %v, %v", tt.id, tt.text, f.Text, words, err)
		}
	}
}

func TestLayers(t *testing.T) {
	deptest.Forbid(t, map[string]string{
		"/internal/kv":  "a file is adapted without regard to the store",
		"/engine/wire":  "the file is of settings",
		"/engine/site":  "the file is of settings",
		"/engine/queue": "the file is of settings",
		"/cmd":          "imports go down only",
	})
}

func TestReviewTellsWhatHasNoEffect(t *testing.T) {
	s := schema.IIS()
	for _, tt := range []struct {
		property string
		value    metabase.Value
		want     string // of the remark, "" for none
	}{
		{"SmtpDsDataDirectory", metabase.String("C:\\Directory"), "kept; nothing acts on it: IIS dropped it, too; set RecipientsFile"},
		{"SmtpDsHost", metabase.String("ldap.example"), ""},
		{"SmtpDsDataDirectory", metabase.String(""), ""}, // the default
		{"SmtpDsUseCat", metabase.DWord(0), ""},          // the default
		{"SmtpServer", metabase.String("news.example"), "kept; nothing acts on it: there is no news service"},
		{"RouteAction", metabase.DWord(0x10002), "chunking kept; nothing acts on it"},
		{"RouteAction", metabase.DWord(2), ""},
		{"HopCount", metabase.DWord(20), ""},
	} {
		p, ok := s.Property(tt.property)
		if !ok {
			t.Fatal(tt.property)
		}
		f := review("", p, tt.value, "")
		verdict := mbxml.Verdict("")
		if tt.want != "" {
			verdict = mbxml.NoEffect
		}
		if f.Text != tt.want || f.Verdict != verdict || f.LeaveOut || !f.Value.Equal(tt.value) {
			t.Errorf("%s %v: %q, %q, want %q", tt.property, tt.value, f.Verdict, f.Text, tt.want)
		}
	}
}

// Each property that nothing acts on is told of, with what to do instead.
func TestReviewTellsEachPropertyWithoutEffect(t *testing.T) {
	n := 0
	for p := range schema.IIS().Props() {
		if p.Acted || p.Syntax == schema.Flag || strings.HasPrefix(p.Classes[0], "IIsSchema") {
			continue
		}
		n++
		v := metabase.DWord(p.Default.DWord() + 1)
		switch p.Type {
		case metabase.StringType:
			v = metabase.String("x.test")
		case metabase.MultiSZType:
			v = metabase.MultiSZ("x.test")
		case metabase.BinaryType:
			v = metabase.Binary([]byte{1})
		}
		f := review("", p, v, "")
		left := f.LeaveOut && f.Verdict == mbxml.Decision && f.Text != ""
		if !left && (f.Verdict != mbxml.NoEffect || !strings.HasPrefix(f.Text, "kept; nothing acts on it: ")) {
			t.Errorf("%s: %+v", p.Label(), f)
		}
	}
	if n < 50 {
		t.Errorf("only %d properties are without effect", n)
	}
}

// BINARYMIME, which IIS stores as on, would cost mail for hosts without it.
func TestReviewTurnsBinaryMIMEOff(t *testing.T) {
	p, _ := schema.IIS().Property("SmtpInboundCommandSupportOptions")
	if f := review("", p, metabase.DWord(7697601), ""); f.Value.DWord() != 5600449 || f.Verdict != mbxml.Translated || f.LeaveOut {
		t.Errorf("%+v", f)
	}
	if f := review("", p, metabase.DWord(5600449), ""); f.Value.DWord() != 5600449 || f.Text != "" {
		t.Errorf("%+v", f)
	}
}
