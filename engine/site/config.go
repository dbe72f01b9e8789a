// SPDX-License-Identifier: Apache-2.0

// Package site runs one virtual server: its listeners, the callers that are
// there, its queue, and the state that an administrator sees and changes.
//
// A caller lives to the end under the [Config] that was in force when it came;
// Apply puts another one in force for the next. Listeners that a new Config
// asks for open before those that it drops close, and what the world refuses
// (a port that is taken, a certificate that is gone) leaves the site running on
// what it had, and is told by [Status] until it is cured.
//
// The package knows nothing of where a Config comes from.
package site

import (
	"context"
	"net/netip"
	"slices"

	"restante/engine/delivery"
	"restante/engine/queue"
	"restante/engine/release"
	"restante/engine/session"
	"restante/engine/wire"
	"restante/internal/kv"
)

// A Config is all that a site lives under. It is replaced, never changed; the
// functions in it answer from the settings of its revision.
type Config struct {
	Name     string // for people
	Rev      uint64 // of the settings that it was made from
	Bindings []Binding
	TLS      TLSFiles
	Wire     wire.Config    // all but TLS, and per binding ImplicitTLS and ODMR
	Session  session.Policy // what a caller may do
	Release  release.Policy // what a host may call for
	Mail     Mail
}

// A Binding is an address to listen on. The unspecified IPv6 address listens
// on IPv4 as well.
type Binding struct {
	Addr netip.AddrPort
	ODMR bool // RFC 2645's port
	TLS  bool // from the first octet
}

// TLSFiles name the certificate and its key, PEM; both "" for none.
type TLSFiles struct{ Cert, Key string }

// Mail is what becomes of accepted messages.
type Mail struct {
	Folder string                                 // names the queue; a site takes another one at its next start only
	Open   func(context.Context) (Storage, error) // of Folder
	Holds  queue.Router
	Routes delivery.Router
	Policy queue.Policy
}

// Storage is where a queue keeps its messages.
type Storage struct {
	Messages queue.Store
	DB       kv.DB                       // of the entries; nobody else's keys are in it
	Maintain func(context.Context) error // runs beside the queue until its context ends
	Close    func() error
}

// sameResources says that going from a to b takes nothing that could go wrong.
func sameResources(a, b *Config) bool {
	return slices.Equal(a.Bindings, b.Bindings) && a.TLS == b.TLS && a.Mail.Folder == b.Mail.Folder
}
