// SPDX-License-Identifier: Apache-2.0

package account

import (
	"cmp"
	"crypto/hmac"
	"crypto/md5"
	"encoding/hex"
	"errors"
	"strings"

	"github.com/emersion/go-sasl"
	"github.com/xdg-go/scram"

	"restante/engine/mail"
)

// A step takes one message of the client, nil where it sent no initial
// response, and gives the next challenge. A nil challenge without an error
// ends the exchange well.
type step func(response []byte) (challenge []byte, err error)

// steps runs one step per message and none after the last.
type steps []step

func (s *steps) Next(response []byte) ([]byte, bool, error) {
	if len(*s) == 0 {
		return nil, false, sasl.ErrUnexpectedClientResponse
	}
	var now step
	now, *s = (*s)[0], (*s)[1:]
	challenge, err := now(response)
	if err != nil || challenge == nil {
		*s = nil
	}
	return challenge, challenge == nil && err == nil, err
}

// malformed answers a message that is not of the mechanism's form. RFC 4954 §4.
func malformed(cause error) error {
	return mail.Reply{Code: 501, Enhanced: "5.2", Text: "Malformed authentication exchange", Cause: cause}
}

// plain is RFC 4616: everything in one message.
func (g *Authenticator) plain(lookup Lookup, done func(string)) sasl.Server {
	answer := func(r []byte) ([]byte, error) {
		parts := strings.Split(string(r), "\x00")
		if len(parts) != 3 || parts[1] == "" || parts[2] == "" {
			return nil, malformed(errors.New("PLAIN: wants authzid NUL authcid NUL password"))
		}
		name, err := g.check(lookup, parts[1], parts[2])
		if err != nil {
			return nil, err
		}
		if parts[0] != "" && !strings.EqualFold(parts[0], parts[1]) && !strings.EqualFold(parts[0], name) {
			return nil, &Refused{Name: parts[1], Reason: otherName}
		}
		done(name)
		return nil, nil
	}
	return &steps{func(r []byte) ([]byte, error) {
		if r != nil {
			return answer(r)
		}
		return []byte{}, nil // RFC 4954 §4: an empty challenge asks for it
	}, answer}
}

// login asks for the name and then for the password, in the words that
// clients compare with.
func (g *Authenticator) login(lookup Lookup, done func(string)) sasl.Server {
	var name string
	s := new(steps)
	takeName := func(r []byte) ([]byte, error) {
		if name = string(r); name == "" {
			return nil, malformed(errors.New("LOGIN: an empty name"))
		}
		return []byte("Password:"), nil
	}
	takePassword := func(r []byte) ([]byte, error) {
		account, err := g.check(lookup, name, string(r))
		if err != nil {
			return nil, err
		}
		done(account)
		return nil, nil
	}
	*s = steps{func(r []byte) ([]byte, error) {
		if r == nil {
			return []byte("Username:"), nil
		}
		*s = steps{takePassword} // the name came as initial response
		return takeName(r)
	}, takeName, takePassword}
	return s
}

// cram is RFC 2195: the client answers our challenge with its HMAC-MD5.
func (g *Authenticator) cram(lookup Lookup, done func(string)) sasl.Server {
	challenge := g.opts.Challenge()
	return &steps{
		func(r []byte) ([]byte, error) {
			if r != nil { // RFC 4954 §4: the server speaks first
				return nil, mail.Reply{Code: 501, Enhanced: "7.0", Text: "CRAM-MD5 takes no initial response"}
			}
			return []byte(challenge), nil
		},
		func(r []byte) ([]byte, error) {
			// A name may hold blanks, the digest none.
			at := strings.LastIndexByte(string(r), ' ')
			if at <= 0 {
				return nil, malformed(errors.New("CRAM-MD5: wants name SP digest"))
			}
			name := string(r[:at])
			got, err := hex.DecodeString(string(r[at+1:]))
			if err != nil || len(got) != md5.Size {
				return nil, malformed(errors.New("CRAM-MD5: the digest is 32 hexadecimal digits"))
			}
			c, known := lookup(name)
			secret := c.Secret
			why := wrongPassword
			if !known || secret == "" {
				secret, why = Secret(g.key), noCram
			}
			right := hmac.Equal(got, cramDigest(secret, challenge))
			if !known || c.Secret == "" || !right {
				return nil, refusal(name, c, known, why)
			}
			done(c.Name)
			return nil, nil
		},
	}
}

func cramDigest(secret Secret, challenge string) []byte {
	h := hmac.New(md5.New, []byte(secret))
	h.Write([]byte(challenge))
	return h.Sum(nil)
}

// scram is RFC 7677 without channel binding.
func (g *Authenticator) scram(lookup Lookup, done func(string)) (sasl.Server, error) {
	x := &scramExchange{auth: g, lookup: lookup, done: done}
	server, err := scram.SHA256.NewServer(x.find)
	if err != nil {
		return nil, err
	}
	x.conv = server.WithNonceGenerator(g.opts.Nonce).NewConversation()
	return x.start(), nil
}

type scramExchange struct {
	auth   *Authenticator
	lookup Lookup
	done   func(string)
	conv   *scram.ServerConversation
	name   string // the account's, once it is found
	found  Credential
	known  bool
}

func (x *scramExchange) start() *steps {
	s := new(steps)
	*s = steps{func(r []byte) ([]byte, error) {
		if r == nil {
			return []byte{}, nil // RFC 4954 §4: an empty challenge asks for what the client says first
		}
		*s = steps{x.final, x.acknowledge}
		return x.first(r)
	}, x.first, x.final, x.acknowledge}
	return s
}

// find is asked by the conversation for what to compare with.
func (x *scramExchange) find(name string) (scram.StoredCredentials, error) {
	c, known := x.lookup(name)
	x.found = c
	v, err := parseVerifier(c.Scram)
	if !known || err != nil {
		x.name = cmp.Or(c.Name, name)
		return x.auth.decoyFor(x.name).StoredCredentials, nil
	}
	x.name, x.known = c.Name, true
	return v.StoredCredentials, nil
}

func (x *scramExchange) first(r []byte) ([]byte, error) {
	challenge, err := x.conv.Step(string(r))
	if err != nil {
		return nil, malformed(err)
	}
	return []byte(challenge), nil
}

func (x *scramExchange) final(r []byte) ([]byte, error) {
	proof, err := x.conv.Step(string(r))
	if err != nil || !x.conv.Valid() || !x.known {
		return nil, refusal(x.conv.Username(), x.found, x.known, wrongPassword)
	}
	if z := x.conv.AuthzID(); z != "" && !strings.EqualFold(z, x.conv.Username()) && !strings.EqualFold(z, x.name) {
		return nil, &Refused{Name: x.conv.Username(), Reason: otherName}
	}
	return []byte(proof), nil
}

// acknowledge takes the client's empty message after our proof: the reply 235
// carries no data.
func (x *scramExchange) acknowledge(r []byte) ([]byte, error) {
	if len(r) != 0 {
		return nil, malformed(errors.New("SCRAM: more after the end"))
	}
	x.done(x.name)
	return nil, nil
}
