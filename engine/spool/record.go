// SPDX-License-Identifier: Apache-2.0

package spool

import (
	"encoding/binary"
	"errors"
	"hash/crc32"
	"io"
	"net/netip"
	"time"

	"restante/engine/mail"
	coding "restante/internal/record"
)

var castagnoli = crc32.MakeTable(crc32.Castagnoli)

// A record is one message on disk; it can be checked without the index. In a
// segment it is head, envelope, body. In a file of its own it is body, envelope,
// head, because the length of the body is known last.
//
//	 0  magic
//	 8  generation of the segment; 0 in a file of its own
//	16  group that wrote it; in a file of its own the last one before it
//	24  id
//	44  length of the envelope
//	48  length of the body
//	56  CRC-32C of the body
//	60  CRC-32C of all of the above and of the envelope
type record struct {
	gen, group uint64
	id         mail.MessageID
	env        []byte // as encodeEnvelope writes it
	size       int64  // of the body
	sum        uint32 // of the body
}

const (
	headSize = 64
	magic    = "RSTNTE\x00\x01"

	// A longer length is damaged: no envelope comes near it.
	maxEnvelope = 64 << 20
)

func (r *record) length() int64 { return headSize + int64(len(r.env)) + r.size }

// appendHead appends the head, without the envelope.
func (r *record) appendHead(b []byte) []byte {
	at := len(b)
	b = append(b, magic...)
	b = binary.BigEndian.AppendUint64(b, r.gen)
	b = binary.BigEndian.AppendUint64(b, r.group)
	b = append(b, r.id...)
	b = binary.BigEndian.AppendUint32(b, uint32(len(r.env)))
	b = binary.BigEndian.AppendUint64(b, uint64(r.size))
	b = binary.BigEndian.AppendUint32(b, r.sum)
	sum := crc32.Update(crc32.Checksum(b[at:], castagnoli), castagnoli, r.env)
	return binary.BigEndian.AppendUint32(b, sum)
}

var errHead = errors.New("there is no message's head here")

// endAsBadHead makes the end of a file an errHead.
func endAsBadHead(err error) error {
	if errors.Is(err, io.EOF) {
		return errHead
	}
	return err
}

// readHead reads the head at off. envAt returns the offset of an envelope of
// that length.
func readHead(f file, off int64, envAt func(envelope int64) int64) (record, error) {
	var h [headSize]byte
	if _, err := f.ReadAt(h[:], off); err != nil {
		return record{}, endAsBadHead(err)
	}
	if string(h[:8]) != magic {
		return record{}, errHead
	}
	r := record{
		gen:   binary.BigEndian.Uint64(h[8:]),
		group: binary.BigEndian.Uint64(h[16:]),
		id:    mail.MessageID(h[24:44]),
		size:  int64(binary.BigEndian.Uint64(h[48:])),
		sum:   binary.BigEndian.Uint32(h[56:]),
	}
	n := int64(binary.BigEndian.Uint32(h[44:]))
	size, err := f.Size()
	if err != nil {
		return record{}, err
	}
	at := envAt(n)
	if n > maxEnvelope || at < 0 || at+n > size || r.size < 0 || r.size > size {
		return record{}, errHead
	}
	r.env = make([]byte, n)
	if _, err := f.ReadAt(r.env, at); err != nil {
		return record{}, endAsBadHead(err)
	}
	if sum := crc32.Update(crc32.Checksum(h[:60], castagnoli), castagnoli, r.env); sum != binary.BigEndian.Uint32(h[60:]) {
		return record{}, errHead
	}
	return r, nil
}

// segmentHead reads the head of the record at off.
func segmentHead(f file, off int64) (record, error) {
	return readHead(f, off, func(int64) int64 { return off + headSize })
}

// fileHead reads the head at the end of the file of a large body.
func fileHead(f file) (record, error) {
	size, err := f.Size()
	if err != nil {
		return record{}, err
	}
	if size < headSize {
		return record{}, errHead
	}
	r, err := readHead(f, size-headSize, func(n int64) int64 { return size - headSize - n })
	if err == nil && r.length() != size {
		err = errHead
	}
	return r, err
}

// An entry is what the index has of one message: the location and checksum of
// its body, and its envelope.
type entry struct {
	group uint64
	seg   uint32 // 0: in a file of its own
	gen   uint64
	off   int64
	size  int64
	sum   uint32
	env   []byte
}

const entryFixed = 1 + 8 + 4 + 8 + 8 + 8 + 4

func (e *entry) length() int64 { return headSize + int64(len(e.env)) + e.size }

// bodyAt is the offset of the body in its file.
func (e *entry) bodyAt() int64 {
	if e.seg == 0 {
		return 0
	}
	return e.off + headSize + int64(len(e.env))
}

func (e *entry) encode() []byte {
	b := make([]byte, 0, entryFixed+len(e.env))
	b = append(b, 1) // version
	b = binary.BigEndian.AppendUint64(b, e.group)
	b = binary.BigEndian.AppendUint32(b, e.seg)
	b = binary.BigEndian.AppendUint64(b, e.gen)
	b = binary.BigEndian.AppendUint64(b, uint64(e.off))
	b = binary.BigEndian.AppendUint64(b, uint64(e.size))
	b = binary.BigEndian.AppendUint32(b, e.sum)
	return append(b, e.env...)
}

