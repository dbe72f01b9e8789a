// SPDX-License-Identifier: Apache-2.0

package wire

import (
	"strconv"
	"strings"

	"restante/engine/mail"
)

// maxReplyText keeps a reply line with its code within the 512 octets of RFC
// 5321 §4.5.3.1.5.
const maxReplyText = 490

// appendReply writes r as it goes over the wire. With enhanced, each line of a
// 2xx, 4xx and 5xx reply carries its status code (RFC 2034 §4).
func appendReply(dst []byte, r mail.Reply, enhanced bool) []byte {
	status := ""
	if class := r.Code / 100; enhanced && (class == 2 || class == 4 || class == 5) {
		status = r.Status()
	}
	for text := r.Text; ; {
		line, rest, more := strings.Cut(text, "\n")
		if len(line) > maxReplyText {
			line, rest, more = text[:maxReplyText], text[maxReplyText:], true
		}
		dst = strconv.AppendInt(dst, int64(r.Code), 10)
		if more {
			dst = append(dst, '-')
		} else {
			dst = append(dst, ' ')
		}
		if status != "" {
			dst = append(dst, status...)
			dst = append(dst, ' ')
		}
		dst = appendPrintable(dst, line)
		dst = append(dst, '\r', '\n')
		if !more {
			return dst
		}
		text = rest
	}
}

// appendPrintable writes text with a question mark for each octet that has no
// place in a reply.
func appendPrintable(dst []byte, text string) []byte {
	start := len(dst)
	dst = append(dst, text...)
	for i, c := range dst[start:] {
		if c < ' ' && c != '\t' || c > '~' {
			dst[start+i] = '?'
		}
	}
	return dst
}
