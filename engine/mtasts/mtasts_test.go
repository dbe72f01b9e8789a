// SPDX-License-Identifier: Apache-2.0

package mtasts

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"restante/internal/deptest"
	"restante/internal/kv"
	"restante/internal/testpeer"
)

func TestLayers(t *testing.T) {
	deptest.Forbid(t, map[string]string{
		"/metabase": "the engine knows the properties", "/engine": "who sends the mail asks for the policy", "miekg/dns": "names are asked for by Network",
	})
}

func TestParse(t *testing.T) {
	const head = "version: STSv1\nmode: enforce\n"
	for _, tt := range []struct{ text, want string }{
		{head + "mx: mail.example.com\nmx: *.example.net\nmx: Backupmx.Example.Com.\nmax_age: 604800\n", "enforce [mail.example.com *.example.net backupmx.example.com] 168h0m0s"},
		{strings.ReplaceAll(head+"mx:a.test \nmax_age:  60", "\n", "\r\n"), "enforce [a.test] 1m0s"},
		{"version: STSv1\nmode: none\nmax_age: 60\n", "none [] 1m0s"},
		{"version: STSv1\nmode: testing\nmode: enforce\nmx: a.test\nmax_age: 60\nmax_age: 1\nnew: x\nno field\n", "testing [a.test] 1m0s"},
		{head + "mx: a.test\nmax_age: 99999999999\n", "enforce [a.test] 8766h0m0s"},
		{head + "max_age: 60\n", "it names no mx"},
		{head + "mx: a.test\n", `max_age "" is no number`},
		{head + "mx: a.test\nmax_age: -1\n", `max_age "-1" is no number`},
		{head + "mx: a.test\nmax_age: 1e9\n", `max_age "1e9" is no number`},
		{"mode: enforce\nmx: a.test\nmax_age: 60\n", `version "" is none`},
		{"version: STSv2\nmode: enforce\nmx: a.test\nmax_age: 60\n", `version "STSv2" is none`},
		{"version: STSv1\nmode: strict\nmx: a.test\nmax_age: 60\n", `mode "strict" is none`},
		{"<html>", `version "" is none`},
	} {
		p, err := parse(tt.text)
		got := fmt.Sprint(p.Mode, " ", p.MX, " ", p.MaxAge)
		if err != nil {
			got = err.Error()
		}
		if !strings.HasPrefix(got, tt.want) {
			t.Errorf("%q: %s, want %s", tt.text, got, tt.want)
		}
	}
}

func TestAllows(t *testing.T) {
	p := Policy{MX: []string{"mail.example.com", "*.example.net"}}
	for host, want := range map[string]bool{
		"mail.example.com": true, "Mail.Example.com.": true, "mx.example.net": true, "example.net": false, "a.b.example.net": false,
		"other.example.com": false, "mail.example.com.evil.test": false, "": false, "*.example.net": true,
	} {
		if got := p.Allows(host); got != want {
			t.Errorf("%q: %v", host, got)
		}
	}
	if (Policy{MX: []string{"*."}}).Allows("a") {
		t.Error("a wildcard for everything is taken")
	}
}

func TestRecordID(t *testing.T) {
	for _, tt := range []struct {
		records []string
		want    string
	}{
		{[]string{"v=STSv1; id=20260101T000000;"}, "20260101T000000"},
		{[]string{"v=spf1 -all", "v=STSv1;id=1"}, "1"},
		{[]string{"v=STSv1; new=x; id=1 ;"}, "1"},
		{[]string{"v=STSv1; id=1", "v=STSv1; id=2"}, ""},
		{[]string{"id=1; v=STSv1"}, ""},
		{[]string{"v=STSv1"}, ""},
		{nil, ""},
	} {
		if got := recordID(tt.records); got != tt.want {
			t.Errorf("%q: %q, want %q", tt.records, got, tt.want)
		}
	}
}

// names is what DNS says.
type names struct {
	txt   []string
	fails bool
	addrs []string
}

