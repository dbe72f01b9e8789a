// SPDX-License-Identifier: Apache-2.0

package queue

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"slices"
	"time"

	"restante/engine/dsn"
	"restante/engine/mail"
	"restante/internal/kv"
	coding "restante/internal/record"
)

// The queue's keys share a DB with those of its Store. An entry's key has the
// destination before the message's ID: one scan finds a destination's entries,
// in the order of arrival.
const (
	entryPrefix   = "q/e/"
	backoffPrefix = "q/d/"
)

func entryKey(id mail.MessageID, d mail.Domain) []byte {
	return []byte(entryPrefix + string(d) + "/" + string(id))
}

func (e *entry) key() []byte { return entryKey(e.id, e.dest.name) }

func backoffKey(d mail.Domain) []byte { return []byte(backoffPrefix + string(d)) }

// splitEntryKey undoes entryKey. The results are parts of key.
func splitEntryKey(key []byte) (domain, id []byte, err error) {
	domain, id, ok := bytes.Cut(bytes.TrimPrefix(key, []byte(entryPrefix)), []byte("/"))
	if !ok || len(domain) == 0 || len(id) == 0 {
		return nil, nil, fmt.Errorf("key %q names no entry", key)
	}
	return domain, id, nil
}

// The flags of an entry. The lower ones are stored.
const (
	frozen  uint8 = 1 << iota // by an administrator
	noticed                   // the delay was reported, or need not be
	kept                      // by Keep, which has frozen it; next is when it is returned, 0 for never

	stored     = frozen | noticed | kept
	shared     = 1 << 3 // its message has or had entries of other destinations
	claimed    = 1 << 4 // by a lease or an administrator's act
	unreadable = 1 << 5 // its record or message cannot be read
	postdated  = 1 << 7 // its envelope has a HoldUntil
	settled    = 1 << 6 // it stays in destination.entries until these are compacted
)

// A record is an entry as it is stored. Recipients are indices into the To of
// the envelope, which never changes. A record without recipients is settled,
// and its message may be removed.
type record struct {
	flags    uint8
	attempts int
	received int64 // times are Unix nanoseconds, 0 for none
	size     int64
	next     int64
	open     []int
	last     lastReply
	told     []dsn.RecipientStatus // of an entry in Reports: one for each of open, without To
}

// A lastReply is the reply to the last attempt.
type lastReply struct {
	tried int64
	reply mail.Reply
	host  string
}

// A record with statuses has a version of its own. In the old ones, a reply has
// neither its phase nor who said it.
const (
	oldRecordVersion = 1
	oldReportVersion = 2
	recordVersion    = 3
	reportVersion    = 4
	backoffVersion   = 5
)

func (r record) encode() []byte {
	b := make([]byte, 0, 48+len(r.last.reply.Text)+len(r.last.host))
	version := byte(recordVersion)
	if len(r.told) > 0 {
		version = reportVersion
	}
	b = append(b, version, r.flags&stored)
	b = binary.AppendUvarint(b, uint64(r.attempts))
	b = binary.AppendVarint(b, r.received)
	b = binary.AppendVarint(b, r.size)
	b = binary.AppendVarint(b, r.next)
	b = binary.AppendUvarint(b, uint64(len(r.open)))
	for _, i := range r.open {
		b = binary.AppendUvarint(b, uint64(i))
	}
	b = r.last.append(b)
	for _, s := range r.told {
		b = coding.AppendText(coding.AppendText(b, string(s.Action)), s.Status)
		b = lastReply{nanos(s.Tried), s.Reply, s.Host}.append(b)
		b = binary.AppendVarint(b, nanos(s.Until))
	}
	return b
}

func (w lastReply) append(b []byte) []byte {
	b = binary.AppendVarint(b, w.tried)
	b = binary.AppendUvarint(b, uint64(w.reply.Code))
	for _, s := range []string{w.reply.Enhanced, w.reply.Text, w.host, w.reply.Phase} {
		b = coding.AppendText(b, s)
	}
	var flags byte
	if w.reply.Peer {
		flags |= peerReply
	}
	cause := keepCause(w.reply.Cause)
	if cause == nil {
		return append(b, flags)
	}
	return coding.AppendText(append(b, flags|causedReply), cause.Error())
}

// The flags of a reply; the text of its cause follows.
const (
	peerReply byte = 1 << iota
	causedReply
)

// A storedCause is the cause of a reply as it is stored.
type storedCause string

func (c storedCause) Error() string { return string(c) }

// keepCause is the cause of a reply that is kept: nil for none.
func keepCause(err error) error {
	if err == nil || err.Error() == "" {
		return nil
	}
	return storedCause(cut(err.Error(), maxKeptReply))
}

// A backoff records the failures of a destination none of whose messages could
// be tried.
type backoff struct {
	failures int
	next     int64
	last     lastReply
	tried    []int64 // when none could be tried, in order, for as long as the destination has mail; at most maxTried
}

// maxTried bounds the times that a backoff keeps.
const maxTried = 500

// since counts the attempts from t on at which no message could be tried.
func (o backoff) since(t int64) int {
	i, _ := slices.BinarySearch(o.tried, t)
	return len(o.tried) - i
}

// lastTry is the last attempt for e, whose record is rec: its own, or one at which no
// message of its destination could be tried.
func (e *entry) lastTry(rec record) lastReply {
	last, b := rec.last, e.dest.backoff
	if b.since(max(last.tried+1, e.received)) == 0 {
		return last
	}
	if at := b.tried[len(b.tried)-1]; at != b.last.tried { // the reply is another message's
		return lastReply{tried: at, reply: last.reply, host: last.host}
	}
	return b.last
}

