// SPDX-License-Identifier: Apache-2.0

// Package site runs one virtual server: its listeners, its sessions, its queue,
// and the state that an administrator sees and changes.
//
// A session keeps the names and limits of the [Config] that was in force when it
// began; its rights are those of the one in force at each verb. Apply puts
// another one in force. Listeners that a new Config asks for open
// before those that it drops close. When the system refuses a part of it, such
// as a port that is taken or a certificate that is missing, the site keeps what
// it had of that [Part], puts all the rest in force, tries again, and [Status]
// says why until it is cured.
//
// The package does not know where a Config comes from.
package site

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"net/netip"
	"slices"
	"strings"
	"time"

	"restante/engine/alert"
	"restante/engine/delivery"
	"restante/engine/dsn"
	"restante/engine/mail"
	"restante/engine/pickup"
	"restante/engine/queue"
	"restante/engine/recipients/pushed"
	"restante/engine/release"
	"restante/engine/session"
	"restante/engine/site/acme"
	"restante/engine/site/certs"
	"restante/engine/site/ports"
	"restante/engine/w3clog"
	"restante/engine/wire"
	"restante/internal/kv"
)

// A Config is everything that is set for a site. It is replaced, never changed;
// its functions answer from the settings of its revision.
type Config struct {
	Name     string // for people
	Rev      uint64 // of the settings that it was made from
	Bindings []ports.Binding
	TLS      certs.Files
	Accepts  certs.Protocols // of it
	Acme     *acme.Settings  // of certificates that are ordered, into one of TLS; nil: none are
	Shown    *certs.Reloader // to hosts that ask for a certificate; nil: none is. The same one for the same files
	Blocked  error           // why the site must not run; nil: it may
	Wire     wire.Config     // all but TLS, and per binding ImplicitTLS and ODMR
	Session  session.Policy  // what a caller may do
	Release  release.Policy  // what a host may call for
	Mail     Mail
	Pickup   pickup.Settings
	Folders  []Folder
	IsOthers func(path string) bool // whether another site has the folder; nil: none has
	Log      *w3clog.Settings       // nil: no log file
	Trouble  func() error           // what is wrong with files that the settings name, or nil; nil: nothing ever is
	Settings Settings               // that it was made from; nil: unknown

	Pushed pushed.Rules // who may push the list of a domain's recipients

	CallHistory time.Duration // for which calls for held mail are kept

	Bandwidth int64 // octets per second of all connections; 0: any

	Proxy   func(netip.Addr) bool // whether connections from there begin with a PROXY header; nil: none do
	Xclient func(netip.Addr) bool // whether callers from there may name the client by XCLIENT; nil: nobody may
}

// Settings are what a Config was made from.
type Settings interface {
	// Differs reports whether they differ from earlier ones in more than parts.
	Differs(from Settings, parts []Part) bool
}

// A Part is what the system may refuse of a Config: Bindings, Certificate,
// QueueFolder, or the Name of a Folder.
type Part string

// The parts that every Config has.
const (
	Bindings    Part = "bindings"
	Certificate Part = "certificate"
	QueueFolder Part = "queue"
)

// PickupFolder is the part of a Config that is its Pickup folder.
const PickupFolder Part = "PickupDirectory"

// RemoteCertificate is the part of a Config that is Shown.
const RemoteCertificate Part = "RemoteCertificateFile"

// LogFolder is the part of a Config with a Log that is its folder.
const LogFolder Part = "LogFileDirectory"

// A partError says why a part is not in force.
type partError struct {
	part Part
	error
}

func (e partError) Unwrap() error { return e.error }

func refused(part Part, err error) error {
	if err == nil {
		return nil
	}
	return partError{part, err}
}

// partsOf lists the parts that an error is about.
func partsOf(err error) (out []Part) {
	switch e := err.(type) {
	case partError:
		return []Part{e.part}
	case interface{ Unwrap() []error }:
		for _, one := range e.Unwrap() {
			out = append(out, partsOf(one)...)
		}
	}
	return out
}

// A Folder is one that the site writes to or reads.
type Folder struct {
	Name Part        // for people, too
	Path string      // absolute
	Perm fs.FileMode // where it is made; of LogFolder, w3clog knows it
}

// Mail is what becomes of accepted messages.
type Mail struct {
	Archive string // folder for held mail whose time is over; made when it is used

	Folder string // names the queue; another one takes effect at the next start

	// Open opens Folder. It asks at any time for the limits in force.
	Open   func(ctx context.Context, limits func() StorageLimits) (Storage, error)
	Limits StorageLimits
	Holds  queue.Router
	Quota  func(mail.Domain) queue.Quota  // of what Holds holds; nil: there is none
	Alerts func(mail.Domain) alert.Policy // of a destination; nil: nobody is told of held mail
	Routes delivery.Router
	Policy queue.Policy
	From   dsn.Sender // of reports
}

// StorageLimits bound what a storage uses.
type StorageLimits struct {
	Memory  int64 // for unfinished messages; 0: any
	Reserve int64 // of the disk, that stays free; 0: the storage's own
}

// Storage is where a queue keeps its messages.
type Storage struct {
	Messages queue.Store
	DB       kv.DB                       // of the entries, and of nothing else
	Maintain func(context.Context) error // runs beside the queue until its context ends
	Broken   func() error                // why it stores nothing until it is opened again; nil: it works
	Close    func() error

	Free func() (free, total int64, err error) // of its disk; nil: unknown
}

