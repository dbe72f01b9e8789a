// SPDX-License-Identifier: Apache-2.0

package acme

import (
	"bytes"
	"context"
	"crypto/x509"
	"encoding/pem"
	"errors"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"strconv"
	"strings"

	"github.com/caddyserver/certmagic"
	"go.uber.org/zap"

	"restante/internal/disk"
)

// order has each of the names at the authority, where its certificate is not there or is
// about to end, and writes all that are there into the file. An error about one name
// leaves the others as they are.
func order(ctx context.Context, set Settings) (changed bool, err error) {
	config, cache, err := configOf(set)
	if err != nil {
		return false, err
	}
	defer cache.Stop()
	var text bytes.Buffer
	var problems []error
	for name := range strings.FieldsSeq(set.Names) {
		if err := config.ManageSync(ctx, []string{name}); err != nil {
			problems = append(problems, errors.New(strings.ReplaceAll(err.Error(), "\n", "; ")))
		}
		for _, c := range cache.AllMatchingCertificates(name) {
			if err := write(&text, c); err != nil {
				problems = append(problems, fmt.Errorf("%s: %w", name, err))
			}
		}
	}
	if was, err := os.ReadFile(set.File); text.Len() == 0 || err == nil && bytes.Equal(was, text.Bytes()) {
		return false, errors.Join(problems...)
	}
	folder, err := disk.MakeFolder(nil, filepath.Dir(set.File), 0o700)
	if err == nil {
		err = folder.WriteFile(filepath.Base(set.File), 0o600, disk.Bytes(text.Bytes()))
		_ = folder.Close() // nothing was written through it
	}
	return err == nil, errors.Join(append(problems, err)...)
}

// configOf makes what certmagic works with. Its cache and the watch over it last no longer
// than the order: who renews when is decided here. Certmagic's log is silent, as its
// errors come back.
func configOf(set Settings) (*certmagic.Config, *certmagic.Cache, error) {
	host, port, err := net.SplitHostPort(set.Listen)
	if err != nil {
		return nil, nil, err
	}
	number, err := strconv.Atoi(port)
	if err != nil {
		return nil, nil, err
	}
	silent := zap.NewNop()
	var config *certmagic.Config
	cache := certmagic.NewCache(certmagic.CacheOptions{
		Logger:           silent,
		GetConfigForCert: func(certmagic.Certificate) (*certmagic.Config, error) { return config, nil },
	})
	config = certmagic.New(cache, certmagic.Config{
		Storage: &certmagic.FileStorage{Path: set.Storage},
		OCSP:    certmagic.OCSPConfig{DisableStapling: true},
		Logger:  silent,
		Issuers: []certmagic.Issuer{},
	})
	config.Issuers = []certmagic.Issuer{certmagic.NewACMEIssuer(config, certmagic.ACMEIssuer{
		CA: set.Directory, Email: set.Email, Agreed: true,
		DisableHTTPChallenge: set.TLSALPN, DisableTLSALPNChallenge: !set.TLSALPN, DisableDistributedSolvers: true,
		ListenHost: host, AltHTTPPort: number, AltTLSALPNPort: number,
		Logger: silent,
	})}
	return config, cache, nil
}

// write appends a certificate with its chain, and its key.
func write(to *bytes.Buffer, c certmagic.Certificate) error {
	key, err := x509.MarshalPKCS8PrivateKey(c.PrivateKey)
	if err != nil {
		return err
	}
	for _, der := range c.Certificate.Certificate {
		_ = pem.Encode(to, &pem.Block{Type: "CERTIFICATE", Bytes: der}) // into memory
	}
	return pem.Encode(to, &pem.Block{Type: "PRIVATE KEY", Bytes: key})
}
