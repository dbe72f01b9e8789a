// SPDX-License-Identifier: Apache-2.0

package wire

import (
	"errors"
	"fmt"
	"net/netip"
	"strconv"
	"strings"

	"restante/engine/mail"
	"restante/engine/wire/params"
)

// An Identity is the client that a proxy brings, as it says by Postfix's XCLIENT.
type Identity struct {
	Addr    netip.AddrPort
	Account string // that it has signed in as at the proxy, or ""
}

// An XclientCheck refuses an Identity that the caller may not bring; nil: it may bring none.
type XclientCheck func(Identity) mail.Reply

func (c *conn) xclientCheck() XclientCheck {
	if c.cfg.Xclient == nil {
		return nil
	}
	return c.cfg.Xclient()
}

const xclientAttributes = "NAME ADDR PORT PROTO HELO LOGIN DESTADDR DESTPORT"

// xclient ends this caller's session: the connection goes on as that of the client
// that the caller names, which is greeted as a new one. The client's own EHLO follows,
// so that HELO and PROTO tell nothing, and its name is looked up, not believed.
func (c *conn) xclient(arg string) string {
	check := c.xclientCheck()
	switch {
	case check == nil:
		return c.reject(mail.Reply{Code: 550, Enhanced: "7.1", Text: "XCLIENT is not permitted from your address"})
	case c.encrypted:
		return c.reject(mail.Reply{Code: 503, Enhanced: "5.1", Text: "XCLIENT not permitted within TLS"})
	case len(c.in.bytes()) > 0:
		// As the proxy's own, what follows would have the rights of the proxy.
		c.endUntrusted(mail.Reply{Code: 503, Enhanced: "5.0", Text: "Must be the last command in a group"})
		return ""
	}
	id, err := parseIdentity(arg, c.caller.Remote)
	if err != nil {
		return c.reject(mail.Reply{Code: 501, Enhanced: "5.4", Text: "Bad XCLIENT attribute", Cause: err})
	}
	if r := check(id); !r.Positive() {
		return c.reject(r)
	}
	c.became, c.closed = &id, true // the greeting of the next session is the reply
	return ""
}

// parseIdentity reads the attributes, each once at most. An address that is not known is a mistake: that of
// the proxy would give the client the proxy's rights.
func parseIdentity(arg string, was netip.AddrPort) (Identity, error) {
	id := Identity{Addr: was}
	addr, port := was.Addr(), was.Port()
	words := strings.Fields(arg)
	if len(words) == 0 {
		return id, errors.New("there is none")
	}
	seen := map[string]bool{}
	for _, word := range words {
		key, value, _ := strings.Cut(word, "=")
		key, value = params.Upper(key), decodeXtext(value)
		var err error
		switch known := !strings.HasPrefix(value, "["); {
		case seen[key]:
			err = errors.New("it is there twice")
		case key == "ADDR":
			if len(value) > 5 && strings.EqualFold(value[:5], "IPV6:") {
				value = value[5:]
			}
			addr, err = netip.ParseAddr(value)
		case key == "PORT" && known:
			var n uint64
			n, err = strconv.ParseUint(value, 10, 16)
			port = uint16(n)
		case key == "LOGIN" && known:
			id.Account = value
		case !strings.Contains(" "+xclientAttributes+" ", " "+key+" "):
			err = errors.New("the name is not known")
		}
		if err != nil {
			return id, fmt.Errorf("%s: %w", key, err)
		}
		seen[key] = true
	}
	id.Addr = netip.AddrPortFrom(addr.Unmap().WithZone(""), port)
	return id, nil
}

// decodeXtext undoes xtext (RFC 3461 §4); what is none stays.
func decodeXtext(s string) string {
	var b strings.Builder
	for i := 0; i < len(s); i++ {
		if s[i] == '+' && i+2 < len(s) {
			if n, err := strconv.ParseUint(s[i+1:i+3], 16, 8); err == nil {
				b.WriteByte(byte(n))
				i += 2
				continue
			}
		}
		b.WriteByte(s[i])
	}
	return b.String()
}
