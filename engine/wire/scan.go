// SPDX-License-Identifier: Apache-2.0

package wire

import "bytes"

// run gives the length of what at the front of b needs no thought: lines that
// end in CRLF and, where dots matter, do not begin with one. It stops before
//
//   - a dot that begins a line,
//   - a CR that no LF follows, or that is the last octet,
//   - a LF without its CR.
//
// Bol says that b begins a line; the answer's says that what follows the run
// does. Only CRLF begins a line: a lone CR or LF is an octet like others, or
// two servers could disagree about where a message ends.
func plainPrefix(b []byte, bol, dots bool) (int, bool) {
	at := 0
	for at < len(b) {
		if bol && dots && b[at] == '.' {
			return at, true
		}
		lf := bytes.IndexByte(b[at:], '\n')
		if lf < 0 {
			if cr := bytes.IndexByte(b[at:], '\r'); cr >= 0 {
				return at + cr, bol && cr == 0
			}
			return len(b), false
		}
		cr := bytes.IndexByte(b[at:at+lf], '\r')
		switch {
		case cr < 0:
			return at + lf, bol && lf == 0
		case cr < lf-1:
			return at + cr, bol && cr == 0
		}
		at, bol = at+lf+1, true
	}
	return at, bol
}
