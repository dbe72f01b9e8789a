// SPDX-License-Identifier: Apache-2.0

package certs

import (
	"context"
	"crypto/tls"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"restante/internal/deptest"
	"restante/internal/dirwatch"
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

// TestNames: a name keeps all but the mark that it need not be there.
func TestNames(t *testing.T) {
	if got, want := (Files{IfThere + "/a?/?b", "/c?d"}).String(), "/a?/?b, /c?d"; got != want {
		t.Errorf("the names are %s, want %s", got, want)
	}
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

// A lockedText is a log that is read while it is written.
type lockedText struct {
	mu   sync.Mutex
	text strings.Builder
}

func (l *lockedText) Write(b []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.text.Write(b)
}

func (l *lockedText) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.text.String()
}

// Files that are new are in use for the next caller. While they do not fit each
// other, what was read before stays in use, which shows after a while.
func TestCertificatesFollowTheirFiles(t *testing.T) {
	dir := t.TempDir()
	synctest.Test(t, func(t *testing.T) {
		var log lockedText
		c := New(writeCert(t, dir, "one.test"), slog.New(slog.NewTextHandler(&log, nil)))
		if err := c.Refresh(t.Context()); err != nil {
			t.Fatal(err)
		}
		current, wake := c, make(chan struct{}, 1)
		var told atomic.Int64
		ctx, cancel := context.WithCancel(t.Context())
		var done sync.WaitGroup
		done.Go(func() {
			Watch{Current: func() *Reloader { return current }, Wake: wake, Changed: func() { told.Add(1) }, sweepOnly: true}.Run(ctx)
		})
		defer done.Wait()
		defer cancel()
		check := func(what, want, why string, lines int) {
			t.Helper()
			synctest.Wait()
			if got := name(t, c); got != want {
				t.Errorf("%s: %s is in use", what, got)
			}
			if err := c.Err(); (err != nil) != (why != "") || err != nil && !strings.Contains(err.Error(), why) {
				t.Errorf("%s: %v", what, err)
			}
			changes := int(told.Load())
			if n := strings.Count(log.String(), "level="); n != lines || strings.Count(log.String(), "changed and are of no use") != changes/2+changes%2 {
				t.Errorf("%s: %d changes:\n%s", what, changes, log.String())
			}
		}
		put := func(file, text string) {
			t.Helper()
			if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
				t.Fatal(err)
			}
		}
		check("at first", "one.test", "", 0)
		writeCert(t, dir, "the-second.test")
		time.Sleep(sweepEvery)
		check("new files", "the-second.test", "", 1)

		cert, key := testpeer.NewCertificate(t, testpeer.ECDSAKey(t), "third.test")
		put(c.files[0], cert)
		time.Sleep(sweepEvery)
		check("a new certificate and an old key, at first", "the-second.test", "", 1)
		put(c.files[1], key)
		time.Sleep(settle)
		check("both are new within a second", "third.test", "", 2)

		put(c.files[0], cert[:len(cert)/2])
		time.Sleep(sweepEvery + settle)
		check("half a file", "third.test", "cert.pem: has a PEM block that is damaged", 3)
		time.Sleep(2 * sweepEvery)
		check("half a file, later", "third.test", "cert.pem: has a PEM block that is damaged", 3)
		put(c.files[0], cert)
		time.Sleep(sweepEvery)
		check("whole again", "third.test", "", 3)

		if err := os.Remove(c.files[1]); err != nil {
			t.Fatal(err)
		}
		time.Sleep(sweepEvery + settle)
		check("a missing file", "third.test", "key.pem: no such file", 4)
		cert, key = testpeer.NewCertificate(t, testpeer.ECDSAKey(t), "fourth.test")
		put(c.files[0], cert)
		put(c.files[1], key)
		wake <- struct{}{}
		check("at once when it is asked for", "fourth.test", "", 5)
		time.Sleep(20 * time.Hour)
		check("near its end", "fourth.test", "", 6)
		if !strings.Contains(log.String(), `"a certificate expires soon" certificate="fourth.test`) {
			t.Error(log.String())
		}
	})
}

