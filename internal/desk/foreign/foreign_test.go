// SPDX-License-Identifier: Apache-2.0

package foreign

import (
	"testing"

	"restante/internal/deptest"
	"restante/metabase"
	"restante/metabase/schema"
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
	} {
		if got := fileName(in); got != want {
			t.Errorf("fileName(%q) = %q, want %q", in, got, want)
		}
	}
}

func TestClassByPlace(t *testing.T) {
	for in, want := range map[metabase.Path]string{
		"/LM/SMTPSVC/1/Domain": schema.Domain, "/LM/SmtpSvc/2/domain/a.test": schema.Domain, "/LM/SMTPSVC/User": schema.User,
		"/LM/SMTPSVC/1": "", "/LM/SMTPSVC": "", "/LM/W3SVC/1/Domain": "", "/LM/SMTPSVC/1/Other": "",
	} {
		if got := classByPlace(in); got != want {
			t.Errorf("classByPlace(%s) = %q, want %q", in, got, want)
		}
	}
}

func TestFloor(t *testing.T) {
	deptest.Forbid(t, map[string]string{
		"/internal":     "a file is made to fit, whoever asks",
		"/engine/wire":  "the file is of settings",
		"/engine/site":  "the file is of settings",
		"/engine/queue": "the file is of settings",
		"/cmd":          "imports go down only",
	})
}
