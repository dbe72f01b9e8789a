// SPDX-License-Identifier: Apache-2.0

package certs

import (
	"fmt"
	"slices"
	"strings"
	"time"
)

// expirySoon is how long before its expiry a certificate is told of in the log; for one
// that is valid for a short time it is a fifth of that.
const expirySoon = 14 * 24 * time.Hour

// A Certificate is one that is in use.
type Certificate struct {
	Names []string  `json:"names"`     // of hosts, and addresses; where it has none, its subject
	Until time.Time `json:"not_after"` // its last second
	soon  time.Time // from when on the log tells of it
}

// List gives the certificates in use, the default first; none when c is nil.
func (c *Reloader) List() (out []Certificate) {
	if c == nil {
		return nil
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	for _, one := range c.list {
		names := slices.Clone(one.Leaf.DNSNames)
		for _, ip := range one.Leaf.IPAddresses {
			names = append(names, ip.String())
		}
		if len(names) == 0 {
			names = []string{one.Leaf.Subject.String()}
		}
		end := one.Leaf.NotAfter
		out = append(out, Certificate{names, end, end.Add(-min(expirySoon, end.Sub(one.Leaf.NotBefore)/5))})
	}
	return out
}

// Expired is an error that names the certificates in use that have expired; nil for none.
func (c *Reloader) Expired() error {
	var expired []string
	for _, one := range c.List() {
		if time.Now().After(one.Until) {
			expired = append(expired, one.String())
		}
	}
	if expired == nil {
		return nil
	}
	return fmt.Errorf("certificate %s has expired", strings.Join(expired, "; "))
}

// String is the names, and the expiry.
func (c Certificate) String() string {
	return fmt.Sprintf("%s (until %s)", strings.Join(c.Names, ", "), c.Until.UTC().Format(time.RFC3339))
}

// tellExpiry logs once of each certificate that it expires soon, and that it has expired.
func (c *Reloader) tellExpiry() {
	for _, one := range c.List() {
		stage := 0
		switch now := time.Now(); {
		case now.After(one.Until):
			stage = 2
		case now.After(one.soon):
			stage = 1
		}
		if name := one.String(); c.told[name] < stage {
			c.told[name] = stage
			c.log.Warn([]string{"", "a certificate expires soon", "a certificate has expired: a peer that checks it refuses it"}[stage], "certificate", name)
		}
	}
}
