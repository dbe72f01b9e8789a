// SPDX-License-Identifier: Apache-2.0

package main

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"path/filepath"
	"time"

	"restante/admin/api"
	"restante/admin/rpc"
	"restante/engine/trace"
	"restante/metabase"
)

// eventsPerMessage is how many events the measured trace has of each message.
const eventsPerMessage = 3

// senders share the messages of the measured trace.
const senders = 30_000

// measureTrace measures what the trace costs accepted mail, what it takes to write an
// event, and how long the service searches for mail among that many events, while its
// queue is full.
func measureTrace(ctx context.Context, o options, r *report) error {
	for _, sessions := range []int{10, 50} {
		f := &figure{Name: fmt.Sprintf("accept 1 KiB, %d sessions, with the trace", sessions), Unit: "messages/s", More: true}
		if err := acceptInTurns(ctx, o, f, traceContenders(o), sessions, 1<<10); err != nil {
			return err
		}
		if err := r.figure(f); err != nil {
			return err
		}
	}
	s, err := startRestante(ctx, o, o.restante)
	if err != nil {
		return err
	}
	defer s.stop()
	if _, err := s.Run(ctx, "", "mb", "set", "SMTPSVC", "TraceBytes", "0"); err != nil { // none of the events goes
		return err
	}
	if _, err := load(ctx, s.addr(), 50, 1<<10, 0, int64(o.full)); err != nil {
		return err
	}
	if err := s.Halt(); err != nil {
		return err
	}
	if err := fillTrace(o, filepath.Join(s.Data, api.TraceFolder), r); err != nil {
		return err
	}
	if err := s.Start(ctx); err != nil {
		return err
	}
	return searchTrace(ctx, o, s, r)
}

// traceContenders are restante with the trace and without.
func traceContenders(o options) []contender {
	off := restanteContender("no trace", o.restante)
	off.start = func(ctx context.Context, o options) (instance, error) {
		s, err := startRestante(ctx, o, o.restante)
		if err == nil {
			_, err = s.Run(ctx, "", "mb", "set", "SMTPSVC", "TraceDays", "0")
		}
		return s, err
	}
	return []contender{restanteContender("restante", o.restante), off}
}

// fillTrace writes events as a service does, as fast as the disk takes them.
func fillTrace(o options, dir string, r *report) error {
	t := trace.New(dir, trace.Limits{Age: time.Hour, Bytes: 16 << 30}, slog.New(slog.DiscardHandler))
	var adding time.Duration
	begin := time.Now()
	for n := range o.events / eventsPerMessage {
		id, from, to := tracedMessage(n)
		text := func(key, value string) slog.Attr { return slog.String(key, value) }
		before := time.Now()
		t.Add(trace.Event{Site: 1, Name: "accepted", Keys: []string{"address " + to, "message-id " + id + "@pc.test", "address " + from, "id " + id}, Attrs: []slog.Attr{
			text("msg_id", id), text("from", "<"+from+">"), slog.Int("recipients", 1), slog.Int("size", 2000), text("client", "192.0.2.1"), text("account", "anna"),
			slog.Bool("tls", true), text("session", "coafinvj4gg0"), text("to", "<"+to+">"), text("message_id", id+"@pc.test"), text("helo", "pc.test"),
		}})
		for _, name := range []string{"deferred", "delivered"} {
			t.Add(trace.Event{Site: 1, Name: name, Keys: []string{"id " + id}, Attrs: []slog.Attr{
				text("msg_id", id), text("to", "<"+to+">"), text("host", "mx.far.test"), text("reply", "250 2.0.0 Ok: queued as 4fXyZ12345"), text("session", "coafinvj4gg0"),
				text("address", "203.0.113.5"), text("tls", "TLS 1.3"),
			}})
		}
		if adding += time.Since(before); n%5000 == 0 {
			t.Flush()
		}
	}
	t.Flush()
	st := t.Status()
	if st.Lost > 0 || st.Err != nil {
		return fmt.Errorf("%d events are left out: %w", st.Lost, st.Err)
	}
	count := float64(st.Events)
	return errors.Join(
		r.figure(one(fmt.Sprintf("%d events: size", st.Events), "MiB", float64(st.Bytes)/(1<<20))),
		r.figure(one("to add an event, in the way of mail", "ns", float64(adding.Nanoseconds())/count)),
		r.figure(one("to write an event, with its index", "ns", float64((time.Since(begin)-adding).Nanoseconds())/count)),
	)
}

// tracedMessage is the ID, the sender and the recipient of one message.
func tracedMessage(n int) (id, from, to string) {
	return fmt.Sprintf("06h0ihfrd1q4%08d", n), fmt.Sprintf("user%d@sender.test", n%senders), fmt.Sprintf("rcpt%d@far.test", n)
}

// searchTrace asks the service.
func searchTrace(ctx context.Context, o options, s service, r *report) error {
	c, err := rpc.Dial(ctx, s.Data, api.Caller{Who: api.Self(), Origin: metabase.FromCLI})
	if err != nil {
		return err
	}
	defer c.Close()
	id, from, to := tracedMessage(o.events / eventsPerMessage / 2)
	for _, ask := range []struct{ name, what string }{
		{"by ID", id}, {"by recipient", to}, {"by Message-ID", id + "@pc.test"}, {"by sender, all messages", from}, {"for what is not there", "nobody@nowhere.test"},
	} {
		f := &figure{Name: "search " + ask.name, Unit: "ms"}
		for range max(o.rounds, 3) {
			begin := time.Now()
			all, _, err := api.QueueTrace.Call(ctx, c, api.TraceRequest{What: ask.what})
			f.add("restante", float64(time.Since(begin).Microseconds())/1000)
			if missing := ask.what == "nobody@nowhere.test"; (err != nil || len(all) == 0 || len(all[0].Events) != eventsPerMessage) != missing {
				return fmt.Errorf("%s: %d messages, %w", ask.name, len(all), err)
			}
			f.More = false
			f.Name = fmt.Sprintf("search %s (messages: %d)", ask.name, len(all))
		}
		if err := r.figure(f); err != nil {
			return err
		}
	}
	return nil
}