// sameResources reports whether going from a to b takes nothing that can go
// wrong: no listener, certificate, start or stop, and no other folder.
func sameResources(a, b *Config) bool {
	return len(changedParts(a, b)) == 0 && a.Mail.Folder == b.Mail.Folder &&
		slices.Equal(a.Folders, b.Folders) && (a.Blocked == nil) == (b.Blocked == nil)
}

// changedParts lists those of Bindings, Certificate, RemoteCertificate and PickupFolder that differ.
func changedParts(a, b *Config) (parts []Part) {
	if !slices.Equal(a.Bindings, b.Bindings) {
		parts = append(parts, Bindings)
	}
	if !slices.Equal(a.TLS, b.TLS) {
		parts = append(parts, Certificate)
	}
	if a.Shown != b.Shown {
		parts = append(parts, RemoteCertificate)
	}
	if a.Pickup.Dir != b.Pickup.Dir {
		parts = append(parts, PickupFolder)
	}
	return parts
}

// keeping is c with those parts as in now. It has the revision of now if that
// leaves no difference.
func (c *Config) keeping(parts []Part, now *Config) *Config {
	if len(parts) == 0 {
		return c
	}
	out := *c
	if slices.Contains(parts, Bindings) {
		out.Bindings = now.Bindings
	}
	if slices.Contains(parts, Certificate) {
		out.TLS = now.TLS
	}
	if slices.Contains(parts, RemoteCertificate) {
		out.Shown = now.Shown
	}
	if slices.Contains(parts, PickupFolder) && c.Pickup.Dir != "" { // to have none is never refused
		out.Pickup.Dir = c.keptPickup(now.Pickup.Dir)
	}
	if c.Settings == nil || !c.Settings.Differs(now.Settings, parts) {
		out.Rev = now.Rev
	}
	return &out
}

// keptPickup gives dir, but not where c or another site has a use for it now: what is
// written there would be sent, or files would be sent twice.
func (c *Config) keptPickup(dir string) string {
	if c.IsOthers != nil && c.IsOthers(dir) || slices.ContainsFunc(c.Folders, func(f Folder) bool { return f.Name != PickupFolder && f.Path == dir }) {
		return ""
	}
	return dir
}

// A State is a site's, by the numbers that ServerState has.
type State uint32

// The states of a site. Continuing is over before anybody can see it, but is
// part of the numbering.
const (
	Starting State = 1 + iota
	Started
	Stopping
	Stopped
	Pausing
	Paused
	Continuing
)

var stateNames = [...]string{"starting", "started", "stopping", "stopped", "pausing", "paused", "continuing"}

// String is the state in a word.
func (s State) String() string {
	if s < Starting || s > Continuing {
		return fmt.Sprintf("state %d", uint32(s))
	}
	return stateNames[s-1]
}

// MarshalText gives the state in a word.
func (s State) MarshalText() ([]byte, error) { return []byte(s.String()), nil }

// UnmarshalText reads the word of a state.
func (s *State) UnmarshalText(text []byte) error {
	i := slices.Index(stateNames[:], string(text))
	if i < 0 {
		return fmt.Errorf("there is no state %q of a site", text)
	}
	*s = State(i + 1)
	return nil
}

// serving reports whether callers are served and mail goes out.
func (s State) serving() bool { return s == Started || s == Paused }

// A Command changes the state, by the numbers that ServerCommand has.
type Command uint32

// The commands of an administrator.
const (
	Start Command = 1 + iota
	Stop
	Pause
	Continue

	// Open opens the queue of a site that need not be started. No administrator
	// says it.
	Open Command = 100
)

// String is the command in a word.
func (c Command) String() string {
	names := [...]string{"start", "stop", "pause", "continue"}
	if c == Open {
		return "open"
	}
	if c < Start || c > Continue {
		return fmt.Sprintf("command %d", uint32(c))
	}
	return names[c-1]
}

// ErrStopped answers a command that only a running site can execute.
var ErrStopped = errors.New("the site is not started")

// ErrEnded answers a command that comes after the end of Run.
var ErrEnded = errors.New("the site is closed")

// Status is a site as it runs and as it is shown.
type Status struct {
	Number      int              `json:"number"`
	Name        string           `json:"name"`
	Bindings    []string         `json:"bindings"` // as configured, ADDR:PORT
	State       State            `json:"state"`
	Listening   []netip.AddrPort `json:"listening"`         // with the ports that the system picked
	Configured  uint64           `json:"configured"`        // the newest revision
	Running     uint64           `json:"running,omitempty"` // the revision in force; 0: the site does not run
	Why         string           `json:"why,omitempty"`     // why it is not as configured
	Kept        []Part           `json:"-"`                 // not in force, while all other settings are
	Connections int              `json:"connections"`

	Certificates []certs.Certificate `json:"certificates,omitempty"` // in use

	Silent []alert.Silence `json:"silent,omitempty"` // held domains whose hosts do not call any more

	QueueClosed bool `json:"queue_closed,omitempty"` // the queue is not open, and Counts are not known
	queue.Counts
	Counters Counters `json:"counters"`
}

// explain words a cause for Why, on one line.
func (s Status) explain(cause error) string {
	if cause == nil {
		return ""
	}
	text := strings.ReplaceAll(cause.Error(), "\n", "; ")
	if s.Running != 0 && s.Running != s.Configured {
		return fmt.Sprintf("configured %d, running %d, because %s", s.Configured, s.Running, text)
	}
	return text
}
