// SPDX-License-Identifier: Apache-2.0

// Package rpc carries the calls of package api over a local socket in the data
// folder. A request is an HTTP POST of JSON; the answer is JSON, or one JSON
// object per line for a stream. The system says which user is at the other end
// of a connection (peer credentials); the client chooses only its comment.
//
// The package does not know what a call does.
package rpc

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"strings"
	"time"

	"restante/admin/api"
	"restante/internal/progress"
	"restante/metabase"
)

// maxUntrustedRequest bounds a request of a caller who is neither root nor the
// service's own user, in octets. The request is read before its rights are
// peerConn. Other callers have api.MaxRequest.
const maxUntrustedRequest = 1 << 20

// Headers and paths of a request.
const (
	headerOrigin  = "Restante-Origin"
	headerComment = "Restante-Comment"
	headerTerms   = "Restante-Terms"
	headerNote    = "Restante-Note" // of an answer; may be there several times
	// A request that has it gets responses 102 (Processing) before the answer,
	// each with the steps that are done and their total.
	headerProgress = "Restante-Progress"
	progressForm   = "%d/%d"
	pathCall       = "/call/"
	pathStream     = "/stream/"
)

// Time limits of a connection. A stream has none.
const (
	headerTime  = 10 * time.Second
	requestTime = time.Minute // the whole request
	idleTime    = time.Minute // until the next one
)

// progressStep is the time between two responses about the progress of a call.
const progressStep = 250 * time.Millisecond

// peerKey is the context key of a connection's peer.
type peerKey struct{}

type peer struct {
	who []metabase.Principal
	err error
}

// A handler returns the Conn that answers a caller.
type handler func(who api.Caller) api.Conn

// Serve answers calls on l with the Conn that direct returns for each caller. It
// returns when ctx has ended and the running calls are done; they get a grace
// time. It closes l. Users other than root and the service's own have at most
// connections at once, and those two half as many each; 0 for the most that the
// package allows.
func Serve(ctx context.Context, l net.Listener, connections int, log *slog.Logger, direct func(who api.Caller) api.Conn) error {
	return serve(ctx, newLimiter(l, connections, log, peerOf), log, direct)
}

func serve(ctx context.Context, l *limiter, log *slog.Logger, direct func(who api.Caller) api.Conn) error {
	calls, end := context.WithCancelCause(context.WithoutCancel(ctx))
	defer end(nil)
	defer context.AfterFunc(ctx, func() { end(api.ErrNoService) })() // what a call that is under way is told
	s, mux := handler(direct), http.NewServeMux()
	mux.HandleFunc("POST "+pathCall, s.answer)
	mux.HandleFunc("POST "+pathStream, s.answerStream)
	srv := &http.Server{
		Handler:           mux,
		ReadHeaderTimeout: headerTime,
		IdleTimeout:       idleTime,
		ErrorLog:          slog.NewLogLogger(log.Handler(), slog.LevelWarn),
		BaseContext:       func(net.Listener) context.Context { return calls },
		ConnContext: func(ctx context.Context, c net.Conn) context.Context {
			var w peer
			if k, ok := c.(*peerConn); ok {
				w.who, w.err = k.who()
			}
			return context.WithValue(ctx, peerKey{}, w)
		},
	}
	served := make(chan error, 1)
	go func() { served <- srv.Serve(l) }()
	select {
	case err := <-served:
		return err
	case <-ctx.Done():
	}
	grace, cancel := context.WithTimeout(context.WithoutCancel(ctx), 5*time.Second)
	defer cancel()
	if err := srv.Shutdown(grace); err != nil {
		srv.Close()
	}
	<-served
	return context.Cause(ctx)
}

// caller reads the author of a request. A client says whether a command or a
// script of the user asks. Other origins exist only within the service.
func caller(r *http.Request) (api.Caller, error) {
	w, _ := r.Context().Value(peerKey{}).(peer)
	switch {
	case w.err != nil:
		return api.Caller{}, w.err
	case len(w.who) == 0:
		return api.Caller{}, errUnknown
	}
	from := metabase.Origin(r.Header.Get(headerOrigin))
	if from != metabase.FromCLI && from != metabase.FromLua {
		return api.Caller{}, api.Refused("", fmt.Sprintf("a request over the socket comes from %s or %s, not from %.40q", metabase.FromCLI, metabase.FromLua, from))
	}
	var comment string
	if err := json.Unmarshal([]byte(r.Header.Get(headerComment)), &comment); err != nil {
		return api.Caller{}, api.Usage("the comment of the request is not valid JSON", "")
	}
	out := api.Caller{Who: w.who, Origin: from, Comment: comment}
	if terms := r.Header.Get(headerTerms); terms != "" {
		if err := json.Unmarshal([]byte(terms), &out.Terms); err != nil {
			return api.Caller{}, api.Usage("the terms of the request are not valid JSON", "")
		}
	}
	return out, nil
}

