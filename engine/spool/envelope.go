// SPDX-License-Identifier: Apache-2.0

package spool

import (
	"encoding/binary"
	"errors"
	"net/netip"
	"time"

	"restante/engine/mail"
	coding "restante/internal/record"
)

// Envelopes are encoded field by field: decoding 100,000 of them from JSON
// would take a second at the start. A test covers every field of mail.Envelope.
const envelopeVersion = 1

func appendAddress(b []byte, a mail.Address) []byte {
	return coding.AppendText(coding.AppendText(b, a.Local), string(a.Domain))
}

func encodeEnvelope(env *mail.Envelope) []byte {
	b := make([]byte, 0, 128+64*len(env.To))
	b = append(b, envelopeVersion)
	b = coding.AppendText(b, string(env.ID))
	b = appendAddress(b, env.From)
	b = binary.AppendUvarint(b, uint64(len(env.To)))
	for _, to := range env.To {
		b = coding.AppendText(coding.AppendText(appendAddress(b, to.Address), to.Notify), to.ORcpt)
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
		b = coding.AppendText(b, s)
	}
	return b
}

var errEnvelope = errors.New("the envelope does not read back")

func readAddress(r *coding.Reader) mail.Address {
	return mail.Address{Local: r.Text(), Domain: mail.Domain(r.Text())}
}

// decodeEnvelope decodes what encodeEnvelope returned. Times are in UTC.
func decodeEnvelope(b []byte) (mail.Envelope, error) {
	r := coding.Read(b)
	r.Form(envelopeVersion)
	env := mail.Envelope{ID: mail.MessageID(r.Text()), From: readAddress(&r)}
	for range r.Count() {
		env.To = append(env.To, mail.Recipient{Address: readAddress(&r), Notify: r.Text(), ORcpt: r.Text()})
	}
	sec := r.Int()
	env.Received = time.Unix(sec, int64(r.Num())).UTC()
	env.Size = r.Int()
	flags := r.Byte()
	env.Body8Bit, env.TLS = flags&1 != 0, flags&2 != 0
	env.Ret, env.EnvID = r.Text(), r.Text()
	client := r.Text()
	env.Helo, env.Account = r.Text(), r.Text()
	if r.End() != nil {
		return mail.Envelope{}, errEnvelope
	}
	if client != "" {
		addr := new(netip.Addr) // of its own: env stays off the heap
		if addr.UnmarshalBinary([]byte(client)) != nil {
			return mail.Envelope{}, errEnvelope
		}
		env.Client = *addr
	}
	return env, nil
}
