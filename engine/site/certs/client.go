// SPDX-License-Identifier: Apache-2.0

package certs

import (
	"crypto/tls"
	"slices"
)

// UseUntilRead has the certificates of was shown until those of c were read.
func (c *Reloader) UseUntilRead(was *Reloader) {
	if was == nil {
		return
	}
	was.mu.Lock()
	list := was.list
	was.mu.Unlock()
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.version == (fileVersion{}) {
		c.list = list
	}
}

// Client gives the certificate that a host gets which asks us for one, for
// [tls.Config.GetClientCertificate]: none, where it accepts none of them. The files are
// looked at each time. Where they cannot be read, the certificates that were read before
// are shown: the host decides what it does without one.
func (c *Reloader) Client(asked *tls.CertificateRequestInfo) (*tls.Certificate, error) {
	if err := c.Refresh(asked.Context()); err != nil {
		c.log.WarnContext(asked.Context(), "certificate for other hosts", "err", err)
	}
	c.mu.Lock()
	list := c.list
	c.mu.Unlock()
	i := slices.IndexFunc(list, func(one *tls.Certificate) bool { return asked.SupportsCertificate(one) == nil })
	if i < 0 {
		return &tls.Certificate{}, nil
	}
	return list[i], nil
}
