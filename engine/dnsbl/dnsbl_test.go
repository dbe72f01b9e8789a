// SPDX-License-Identifier: Apache-2.0

package dnsbl

import (
	"context"
	"net"
	"net/netip"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"restante/internal/deptest"
)

func TestLayers(t *testing.T) {
	deptest.Forbid(t, map[string]string{
		"/engine":   "a blocklist is asked for any caller",
		"/metabase": "a blocklist knows no settings",
		"/internal": "nothing is kept",
	})
}

// zone has an address by name; "later" fails, and "never" does not answer. A name that
// begins with txt has the text.
type zone struct {
	records map[string]string
	asked   atomic.Int32
}

func (z *zone) LookupIPAddr(ctx context.Context, name string) ([]net.IPAddr, error) {
	z.asked.Add(1)
	switch text, ok := z.records[name]; {
	case !ok:
		return nil, &net.DNSError{Name: name, IsNotFound: true}
	case text == "later":
		return nil, &net.DNSError{Name: name, Err: "SERVFAIL", IsTemporary: true}
	case text == "never":
		<-ctx.Done()
		return nil, &net.DNSError{Name: name, Err: "no answer", IsTimeout: true}
	default:
		return []net.IPAddr{{IP: net.ParseIP(text)}}, nil
	}
}

func (z *zone) LookupTXT(_ context.Context, name string) ([]string, error) {
	if text, ok := z.records["txt "+name]; ok {
		return []string{text}, nil
	}
	return nil, &net.DNSError{Name: name, IsNotFound: true}
}

func TestListed(t *testing.T) {
	const name, six = "1.2.0.192.bl.test", "1.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.8.b.d.0.1.0.0.2.bl.test"
	for _, tt := range []struct {
		what, client string
		records      map[string]string
		want         string
	}{
		{"not listed", "192.0.2.1", nil, ""},
		{"listed", "192.0.2.1", map[string]string{name: "127.0.0.2"}, "Client host [192.0.2.1] blocked using bl.test"},
		{"mapped into IPv6", "::ffff:192.0.2.1", map[string]string{name: "127.0.1.4"}, "Client host [192.0.2.1] blocked using bl.test"},
		{"with a text", "192.0.2.1", map[string]string{name: "127.0.0.2", "txt " + name: "see\r\n https://bl.test/\xff"}, "Client host [192.0.2.1] blocked using bl.test; see https://bl.test/"},
		{"with a long text", "192.0.2.1", map[string]string{name: "127.0.0.2", "txt " + name: strings.Repeat("x", 999)}, "Client host [192.0.2.1] blocked using bl.test; " + strings.Repeat("x", 200)},
		{"by IPv6", "2001:db8::1", map[string]string{six: "127.0.0.2"}, "Client host [2001:db8::1] blocked using bl.test"},
		{"by the second zone", "192.0.2.1", map[string]string{"1.2.0.192.second.test": "127.0.0.2"}, "Client host [192.0.2.1] blocked using second.test"},
		{"no loopback address", "192.0.2.1", map[string]string{name: "203.0.113.1"}, ""},
		{"an error of the zone", "192.0.2.1", map[string]string{name: "127.255.255.254"}, ""},
		{"another one", "192.0.2.1", map[string]string{name: "127.0.0.1"}, ""},
		{"a fault", "192.0.2.1", map[string]string{name: "later"}, ""},
		{"no answer", "192.0.2.1", map[string]string{name: "never"}, ""},
		{"no answer of one", "192.0.2.1", map[string]string{name: "never", "1.2.0.192.second.test": "127.0.0.2"}, "Client host [192.0.2.1] blocked using second.test"},
	} {
		synctest.Test(t, func(t *testing.T) {
			var c Checker
			begin := time.Now()
			got := c.Listed(t.Context(), &zone{records: tt.records}, []string{"bl.test", "second.test"}, netip.MustParseAddr(tt.client))
			if got != tt.want || time.Since(begin) > timeout {
				t.Errorf("%s: %q after %s, want %q", tt.what, got, time.Since(begin), tt.want)
			}
		})
	}
	var c Checker
	if got := c.Listed(t.Context(), &zone{}, []string{"bl.test"}, netip.Addr{}); got != "" {
		t.Errorf("no address: %q", got)
	}
}

// A zone that does not answer keeps nobody else waiting.
func TestFaultyZonesRest(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var c Checker
		z := &zone{records: map[string]string{"1.2.0.192.bl.test": "never", "2.2.0.192.bl.test": "127.0.0.2"}}
		ask := func(client string) string {
			return c.Listed(t.Context(), z, []string{"bl.test"}, netip.MustParseAddr(client))
		}
		ask("192.0.2.1")
		begin := time.Now()
		if got := ask("192.0.2.2"); got != "" || time.Since(begin) > 0 || z.asked.Load() != 1 {
			t.Errorf("just after: %q in %s, asked %d times", got, time.Since(begin), z.asked.Load())
		}
		time.Sleep(rest) // of the bubble
		if got := ask("192.0.2.2"); got == "" {
			t.Error("a minute later the zone is not asked")
		}
	})
}
