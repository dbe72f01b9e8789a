// SPDX-License-Identifier: Apache-2.0

package session

import (
	"cmp"
	"crypto/x509"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/emersion/go-sasl"

	"restante/engine/account"
	"restante/engine/mail"
)

// Certificates says by which authorities a caller's certificate is an identity.
type Certificates struct {
	ID    string                         // differs from that of other settings
	Roots func() (*x509.CertPool, error) // nil in a Policy that only explains
}

// verify checks the certificate that the caller proved to have in the handshake, and
// gives its names: mailboxes and hosts of the alternative names, then the common
// name. Some callers show one to everybody, so a bad one is no fault.
func (s *Session) verify(in *Certificates) (names []string, err error) {
	state, _ := s.caller.TLS()
	if len(state.PeerCertificates) == 0 {
		return nil, errors.New("the caller shows no certificate")
	}
	roots, err := in.Roots()
	if err != nil {
		return nil, mail.Reply{Code: 454, Enhanced: "7.0", Text: "Temporary authentication failure", Cause: err}
	}
	opts := x509.VerifyOptions{Roots: roots, Intermediates: x509.NewCertPool(), KeyUsages: []x509.ExtKeyUsage{x509.ExtKeyUsageClientAuth}, CurrentTime: time.Now()}
	for _, c := range state.PeerCertificates[1:] {
		opts.Intermediates.AddCert(c)
	}
	leaf := state.PeerCertificates[0]
	if _, err := leaf.Verify(opts); err != nil {
		return nil, fmt.Errorf("the certificate of %s: %w", leaf.Subject, err)
	}
	names = slices.Concat(leaf.EmailAddresses, leaf.DNSNames)
	if cn := leaf.Subject.CommonName; cn != "" {
		names = append(names, cn)
	}
	return names, nil
}

// external is the server's side of EXTERNAL. The account is the first name of the
// certificate that is one which is kept here or, where the caller asks for a name,
// that one.
func (x *exchange) external() sasl.Server {
	return sasl.NewExternalServer(func(identity string) error {
		s := x.session
		in := &s.policy.SignIn
		names, err := s.verify(in.Certificates)
		if identity != "" {
			identity = in.account(identity)
		}
		x.name = cmp.Or(identity, strings.Join(names, " "))
		if x.refusal = s.deps.Auth.Admit(x.ctx, s.guesser(), x.name); x.refusal != nil {
			return &account.Refused{Name: x.name}
		}
		if r := (mail.Reply{}); errors.As(err, &r) {
			return err
		}
		if err != nil {
			return &account.Refused{Name: x.name, Reason: err.Error()}
		}
		for _, name := range names {
			kept, ok := in.Kept(name)
			if ok && (identity == "" || strings.EqualFold(identity, name) || strings.EqualFold(identity, kept)) {
				x.name, x.proof.source = kept, in.Certificates.ID
				x.signedIn(kept)
				return nil
			}
		}
		return &account.Refused{Name: x.name, Reason: fmt.Sprintf("the certificate is for %q, none of which is the account", names)}
	})
}
