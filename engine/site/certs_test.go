// SPDX-License-Identifier: Apache-2.0

package site

import (
	"crypto/tls"
	"log/slog"
	"net"
	"net/netip"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"restante/engine/session"
	"restante/engine/site/certs"
	"restante/engine/site/ports"
	"restante/internal/testpeer"
)

// writeCert puts a self-signed certificate for name into dir.
func writeCert(t *testing.T, dir, name string) certs.Files {
	cert, key := testpeer.WriteCertificate(t, dir, name)
	return certs.Files{cert, key}
}

func lists(l *testpeer.Client, keyword string) bool {
	_, _ = l.Write([]byte("EHLO again.test\r\n"))
	var lines []string
	for {
		line, err := l.R.ReadString('\n')
		if err != nil || len(line) < 4 {
			return false
		}
		lines = append(lines, strings.TrimSpace(line[4:]))
		if line[3] == ' ' {
			return slices.Contains(lines, keyword)
		}
	}
}

// A certificate that has expired is in use, and Why says so.
func TestExpiredCertificateShows(t *testing.T) {
	set := newSettings(t)
	cfg := set.make(1, loopback)
	cert, key := testpeer.ExpiredCertificate(t, "old.test")
	cfg.TLS = certs.Files{filepath.Join(set.dir, "old.pem")}
	if err := os.WriteFile(cfg.TLS[0], []byte(cert+key), 0o600); err != nil {
		t.Fatal(err)
	}
	h := runSite(t, cfg, set, &ports.Set{})
	h.must(Start)
	if st := h.Status(); st.State != Started || !strings.Contains(st.Why, "has expired") || len(st.Certificates) != 1 {
		t.Errorf("%+v", st)
	}
}

func TestMissingCertificateIsTheState(t *testing.T) {
	set := newSettings(t)
	cfg := set.make(1, loopback)
	cfg.TLS = certs.Files{filepath.Join(set.dir, "cert.pem"), filepath.Join(set.dir, "key.pem")}
	h := runSite(t, cfg, set, &ports.Set{})
	h.must(Start)
	if st := h.Status(); st.State != Started || !strings.Contains(st.Why, cfg.TLS[0]) {
		t.Errorf("%+v", st)
	}
	// What does not concern the certificate is in force all the same.
	also := *cfg
	also.Rev, also.Session.Limits.Size, also.Settings = 2, 100, version(1)
	if st := h.settle(&also); st.Running != 2 || !strings.Contains(st.Why, cfg.TLS[0]) {
		t.Errorf("another change: %+v", st)
	}
	missing := also
	missing.Rev, missing.TLS = 3, certs.Files{filepath.Join(set.dir, "none.pem"), filepath.Join(set.dir, "none.key")}
	if st := h.settle(&missing); st.Running != 2 || !strings.Contains(st.Why, "none.pem") {
		t.Errorf("another missing certificate: %+v", st)
	}
	h.settle(&also)
	if lists(h.dial(), "STARTTLS") {
		t.Error("STARTTLS is offered without a certificate")
	}
	writeCert(t, set.dir, "hub.test")
	h.until(func() bool { return h.Status().Why == "" })
	l := h.dial()
	if !lists(l, "STARTTLS") {
		t.Fatal("STARTTLS is not offered")
	}
	if err := l.Say("STARTTLS", "220"); err != nil {
		t.Fatal(err)
	}
	tc := tls.Client(l.Conn, &tls.Config{InsecureSkipVerify: true})
	if err := tc.Handshake(); err != nil || tc.ConnectionState().PeerCertificates[0].Subject.CommonName != "hub.test" {
		t.Errorf("handshake: %v", err)
	}
	// Another pair that is not there: what is there stays.
	next := h.make(3, loopback)
	next.TLS, next.Settings = missing.TLS, also.Settings
	if st := h.settle(next); st.Running != 2 || !strings.Contains(st.Why, "none.pem") || !lists(h.dial(), "STARTTLS") {
		t.Errorf("the old certificate is gone: %q", st.Why)
	}
	// None at all is what was asked for.
	if st := h.settle(h.make(4, loopback)); st.Running != 4 || st.Why != "" {
		t.Errorf("TLS off: %+v", st)
	}
	if lists(h.dial(), "STARTTLS") {
		t.Error("STARTTLS is still offered")
	}
}