func (n *names) LookupTXT(_ context.Context, name string) ([]string, error) {
	if name != "_mta-sts.to.test" || n.fails {
		return nil, errors.New("no answer")
	}
	return n.txt, nil
}

func (n *names) Addrs(_ context.Context, host string) ([]string, error) {
	if host != "mta-sts.to.test" {
		return nil, errors.New("another name was asked for: " + host)
	}
	return n.addrs, nil
}

func text(mode string, age int) string {
	return fmt.Sprintf("version: STSv1\nmode: %s\nmx: mx.to.test\nmax_age: %d\n", mode, age)
}

// TestPolicyInTime has a domain's policy from its first use to its end.
func TestPolicyInTime(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		db := kv.NewMem()
		by := &names{txt: []string{"v=STSv1; id=1"}}
		served, fetches := text(Enforce, 1000), 0
		get := func(context.Context, string, Network) (string, error) {
			if fetches++; served == "" {
				return "", errors.New("no answer")
			}
			return served, nil
		}
		c := &Cache{DB: db, get: get}
		check := func(what, mode string, total int) {
			t.Helper()
			p, ok := c.Policy(t.Context(), "to.test", by)
			if !ok {
				p.Mode = "no policy"
			}
			if p.Mode != mode || fetches != total {
				t.Errorf("%s: %s after %d fetches, want %s after %d", what, p.Mode, fetches, mode, total)
			}
		}
		served = ""
		check("the first fetch fails", "no policy", 1)
		served = text(Enforce, 1000)
		time.Sleep(time.Minute)
		check("too soon for another", "no policy", 1)
		time.Sleep(againAfter)
		check("fetched", Enforce, 2)
		check("known", Enforce, 2)
		c = &Cache{DB: db, get: get}
		check("after a restart", Enforce, 2)
		by.txt, served = nil, ""
		check("the record is gone, as from a forged answer", Enforce, 2)
		by.fails = true
		check("no answer from DNS", Enforce, 2)
		by.fails, by.txt = false, []string{"v=STSv1; id=2"}
		check("a new one that cannot be fetched", Enforce, 3)
		served = text(Testing, 1000)
		time.Sleep(againAfter)
		check("the new one", Testing, 4)
		served = text(Enforce, 1000)
		time.Sleep(501 * time.Second)
		check("the same id, half of its time over", Enforce, 5)
		by.txt = nil
		time.Sleep(999 * time.Second)
		check("a second before its end", Enforce, 5)
		time.Sleep(2 * time.Second)
		check("after its end", "no policy", 5)
		c = &Cache{DB: db, get: get}
		check("after its end and a restart", "no policy", 5)
		by.txt, served = []string{"v=STSv1; id=3"}, "<html>"
		check("what is no policy", "no policy", 6)
	})
}

