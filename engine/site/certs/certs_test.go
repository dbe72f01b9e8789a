// SPDX-License-Identifier: Apache-2.0

package certs

import (
	"crypto/tls"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"restante/internal/deptest"
	"restante/internal/testpeer"
)

func TestLayers(t *testing.T) {
	deptest.Forbid(t, map[string]string{
		"/engine":      "a certificate is read whatever it is for",
		"/metabase":    "a certificate is read whatever it is for",
		"/admin":       "imports go down only",
		"/internal/kv": "files are read, no store",
	})
}

// writeCert puts a self-signed certificate for name into dir.
func writeCert(t *testing.T, dir, name string) Files {
	cert, key := testpeer.WriteCertificate(t, dir, name)
	return Files{cert, key}
}

func name(t *testing.T, c *Reloader) string {
	t.Helper()
	cert, err := c.get(nil)
	if err != nil {
		t.Fatal(err)
	}
	return cert.Leaf.Subject.CommonName
}

func TestCertificateFollowsItsFiles(t *testing.T) {
	dir := t.TempDir()
	synctest.Test(t, func(t *testing.T) {
		c := &Reloader{files: writeCert(t, dir, "one.test"), log: slog.New(slog.DiscardHandler)}
		if err := c.Refresh(); err != nil {
			t.Fatal(err)
		}
		writeCert(t, dir, "the-second.test")
		if got := name(t, c); got != "one.test" {
			t.Errorf("it looks at the files each time: %s", got)
		}
		time.Sleep(checkInterval)
		if got := name(t, c); got != "the-second.test" {
			t.Errorf("new files are not read: %s", got)
		}
		if err := os.WriteFile(c.files[0], []byte("no certificate"), 0o600); err != nil {
			t.Fatal(err)
		}
		time.Sleep(checkInterval)
		if got := name(t, c); got != "the-second.test" {
			t.Errorf("a broken file is taken: %s", got)
		}
		if err := os.Remove(c.files[0]); err != nil {
			t.Fatal(err)
		}
		time.Sleep(checkInterval)
		if got := name(t, c); got != "the-second.test" {
			t.Errorf("a missing file is taken for one: %s", got)
		}
	})
}

// To read what has no end would block the site.
func TestCertificateIsNoRegularFile(t *testing.T) {
	dir := t.TempDir()
	files := writeCert(t, dir, "hub.test")
	large := filepath.Join(dir, "large.pem")
	if err := os.WriteFile(large, make([]byte, maxSize+1), 0o600); err != nil {
		t.Fatal(err)
	}
	tests := []struct {
		files Files
		want  string
	}{
		{Files{dir, files[1]}, dir + " is not a regular file"},
		{Files{files[0], dir}, dir + " is not a regular file"},
		{Files{large, files[1]}, "large.pem has more than 1048576 bytes"},
		{Files{files[0], files[0]}, "certificate: " + files[0] + ": its first certificate, for hub.test, has no key in " + files[0]},
	}
	for _, special := range endless(t) {
		tests = append(tests, struct {
			files Files
			want  string
		}{Files{special, files[1]}, special + " is not a regular file"})
	}
	for _, tt := range tests {
		c := &Reloader{files: tt.files, log: slog.New(slog.DiscardHandler)}
		if err := c.Refresh(); err == nil || !strings.Contains(err.Error(), tt.want) {
			t.Errorf("%v: %v, want %q", tt.files, err, tt.want)
		}
	}
}

// A reading that does not end is left to itself: it holds up neither the site
// nor a handshake, and a second one is not begun.
func TestCertificateThatIsNotAnswered(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		hung := &reading{done: make(chan struct{})}
		c := &Reloader{files: Files{"a.pem", "b.pem"}, log: slog.New(slog.DiscardHandler), reading: hung, list: []*tls.Certificate{{}}}
		for range 2 {
			begun := time.Now()
			if err := c.Refresh(); err == nil || !strings.Contains(err.Error(), "certificate a.pem, b.pem: no answer") || time.Since(begun) != timeout {
				t.Errorf("after %s: %v", time.Since(begun), err)
			}
		}
		begun := time.Now()
		if got, err := c.get(nil); got != c.list[0] || err != nil || time.Since(begun) != 0 {
			t.Errorf("a handshake after %s: %v, %v", time.Since(begun), got, err)
		}
		hung.list = []*tls.Certificate{{}}
		close(hung.done)
		if err := c.Refresh(); err != nil || &c.list[0] != &hung.list[0] || c.reading != nil {
			t.Errorf("answered at last: %v", err)
		}
	})
}
