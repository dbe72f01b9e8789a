// SPDX-License-Identifier: Apache-2.0

package account

import (
	"encoding/hex"
	"errors"
	"fmt"
	"strings"

	"github.com/emersion/go-sasl"
	"github.com/xdg-go/scram"
)

// Client begins the client's side of one exchange, for a host that wants us to
// sign in. Each exchange takes a new one.
func Client(mech, name string, password Secret) (sasl.Client, error) {
	switch strings.ToUpper(mech) {
	case Plain:
		return sasl.NewPlainClient("", name, string(password)), nil
	case Login:
		return &loginClient{name: name, password: password}, nil
	case Cram:
		return &cramClient{name: name, password: password}, nil
	case Scram:
		c, err := scram.SHA256.NewClient(name, string(password), "")
		if err != nil {
			return nil, errors.New("sign-in by SCRAM-SHA-256: the name or the password cannot be sent (RFC 4013)")
		}
		return &scramClient{conv: c.WithMinIterations(minIterations).NewConversation()}, nil
	}
	return nil, fmt.Errorf("sign-in by %q is not known", mech)
}

// loginClient answers by order, not by prompt: servers word them differently.
// It sends no initial response, which some servers refuse.
type loginClient struct {
	name     string
	password Secret
	asked    int
}

func (c *loginClient) Start() (string, []byte, error) { return Login, nil, nil }

func (c *loginClient) Next([]byte) ([]byte, error) {
	c.asked++
	switch c.asked {
	case 1:
		return []byte(c.name), nil
	case 2:
		return []byte(c.password), nil
	}
	return nil, sasl.ErrUnexpectedServerChallenge
}

type cramClient struct {
	name     string
	password Secret
	asked    bool
}

func (c *cramClient) Start() (string, []byte, error) { return Cram, nil, nil }

func (c *cramClient) Next(challenge []byte) ([]byte, error) {
	if c.asked {
		return nil, sasl.ErrUnexpectedServerChallenge
	}
	c.asked = true
	digest := cramDigest(c.password, string(challenge))
	return []byte(c.name + " " + hex.EncodeToString(digest)), nil
}

// scramClient also makes the server prove that it knows the password.
type scramClient struct{ conv *scram.ClientConversation }

func (c *scramClient) Start() (string, []byte, error) {
	first, err := c.conv.Step("")
	return Scram, []byte(first), err
}

func (c *scramClient) Next(challenge []byte) ([]byte, error) {
	if c.conv.Done() {
		return nil, sasl.ErrUnexpectedServerChallenge
	}
	r, err := c.conv.Step(string(challenge))
	return []byte(r), err
}
