// SPDX-License-Identifier: Apache-2.0

package settings

import (
	"net"
	"net/netip"
	"net/url"
	"strconv"
	"strings"

	"restante/engine/mail"
	"restante/metabase"
)

// AcmeFolder has what is ordered by ACME: accounts, certificates and keys.
const AcmeFolder = "tls/acme"

// A Challenge says how an authority finds out that a name is ours.
type Challenge struct {
	TLSALPN bool   // by TLS-ALPN-01, not HTTP-01
	Listen  string // host and port
}

// ParseChallenge reads http-01 ADDR:PORT or tls-alpn-01 ADDR:PORT; ADDR may be left out.
func ParseChallenge(text string) (Challenge, error) {
	kind, listen, _ := strings.Cut(text, " ")
	c := Challenge{kind == "tls-alpn-01", listen}
	host, port, err := net.SplitHostPort(listen)
	n, bad := strconv.ParseUint(port, 10, 16)
	if host != "" && err == nil {
		_, err = netip.ParseAddr(host)
	}
	if kind != "http-01" && kind != "tls-alpn-01" || err != nil || bad != nil || n == 0 {
		return c, invalid("%q is neither http-01 ADDR:PORT nor tls-alpn-01 ADDR:PORT, such as http-01 :80", text)
	}
	return c, nil
}

func checkChallenge(text string) error {
	_, err := ParseChallenge(text)
	return err
}

func checkDirectory(text string) error {
	u, err := url.Parse(text)
	if err != nil || u.Scheme != "https" || u.Host == "" {
		return invalid("%q is no https:// URL of the directory of an authority, such as https://acme-v02.api.letsencrypt.org/directory", text)
	}
	return nil
}

func checkContact(text string) error {
	_, err := mail.ParseAddress(text)
	return err
}

func checkOrdered(text string) error {
	d, err := mail.ParseDomain(text)
	_, literal := d.Literal()
	_, noAddr := netip.ParseAddr(text)
	switch {
	case err != nil || literal || noAddr == nil:
		return invalid("%q is no name of a host; a certificate of all names below one is not ordered", text)
	case !strings.EqualFold(text, string(d)):
		return invalid("%q: write it as %s", text, d)
	}
	return nil
}

// acme refuses orders that could not be made.
func (r *reader) acme(t TLS) {
	switch {
	case t.AcmeDirectory == "":
	case t.TlsCertificateFile == "":
		r.bad(AcmeDirectory, invalid("certificates are ordered in place of that of TlsCertificateFile, and there is none"))
	case !t.AcmeTermsAgreed:
		r.bad(AcmeDirectory, invalid("orders certificates under the terms of the authority: read them, and set AcmeTermsAgreed true first"))
	case t.AcmeEmail == "":
		r.bad(AcmeDirectory, invalid("the authority wants an address that it can write to: set AcmeEmail first"))
	}
}

// checkAcmeRights asks for control over the whole tree where a change has certificates
// ordered, or an address opened for that: the service calls the authority, and may listen
// where its callers may not.
func checkAcmeRights(c metabase.Change) (problems []metabase.Problem) {
	for t := range c.PropertyChanges() {
		if (t.ID == AcmeDirectory || t.ID == AcmeChallenge) && stores(t) && t.New.Value.Str() != "" && !allows(c, metabase.Root, metabase.Control) {
			problems = append(problems, problem(t.Path, t.ID, invalid("takes the right %s at %s", metabase.Control, metabase.Root)))
		}
	}
	return problems
}
