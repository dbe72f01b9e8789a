// SPDX-License-Identifier: Apache-2.0

package admin

import (
	"context"
	"io"
	"iter"
	"net/netip"
	"time"

	"restante/engine/account"
	"restante/engine/mail"
	"restante/engine/policy"
	"restante/engine/queue"
	"restante/engine/release/calls"
	"restante/engine/site"
	"restante/engine/trace"
	"restante/metabase"
)

// A Tree is the metabase as an API uses it: [metabase.Store].
type Tree interface {
	Reader
	Writer
	History
	Confirmer
	Restorer
}

// A Reader gives the current state.
type Reader interface {
	Snapshot() metabase.Snapshot
	Allow(ctx context.Context, who []metabase.Principal, from metabase.Origin, p metabase.Path, r metabase.Right) error
	Watch(p metabase.Path) *metabase.Watch
}

// A Writer applies changes.
type Writer interface {
	Apply(ctx context.Context, b metabase.Batch) (metabase.Rev, error)
	Try(ctx context.Context, b metabase.Batch) (metabase.Change, error)
}

// History gives earlier states and goes back to them.
type History interface {
	Record(ctx context.Context, rev metabase.Rev) (metabase.Record, error)
	At(ctx context.Context, rev metabase.Rev) (metabase.Snapshot, error)
	Oldest() metabase.Rev // the oldest one kept
	Revert(ctx context.Context, rev metabase.Rev, below metabase.Path, b metabase.Batch) (metabase.Rev, error)
	TryRevert(ctx context.Context, rev metabase.Rev, below metabase.Path, b metabase.Batch) (metabase.Change, error)
}

// A Confirmer ends the wait of a pending change.
type Confirmer interface {
	Pending() []metabase.Pending
	Confirm(ctx context.Context, rev metabase.Rev) (metabase.Rev, error)
}

// A Restorer gives and takes the content of a backup, and verifies the store.
type Restorer interface {
	Records(sealed bool) (rev metabase.Rev, proof []byte, records iter.Seq[[]byte])
	Replace(proof []byte) (*metabase.Replace, error)
	Verify(ctx context.Context) error
}

// An Engine is the running sites.
type Engine interface {
	Sites
	Queues
	Sessions
	Trace() *trace.Store // nil: there is none
}

// Sites are the sites as they run. Await returns when a revision is in force,
// with the sites where it is not. Sources are what their policies find things by.
type Sites interface {
	Sites() []site.Status
	Sources() policy.Sources
	Await(ctx context.Context, rev metabase.Rev) ([]site.Status, error)
}

// Queues are the queues of the sites. OpenQueue opens that of a site that was
// not started; nil: it is empty. LetGo lists, by site, the destinations whose
// waiting mail a change lets go.
type Queues interface {
	LetGo(c metabase.Change) map[int][]mail.Domain
	Queue(n int) (Queue, bool)
	Calls(n int) (*calls.Log, bool)
	OpenQueue(ctx context.Context, n int) (Queue, error)
}

// Sessions are the connections to the sites. EndSession with the ID "" ends all
// of a site.
type Sessions interface {
	Sessions(n int) ([]site.Session, error)
	HostNames(ctx context.Context, client netip.Addr) ([]string, error) // by DNS, that lead back to it
	EndSession(n int, id string) error
	LockOuts() []account.LockOut
	EndVoidSessions() int // those whose account is gone or has another password
}

// A Queue is the mail of one site: [queue.Queue].
type Queue interface {
	QueueReader
	QueueEditor
	QueueMover
}

// A QueueReader shows what is in a queue.
type QueueReader interface {
	Counts() queue.Counts
	Destinations() []queue.DestinationState
	Messages(ctx context.Context, d mail.Domain) iter.Seq2[queue.Message, error]
	Find(ctx context.Context, addr mail.Address, came func(time.Time) bool) iter.Seq2[queue.Message, error]
	Show(id mail.MessageID) (queue.Detail, error)
	Waiting(id mail.MessageID, domains []mail.Domain) []queue.Message
	Open(id mail.MessageID) (io.ReadSeekCloser, error)
	CheckQuota(d mail.Domain, size int64) error
	Catalogue(ctx context.Context, d mail.Domain) iter.Seq2[queue.CatalogueLine, error]
	Summary(ctx context.Context, d mail.Domain) (queue.Summary, error)
	Above(d mail.Domain, size int64) (n int, octets int64)
}

// A QueueEditor changes messages.
type QueueEditor interface {
	Retry(ctx context.Context, f queue.Filter, dry bool) (queue.Tally, error)
	Freeze(ctx context.Context, f queue.Filter, dry bool) (queue.Tally, error)
	Thaw(ctx context.Context, f queue.Filter, dry bool) (queue.Tally, error)
	Delete(ctx context.Context, f queue.Filter, dry bool) (queue.Tally, error)
	Bounce(ctx context.Context, f queue.Filter, dry bool) (queue.Tally, error)
	Keep(ctx context.Context, d mail.Domain, at time.Time) (sum queue.Tally, made func(), err error)
}

// A QueueMover brings messages into and out of a queue.
type QueueMover interface {
	Release(ctx context.Context, d mail.Domain, by string) int
	Export(ctx context.Context, f queue.Filter, dir string) (queue.Tally, error)
	Import(ctx context.Context, dir string) (queue.Tally, error)
}
