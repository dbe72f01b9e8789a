// SPDX-License-Identifier: Apache-2.0

package certs

import (
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"log/slog"
	"net"
	"strings"
	"testing"
	"testing/synctest"
	"time"
)

// A certificate is told of once before it expires, and once when it has, which shows.
func TestExpiryOfCertificates(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var log lockedText
		c := New(nil, slog.New(slog.NewTextHandler(&log, nil)))
		leaf := func(days int, names ...string) *tls.Certificate {
			return &tls.Certificate{Leaf: &x509.Certificate{DNSNames: names, NotBefore: time.Now().AddDate(0, 0, -70), NotAfter: time.Now().AddDate(0, 0, days), Subject: pkix.Name{CommonName: "x"}}}
		}
		c.list = []*tls.Certificate{leaf(20, "a.test", "b.test"), leaf(400), leaf(500, "c.test")}
		c.list[2].Leaf.IPAddresses = []net.IP{net.IPv4(192, 0, 2, 1)}
		for _, tt := range []struct {
			days, lines int
			says        string
		}{{0, 0, ""}, {10, 1, "expires soon"}, {1, 1, "expires soon"}, {12, 2, "has expired"}, {1, 2, "has expired"}} {
			time.Sleep(time.Duration(tt.days) * 24 * time.Hour)
			c.tellExpiry()
			if got := log.String(); strings.Count(got, "\n") != tt.lines || !strings.Contains(got, tt.says) || strings.Contains(got, "c.test") {
				t.Errorf("after %d more days the log has %q, want %d lines with %q", tt.days, got, tt.lines, tt.says)
			}
			if err := c.Expired(); (err != nil) != (tt.lines == 2) || err != nil && !strings.Contains(err.Error(), "a.test, b.test (until ") {
				t.Errorf("after %d more days: %v", tt.days, err)
			}
		}
		if list := c.List(); len(list) != 3 || list[1].Names[0] != "CN=x" || strings.Join(list[2].Names, " ") != "c.test 192.0.2.1" {
			t.Errorf("in use: %v", list)
		}
	})
}
