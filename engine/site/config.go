// SPDX-License-Identifier: Apache-2.0

// Package site runs one virtual server: its listeners, its sessions, its queue,
// and the state that an administrator sees and changes.
//
// A session keeps the [Config] that was in force when it began. Apply puts
// another one in force for the next. Listeners that a new Config asks for open
// before those that it drops close. When the system refuses a resource, such as
// a port that is taken or a certificate that is missing, the site runs on what
// it had, tries again, and [Status] says why until it is cured.
//
// The package does not know where a Config comes from.
package site

import (
	"context"
	"fmt"
	"net/netip"
	"slices"

	"restante/engine/delivery"
	"restante/engine/queue"
	"restante/engine/release"
	"restante/engine/session"
	"restante/engine/wire"
	"restante/internal/kv"
)

// A Config is everything that is set for a site. It is replaced, never changed;
// its functions answer from the settings of its revision.
type Config struct {
	Name     string // for people
	Rev      uint64 // of the settings that it was made from
	Bindings []Binding
	TLS      TLSFiles
	Blocked  error          // why the site must not run; nil: it may
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

// String is the binding as an administrator writes it, ADDR:PORT or :PORT.
func (b Binding) String() string {
	if a := b.Addr.Addr(); !a.IsValid() || a.IsUnspecified() {
		return fmt.Sprintf(":%d", b.Addr.Port())
	}
	return b.Addr.String()
}

// TLSFiles name the certificate and its key, PEM; both "" for none.
type TLSFiles struct{ Cert, Key string }

// Mail is what becomes of accepted messages.
type Mail struct {
	Folder string                                 // names the queue; another one takes effect at the next start
	Open   func(context.Context) (Storage, error) // of Folder
	Holds  queue.Router
	Routes delivery.Router
	Policy queue.Policy
}

// Storage is where a queue keeps its messages.
type Storage struct {
	Messages queue.Store
	DB       kv.DB                       // of the entries, and of nothing else
	Maintain func(context.Context) error // runs beside the queue until its context ends
	Close    func() error
}

// sameResources reports whether going from a to b takes nothing that can go
// wrong: no listener, certificate, start or stop, and no other queue folder.
func sameResources(a, b *Config) bool {
	return slices.Equal(a.Bindings, b.Bindings) && a.TLS == b.TLS && a.Mail.Folder == b.Mail.Folder &&
		(a.Blocked == nil) == (b.Blocked == nil)
}
