// SPDX-License-Identifier: Apache-2.0

package recipients

import (
	"context"
	"fmt"
	"log/slog"
	"sync"
	"time"

	"restante/engine/mail"
)

const (
	askTimeout    = time.Minute     // for an answer of a directory, with all its servers
	downTime      = 5 * time.Second // for which a directory that gave no answer is not asked again
	maxAbsentTime = time.Minute     // for which a mailbox that is not there is not asked for again
	maxAnswers    = 20_000          // of one directory that are kept
)

// A Directory knows mailboxes that no list here has.
type Directory interface {
	ID() string               // differs from that of one with other settings
	CacheTime() time.Duration // for which an answer need not be asked for again

	// Has reports whether there is a mailbox. An error means that the directory gave
	// no answer.
	Has(ctx context.Context, a mail.Address) (bool, error)
}

// Directories asks directories for mailboxes, and remembers what they answer and which
// of them are down. Its methods may be called concurrently. The zero Directories is
// ready.
type Directories struct {
	Log     *slog.Logger // nil: none
	Changed func()       // called when a directory is down, or is no longer; must not block; nil: none

	mu    sync.Mutex // guards what follows
	known map[string]*directory
}

// A directory is one that was asked. Its fields are guarded by Directories.mu.
type directory struct {
	Directory
	source
	answers map[mail.Address]answer
	since   time.Time // it is down
	again   time.Time // before that, it is not asked
}

type answer struct {
	there bool
	until time.Time
}

// Has asks a directory for a mailbox, unless it answered not long ago. The error says
// why there is no answer.
func (d *Directories) Has(ctx context.Context, dir Directory, who User, a mail.Address) (bool, error) {
	a.Local = mail.FoldLocal(a.Local)
	x, got, err := d.recall(dir, who, a)
	if got != nil || err != nil {
		return got != nil && got.there, err
	}
	asked, cancel := context.WithTimeout(ctx, askTimeout)
	defer cancel()
	there, err := x.Directory.Has(asked, a)
	if err != nil && ctx.Err() != nil {
		return false, context.Cause(ctx) // the caller is gone, which says nothing of the directory
	}
	if err != nil {
		err = fmt.Errorf("directory of recipients: %w", err)
	}
	d.record(x, a, there, err)
	return there, err
}

// recall gives the directory and what it answered not long ago, nil for nothing. An
// error says that it is not to be asked now.
func (d *Directories) recall(dir Directory, who User, a mail.Address) (*directory, *answer, error) {
	d.mu.Lock()
	defer d.mu.Unlock()
	x := d.known[dir.ID()]
	if x == nil {
		if d.known == nil {
			d.known = map[string]*directory{}
		}
		x = &directory{Directory: dir, source: newSource(), answers: map[mail.Address]answer{}}
		d.known[dir.ID()] = x
	}
	x.users[who.Site] = who.Domain
	now := time.Now()
	if got, ok := x.answers[a]; ok && now.Before(got.until) {
		return x, &got, nil
	}
	if x.err != nil && now.Before(x.again) {
		return x, nil, x.err
	}
	return x, nil, nil
}

// record keeps an answer, or why there was none.
func (d *Directories) record(x *directory, a mail.Address, there bool, err error) {
	d.mu.Lock()
	now, was := time.Now(), x.err
	x.err = err
	switch {
	case err != nil && was == nil:
		x.since = now
		fallthrough
	case err != nil:
		x.again = now.Add(downTime)
	default:
		if len(x.answers) >= maxAnswers {
			clear(x.answers)
		}
		keep := x.CacheTime()
		if !there {
			keep = min(keep, maxAbsentTime)
		}
		x.answers[a] = answer{there, now.Add(keep)}
	}
	d.mu.Unlock()
	if (was == nil) == (err == nil) {
		return
	}
	if d.Changed != nil {
		d.Changed()
	}
	switch {
	case d.Log == nil:
	case err != nil:
		d.Log.Warn("recipients are put off until their directory answers", "err", err)
	default:
		d.Log.Info("the directory of recipients answers again")
	}
}

// Keep forgets the directories of a site that uses says are no longer those of the
// domain.
func (d *Directories) Keep(site int, uses func(id string, domain mail.Domain) bool) {
	d.mu.Lock()
	defer d.mu.Unlock()
	keep(d.known, site, uses)
}

// Err says which directories of a site gave no answer when they were last asked.
func (d *Directories) Err(site int) error {
	d.mu.Lock()
	defer d.mu.Unlock()
	return failures(d.known, site, func(_ string, x *directory) error {
		if x.err == nil {
			return nil
		}
		return fmt.Errorf("%w (since %s)", x.err, x.since.UTC().Format(time.RFC3339))
	})
}