// News of the file system has new files read before the next sweep, also where a
// link to them is exchanged, as ACME clients do.
func TestNewsOfCertificates(t *testing.T) {
	dir := t.TempDir()
	older, newer := filepath.Join(dir, "1"), filepath.Join(dir, "2")
	for _, d := range []string{older, newer} {
		if err := os.Mkdir(d, 0o700); err != nil {
			t.Fatal(err)
		}
		writeCert(t, d, "v"+filepath.Base(d)+".test")
	}
	link := func(to string) {
		t.Helper()
		if err := os.Symlink(filepath.Join(to, "cert.pem"), filepath.Join(dir, "next")); err != nil {
			t.Skip("no links here:", err)
		}
		if err := os.Rename(filepath.Join(dir, "next"), filepath.Join(dir, "live.pem")); err != nil {
			t.Fatal(err)
		}
	}
	link(older)
	c := New(Files{filepath.Join(dir, "live.pem"), filepath.Join(older, "key.pem"), filepath.Join(newer, "key.pem")}, slog.New(slog.DiscardHandler))
	if err := c.Refresh(t.Context()); err != nil {
		t.Fatal(err)
	}
	news := dirwatch.New(nil)
	defer news.Close()
	w := Watch{Current: func() *Reloader { return c }, Changed: func() {}}
	if err := news.Watch(c.files.folders()...); err != nil {
		t.Skip("this system gives no news:", err)
	}
	link(newer)
	select {
	case <-news.Events():
	case <-time.After(time.Minute):
		t.Error("no news")
	}
	w.look(t.Context(), news)
	if got := name(t, c); got != "v2.test" {
		t.Errorf("%s is in use", got)
	}
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
		{Files{dir, files[1]}, dir + ": is not a regular file"},
		{Files{files[0], dir}, dir + ": is not a regular file"},
		{Files{large, files[1]}, "large.pem has more than 1048576 bytes"},
		{Files{files[0], files[0]}, "certificate: " + files[0] + ": its first certificate, for hub.test, has no key in " + files[0]},
	}
	for _, special := range endless(t) {
		tests = append(tests, struct {
			files Files
			want  string
		}{Files{special, files[1]}, special + ": is not a regular file"})
	}
	for _, tt := range tests {
		c := &Reloader{files: tt.files, log: slog.New(slog.DiscardHandler)}
		if err := c.Refresh(t.Context()); err == nil || !strings.Contains(err.Error(), tt.want) {
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
			if err := c.Refresh(t.Context()); err == nil || !strings.Contains(err.Error(), "certificate a.pem, b.pem: no answer") || time.Since(begun) != timeout {
				t.Errorf("after %s: %v", time.Since(begun), err)
			}
		}
		begun := time.Now()
		if got, err := c.get(nil); got != c.list[0] || err != nil || time.Since(begun) != 0 {
			t.Errorf("a handshake after %s: %v, %v", time.Since(begun), got, err)
		}
		hung.list = []*tls.Certificate{{}}
		close(hung.done)
		if err := c.Refresh(t.Context()); err != nil || &c.list[0] != &hung.list[0] || c.reading != nil {
			t.Errorf("answered at last: %v", err)
		}
	})
}

// TestFileThatNeedNotBeThere: until it is, the certificates of the others are in use; then
// its own come first.
func TestFileThatNeedNotBeThere(t *testing.T) {
	dir := t.TempDir()
	cert, key := testpeer.WriteCertificate(t, dir, "old.test")
	ordered := filepath.Join(dir, "ordered.pem")
	c := New(Files{IfThere + ordered, cert, key}, slog.New(slog.DiscardHandler))
	first := func() string {
		if err := c.Refresh(t.Context()); err != nil {
			t.Fatal(err)
		}
		got, err := c.get(&tls.ClientHelloInfo{SupportedVersions: []uint16{tls.VersionTLS13}, SignatureSchemes: []tls.SignatureScheme{tls.ECDSAWithP256AndSHA256, tls.PSSWithSHA256}})
		if err != nil {
			t.Fatal(err)
		}
		return subject(got.Leaf)
	}
	if got := first(); got != "old.test" {
		t.Errorf("before: %s", got)
	}
	newCert, newKey := testpeer.WriteCertificate(t, t.TempDir(), "new.test")
	var text []byte
	for _, name := range []string{newCert, newKey} {
		part, err := os.ReadFile(name)
		if err != nil {
			t.Fatal(err)
		}
		text = append(text, part...)
	}
	if err := os.WriteFile(ordered, text, 0o600); err != nil {
		t.Fatal(err)
	}
	if got := first(); got != "new.test" {
		t.Errorf("when it is there: %s", got)
	}
	if got := c.Files().String(); strings.Contains(got, IfThere) || c.Files().folders()[0] != dir {
		t.Errorf("shown as %s, in %q", got, c.Files().folders())
	}
	if err := New(Files{IfThere + dir}, slog.New(slog.DiscardHandler)).Refresh(t.Context()); err == nil {
		t.Error("a folder in its place is no error")
	}
}
