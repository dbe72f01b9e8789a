// SPDX-License-Identifier: Apache-2.0

package mail

import "net/netip"

// CallerNet is what counts as one address of a caller: an IPv4 address, or the
// IPv6 network of 64 bits that one customer has at least (RFC 6177). That of an
// invalid address is invalid, too.
func CallerNet(a netip.Addr) netip.Prefix {
	a = a.Unmap().WithZone("")
	bits := a.BitLen()
	if a.Is6() {
		bits = 64
	}
	n, _ := a.Prefix(bits)
	return n
}
