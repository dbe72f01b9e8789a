// SPDX-License-Identifier: Apache-2.0

package disk_test

import (
	"path/filepath"
	"runtime"
	"strings"
	"testing"

	"restante/internal/disk"
)

func TestCheckPath(t *testing.T) {
	long := strings.Repeat("x", 255)
	for text, want := range map[string]string{
		"Mailroot/Queue":          "",
		`Mailroot\Queue\`:         "",
		"a/../b/./c//":            "",
		"/var/mail":               "",
		`C:\Mailroot`:             "",
		"c:/Mailroot":             "",
		`\\server\share\drop`:     "",
		`\Elsewhere`:              "",
		"a b/.hidden/console":     "",
		"com10/lpt/nullify/com¼":  "",
		"été/日本":                  "",
		long + "/" + long:         "",
		"Queue.":                  "ends with a dot or a blank",
		"Queue ":                  "ends with a dot or a blank",
		"Queue. /x":               "ends with a dot or a blank",
		".../x":                   "ends with a dot or a blank",
		"CON":                     "device CON",
		"a/nul.txt/b":             "device nul.txt",
		"Com1":                    "device Com1",
		"lpt².log":                "device lpt².log",
		"aux .x":                  "device aux .x",
		`\\?\C:\Mailroot`:         `leave out \\?\`,
		`//?/C:/Mailroot`:         `leave out \\?\`,
		`\\.\pipe\x`:              `leave out \\?\`,
		`\??\C:\x`:                `leave out \\?\`,
		"C:foo":                   `write C:\ for`,
		"C:":                      `write C:\ for`,
		"a:b":                     `write a:\ for`,
		"x/a:b":                   "one of the characters",
		"cc:/x":                   "one of the characters",
		"what?":                   "one of the characters",
		"a\x00b":                  "control character",
		"a\nb":                    "control character",
		"a\u0085b":                "control character",
		"a\xffb":                  "UTF-8",
		long + "x":                "longer than 255",
		strings.Repeat("x/", 501): "longer than 1000",
	} {
		err := disk.CheckPath(text)
		if (err == nil) != (want == "") || err != nil && !strings.Contains(err.Error(), want) {
			t.Errorf("CheckPath(%.40q) = %v, want %q", text, err, want)
		}
	}
}

func TestLocate(t *testing.T) {
	if runtime.GOOS == "windows" {
		t.Skip("the paths are those of Unix")
	}
	for text, want := range map[string]string{
		"":                      "",
		"Mailroot/Queue":        "/data/Mailroot/Queue",
		`Mailroot\.\Queue\\`:    "/data/Mailroot/Queue",
		`a\..\..\etc`:           "/etc",
		`\Elsewhere\x`:          "/Elsewhere/x",
		"/data/../etc/":         "/etc",
		`D:\Drop`:               "/data/D:/Drop",
		`\\server\share\.\mail`: "/server/share/mail",
	} {
		if got := disk.Locate("/data", text); got != want {
			t.Errorf("Locate(/data, %q) = %q, want %q", text, got, want)
		}
		if text == "" {
			continue
		}
		abs := strings.HasPrefix(strings.ReplaceAll(text, `\`, "/"), "/")
		rel, err := filepath.Rel("/data", want)
		if local := !abs && err == nil && filepath.IsLocal(rel); disk.IsAbs(text) != abs || disk.IsLocal(text) != local {
			t.Errorf("%q: IsAbs %v, IsLocal %v; want %v, %v", text, disk.IsAbs(text), disk.IsLocal(text), abs, local)
		}
	}
}

// FuzzPath locates what CheckPath takes: the same twice, with / as with \, and
// within the folder if it says so; each of its names is one on every system.
func FuzzPath(f *testing.F) {
	for _, s := range []string{"Queue", "a/../../b", `..\x`, `C:\x`, "C:x", `\\?\C:\x`, "/x", `\x`, "nul.txt", "a.", "", ".", "a//b/", "x\x00y", "//server/share"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, text string) {
		if disk.CheckPath(text) != nil || text == "" {
			return
		}
		dir := t.TempDir()
		at := disk.Locate(dir, text)
		if again := disk.Locate(dir, at); again != at {
			t.Errorf("%q is %q, which is %q", text, at, again)
		}
		if other := disk.Locate(dir, strings.ReplaceAll(text, "/", `\`)); other != at && runtime.GOOS != "windows" {
			t.Errorf("%q is %q, with backslashes %q", text, at, other)
		}
		rel, err := filepath.Rel(dir, at)
		if inside := err == nil && filepath.IsLocal(rel); disk.IsLocal(text) && !inside {
			t.Errorf("%q is local, and at %q", text, at)
		}
		if !disk.IsLocal(text) || strings.Contains(text, ":") { // a drive, which is a name where there are none
			return
		}
		for name := range strings.SplitSeq(filepath.ToSlash(rel), "/") {
			if name != "." && disk.CheckName(name) != nil {
				t.Errorf("%q has the name %q", text, name)
			}
		}
	})
}