func (o backoff) encode() []byte {
	b := append(make([]byte, 0, 32+len(o.last.reply.Text)+10*len(o.tried)), backoffVersion)
	b = binary.AppendUvarint(b, uint64(o.failures))
	b = binary.AppendVarint(b, o.next)
	b = binary.AppendUvarint(o.last.append(b), uint64(len(o.tried)))
	for _, t := range o.tried {
		b = binary.AppendVarint(b, t)
	}
	return b
}

var errRecord = errors.New("the queue's record is damaged")

const maxCount = 1 << 30

// number reads a uvarint of at most max.
func number(r *coding.Reader, max uint64) int {
	n := r.Num()
	if n > max {
		r.Bad()
		return 0
	}
	return int(n)
}

func readLastReply(r *coding.Reader, old bool) lastReply {
	w := lastReply{tried: r.Int()}
	w.reply = mail.Reply{Code: number(r, 999), Enhanced: r.Text(), Text: r.Text()}
	w.host = r.Text()
	if old {
		w.reply.Peer = w.host != ""
		return w
	}
	w.reply.Phase = r.Text()
	flags := r.Byte()
	if w.reply.Peer = flags&peerReply != 0; flags&causedReply != 0 {
		w.reply.Cause = keepCause(storedCause(r.Text()))
	}
	return w
}

// version reads the version of a record, and whether it is an old one.
func version(r *coding.Reader, b []byte) (v byte, old bool) {
	if len(b) > 0 {
		v = b[0]
	}
	if old = v == oldRecordVersion || v == oldReportVersion; old {
		r.Form(v)
		return v + recordVersion - oldRecordVersion, true
	}
	v = min(max(v, recordVersion), backoffVersion)
	r.Form(v)
	return v, false
}

func decodeRecord(b []byte) (record, error) {
	r := coding.Read(b)
	v, old := version(&r, b)
	if v == backoffVersion {
		return record{}, errRecord
	}
	reports := v == reportVersion
	out := record{flags: r.Byte() & stored, attempts: number(&r, maxCount)}
	out.received, out.size, out.next = r.Int(), r.Int(), r.Int()
	for range r.Count() {
		out.open = append(out.open, number(&r, maxCount))
	}
	out.last = readLastReply(&r, old)
	if reports {
		out.told = readStatuses(&r, len(out.open), old)
	}
	if r.End() != nil || reports && len(out.told) == 0 {
		return record{}, errRecord
	}
	return out, nil
}

func readStatuses(r *coding.Reader, n int, old bool) (out []dsn.RecipientStatus) {
	for range n {
		s := dsn.RecipientStatus{Action: dsn.Action(r.Text()), Status: r.Text()}
		last := readLastReply(r, old)
		s.Tried, s.Reply, s.Host = unixTime(last.tried), last.reply, last.host
		s.Until = unixTime(r.Int())
		out = append(out, s)
	}
	return out
}

func decodeBackoff(b []byte) (backoff, error) {
	r := coding.Read(b)
	v, old := version(&r, b)
	out := backoff{failures: number(&r, maxCount), next: r.Int(), last: readLastReply(&r, old)}
	if v == backoffVersion {
		for range r.Count() {
			out.tried = append(out.tried, r.Int())
		}
	}
	if r.End() != nil || v == reportVersion {
		return backoff{}, errRecord
	}
	slices.Sort(out.tried) // the clock was set back
	return out, nil
}

// unixTime is the time of a stored number; the zero Time for 0.
func unixTime(nano int64) time.Time {
	if nano == 0 {
		return time.Time{}
	}
	return time.Unix(0, nano)
}

// nanos undoes unixTime.
func nanos(t time.Time) int64 {
	if t.IsZero() {
		return 0
	}
	return t.UnixNano()
}

// truncate cuts a peer's text to what a person can use.
func truncate(s string) string { return cut(s, 1000) }

func cut(s string, most int) string {
	if len(s) <= most {
		return s
	}
	return string(bytes.ToValidUTF8([]byte(s[:most]), nil))
}

// countPrefix begins the keys that hold how many entries a message has. A
// message without such a key has one: most have, and need no second key.
const countPrefix = "q/m/"

func countKey(id mail.MessageID) []byte { return []byte(countPrefix + string(id)) }

func encodeCount(n int) []byte { return binary.AppendUvarint(nil, uint64(n)) }

// decodeCount gives 0 for a value that does not read.
func decodeCount(b []byte) int {
	n, used := binary.Uvarint(b)
	if used != len(b) || n > maxCount {
		return 0
	}
	return int(n)
}

// setCount stores n as the count of a message, whatever it was.
func setCount(id mail.MessageID, n int) kv.Op {
	if n <= 1 {
		return kv.Del(countKey(id))
	}
	return kv.Put(countKey(id), encodeCount(n))
}

// changeCount changes the count of a message, on condition that it still is
// was: of two settlements at the same time, one has to begin again. The only
// entry of a message is settled by its claimant alone, without a condition.
func changeCount(id mail.MessageID, was, now int) []kv.Op {
	switch {
	case was == now || was <= 1 && now <= 1:
		return nil
	case was <= 1:
		return []kv.Op{kv.Must(countKey(id), nil), setCount(id, now)}
	}
	return []kv.Op{kv.Must(countKey(id), encodeCount(was)), setCount(id, now)}
}

// entriesLeft reads how many entries a message has.
func (q *Queue) entriesLeft(id mail.MessageID) (int, error) {
	b, ok, err := q.db.Get(countKey(id))
	if err != nil {
		return 0, fmt.Errorf("queue %s: %w", id, err)
	}
	if !ok {
		return 1, nil
	}
	return max(decodeCount(b), 1), nil
}
