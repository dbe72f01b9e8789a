// SPDX-License-Identifier: Apache-2.0

package site

import (
	"crypto/tls"
	"fmt"
	"io/fs"
	"log/slog"
	"os"
	"sync"
	"time"
)

// certCheckInterval is the time between two looks at a certificate's files.
const certCheckInterval = time.Second

// A certReloader gives a certificate, and reads it again when its files change.
type certReloader struct {
	files TLSFiles
	log   *slog.Logger

	mu      sync.Mutex // guards what follows
	cert    *tls.Certificate
	version fileVersion
	checked time.Time
}

// fileVersion tells one version of the files from the next.
type fileVersion struct {
	cert, key         time.Time
	certSize, keySize int64
}

// loadCerts reads the files. The error says which, and what to do about it.
func loadCerts(files TLSFiles, log *slog.Logger) (*certReloader, error) {
	c := &certReloader{files: files, log: log}
	cert, st, err := c.read()
	if err != nil {
		return nil, err
	}
	c.cert, c.version, c.checked = cert, st, time.Now()
	return c, nil
}

func (c *certReloader) read() (*tls.Certificate, fileVersion, error) {
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

func (c *certReloader) stat() (fileVersion, error) {
	a, err := statRegular(c.files.Cert)
	if err != nil {
		return fileVersion{}, err
	}
	b, err := statRegular(c.files.Key)
	if err != nil {
		return fileVersion{}, err
	}
	return fileVersion{a.ModTime(), b.ModTime(), a.Size(), b.Size()}, nil
}

// statRegular refuses what is no regular file: to read a pipe could block the
// site for ever.
func statRegular(name string) (fs.FileInfo, error) {
	st, err := os.Stat(name)
	if err == nil && !st.Mode().IsRegular() {
		err = fmt.Errorf("%s is not a regular file", name)
	}
	return st, err
}

// get is tls.Config.GetCertificate. New files that cannot be read leave the
// certificate that was read before in use.
func (c *certReloader) get(*tls.ClientHelloInfo) (*tls.Certificate, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	now := time.Now()
	if now.Sub(c.checked) < certCheckInterval {
		return c.cert, nil
	}
	c.checked = now
	if st, err := c.stat(); err == nil && st == c.version {
		return c.cert, nil
	}
	cert, st, err := c.read()
	if err != nil {
		c.log.Warn("the certificate's files changed; the one that was read before stays in use", "err", err)
		return c.cert, nil
	}
	c.cert, c.version = cert, st
	c.log.Info("certificate read again", "file", c.files.Cert)
	return c.cert, nil
}

// config is for wire; nil when c is.
func (c *certReloader) config() *tls.Config {
	if c == nil {
		return nil
	}
	return &tls.Config{MinVersion: tls.VersionTLS12, GetCertificate: c.get}
}
