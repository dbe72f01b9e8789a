// SPDX-License-Identifier: Apache-2.0

package wire

import (
	"context"
	"crypto/tls"
	"errors"
	"io"
	"net"
	"time"

	"github.com/emersion/go-sasl"

	"restante/engine/mail"
)

// A TLSPolicy says what a client does about STARTTLS.
type TLSPolicy int

const (
	TLSOpportunistic TLSPolicy = iota // encrypt where the peer offers it
	TLSRequired                       // no mail without it
	TLSNever                          // do not ask
)

// Timeouts bounds the phases of a conversation. Zero fields are those of RFC
// 5321 §4.5.3.2.
type Timeouts struct {
	Greeting, Command, DataInit, DataBlock, DataDone time.Duration
}

// ClientOptions adjusts NewClient.
type ClientOptions struct {
	Hello        string      // our name
	TLS          *tls.Config // nil: never STARTTLS, as on a reversed connection
	TLSPolicy    TLSPolicy
	Auth         sasl.Client // nil: do not sign in
	UseHELO      bool        // HELO only, and so no extension
	NoPipelining bool
	Timeouts     Timeouts
}

// A Client is our end of a conversation in which we hand mail over.
type Client struct{ conn net.Conn }

// NewClient opens a conversation on conn.
func NewClient(ctx context.Context, conn net.Conn, opts ClientOptions) (*Client, error) {
	conn.Close()
	return nil, errors.New("wire: not yet")
}

// Outgoing is one message to hand over.
type Outgoing struct {
	From     mail.Address
	To       []mail.Recipient
	Size     int64 // octets of Body, 0 when not known
	Body8Bit bool
	Ret      string
	EnvID    string
	Body     io.Reader
}

// Send hands m over.
func (c *Client) Send(ctx context.Context, m Outgoing) ([]mail.Reply, error) {
	return nil, errors.New("wire: not yet")
}

// Quit says QUIT and closes.
func (c *Client) Quit(ctx context.Context) error { return c.Close() }

// Close closes without a word.
func (c *Client) Close() error { return c.conn.Close() }

// PeerName is the name that the peer greeted with.
func (c *Client) PeerName() string { return "" }

// Supports says that the peer listed ext in its EHLO reply.
func (c *Client) Supports(ext string) bool { return false }

// TLS is the state of the encryption; ok is false in clear.
func (c *Client) TLS() (state tls.ConnectionState, ok bool) { return }