// decodeEntry decodes an entry; its envelope is a part of b.
func decodeEntry(b []byte) (entry, error) {
	if len(b) < entryFixed || b[0] != 1 {
		return entry{}, errors.New("the index has an entry that does not read back")
	}
	return entry{
		group: binary.BigEndian.Uint64(b[1:]),
		seg:   binary.BigEndian.Uint32(b[9:]),
		gen:   binary.BigEndian.Uint64(b[13:]),
		off:   int64(binary.BigEndian.Uint64(b[21:])),
		size:  int64(binary.BigEndian.Uint64(b[29:])),
		sum:   binary.BigEndian.Uint32(b[37:]),
		env:   b[entryFixed:],
	}, nil
}

// Envelopes are encoded field by field: decoding 100,000 of them from JSON
// would take a second at the start. A test covers every field of mail.Envelope.
//
// An envelope with extensions has a version of its own, so that an older service sets it
// aside: it would send it otherwise than was asked for.
const (
	envelopeVersion   = 1
	sessionVersion    = 2 // with the session at the end
	extensionsVersion = 3 // with the extensions behind that
	declaredVersion   = 4 // the same, of a message that was declared as SMTPUTF8 or BINARYMIME
	deadlineVersion   = 5 // with the deadline and the reason of a quarantine behind the extensions
	topVersion        = 6 // a text that stands on top of the body, then an envelope of another version
)

func appendAddress(b []byte, a mail.Address) []byte {
	return coding.AppendText(coding.AppendText(b, a.Local), string(a.Domain))
}

func encodeEnvelope(env *mail.Envelope) []byte {
	b := make([]byte, 0, 128+64*len(env.To)+len(env.Top))
	if env.Top != "" {
		b = coding.AppendText(append(b, topVersion), env.Top)
	}
	version := byte(envelopeVersion)
	switch {
	case env.By != mail.Deadline{} || env.Quarantine != "":
		version = deadlineVersion
	case env.UTF8 || env.Binary:
		version = declaredVersion
	case env.RequireTLS || env.Priority != 0 || !env.HoldUntil.IsZero():
		version = extensionsVersion
	case env.Session != "":
		version = sessionVersion
	}
	b = append(b, version)
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
	if env.RequireTLS {
		flags |= 4
	}
	if env.UTF8 {
		flags |= 8
	}
	if env.UTF8Header {
		flags |= 16
	}
	if env.Binary {
		flags |= 32
	}
	if env.By.Return {
		flags |= 64
	}
	if env.By.Trace {
		flags |= 128
	}
	b = append(b, flags)
	client, _ := env.Client.MarshalBinary() // it never fails
	for _, s := range []string{env.Ret, env.EnvID, string(client), env.Helo, env.Account} {
		b = coding.AppendText(b, s)
	}
	if version >= sessionVersion {
		b = coding.AppendText(b, string(env.Session))
	}
	if version >= extensionsVersion {
		b = binary.AppendVarint(b, int64(env.Priority))
		hold := int64(0)
		if !env.HoldUntil.IsZero() {
			hold = env.HoldUntil.UnixNano()
		}
		b = binary.AppendVarint(b, hold)
	}
	if version >= deadlineVersion {
		over, at := uint64(0), int64(0)
		if env.By.Over {
			over = 1
		}
		if !env.By.At.IsZero() {
			at = env.By.At.UnixNano()
		}
		b = binary.AppendUvarint(binary.AppendVarint(b, at), over)
		b = coding.AppendText(b, env.Quarantine)
	}
	return b
}

var errEnvelope = errors.New("the envelope does not read back")

func readAddress(r *coding.Reader) mail.Address {
	return mail.Address{Local: r.Text(), Domain: mail.Domain(r.Text())}
}

// decodeTop gives the text that stands on top of the body, "" for none.
func decodeTop(b []byte) (string, error) {
	if len(b) == 0 || b[0] != topVersion {
		return "", nil
	}
	r := coding.Read(b[1:])
	top := r.Text()
	if r.Err() != nil {
		return "", errEnvelope
	}
	return top, nil
}

// decodeEnvelope decodes what encodeEnvelope returned, but Top. Times are in UTC.
func decodeEnvelope(b []byte) (mail.Envelope, error) {
	r := coding.Read(b)
	version := r.Byte()
	if version == topVersion {
		_, version = r.Text(), r.Byte()
	}
	if version < envelopeVersion || version > deadlineVersion {
		return mail.Envelope{}, errEnvelope
	}
	env := mail.Envelope{ID: mail.MessageID(r.Text()), From: readAddress(&r)}
	for range r.Count() {
		env.To = append(env.To, mail.Recipient{Address: readAddress(&r), Notify: r.Text(), ORcpt: r.Text()})
	}
	sec := r.Int()
	env.Received = time.Unix(sec, int64(r.Num())).UTC()
	env.Size = r.Int()
	flags := r.Byte()
	env.Body8Bit, env.TLS, env.RequireTLS = flags&1 != 0, flags&2 != 0, flags&4 != 0
	env.UTF8, env.UTF8Header, env.Binary = flags&8 != 0, flags&16 != 0, flags&32 != 0
	env.Ret, env.EnvID = r.Text(), r.Text()
	client := r.Text()
	env.Helo, env.Account = r.Text(), r.Text()
	if version >= sessionVersion {
		env.Session = mail.SessionID(r.Text())
	}
	if version >= extensionsVersion {
		env.Priority = int8(r.Int())
		if nano := r.Int(); nano != 0 {
			env.HoldUntil = time.Unix(0, nano).UTC()
		}
	}
	if version >= deadlineVersion {
		env.By = mail.Deadline{Return: flags&64 != 0, Trace: flags&128 != 0}
		if nano := r.Int(); nano != 0 {
			env.By.At = time.Unix(0, nano).UTC()
		}
		env.By.Over, env.Quarantine = r.Num() == 1, r.Text()
	}
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
