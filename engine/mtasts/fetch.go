// SPDX-License-Identifier: Apache-2.0

package mtasts

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"io"
	"mime"
	"net"
	"net/http"
	"time"
)

// Bounds of a fetch (RFC 8461 §3.3).
const (
	fetchTime = time.Minute
	maxText   = 64 << 10
)

// A fetcher is how policies are fetched. The zero value is the production setting.
type fetcher struct {
	roots *x509.CertPool                                           // nil: the system's
	dial  func(ctx context.Context, addr string) (net.Conn, error) // nil: net.Dialer
}

// fetch gets the text of a domain's policy. It goes to addresses that by allows alone,
// without a proxy, and is not led on to others.
func (f fetcher) fetch(ctx context.Context, domain string, by Network) (string, error) {
	ctx, cancel := context.WithTimeout(ctx, fetchTime)
	defer cancel()
	host := "mta-sts." + domain
	transport := &http.Transport{
		DisableKeepAlives: true, MaxResponseHeaderBytes: maxText, TLSClientConfig: &tls.Config{MinVersion: tls.VersionTLS12, RootCAs: f.roots},
		DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) { return f.connect(ctx, host, by) },
	}
	client := http.Client{Transport: transport, CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }}
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, "https://"+host+"/.well-known/mta-sts.txt", nil)
	if err != nil {
		return "", err
	}
	answer, err := client.Do(req)
	if err != nil {
		return "", err
	}
	defer answer.Body.Close()
	kind, _, _ := mime.ParseMediaType(answer.Header.Get("Content-Type"))
	switch {
	case answer.StatusCode != http.StatusOK:
		return "", unusable("status %s", answer.Status)
	case kind != "text/plain":
		return "", unusable("its media type is %.60q, and not text/plain", kind)
	}
	text, err := io.ReadAll(io.LimitReader(answer.Body, maxText+1))
	switch {
	case err != nil:
		return "", err
	case len(text) > maxText:
		return "", unusable("it has more than %d octets", maxText)
	}
	return string(text), nil
}

// connect tries the addresses of host in turn.
func (f fetcher) connect(ctx context.Context, host string, by Network) (net.Conn, error) {
	addrs, err := by.Addrs(ctx, host)
	if err != nil {
		return nil, err
	}
	dial := f.dial
	if dial == nil {
		dial = func(ctx context.Context, addr string) (net.Conn, error) {
			return (&net.Dialer{Timeout: 10 * time.Second}).DialContext(ctx, "tcp", addr)
		}
	}
	failed := []error{fmt.Errorf("no address of %s answers", host)}
	for _, addr := range addrs {
		c, err := dial(ctx, net.JoinHostPort(addr, "443"))
		if err == nil {
			return c, nil
		}
		failed = append(failed, err)
	}
	return nil, errors.Join(failed...)
}
