// SPDX-License-Identifier: Apache-2.0

package control

import (
	"context"
	"encoding/json"
	"errors"
	"io"
	"log/slog"
	"net"
	"net/http"
	"slices"
	"strings"
	"time"

	"restante/metabase"
)

// maxRequest is octets of one request: an import carries its whole file.
// Any user of the machine may connect, and the request is read before it is
// known what for: what strangers send has less room.
const (
	maxRequest  = 512 << 20
	maxStranger = 1 << 20
)

// What travels beside a request.
const (
	headerOrigin  = "Restante-Origin"
	headerComment = "Restante-Comment"
	pathCall      = "/call/"
	pathFlow      = "/flow/"
)

// A server's connections carry who is at their other end.
type peerKey struct{}

type whoIsIt struct {
	who []metabase.Principal
	err error
}

// A server gives each caller the Conn that answers it.
type server func(who Caller) Conn

// Serve answers on l, each caller by what direct gives for it, until ctx ends;
// it closes l, gives the calls under way a moment and returns when all have.
func Serve(ctx context.Context, l net.Listener, log *slog.Logger, direct func(who Caller) Conn) error {
	s, mux := server(direct), http.NewServeMux()
	mux.HandleFunc("POST "+pathCall, s.answer)
	mux.HandleFunc("POST "+pathFlow, s.answerFlow)
	srv := &http.Server{
		Handler:           mux,
		ReadHeaderTimeout: 10 * time.Second,
		ErrorLog:          slog.NewLogLogger(log.Handler(), slog.LevelWarn),
		BaseContext:       func(net.Listener) context.Context { return ctx },
		ConnContext: func(ctx context.Context, c net.Conn) context.Context {
			var w whoIsIt
			if u, ok := c.(*net.UnixConn); ok {
				w.who, w.err = peer(u)
			} else {
				w.err = errors.New("not a local socket")
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

// caller reads who asks off a request.
func caller(r *http.Request) (Caller, error) {
	w, _ := r.Context().Value(peerKey{}).(whoIsIt)
	if w.err != nil || len(w.who) == 0 {
		return Caller{}, &Error{Kind: KindRefused, Text: "the system does not say who asks"}
	}
	var comment string
	if err := json.Unmarshal([]byte(r.Header.Get(headerComment)), &comment); err != nil {
		comment = ""
	}
	return Caller{Who: w.who, Origin: metabase.Origin(r.Header.Get(headerOrigin)), Comment: comment}, nil
}

func (s server) answer(w http.ResponseWriter, r *http.Request) {
	conn, request, err := s.accept(w, r)
	var raw json.RawMessage
	if err == nil {
		raw, err = conn.Call(r.Context(), strings.TrimPrefix(r.URL.Path, pathCall), request)
	}
	w.Header().Set("Content-Type", "application/json")
	if err != nil {
		w.WriteHeader(http.StatusUnprocessableEntity)
		raw, _ = json.Marshal(AsError(err)) // three strings and a list marshal
	}
	_, _ = w.Write(raw) // the caller is gone: nobody to tell
}

// A part is one line of a flow.
type part struct {
	Part json.RawMessage `json:"part,omitempty"`
	Err  *Error          `json:"error,omitempty"`
}

func (s server) answerFlow(w http.ResponseWriter, r *http.Request) {
	conn, request, err := s.accept(w, r)
	out := http.NewResponseController(w)
	lines := json.NewEncoder(w)
	if err != nil {
		_ = lines.Encode(part{Err: AsError(err)})
		return
	}
	w.Header().Set("Content-Type", "application/jsonl")
	_ = out.Flush() // the caller learns that it is connected
	for raw, err := range conn.Stream(r.Context(), strings.TrimPrefix(r.URL.Path, pathFlow), request) {
		p := part{Part: raw}
		if err != nil {
			p = part{Err: AsError(err)}
		}
		if lines.Encode(p) != nil || out.Flush() != nil {
			return // the caller is gone
		}
	}
}

func (s server) accept(w http.ResponseWriter, r *http.Request) (Conn, []byte, error) {
	who, err := caller(r)
	if err != nil {
		return nil, nil, err
	}
	most := int64(maxStranger)
	if trusted(who.Who) {
		most = maxRequest
	}
	request, err := io.ReadAll(http.MaxBytesReader(w, r.Body, most))
	if err != nil {
		return nil, nil, &Error{Kind: KindUsage, Text: "the request: " + err.Error()}
	}
	return s(who), request, nil
}

// trusted says that who asks is root, or who runs the service.
func trusted(who []metabase.Principal) bool {
	own := Self()
	return slices.ContainsFunc(who, func(p metabase.Principal) bool {
		return p == "uid:0" || slices.Contains(own, p) && strings.HasPrefix(string(p), "uid:")
	})
}
