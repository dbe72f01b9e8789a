// SPDX-License-Identifier: Apache-2.0

package certs

import (
	"crypto/sha256"
	"crypto/x509"
	"fmt"
	"sync"
	"time"
)

const poolEvery = time.Second // between two looks at the file of a Pool

// A Pool has the certificates of the authorities in a PEM file, and reads them again
// when the file changes.
type Pool struct {
	file string

	mu      sync.Mutex // guards what follows
	roots   *x509.CertPool
	version fileVersion
	checked time.Time
}

// NewPool reads nothing yet.
func NewPool(file string) *Pool { return &Pool{file: file} }

// Roots gives the certificates. A file that cannot be read any more leaves those in
// use that were read before.
func (p *Pool) Roots() (*x509.CertPool, error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.roots != nil && time.Since(p.checked) < poolEvery {
		return p.roots, nil
	}
	p.checked = time.Now()
	err := p.read()
	if p.roots != nil {
		return p.roots, nil
	}
	return nil, err
}

func (p *Pool) read() error {
	text, err := readPEM(p.file)
	if err != nil {
		return fmt.Errorf("certificates of authorities: %w", err)
	}
	version := fileVersion(sha256.Sum256(text))
	if version == p.version {
		return nil
	}
	roots := x509.NewCertPool()
	if !roots.AppendCertsFromPEM(text) {
		return fmt.Errorf("certificates of authorities: %s has none: name a PEM file", p.file)
	}
	p.roots, p.version = roots, version
	return nil
}
