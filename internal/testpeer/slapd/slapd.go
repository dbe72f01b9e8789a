// SPDX-License-Identifier: Apache-2.0

// Package slapd starts an OpenLDAP server of a test's own, where one is installed.
// It knows nothing of the service that is tested.
package slapd

import (
	"bytes"
	"context"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"time"
)

// A Server is a running slapd. Its tree is dc=corp,dc=test; the password of its
// cn=admin is "admin". Entries of the class addressed may have Active Directory's
// proxyAddresses.
type Server struct {
	Plain, Secure string // addresses for ldap, with StartTLS, and for ldaps
	Log           bytes.Buffer

	cmd   *exec.Cmd
	ended chan error
}

// Look gives the path of a program, which may be one for administrators.
func Look(name string) (string, error) {
	if path, err := exec.LookPath(name); err == nil {
		return path, nil
	}
	return exec.LookPath(filepath.Join("/usr/sbin", name))
}

const config = `include /etc/ldap/schema/core.schema
include /etc/ldap/schema/cosine.schema
include /etc/ldap/schema/inetorgperson.schema
attributetype ( 1.2.840.113556.1.2.210 NAME 'proxyAddresses' EQUALITY caseIgnoreMatch SYNTAX 1.3.6.1.4.1.1466.115.121.1.15 )
objectclass ( 1.2.840.113556.1.5.9999 NAME 'addressed' SUP top AUXILIARY MAY proxyAddresses )
modulepath /usr/lib/ldap
moduleload back_mdb
pidfile DIR/pid
TLSCACertificateFile CERT
TLSCertificateFile CERT
TLSCertificateKeyFile KEY
access to attrs=userPassword by anonymous auth by * none
access to * by anonymous none by * read
database mdb
suffix dc=corp,dc=test
rootdn cn=admin,dc=corp,dc=test
rootpw admin
directory DIR/db
`

// Start starts a slapd below dir with the entries of ldif and returns when it
// answers. The caller ends it with Stop.
func Start(ctx context.Context, dir, cert, key, ldif string) (*Server, error) {
	tool, err := Look("slapd")
	if err != nil {
		return nil, err
	}
	s := &Server{ended: make(chan error, 1)}
	if err := s.pickAddresses(); err != nil {
		return nil, err
	}
	if err := os.MkdirAll(filepath.Join(dir, "db"), 0o700); err != nil {
		return nil, err
	}
	conf, data := filepath.Join(dir, "slapd.conf"), filepath.Join(dir, "data.ldif")
	text := strings.NewReplacer("DIR", dir, "CERT", cert, "KEY", key).Replace(config)
	for name, text := range map[string]string{conf: text, data: ldif} {
		if err := os.WriteFile(name, []byte(text), 0o600); err != nil {
			return nil, err
		}
	}
	if out, err := exec.CommandContext(ctx, tool, "-T", "add", "-f", conf, "-l", data).CombinedOutput(); err != nil {
		return nil, fmt.Errorf("slapadd: %w: %s", err, out)
	}
	return s, s.run(ctx, exec.CommandContext(ctx, tool, "-d", "0", "-f", conf, "-h", "ldap://"+s.Plain+"/ ldaps://"+s.Secure+"/"))
}

// pickAddresses finds two that are free: slapd does not tell what it got for port 0.
func (s *Server) pickAddresses() error {
	for _, addr := range []*string{&s.Plain, &s.Secure} {
		l, err := net.Listen("tcp", "127.0.0.1:0")
		if err != nil {
			return err
		}
		defer l.Close()
		*addr = l.Addr().String()
	}
	return nil
}

// run starts slapd and waits until it answers.
func (s *Server) run(ctx context.Context, cmd *exec.Cmd) error {
	s.cmd = cmd
	cmd.Stderr = &s.Log
	again := time.NewTicker(20 * time.Millisecond)
	defer again.Stop()
	if err := cmd.Start(); err != nil {
		return err
	}
	go func() { s.ended <- cmd.Wait() }()
	for {
		if c, err := net.Dial("tcp", s.Secure); err == nil {
			return c.Close()
		}
		select {
		case err := <-s.ended:
			s.ended <- err
			return fmt.Errorf("slapd ended: %w: %s", err, &s.Log)
		case <-ctx.Done():
			return context.Cause(ctx)
		case <-again.C:
		}
	}
}

// Stop ends slapd and waits for it. A second Stop does nothing.
func (s *Server) Stop() {
	_ = s.cmd.Process.Signal(os.Interrupt)
	err := <-s.ended
	s.ended <- err
}
