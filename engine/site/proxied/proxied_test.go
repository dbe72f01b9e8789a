// SPDX-License-Identifier: Apache-2.0

package proxied

import (
	"bytes"
	"encoding/binary"
	"io"
	"net"
	"net/netip"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"restante/internal/deptest"
)

const signature = "\r\n\r\n\x00\r\nQUIT\n"

// v2 is a header of version 2.
func v2(command, family byte, block string) string {
	b := append([]byte(signature), command, family)
	return string(binary.BigEndian.AppendUint16(b, uint16(len(block)))) + block
}

const block4 = "\xc0\x00\x02\x07\xc0\x00\x02\x01\x9c\x40\x00\x19" // 192.0.2.7:40000 to 192.0.2.1:25

func TestReadHeader(t *testing.T) {
	block6 := "\x20\x01\x0d\xb8" + strings.Repeat("\x00", 11) + "\x07" + strings.Repeat("\x00", 15) + "\x01\x9c\x40\x00\x19"
	own := "pipe"
	for _, tt := range []struct{ name, header, remote string }{
		{"TCP4", "PROXY TCP4 192.0.2.7 192.0.2.1 40000 25\r\n", "192.0.2.7:40000"},
		{"TCP6", "PROXY TCP6 2001:db8::7 2001:db8::1 40000 25\r\n", "[2001:db8::7]:40000"},
		{"version 2, IPv4", v2(0x21, 0x11, block4), "192.0.2.7:40000"},
		{"version 2, IPv6", v2(0x21, 0x21, block6), "[2001:db8::7]:40000"},
		{"version 2, with more behind the addresses", v2(0x21, 0x11, block4+"\x04\x00\x03abc"), "192.0.2.7:40000"},
		{"UNKNOWN", "PROXY UNKNOWN\r\n", own},
		{"LOCAL", v2(0x20, 0x00, ""), own},

		{"none", "EHLO client.example\r\n", ""},
		{"empty", "", ""},
		{"cut off", "PROXY TCP4 192.0", ""},
		{"no CR", "PROXY TCP4 192.0.2.7 192.0.2.1 40000 25\n", ""},
		{"too long", "PROXY TCP4 " + strings.Repeat("1", 200) + "\r\n", ""},
		{"bad address", "PROXY TCP4 192.0.2.700 192.0.2.1 40000 25\r\n", ""},
		{"bad port", "PROXY TCP4 192.0.2.7 192.0.2.1 99999 25\r\n", ""},
		{"IPv4 in TCP6", "PROXY TCP6 192.0.2.7 192.0.2.1 40000 25\r\n", ""},
		{"word", "PROXYTCP4 192.0.2.7 192.0.2.1 40000 25\r\n", ""},
		{"version 2, cut off", v2(0x21, 0x11, block4)[:20], ""},
		{"version 2, short of an address", v2(0x21, 0x11, block4[:8]), ""},
		{"version 3", v2(0x31, 0x11, block4), ""},
		{"version 2, a datagram", v2(0x21, 0x12, block4), ""},
		{"version 2, a path", v2(0x21, 0x31, strings.Repeat("/", 216)), ""},
	} {
		t.Run(tt.name, func(t *testing.T) {
			client, server := net.Pipe()
			defer client.Close()
			go func() {
				_, _ = io.WriteString(client, tt.header+"NOOP\r\n")
				client.Close()
			}()
			c, err := ReadHeader(tcp{server}, time.Minute)
			server.SetDeadline(time.Now().Add(time.Minute))
			if tt.remote == "" {
				if err == nil {
					t.Errorf("taken as from %s", c.RemoteAddr())
				}
				server.Close()
				return
			}
			if err != nil {
				t.Fatal(err)
			}
			if got := c.RemoteAddr().String(); got != tt.remote && (tt.remote != own || got != "127.0.0.1:1") {
				t.Errorf("from %s, want %s", got, tt.remote)
			}
			if rest, _ := io.ReadAll(c); string(rest) != "NOOP\r\n" {
				t.Errorf("behind the header stands %q", rest)
			}
		})
	}
}

// tcp is a pipe that says it was TCP.
type tcp struct{ net.Conn }

func (tcp) RemoteAddr() net.Addr {
	return net.TCPAddrFromAddrPort(netip.MustParseAddrPort("127.0.0.1:1"))
}
func (tcp) LocalAddr() net.Addr {
	return net.TCPAddrFromAddrPort(netip.MustParseAddrPort("127.0.0.1:25"))
}

// A header that does not come, or not whole, ends the wait in time.
func TestSlowHeader(t *testing.T) {
	for _, sent := range []string{"", "PROXY TCP4 ", signature + "\x21"} {
		synctest.Test(t, func(t *testing.T) {
			client, server := net.Pipe()
			defer client.Close()
			defer server.Close()
			go func() { _, _ = io.WriteString(client, sent) }()
			start := time.Now()
			if _, err := ReadHeader(tcp{server}, 5*time.Second); err == nil {
				t.Errorf("%q is a header", sent)
			}
			if d := time.Since(start); d > 5*time.Second {
				t.Errorf("%q was waited for %v", sent, d)
			}
		})
	}
}

func TestAs(t *testing.T) {
	client, server := net.Pipe()
	defer client.Close()
	go func() { _, _ = io.WriteString(client, "PROXY TCP4 192.0.2.7 192.0.2.1 40000 25\r\n") }()
	c, err := ReadHeader(tcp{server}, time.Minute)
	if err != nil {
		t.Fatal(err)
	}
	c = As(As(c, netip.MustParseAddrPort("192.0.2.8:1")), netip.MustParseAddrPort("[2001:db8::9]:2"))
	if got := c.RemoteAddr().String() + " " + c.LocalAddr().String(); got != "[2001:db8::9]:2 192.0.2.1:25" {
		t.Errorf("it is %s", got)
	}
}

// FuzzReadHeader: a header gives addresses of TCP or an error, and takes nothing of
// what is behind it.
func FuzzReadHeader(f *testing.F) {
	for _, s := range []string{"PROXY TCP4 192.0.2.7 192.0.2.1 40000 25\r\nEHLO", v2(0x21, 0x11, block4) + "x", v2(0x20, 0, ""), "EHLO\r\n", signature} {
		f.Add([]byte(s))
	}
	f.Fuzz(func(t *testing.T, in []byte) {
		c, err := ReadHeader(tcp{&fixed{Reader: bytes.NewReader(in)}}, time.Minute)
		if err != nil {
			return
		}
		if _, ok := c.RemoteAddr().(*net.TCPAddr); !ok {
			t.Errorf("%q is from %v", in, c.RemoteAddr())
		}
		if rest, err := io.ReadAll(c); err != nil || !bytes.HasSuffix(in, rest) {
			t.Errorf("behind %q stands %q, %v", in, rest, err)
		}
	})
}

// fixed is a connection that reads from memory.
type fixed struct {
	net.Conn
	*bytes.Reader
}

func (f *fixed) Read(p []byte) (int, error)      { return f.Reader.Read(p) }
func (f *fixed) SetReadDeadline(time.Time) error { return nil }
func (f *fixed) Close() error                    { return nil }

func TestLayers(t *testing.T) {
	deptest.Forbid(t, map[string]string{"restante/": "a connection has addresses, whoever uses it"})
}