func (s handler) answer(w http.ResponseWriter, r *http.Request) {
	conn, request, err := s.accept(w, r)
	var raw json.RawMessage
	var notes []string
	if err == nil {
		ctx := api.WithNotes(r.Context(), func(n api.Noted) {
			notes = append(notes, headerText(n))
		})
		ctx, stop := startProgress(ctx, w, r)
		raw, err = conn.Call(ctx, strings.TrimPrefix(r.URL.Path, pathCall), request)
		stop()
	}
	for _, note := range notes {
		w.Header().Add(headerNote, note)
	}
	w.Header().Set("Content-Type", "application/json")
	if err != nil {
		w.WriteHeader(http.StatusUnprocessableEntity)
		raw, _ = json.Marshal(api.AsError(err)) // always marshals
	}
	_, _ = w.Write(raw) // the client has hung up
}

// headerText is a value that always marshals as JSON, in characters that a header
// may have: of those below U+0080 json leaves only U+007F as it is.
func headerText(v any) string {
	text, _ := json.Marshal(v)
	return strings.ReplaceAll(string(text), "\x7f", `\u007f`)
}

// startProgress tells a client that wants it how far the calls of the context
// that it returns are, until stop. Nobody else writes to w meanwhile.
func startProgress(ctx context.Context, w http.ResponseWriter, r *http.Request) (_ context.Context, stop func()) {
	if r.Header.Get(headerProgress) == "" {
		return ctx, func() {}
	}
	var m progress.Meter
	done, gone := make(chan struct{}), make(chan struct{})
	go func() {
		defer close(gone)
		tick := time.NewTicker(progressStep)
		defer tick.Stop()
		for last := int64(0); ; {
			select {
			case <-done:
				w.Header().Del(headerProgress)
				return
			case <-tick.C:
			}
			if n, total := m.Count(); n != last {
				last = n
				w.Header().Set(headerProgress, fmt.Sprintf(progressForm, n, total))
				w.WriteHeader(http.StatusProcessing)
			}
		}
	}()
	return progress.With(ctx, &m), func() { close(done); <-gone }
}

// A part is one line of a stream.
type part struct {
	Part json.RawMessage `json:"part,omitempty"`
	Err  *api.Error      `json:"error,omitempty"`
}

func (s handler) answerStream(w http.ResponseWriter, r *http.Request) {
	conn, request, err := s.accept(w, r)
	out := http.NewResponseController(w)
	lines := json.NewEncoder(w)
	if err != nil {
		_ = lines.Encode(part{Err: api.AsError(err)})
		return
	}
	w.Header().Set("Content-Type", "application/jsonl")
	_ = out.Flush() // tell the client that it is connected
	for raw, err := range conn.Stream(r.Context(), strings.TrimPrefix(r.URL.Path, pathStream), request) {
		p := part{Part: raw}
		if err != nil {
			p = part{Err: api.AsError(err)}
		}
		if lines.Encode(p) != nil || out.Flush() != nil {
			return // the client has hung up
		}
	}
}

func (s handler) accept(w http.ResponseWriter, r *http.Request) (api.Conn, []byte, error) {
	timer := http.NewResponseController(w)
	_ = timer.SetReadDeadline(time.Now().Add(requestTime)) // a recorder in tests has none
	who, err := caller(r)
	if err != nil {
		w.Header().Set("Connection", "close") // free the connection for others
		return nil, nil, err
	}
	most := int64(maxUntrustedRequest)
	if api.Trusted(who.Who) {
		most = api.MaxRequest
	}
	request, err := io.ReadAll(http.MaxBytesReader(w, r.Body, most))
	if err != nil {
		w.Header().Set("Connection", "close")
		return nil, nil, &api.Error{Kind: api.KindUsage, Text: "the request: " + err.Error()}
	}
	_ = timer.SetReadDeadline(time.Time{}) // a stream may last for days
	return s(who), request, nil
}
