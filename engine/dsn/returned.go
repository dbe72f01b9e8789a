// SPDX-License-Identifier: Apache-2.0

package dsn

import (
	"bytes"
	"io"
	"mime/multipart"
	"mime/quotedprintable"
)

// writeReturned writes the third part: the message, if a recipient failed, the
// sender did not ask for the header alone, and it is small and plain; otherwise
// its header.
func writeReturned(w *multipart.Writer, r Report) {
	if r.Message == nil {
		return
	}
	text, err := io.ReadAll(io.LimitReader(r.Message, MaxReturn+1))
	whole := err == nil && int64(len(text)) <= MaxReturn
	// RFC 3461 §4.3: RET counts only where a recipient failed, and a report
	// of anything else returns the header alone.
	full := whole && r.About.Ret != "HDRS" && anyFailed(r.Recipients)
	if full && plain(text) {
		part := create(w, "message/rfc822", "7bit", "Your message")
		_, _ = part.Write(text)
		return
	}
	header, ok := headerOf(text, whole)
	if !ok {
		return
	}
	// RFC 6522 §4: a text type, so that it may be encoded, which the whole
	// message may not (RFC 2046 §5.2.1). Eight-bit octets and long lines of
	// the original survive in it.
	part := create(w, "text/rfc822-headers", "quoted-printable", "Header of your message")
	qp := quotedprintable.NewWriter(part)
	_, _ = qp.Write(header)
	_ = qp.Close()
}

func anyFailed(fates []RecipientStatus) bool {
	for _, f := range fates {
		if f.Action == Failed {
			return true
		}
	}
	return false
}

// plain reports whether text may stand in a part as it is: 7-bit octets in
// lines of a legal length that end in CRLF, RFC 2045 §2.7.
func plain(text []byte) bool {
	for len(text) > 0 {
		line, rest, _ := bytes.Cut(text, []byte("\r\n"))
		if len(line) > maxLine {
			return false
		}
		for _, c := range line {
			if c == 0 || c == '\r' || c == '\n' || c >= 0x80 {
				return false
			}
		}
		text = rest
	}
	return true
}

// headerOf is the header of text without the empty line. Of a text that is cut
// within its header, it is the full lines; ok is false if there are none.
func headerOf(text []byte, whole bool) (header []byte, ok bool) {
	if bytes.HasPrefix(text, []byte("\r\n")) {
		return nil, false
	}
	if i := bytes.Index(text, []byte("\r\n\r\n")); i >= 0 {
		return text[:i+2], true
	}
	if !whole {
		text = text[:bytes.LastIndexByte(text, '\n')+1]
	}
	return text, len(text) > 0
}
