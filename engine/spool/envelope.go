// SPDX-License-Identifier: Apache-2.0

package spool

import (
	"encoding/binary"
	"errors"
	"net/netip"
	"time"

	"restante/engine/mail"
)

// Envelopes are encoded field by field: decoding 100,000 of them from JSON
// would take a second at the start. A test covers every field of mail.Envelope.
const envelopeVersion = 1

func appendText(b []byte, s string) []byte {
	return append(binary.AppendUvarint(b, uint64(len(s))), s...)
}

func appendAddress(b []byte, a mail.Address) []byte {
	return appendText(appendText(b, a.Local), string(a.Domain))
}

func encodeEnvelope(env *mail.Envelope) []byte {
	b := make([]byte, 0, 128+64*len(env.To))
	b = append(b, envelopeVersion)
	b = appendText(b, string(env.ID))
	b = appendAddress(b, env.From)
	b = binary.AppendUvarint(b, uint64(len(env.To)))
	for _, to := range env.To {
		b = appendText(appendText(appendAddress(b, to.Address), to.Notify), to.ORcpt)
	}
	b = binary.AppendVarint(b, env.Received.Unix())
	b = binary.AppendUvarint(b, uint64(env.Received.Nanosecond()))
	b = binary.AppendVarint(b, env.Size)
	var flags byte
	if env.Body8Bit {
		flags |= 1
	}
	if env.TLS {
		flags |= 2
	}
	b = append(b, flags)
	client, _ := env.Client.MarshalBinary() // it never fails
	for _, s := range []string{env.Ret, env.EnvID, string(client), env.Helo, env.Account} {
		b = appendText(b, s)
	}
	return b
}

var errEnvelope = errors.New("the envelope does not read back")

// A decoder reads what the append functions wrote. After an error bad is set
// and all results are zero.
type decoder struct {
	b   []byte
	bad bool
}

func (u *decoder) step(n int) {
	if n <= 0 || n > len(u.b) {
		u.bad, u.b = true, nil
		return
	}
	u.b = u.b[n:]
}

func (u *decoder) unsigned() uint64 {
	v, n := binary.Uvarint(u.b)
	u.step(n)
	return v
}

func (u *decoder) signed() int64 {
	v, n := binary.Varint(u.b)
	u.step(n)
	return v
}

func (u *decoder) text() string {
	n := u.unsigned()
	if n > uint64(len(u.b)) {
		u.bad, u.b = true, nil
		return ""
	}
	s := string(u.b[:n])
	u.b = u.b[n:]
	return s
}

func (u *decoder) byte() byte {
	if len(u.b) == 0 {
		u.bad = true
		return 0
	}
	v := u.b[0]
	u.b = u.b[1:]
	return v
}

func (u *decoder) address() mail.Address {
	return mail.Address{Local: u.text(), Domain: mail.Domain(u.text())}
}

// decodeEnvelope decodes what encodeEnvelope returned. Times are in UTC.
func decodeEnvelope(b []byte) (mail.Envelope, error) {
	u := &decoder{b: b}
	if u.byte() != envelopeVersion {
		return mail.Envelope{}, errEnvelope
	}
	env := mail.Envelope{ID: mail.MessageID(u.text()), From: u.address()}
	n := u.unsigned()
	if n > uint64(len(u.b)) { // each recipient takes at least a byte
		return mail.Envelope{}, errEnvelope
	}
	for range n {
		env.To = append(env.To, mail.Recipient{Address: u.address(), Notify: u.text(), ORcpt: u.text()})
	}
	sec := u.signed()
	env.Received = time.Unix(sec, int64(u.unsigned())).UTC()
	env.Size = u.signed()
	flags := u.byte()
	env.Body8Bit, env.TLS = flags&1 != 0, flags&2 != 0
	env.Ret, env.EnvID = u.text(), u.text()
	client := u.text()
	env.Helo, env.Account = u.text(), u.text()
	if u.bad || len(u.b) != 0 {
		return mail.Envelope{}, errEnvelope
	}
	if client != "" {
		addr := new(netip.Addr)
		if addr.UnmarshalBinary([]byte(client)) != nil {
			return mail.Envelope{}, errEnvelope
		}
		env.Client = *addr
	}
	return env, nil
}
