// SPDX-License-Identifier: Apache-2.0

package testpeer

import (
	"bufio"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"fmt"
	"math/big"
	"net"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"
)

// A Step waits for a line that begins with Want, in any case, and then sends Say.
// An empty Want does not wait; "BODY" reads a message up to its dot. An empty Say
// sends nothing; "HANGUP" closes the connection.
type Step struct{ Want, Say string }

// Steps makes a script of pairs of Want and Say.
func Steps(pairs ...string) (out []Step) {
	for i := 0; i+1 < len(pairs); i += 2 {
		out = append(out, Step{Want: pairs[i], Say: pairs[i+1]})
	}
	return out
}

// A Host follows scripts.
type Host struct {
	Addr string // host:port

	mu    sync.Mutex // guards what follows
	lines []string
	conns int
}

// FakeMX starts a host whose n-th connection follows the n-th script, and later
// ones the last. Any other line than the wanted one fails the test and closes the
// connection. A script that the peer does not finish fails nothing: see Lines.
func FakeMX(t testing.TB, scripts ...[]Step) *Host {
	t.Helper()
	h := &Host{}
	h.Addr = listen(t, func(n int, c net.Conn) {
		h.mu.Lock()
		h.conns++
		h.mu.Unlock()
		if err := h.runScript(c, scripts[min(n, len(scripts)-1)]); err != nil {
			t.Errorf("connection %d: %v", n, err)
		}
	}).String()
	return h
}

// Lines gives the commands of all connections so far.
func (h *Host) Lines() []string {
	h.mu.Lock()
	defer h.mu.Unlock()
	return slices.Clone(h.lines)
}

// Conns counts the connections so far.
func (h *Host) Conns() int {
	h.mu.Lock()
	defer h.mu.Unlock()
	return h.conns
}

func (h *Host) runScript(c net.Conn, steps []Step) error {
	r := bufio.NewReader(c)
	for _, s := range steps {
		switch s.Want {
		case "":
		case "BODY":
			if _, err := readBody(r, false); err != nil {
				return nil // the peer went away: its right
			}
		default:
			line, err := r.ReadString('\n')
			if err != nil {
				return nil
			}
			line = strings.TrimRight(line, "\r\n")
			h.mu.Lock()
			h.lines = append(h.lines, line)
			h.mu.Unlock()
			if len(line) < len(s.Want) || !strings.EqualFold(line[:len(s.Want)], s.Want) {
				return fmt.Errorf("got %q, want %q", line, s.Want)
			}
		}
		if s.Say == "HANGUP" {
			return nil
		}
		if s.Say != "" {
			if _, err := fmt.Fprintf(c, "%s\r\n", s.Say); err != nil {
				return nil
			}
		}
	}
	return nil
}

// listen accepts until the test ends and waits for every serve.
func listen(t testing.TB, serve func(n int, c net.Conn)) net.Addr {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	var mu sync.Mutex
	open := map[net.Conn]bool{}
	var all sync.WaitGroup
	all.Go(func() {
		for n := 0; ; n++ {
			c, err := l.Accept()
			if err != nil {
				return
			}
			mu.Lock()
			open[c] = true
			mu.Unlock()
			all.Go(func() {
				defer c.Close()
				serve(n, c)
				mu.Lock()
				defer mu.Unlock()
				delete(open, c)
			})
		}
	})
	t.Cleanup(func() {
		l.Close()
		mu.Lock()
		for c := range open {
			c.Close()
		}
		mu.Unlock()
		all.Wait()
	})
	return l.Addr()
}

// Certificate makes a self-signed certificate for name and 127.0.0.1, valid
// until notAfter, and the pool that trusts it.
func Certificate(t testing.TB, name string, notAfter time.Time) (tls.Certificate, *x509.CertPool) {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	template := &x509.Certificate{
		SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: name},
		NotBefore: notAfter.Add(-24 * time.Hour), NotAfter: notAfter,
		DNSNames: []string{name}, IPAddresses: []net.IP{net.IPv4(127, 0, 0, 1)},
		IsCA: true, BasicConstraintsValid: true,
	}
	der, err := x509.CreateCertificate(rand.Reader, template, template, &key.PublicKey, key)
	if err != nil {
		t.Fatal(err)
	}
	cert, err := x509.ParseCertificate(der)
	if err != nil {
		t.Fatal(err)
	}
	pool := x509.NewCertPool()
	pool.AddCert(cert)
	return tls.Certificate{Certificate: [][]byte{der}, PrivateKey: key}, pool
}
