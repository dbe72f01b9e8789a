// SPDX-License-Identifier: Apache-2.0

package segment

import (
	"crypto/sha256"
	"encoding/binary"
	"log/slog"
	"slices"
	"strings"
	"time"

	"restante/internal/record"
)

// An Event is one step in the life of a message, or a refusal.
type Event struct {
	At    time.Time
	Site  int
	Name  string      // such as "accepted"
	Attrs []slog.Attr // strings, integers, booleans, times and durations
	Keys  []string    // by which it is found; not set in one that was found
}

// Names of the events that the Store adds itself.
const (
	Lost    = "lost"    // events are missing: count, since, until
	Stopped = "stopped" // the last one of a Store that was closed
)

// Attr gives the text of an attribute, or "".
func (e *Event) Attr(name string) string {
	for _, a := range e.Attrs {
		if a.Key == name {
			return a.Value.String()
		}
	}
	return ""
}

// Time gives the time of an attribute, or the zero Time.
func (e *Event) Time(name string) time.Time {
	for _, a := range e.Attrs {
		if a.Key == name && a.Value.Kind() == slog.KindTime {
			return a.Value.Time()
		}
	}
	return time.Time{}
}

// hash is the number under which a key is found, whatever its case. It is one that
// nobody can meet with a key of their own.
func hash(key string) uint64 {
	sum := sha256.Sum256([]byte(strings.ToLower(key)))
	return binary.BigEndian.Uint64(sum[:])
}

// The kinds of values as they are stored.
const (
	textValue = iota
	intValue
	boolValue
	timeValue
	durationValue
)

// common are names of attributes that are stored as a number. New ones go to the end.
var common = []string{
	"msg_id", "session", "to", "from", "host", "reply", "address", "tls", "client", "helo", "account", "domain", "size", "recipients",
	"message_id", "phase", "again", "verb", "what", "by", "about", "action", "messages", "left", "why",
}

// appendName encodes the name of an attribute.
func appendName(b []byte, name string) []byte {
	if n := slices.Index(common, name); n >= 0 {
		return append(b, byte(n+1))
	}
	return record.AppendText(append(b, 0), name)
}

func readName(r *record.Reader) string {
	n := int(r.Byte())
	switch {
	case n == 0:
		return r.Text()
	case n > len(common):
		r.Bad()
		return ""
	}
	return common[n-1]
}

// appendEvent encodes e without its keys.
func appendEvent(b []byte, e *Event) []byte {
	b = binary.AppendVarint(b, e.At.UnixNano())
	b = binary.AppendVarint(b, int64(e.Site))
	b = record.AppendText(b, e.Name)
	b = binary.AppendUvarint(b, uint64(len(e.Attrs)))
	number := func(kind byte, n int64) { b = binary.AppendVarint(append(b, kind), n) }
	for _, a := range e.Attrs {
		b = appendName(b, a.Key)
		switch v := a.Value; v.Kind() {
		case slog.KindInt64:
			number(intValue, v.Int64())
		case slog.KindBool:
			n := int64(0)
			if v.Bool() {
				n = 1
			}
			number(boolValue, n)
		case slog.KindTime:
			number(timeValue, v.Time().UnixNano())
		case slog.KindDuration:
			number(durationValue, int64(v.Duration()))
		default:
			b = record.AppendText(append(b, textValue), v.String())
		}
	}
	return b
}

// decodeEvent reads what appendEvent wrote.
func decodeEvent(b []byte) (*Event, error) {
	r := record.Read(b)
	e := &Event{At: time.Unix(0, r.Int()).UTC(), Site: int(r.Int()), Name: r.Text()}
	for range r.Count() {
		a := slog.Attr{Key: readName(&r)}
		switch r.Byte() {
		case textValue:
			a.Value = slog.StringValue(r.Text())
		case intValue:
			a.Value = slog.Int64Value(r.Int())
		case boolValue:
			a.Value = slog.BoolValue(r.Int() != 0)
		case timeValue:
			a.Value = slog.TimeValue(time.Unix(0, r.Int()).UTC())
		case durationValue:
			a.Value = slog.DurationValue(time.Duration(r.Int()))
		default:
			r.Bad()
		}
		e.Attrs = append(e.Attrs, a)
	}
	return e, r.End()
}
