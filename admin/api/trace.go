// SPDX-License-Identifier: Apache-2.0

package api

import (
	"bytes"
	"encoding/json"
	"errors"
	"log/slog"
	"time"
)

// The calls about what happened to mail. Without the service, the first of them reads what
// it has left.
const (
	QueueTrace  Method[TraceRequest, []Traced] = "queue/trace"
	QueueFollow Stream[TraceRequest, Event]    = "queue/follow"
)

// TraceFolder is the folder of what they read, in the data folder.
const TraceFolder = "trace"

// A TraceRequest names a message by its ID or its Message-ID, or mail by an address.
type TraceRequest struct {
	What  string    `json:"what"`
	Site  int       `json:"site,omitempty"`  // 0: all
	Since time.Time `json:"since,omitzero"`  // mail that came before is left out
	Limit int       `json:"limit,omitempty"` // messages, the newest; 0: 1000
}

// Traced is a message with what happened to it. One that is queued for several destinations
// is there for each of them, the first time with its events. One that was refused has no ID.
type Traced struct {
	Message
	Events []Event `json:"events,omitempty"`
}

// An Event is one step in the life of a message. Its attributes are those of the service's
// log, and in JSON fields beside the others.
type Event struct {
	Time  time.Time
	Site  int
	Event string
	Attrs []slog.Attr // strings, integers, booleans, times and durations
}

// MarshalJSON implements json.Marshaler.
func (e Event) MarshalJSON() ([]byte, error) {
	b := []byte(`{"time":`)
	var errs []error
	add := func(v any) {
		raw, err := json.Marshal(v)
		b, errs = append(b, raw...), append(errs, err)
	}
	add(e.Time)
	b = append(b, `,"site":`...)
	add(e.Site)
	b = append(b, `,"event":`...)
	add(e.Event)
	for _, a := range e.Attrs {
		b = append(b, ',')
		add(a.Key)
		b = append(b, ':')
		if v := a.Value; v.Kind() == slog.KindDuration {
			add(v.Duration().Seconds())
		} else {
			add(v.Any())
		}
	}
	return append(b, '}'), errors.Join(errs...)
}

// UnmarshalJSON implements json.Unmarshaler. The order of the attributes stays.
func (e *Event) UnmarshalJSON(raw []byte) error {
	d := json.NewDecoder(bytes.NewReader(raw))
	d.UseNumber()
	if _, err := d.Token(); err != nil {
		return err
	}
	for d.More() {
		name, err := d.Token()
		if err != nil {
			return err
		}
		switch name {
		case "time":
			err = d.Decode(&e.Time)
		case "site":
			err = d.Decode(&e.Site)
		case "event":
			err = d.Decode(&e.Event)
		default:
			var v any
			err = d.Decode(&v)
			key, _ := name.(string)
			e.Attrs = append(e.Attrs, slog.Any(key, v))
		}
		if err != nil {
			return err
		}
	}
	return nil
}
