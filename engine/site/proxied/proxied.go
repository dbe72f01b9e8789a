// SPDX-License-Identifier: Apache-2.0

// Package proxied gives a connection that comes by a proxy the address of the client
// behind it: by the header of the PROXY protocol, version 1 or 2, or as XCLIENT said it.
//
// The package decides about nobody: its caller knows which proxies to trust.
package proxied

import (
	"bufio"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"time"

	"github.com/pires/go-proxyproto"
)

// A conn has the addresses that a proxy told, in place of its own.
type conn struct {
	net.Conn
	r             *bufio.Reader // has what came with the header; nil: nothing did
	remote, local net.Addr
}

func (c *conn) Read(p []byte) (int, error) {
	if c.r != nil {
		if c.r.Buffered() > 0 {
			return c.r.Read(p)
		}
		c.r = nil
	}
	return c.Conn.Read(p)
}

func (c *conn) RemoteAddr() net.Addr { return c.remote }
func (c *conn) LocalAddr() net.Addr  { return c.local }

// CloseWrite ends this side of the connection.
func (c *conn) CloseWrite() error {
	half, ok := c.Conn.(interface{ CloseWrite() error })
	if !ok {
		return errors.ErrUnsupported
	}
	return half.CloseWrite()
}

// ReadHeader reads the header, which must come within timeout, and gives the connection
// behind it. One that a proxy makes for itself (LOCAL, UNKNOWN) keeps its addresses.
func ReadHeader(c net.Conn, timeout time.Duration) (net.Conn, error) {
	_ = c.SetReadDeadline(time.Now().Add(timeout))
	r := bufio.NewReaderSize(c, 256) // a line of version 1 has 107 octets
	h, err := proxyproto.Read(r)
	if err != nil {
		return nil, fmt.Errorf("PROXY header: %w", err)
	}
	_ = c.SetReadDeadline(time.Time{})
	out := &conn{c, r, c.RemoteAddr(), c.LocalAddr()}
	if h.Command.IsLocal() || h.Version == 1 && h.TransportProtocol.IsUnspec() {
		return out, nil
	}
	remote, local, ok := h.TCPAddrs()
	if !ok {
		return nil, errors.New("PROXY header: its addresses are none of TCP")
	}
	out.remote, out.local = remote, local
	return out, nil
}

// As is c with the address of another client.
func As(c net.Conn, remote netip.AddrPort) net.Conn {
	return &conn{c, nil, net.TCPAddrFromAddrPort(remote), c.LocalAddr()}
}
