// SPDX-License-Identifier: Apache-2.0

package wire

import (
	"context"
	"log/slog"
	"net"
	"sync"
)

// A Server talks with callers. It listens nowhere: whoever accepts gives it
// the connections, one Serve each.
type Server struct {
	log *slog.Logger

	mu     sync.Mutex // guards what follows
	conns  map[*conn]struct{}
	closed bool
}

type conn struct{}

// NewServer gives a server that logs faults of its own to log.
func NewServer(log *slog.Logger) *Server {
	return &Server{log: log, conns: map[*conn]struct{}{}}
}

// Serve talks with one caller until it is gone and returns when everything
// it started has returned.
func (s *Server) Serve(ctx context.Context, nc net.Conn, cfg Config, open func(*Caller) Session) {
	nc.Close()
}

// Close cuts all connections.
func (s *Server) Close() error { return nil }
