// SPDX-License-Identifier: Apache-2.0

package pull

import (
	"bytes"
	"errors"
	"io"
	"net/mail"
	"strings"

	"restante/engine/pull/indoubt"
)

var (
	errKnown   = errors.New("the local server has the message from an earlier call")
	errCeiling = errors.New("the message is larger than the ceiling")
)

// maxHead is how much of a message is searched for its Message-ID.
const maxHead = 32 << 10

// An incoming is the body of a message on its way. It ends in an error instead of
// io.EOF where the local server must not get the end.
type incoming struct {
	session *session
	r       io.Reader
	hash    *indoubt.Hash
	size    int64
	head    []byte
	err     error // that is no io.EOF
}

func (in *incoming) Read(b []byte) (int, error) {
	n, err := in.r.Read(b)
	in.hash.Write(b[:n])
	in.size += int64(n)
	in.head = append(in.head, b[:min(n, maxHead-len(in.head))]...)
	switch {
	case in.session.opts.Ceiling > 0 && in.size > in.session.opts.Ceiling:
		in.err = errCeiling
	case err == io.EOF && in.session.single && in.known():
		in.err = errKnown
	case err != nil && err != io.EOF:
		in.err = err
	default:
		return n, err
	}
	return 0, in.err
}

// known is asked where the transaction has one recipient.
func (in *incoming) known() bool {
	return in.session.doubt.Known(in.keys()[0])
}

func (in *incoming) keys() (keys []indoubt.Key) {
	for _, to := range in.session.to {
		keys = append(keys, in.hash.Key(in.session.from, to))
	}
	return keys
}

// messageID is that of the header, or "".
func (in *incoming) messageID() string {
	head, _, _ := bytes.Cut(in.head, []byte("\r\n\r\n"))
	m, err := mail.ReadMessage(io.MultiReader(bytes.NewReader(head), strings.NewReader("\r\n\r\n")))
	if err != nil {
		return ""
	}
	return m.Header.Get("Message-Id")
}
