// SPDX-License-Identifier: Apache-2.0

package settings

import (
	"strings"
	"testing"
)

// TestAcme: what is no order is refused, and says what comes first.
func TestAcme(t *testing.T) {
	for text, want := range map[string]Challenge{
		"http-01 :80": {false, ":80"}, "http-01 192.0.2.1:8080": {false, "192.0.2.1:8080"}, "tls-alpn-01 [::1]:443": {true, "[::1]:443"},
	} {
		if got, err := ParseChallenge(text); got != want || err != nil {
			t.Errorf("%q is %+v, %v", text, got, err)
		}
	}
	for _, text := range []string{"dns-01 :53", "http-01", "http-01 :0", "http-01 host:80", ":80", "tls-alpn-01 :65536", "http-01 :80 :81"} {
		if got, err := ParseChallenge(text); err == nil {
			t.Errorf("%q is %+v", text, got)
		}
	}
	tr, site := newTree(t), SitePath(1)
	const authority = "https://acme.test/dir"
	for _, tt := range []struct{ property, value, want string }{
		{"AcmeDirectory", "http://acme.test/dir", "is no https:// URL"},
		{"AcmeDirectory", authority, "AcmeTermsAgreed true first"},
		{"AcmeTermsAgreed", "true", ""},
		{"AcmeDirectory", authority, "set AcmeEmail first"},
		{"AcmeEmail", "nobody", "has no domain"},
		{"AcmeEmail", "joe@hub.test", ""},
		{"AcmeNames", "*.hub.test", "is no name of a host"},
		{"AcmeNames", "[192.0.2.1]", "is no name of a host"},
		{"AcmeNames", "192.0.2.1", "is no name of a host"},
		{"AcmeNames", "2001:db8::1", "is no name of a host"},
		{"AcmeNames", "bücher.test", "write it as xn--bcher-kva.test"},
		{"AcmeNames", "mail.hub.test", ""},
		{"AcmeChallenge", "dns-01 :53", "neither http-01"},
		{"AcmeDirectory", authority, ""},
		{"TlsCertificateFile", "", "there is none"},
	} {
		err := tr.apply(set(t, site, tt.property, tt.value))
		if (err == nil) != (tt.want == "") || err != nil && !strings.Contains(err.Error(), tt.want) {
			t.Errorf("%s %s: %v, want %s", tt.property, tt.value, err, tt.want)
		}
	}
	s, err := Load(tr.store.Snapshot(), 1)
	if err != nil || s.TLS.AcmeDirectory != authority || s.TLS.AcmeChallenge != "http-01 :80" || len(s.TLS.AcmeNames) != 1 {
		t.Errorf("%+v, %v", s.TLS, err)
	}
	two := newTwoSites(t)
	two.set(SitePath(2), "AcmeTermsAgreed", "true")
	two.set(SitePath(2), "AcmeEmail", "joe@two.test")
	for _, tt := range []struct{ property, value string }{{"AcmeDirectory", authority}, {"AcmeChallenge", "http-01 :8080"}} {
		if got := two.problems(joe, set(t, SitePath(2), tt.property, tt.value)); len(got) != 1 || !strings.Contains(got[0], "takes the right control at /") {
			t.Errorf("%s by one who has only the site: %q", tt.property, got)
		}
	}
}