// What hosts are shown that ask for a certificate is a part as the site's own is: a file that
// is of no use is told, and what was read before is shown.
func TestMissingRemoteCertificateIsTheState(t *testing.T) {
	shown := func(c *certs.Reloader) string {
		if list := c.List(); len(list) == 1 {
			return list[0].Names[0]
		}
		return ""
	}
	set := newSettings(t)
	dir := t.TempDir()
	none := certs.New(certs.Files{filepath.Join(dir, "none.pem")}, slog.New(slog.DiscardHandler))
	there := certs.New(writeCert(t, dir, "us.test"), slog.New(slog.DiscardHandler))
	cfg := set.make(1, loopback)
	cfg.Shown = none
	h := runSite(t, cfg, set, &ports.Set{})
	h.must(Start)
	if st := h.Status(); st.State != Started || !strings.Contains(st.Why, "RemoteCertificateFile: ") || !strings.Contains(st.Why, "none.pem") {
		t.Errorf("started: %+v", st)
	}
	good := h.make(2, loopback)
	good.Shown = there
	if st := h.settle(good); st.Running != 2 || st.Why != "" || shown(there) != "us.test" {
		t.Errorf("a good one: %+v", st)
	}
	bad := h.make(3, loopback)
	bad.Shown = certs.New(none.Files(), slog.New(slog.DiscardHandler))
	if st := h.settle(bad); !slices.Equal(st.Kept, []Part{RemoteCertificate}) || !strings.Contains(st.Why, "none.pem") || shown(bad.Shown) != "us.test" {
		t.Errorf("one that is missing: %+v, shown is %q", st, shown(bad.Shown))
	}
	back := h.make(4, loopback)
	back.Shown = there
	h.settle(back)
	if err := os.WriteFile(there.Files()[1], []byte("no key"), 0o600); err != nil {
		t.Fatal(err)
	}
	h.until(func() bool { return strings.Contains(h.Status().Why, "has no PEM block") })
	if shown(there) != "us.test" {
		t.Error("what was read before is not shown")
	}
	if st := h.settle(h.make(5, loopback)); st.Running != 5 || st.Why != "" {
		t.Errorf("none at all: %+v", st)
	}
}

func TestImplicitTLS(t *testing.T) {
	set := newSettings(t)
	cfg := set.make(1, loopback)
	cfg.Bindings[0].TLS = true
	cfg.TLS = writeCert(t, set.dir, "hub.test")
	h := runSite(t, cfg, set, &ports.Set{})
	h.must(Start)
	c, err := tls.Dial("tcp", h.addr(), &tls.Config{InsecureSkipVerify: true})
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	b := make([]byte, 3)
	if _, err := c.Read(b); err != nil || string(b) != "220" {
		t.Errorf("greeted by %q, %v", b, err)
	}
}

// What the system refuses keeps back only itself: the settings that come with it,
// and those that come later, are in force.
func TestRefusedPartKeepsBackOnlyItself(t *testing.T) {
	blocker, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer blocker.Close()
	taken := blocker.Addr().(*net.TCPAddr).AddrPort()
	for _, tt := range []struct {
		part   Part
		refuse func(h *harness, c *Config)
	}{
		{Certificate, func(h *harness, c *Config) {
			c.TLS = certs.Files{filepath.Join(h.dir, "none.pem"), "none.key"}
		}},
		{Certificate, func(h *harness, c *Config) { c.TLS = certs.Files{h.dir} }},
		{Bindings, func(_ *harness, c *Config) { c.Bindings = append(c.Bindings, ports.Binding{Addr: taken}) }},
		{"DropDirectory", func(h *harness, c *Config) {
			h.file("in-the-way")
			c.Folders = []Folder{{Name: "DropDirectory", Path: filepath.Join(h.dir, "in-the-way", "Drop"), Perm: 0o700}}
		}},
	} {
		t.Run(string(tt.part), func(t *testing.T) {
			h := started(t)
			first := h.make(2, loopback)
			tt.refuse(h, first)
			first.Session.Limits.Size, first.Settings = 10, version(1)
			st := h.settle(first)
			if st.State != Started || st.Running != 2 || st.Why == "" || !slices.Equal(st.Kept, []Part{tt.part}) || h.InForce(2) {
				t.Errorf("refused: %+v", st)
			}
			if err := h.dial().Say("MAIL FROM:<a@b.test> SIZE=11", "552"); err != nil {
				t.Errorf("a setting that came with it: %v", err)
			}
			next := *first
			next.Rev, next.Settings = 3, version(2)
			next.Session.MayConnect = func(netip.Addr, session.Names) bool { return false }
			h.Apply(&next) // a right is taken away: at once
			if got := greeting(t, h.addr()); !strings.HasPrefix(got, "554 ") {
				t.Errorf("a setting that came later: %q", got)
			}
			if st := h.until(func() bool { return h.Settled(3) }); st.Running != 3 || !slices.Equal(st.Kept, []Part{tt.part}) {
				t.Errorf("later: %+v", st)
			}
			if st := h.settle(h.make(4, loopback)); st.Running != 4 || st.Why != "" || len(st.Kept) > 0 {
				t.Errorf("cured: %+v", st)
			}
		})
	}
}

// Each folder that cannot be used is told, and is cured by itself.
func TestFoldersThatCannotBeUsed(t *testing.T) {
	h := started(t)
	bad := h.file("in-the-way")
	next := h.make(2, loopback)
	next.Folders = []Folder{
		{"DropDirectory", filepath.Join(bad, "Drop"), 0o700}, {"BadMailDirectory", "", 0o700},
		{"QueueDirectory", next.Mail.Folder, 0o700}, {"PickupDirectory", filepath.Join(bad, "Pickup"), 0o700},
	}
	st := h.settle(next)
	if !strings.Contains(st.Why, "DropDirectory: lstat") || !strings.Contains(st.Why, "PickupDirectory: lstat") || len(st.Kept) != 2 {
		t.Errorf("%+v", st)
	}
	if err := os.Remove(bad); err != nil {
		t.Fatal(err)
	}
	if st := h.until(func() bool { return h.Status().Why == "" }); !h.InForce(2) {
		t.Errorf("%+v", st)
	}
	for _, f := range next.Folders {
		if left, _ := os.ReadDir(f.Path); f.Path != "" && f.Path != next.Mail.Folder && len(left) != 0 {
			t.Errorf("%s has %v", f.Path, left)
		}
	}
}