// TestFetch has what a server may answer, and to whom the question may go.
func TestFetch(t *testing.T) {
	var host atomic.Value
	answer := func(status int, kind, body string) http.HandlerFunc {
		return func(w http.ResponseWriter, r *http.Request) {
			host.Store(r.Host + r.URL.Path)
			w.Header().Set("Content-Type", kind)
			w.Header().Set("Location", "https://mta-sts.to.test/other")
			w.WriteHeader(status)
			_, _ = w.Write([]byte(body))
		}
	}
	good := text(Enforce, 60)
	for _, tt := range []struct {
		name    string
		handler http.HandlerFunc
		want    string
	}{
		{"a policy", answer(200, "text/plain; charset=utf-8", good), ""},
		{"elsewhere", answer(302, "text/plain", good), "status 302"},
		{"not there", answer(404, "text/plain", good), "status 404"},
		{"a page", answer(200, "text/html", good), `media type is "text/html"`},
		{"just not too long", answer(200, "text/plain", strings.Repeat("x", maxText)), ""},
		{"too long", answer(200, "text/plain", strings.Repeat("x", maxText+1)), "more than 65536 octets"},
		{"broken off", func(http.ResponseWriter, *http.Request) { panic(http.ErrAbortHandler) }, "EOF"},
	} {
		server := httptest.NewUnstartedServer(tt.handler)
		cert, roots := testpeer.Certificate(t, "mta-sts.to.test", time.Now().Add(time.Hour))
		server.TLS = &tls.Config{Certificates: []tls.Certificate{cert}}
		server.StartTLS()
		var dialled []string
		f := fetcher{dial: func(ctx context.Context, addr string) (net.Conn, error) {
			if dialled = append(dialled, addr); len(dialled) == 1 {
				return nil, errors.New("the first address does not answer")
			}
			return (&net.Dialer{}).DialContext(ctx, "tcp", server.Listener.Addr().String())
		}}
		f.roots = roots
		by := &names{addrs: []string{"192.0.2.1", "2001:db8::1"}}
		got, err := f.fetch(t.Context(), "to.test", by)
		if (err == nil) != (tt.want == "") || err != nil && !strings.Contains(err.Error(), tt.want) {
			t.Errorf("%s: %d octets, %v, want %q", tt.name, len(got), err, tt.want)
		}
		if !slices.Equal(dialled, []string{"192.0.2.1:443", "[2001:db8::1]:443"}) {
			t.Errorf("%s: dialled %q", tt.name, dialled)
		}
		server.Close()
	}
	// A server that does not prove the name has no say.
	other := httptest.NewTLSServer(answer(200, "text/plain", good))
	defer other.Close()
	f := fetcher{roots: x509.NewCertPool(), dial: func(ctx context.Context, _ string) (net.Conn, error) {
		return (&net.Dialer{}).DialContext(ctx, "tcp", other.Listener.Addr().String())
	}}
	f.roots.AddCert(other.Certificate())
	if _, err := f.fetch(t.Context(), "to.test", &names{addrs: []string{"192.0.2.1"}}); err == nil || !strings.Contains(err.Error(), "not mta-sts.to.test") {
		t.Errorf("a certificate of another name is taken: %v", err)
	}
	if host.Load() != "mta-sts.to.test/.well-known/mta-sts.txt" {
		t.Errorf("asked for %v", host.Load())
	}
	if _, err := (fetcher{}).fetch(t.Context(), "to.test", &names{}); err == nil || !strings.Contains(err.Error(), "no address of mta-sts.to.test answers") {
		t.Errorf("without an address: %v", err)
	}
}

// What is stored is bounded, and what is over goes.
func TestPrune(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := &Cache{DB: kv.NewMem()}
		var ops []kv.Op
		for i := range maxPolicies {
			raw, err := json.Marshal(record{"1", time.Now().Add(time.Duration(i) * time.Second), text(Enforce, 1_000_000)})
			if err != nil {
				t.Fatal(err)
			}
			ops = append(ops, kv.Put([]byte(fmt.Sprint(i, ".test")), raw))
		}
		if err := c.DB.Commit(t.Context(), append(ops, kv.Put([]byte("damaged.test"), []byte("{")))...); err != nil {
			t.Fatal(err)
		}
		c.save(t.Context(), "short.test", record{"1", time.Now(), text(Enforce, 10)})
		time.Sleep(time.Minute)
		for i := range pruneEvery - 1 {
			c.save(t.Context(), fmt.Sprint("new", i, ".test"), record{"1", time.Now().Add(24 * time.Hour), text(Enforce, 1_000_000)})
		}
		n := 0
		for _, err := range c.DB.Scan(t.Context(), nil) {
			if n++; err != nil {
				t.Fatal(err)
			}
		}
		if _, first, _ := c.DB.Get([]byte("0.test")); n != maxPolicies || first {
			t.Errorf("%d are stored, the first %v", n, first)
		}
		if _, there, _ := c.DB.Get([]byte("short.test")); there {
			t.Error("one whose time is over is kept")
		}
	})
}
