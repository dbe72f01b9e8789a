// SPDX-License-Identifier: Apache-2.0

package site

import (
	"crypto/tls"
	"fmt"
	"log/slog"
	"os"
	"sync"
	"time"
)

// lookEvery is how long a certificate may be in use before its files are
// looked at again.
const lookEvery = time.Second

// certs is a certificate that follows its files: whoever renews it need not
// tell us.
type certs struct {
	files TLSFiles
	log   *slog.Logger

	mu     sync.Mutex // guards what follows
	cert   *tls.Certificate
	stamp  stamp
	looked time.Time
}

// stamp tells one version of the files from the next.
type stamp struct {
	cert, key         time.Time
	certSize, keySize int64
}

// loadCerts reads the files. The error says which, and what to do about it.
func loadCerts(files TLSFiles, log *slog.Logger) (*certs, error) {
	c := &certs{files: files, log: log}
	cert, st, err := c.read()
	if err != nil {
		return nil, err
	}
	c.cert, c.stamp, c.looked = cert, st, time.Now()
	return c, nil
}

func (c *certs) read() (*tls.Certificate, stamp, error) {
	st, err := c.stat()
	if err != nil {
		return nil, st, fmt.Errorf("certificate: %w", err)
	}
	cert, err := tls.LoadX509KeyPair(c.files.Cert, c.files.Key)
	if err != nil {
		return nil, st, fmt.Errorf("certificate %s with key %s: %w", c.files.Cert, c.files.Key, err)
	}
	return &cert, st, nil
}

func (c *certs) stat() (stamp, error) {
	a, err := os.Stat(c.files.Cert)
	if err != nil {
		return stamp{}, err
	}
	b, err := os.Stat(c.files.Key)
	if err != nil {
		return stamp{}, err
	}
	return stamp{a.ModTime(), b.ModTime(), a.Size(), b.Size()}, nil
}

// get is tls.Config.GetCertificate. New files that cannot be read leave the
// certificate that was read before in use.
func (c *certs) get(*tls.ClientHelloInfo) (*tls.Certificate, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	now := time.Now()
	if now.Sub(c.looked) < lookEvery {
		return c.cert, nil
	}
	c.looked = now
	if st, err := c.stat(); err == nil && st == c.stamp {
		return c.cert, nil
	}
	cert, st, err := c.read()
	if err != nil {
		c.log.Warn("the certificate's files changed; the one that was read before stays in use", "err", err)
		return c.cert, nil
	}
	c.cert, c.stamp = cert, st
	c.log.Info("certificate read again", "file", c.files.Cert)
	return c.cert, nil
}

// config is for wire; nil when c is.
func (c *certs) config() *tls.Config {
	if c == nil {
		return nil
	}
	return &tls.Config{MinVersion: tls.VersionTLS12, GetCertificate: c.get}
}
