// SPDX-License-Identifier: Apache-2.0

// Package certs reads certificates and their keys, reads them again when the files
// change, and chooses the one that a caller gets. It knows nothing of sites and
// SMTP.
package certs

import (
	"context"
	"crypto/sha256"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"log/slog"
	"slices"
	"strings"
	"sync"
	"time"

	"restante/internal/disk"
)

const (
	timeout = 4 * time.Second // for the file system to answer
	maxSize = 1 << 20
)

// Files name PEM files that have certificates with their chains, and the private
// keys of these, in any order; none for no TLS. The first certificate is the
// default.
type Files []string

// IfThere begins the name of a file that need not be there, such as one of certificates
// that are ordered still.
const IfThere = "?"

// String lists the names.
func (f Files) String() string {
	names := slices.Clone(f)
	for i, name := range names {
		names[i] = strings.TrimPrefix(name, IfThere)
	}
	return strings.Join(names, ", ")
}

// A Reloader gives a certificate, and reads them again when their files change.
type Reloader struct {
	files Files
	log   *slog.Logger
	told  map[string]int // by certificate: 1: that it expires soon, 2: that it has expired; for the Watch alone

	mu      sync.Mutex         // guards what follows
	list    []*tls.Certificate // replaced, never changed in place
	version fileVersion
	reading *reading  // nil: none is under way
	since   time.Time // when the files were first seen to be of no use; zero: they are
	failing error     // why they have been for a while; nil: they were not
}

// A reading is one look at the files, in a goroutine of its own: a file
// system that does not answer holds nobody else up.
type reading struct {
	done    chan struct{} // closed at the end; then what follows is set
	list    []*tls.Certificate
	version fileVersion
	err     error
}

// fileVersion tells one version of the files from the next: it is the hash of all
// of them.
type fileVersion [sha256.Size]byte

// New reads nothing yet.
func New(files Files, log *slog.Logger) *Reloader {
	return &Reloader{files: files, log: log, told: map[string]int{}}
}

// Files are those that it reads; none when c is nil.
func (c *Reloader) Files() Files {
	if c == nil {
		return nil
	}
	return c.files
}

// Refresh reads the files, unless they are as they were. A reading that does not
// end in time is left to itself, and the next call waits for the same one.
func (c *Reloader) Refresh(ctx context.Context) error {
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
	case <-ctx.Done():
		return context.Cause(ctx)
	case <-timer.C:
		return fmt.Errorf("certificate %s: no answer from the file system in %s", c.files, timeout)
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.reading == r {
		c.reading = nil
		if r.list != nil {
			c.list, c.version = r.list, r.version
		}
	}
	return r.err
}

// read sets list to nil if the files are of the version last.
func (r *reading) read(files Files, last fileVersion) {
	defer close(r.done)
	var texts [][]byte
	var there Files
	hash := sha256.New()
	for _, name := range files {
		name, optional := strings.CutPrefix(name, IfThere)
		text, err := readPEM(name)
		if optional && errors.Is(err, fs.ErrNotExist) {
			continue
		}
		if err != nil {
			r.err = fmt.Errorf("certificate: %w", err)
			return
		}
		texts, there = append(texts, text), append(there, name)
		_, _ = fmt.Fprintf(hash, "%d ", len(text))
		_, _ = hash.Write(text)
	}
	if r.version = fileVersion(hash.Sum(nil)); r.version == last {
		return
	}
	list, err := parse(there, texts)
	if err != nil {
		r.err = fmt.Errorf("certificate: %w", err)
		return
	}
	r.list = list
}

// readPEM reads a regular file of a bounded size.
func readPEM(name string) ([]byte, error) {
	f, _, err := disk.OpenRegular(name)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	text, err := io.ReadAll(io.LimitReader(f, maxSize+1))
	if err == nil && len(text) > maxSize {
		err = fmt.Errorf("%s has more than %d bytes: name a PEM file", name, maxSize)
	}
	return text, err
}

// get is tls.Config.GetCertificate.
func (c *Reloader) get(hello *tls.ClientHelloInfo) (*tls.Certificate, error) {
	c.mu.Lock()
	list := c.list
	c.mu.Unlock()
	return choose(list, hello), nil
}

// choose gives the first certificate that the caller can use and that has the name
// it asks for, or else the first that it can use.
func choose(list []*tls.Certificate, hello *tls.ClientHelloInfo) *tls.Certificate {
	if len(list) == 1 {
		return list[0]
	}
	nameless := *hello
	nameless.ServerName = ""
	for _, asks := range []*tls.ClientHelloInfo{hello, &nameless} {
		if i := slices.IndexFunc(list, func(c *tls.Certificate) bool { return asks.SupportsCertificate(c) == nil }); i >= 0 {
			return list[i]
		}
	}
	return list[0]
}
