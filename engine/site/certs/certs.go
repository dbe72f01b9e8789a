// SPDX-License-Identifier: Apache-2.0

// Package certs reads a certificate and its key, and reads them again when the
// files change. It knows nothing of sites and SMTP.
package certs

import (
	"crypto/tls"
	"fmt"
	"io"
	"io/fs"
	"log/slog"
	"os"
	"sync"
	"syscall"
	"time"

	"restante/internal/disk"
)

const (
	checkInterval = time.Second     // between two looks at a certificate's files
	timeout       = 4 * time.Second // for the file system to answer
	maxSize       = 1 << 20
)

// Files name the certificate and its key, PEM; both "" for none.
type Files struct{ Cert, Key string }

// A Reloader gives a certificate, and reads it again when its files change.
type Reloader struct {
	files Files
	log   *slog.Logger

	mu      sync.Mutex // guards what follows
	cert    *tls.Certificate
	version fileVersion
	checked time.Time
	reading *reading // nil: none is under way
}

// A reading is one look at the files, in a goroutine of its own: a file
// system that does not answer holds nobody else up.
type reading struct {
	done    chan struct{} // closed at the end; then what follows is set
	cert    *tls.Certificate
	version fileVersion
	err     error
}

// fileVersion tells one version of the files from the next.
type fileVersion struct {
	cert, key         time.Time
	certSize, keySize int64
}

// New reads nothing yet.
func New(files Files, log *slog.Logger) *Reloader { return &Reloader{files: files, log: log} }

// Files are those that it reads; none when c is nil.
func (c *Reloader) Files() Files {
	if c == nil {
		return Files{}
	}
	return c.files
}

// Refresh reads the files, unless they are as they were. A reading that does not
// end in time is left to itself, and the next call waits for the same one.
func (c *Reloader) Refresh() error {
	c.mu.Lock()
	r := c.reading
	if r == nil {
		r = &reading{done: make(chan struct{})}
		c.reading = r
		go r.read(c.files, c.version) // ended by the file system alone
	}
	c.mu.Unlock()
	timer := time.NewTimer(timeout)
	defer timer.Stop()
	select {
	case <-r.done:
	case <-timer.C:
		return fmt.Errorf("certificate %s with key %s: no answer from the file system in %s", c.files.Cert, c.files.Key, timeout)
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.reading == r {
		c.reading = nil
		c.checked = time.Now()
		if r.cert != nil {
			c.cert, c.version = r.cert, r.version
		}
	}
	return r.err
}

// read sets cert to nil if the files are of the version last.
func (r *reading) read(files Files, last fileVersion) {
	defer close(r.done)
	cert, certInfo, err := readPEM(files.Cert)
	if err != nil {
		r.err = fmt.Errorf("certificate: %w", err)
		return
	}
	key, keyInfo, err := readPEM(files.Key)
	if err != nil {
		r.err = fmt.Errorf("certificate: %w", err)
		return
	}
	r.version = fileVersion{certInfo.ModTime(), keyInfo.ModTime(), certInfo.Size(), keyInfo.Size()}
	if r.version == last {
		return
	}
	pair, err := tls.X509KeyPair(cert, key)
	if err != nil {
		r.err = fmt.Errorf("certificate %s with key %s: %w", files.Cert, files.Key, err)
		return
	}
	r.cert = &pair
}

// readPEM reads a regular file of a bounded size. Another one, such as a pipe or
// a device, may have no end; O_NONBLOCK has even its opening return.
func readPEM(name string) ([]byte, fs.FileInfo, error) {
	if err := disk.CheckParents(name); err != nil {
		return nil, nil, err
	}
	f, err := os.OpenFile(name, os.O_RDONLY|syscall.O_NONBLOCK, 0)
	if err != nil {
		return nil, nil, err
	}
	defer f.Close()
	st, err := f.Stat()
	if err != nil {
		return nil, nil, err
	}
	if !st.Mode().IsRegular() {
		return nil, nil, fmt.Errorf("%s is not a regular file", name)
	}
	text, err := io.ReadAll(io.LimitReader(f, maxSize+1))
	if err == nil && len(text) > maxSize {
		err = fmt.Errorf("%s has more than %d bytes: name a PEM file", name, maxSize)
	}
	return text, st, err
}

// get is tls.Config.GetCertificate. New files that cannot be read leave the
// certificate that was read before in use.
func (c *Reloader) get(*tls.ClientHelloInfo) (*tls.Certificate, error) {
	c.mu.Lock()
	before := c.cert
	due := time.Since(c.checked) >= checkInterval && c.reading == nil
	c.mu.Unlock()
	if !due {
		return before, nil
	}
	err := c.Refresh()
	c.mu.Lock()
	defer c.mu.Unlock()
	switch {
	case err != nil:
		c.checked = time.Now() // also after a reading that does not end
		c.log.Warn("the certificate's files changed; the one that was read before stays in use", "err", err)
	case c.cert != before:
		c.log.Info("certificate read again", "file", c.files.Cert)
	}
	return c.cert, nil
}

// Config is that of a server; nil when c is.
func (c *Reloader) Config() *tls.Config {
	if c == nil {
		return nil
	}
	return &tls.Config{MinVersion: tls.VersionTLS12, GetCertificate: c.get}
}
