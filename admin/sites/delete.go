// SPDX-License-Identifier: Apache-2.0

package sites

import (
	"context"
	"errors"
	"fmt"
	"os"
	"slices"
	"time"

	"restante/admin"
	"restante/admin/api"
	"restante/engine/queue"
	"restante/engine/settings"
	"restante/engine/site"
	"restante/internal/disk"
	"restante/metabase"
)

// drainPoll is the interval at which drain looks at the queue.
const drainPoll = 500 * time.Millisecond

// siteDelete removes a site after its mail has reached the place that the
// request names. The site is stopped meanwhile, so that no mail arrives and none
// is sent twice; to drain it, it is paused first. After an error the site
// returns to its former state.
func (h handlers) siteDelete(ctx context.Context, who api.Caller, q api.SiteDeleteRequest) (api.Deleted, error) {
	p, err := h.checkDelete(ctx, who, q)
	if err != nil {
		return api.Deleted{}, err
	}
	who.IfRev = nil // it held, and the mail does not come back
	before := h.site(h.View(who), q.Site).State
	out, err := h.emptyAndRemove(ctx, who, p, q, before)
	if err != nil && !admin.IsStored(err) {
		// The site must start again even if the caller has hung up.
		h.restoreState(context.WithoutCancel(ctx), who, p, before)
	}
	return out, err
}

// running reports whether a site in this state accepts callers or sends mail.
func running(state site.State) bool { return state == site.Started || state == site.Paused }

func (h handlers) emptyAndRemove(ctx context.Context, who api.Caller, p metabase.Path, q api.SiteDeleteRequest, before site.State) (api.Deleted, error) {
	if q.Drain && before == site.Started {
		if err := h.command(ctx, who, p, "pause"); err != nil {
			return api.Deleted{}, err
		}
	}
	from, err := h.Engine.OpenQueue(ctx, q.Site)
	if err != nil {
		return api.Deleted{}, err
	}
	if q.Drain && from != nil {
		if !running(before) && from.Counts().Messages > 0 {
			return api.Deleted{}, api.Refused(fmt.Sprintf("site %d", q.Site), "is stopped and sends nothing: start it first")
		}
		if err := drain(ctx, q.Site, from); err != nil {
			return api.Deleted{}, err
		}
	}
	if running(before) {
		if err := h.command(ctx, who, p, "stop"); err != nil {
			return api.Deleted{}, err
		}
	}
	undo := func() {}
	if q.MoveTo != 0 {
		if undo, err = h.moveDomains(ctx, who, q.Site, q.MoveTo, from); err != nil {
			return api.Deleted{}, err
		}
	}
	var moved queue.Tally
	if from != nil {
		if moved, err = h.emptyQueue(ctx, q, from); err != nil {
			undo()
			return api.Deleted{}, err
		}
	}
	return h.removeSite(ctx, who, p, q.Site, moved)
}

// restoreState returns a site to its former state.
func (h handlers) restoreState(ctx context.Context, who api.Caller, p metabase.Path, before site.State) {
	if running(before) {
		_ = h.command(ctx, who, p, "start") // the state of the site has the reason
	}
	if before == site.Paused {
		_ = h.command(ctx, who, p, "pause")
	}
}

// checkDelete refuses an impossible request before anything changes.
func (h handlers) checkDelete(ctx context.Context, who api.Caller, q api.SiteDeleteRequest) (metabase.Path, error) {
	p, err := h.SiteAt(ctx, who, q.Site, metabase.Delete)
	if err != nil {
		return "", err
	}
	subject := fmt.Sprintf("site %d", q.Site)
	switch {
	case who.Confirm != nil:
		return "", api.Refused(subject, "its deletion cannot wait to be confirmed: what becomes of its mail cannot be taken back")
	case q.Site == settings.DefaultSite:
		return "", api.Refused(subject, "the default site cannot be deleted")
	case settings.Guarded(h.Tree.Snapshot(), q.Site):
		return "", api.Refused(subject, "NotDeletable is true: set it to false before the site is deleted")
	case h.Engine == nil:
		return "", api.ErrNoService
	case q.MoveTo == q.Site:
		return "", api.Usage(subject+": its mail cannot move to itself", "")
	case q.MoveTo != 0:
		_, err = h.SiteAt(ctx, who, q.MoveTo, metabase.Write)
	case q.Export != "":
		err = h.Folder(who, q.Export)
	}
	if err == nil {
		// The mail must not be removed if the site cannot be.
		_, err = h.As(who).Try(ctx, who.Batch(metabase.Remove{Path: p, Recursive: true}))
	}
	if onlyWaitingMail(err) {
		err = nil // emptyQueue takes care of the mail
	}
	return p, err
}

// onlyWaitingMail reports whether waiting mail is the only objection to a change.
func onlyWaitingMail(err error) bool {
	var no *metabase.Refused
	return errors.As(err, &no) && !slices.ContainsFunc(no.Problems, func(p metabase.Problem) bool {
		return !errors.Is(p.Err, settings.ErrMailWaits)
	})
}

func (h handlers) command(ctx context.Context, who api.Caller, p metabase.Path, word string) error {
	w := opBuilder{schema: h.Schema}
	w.set(p, "ServerCommand", word)
	if w.err != nil {
		return w.err
	}
	_, err := h.As(who).Apply(ctx, who.Batch(w.ops...))
	return err
}

func (h handlers) removeSite(ctx context.Context, who api.Caller, p metabase.Path, n int, moved queue.Tally) (api.Deleted, error) {
	snap := h.Tree.Snapshot()
	out := api.Deleted{Site: n, Messages: moved.Messages, Bytes: moved.Bytes}
	for _, name := range []string{"QueueDirectory", "DropDirectory", "PickupDirectory", "BadMailDirectory"} {
		if dir := h.text(snap, p, name); dir != "" {
			out.Folders = append(out.Folders, disk.Locate(h.Env.Data, dir))
		}
	}
	var err error
	out.Rev, err = h.As(who).Apply(ctx, who.Batch(metabase.Remove{Path: p, Recursive: true}))
	return out, err
}

// emptyQueue moves the mail of a site to the place that the request names, and
// removes it from the queue.
func (h handlers) emptyQueue(ctx context.Context, r api.SiteDeleteRequest, from admin.Queue) (queue.Tally, error) {
	switch {
	case r.Discard:
		return discard(ctx, from)
	case r.Export != "":
		sum, err := from.Export(ctx, everything(), r.Export)
		if err == nil {
			err = checkComplete(from, sum)
		}
		if err == nil {
			_, err = discard(ctx, from)
		}
		return sum, err
	case r.MoveTo != 0:
		sum, err := h.move(ctx, from, r.MoveTo)
		if err == nil {
			_, err = discard(ctx, from)
		}
		return sum, err
	}
	return queue.Tally{}, nil // drained; mail that arrived since prevents the removal
}

func discard(ctx context.Context, q admin.Queue) (queue.Tally, error) {
	sum, err := q.Delete(ctx, everything(), false)
	if err == nil && sum.Busy > 0 {
		err = api.Refused("", fmt.Sprintf("%d messages are being sent just now: try again in a moment", sum.Busy))
	}
	return sum, err
}

// checkComplete returns an error unless sum counts everything in q.
func checkComplete(q admin.Queue, sum queue.Tally) error {
	if there := q.Counts().Messages; sum.Messages < there {
		return api.Refused("", fmt.Sprintf("%d of %d messages were taken, the others are being sent just now: try again in a moment", sum.Messages, there))
	}
	return nil
}

// move copies all mail into another site's queue, through a folder. After an
// interruption a message may be in both queues; it is always in one.
func (h handlers) move(ctx context.Context, from admin.Queue, n int) (queue.Tally, error) {
	to, ok := h.Engine.Queue(n)
	if !ok {
		return queue.Tally{}, api.Refused(fmt.Sprintf("site %d", n), "its queue is not open: start the site first")
	}
	dir, err := os.MkdirTemp(h.Env.Data, "move-")
	if err != nil {
		return queue.Tally{}, err
	}
	defer os.RemoveAll(dir)
	sum, err := from.Export(ctx, everything(), dir)
	if err != nil {
		return sum, err
	}
	if err := checkComplete(from, sum); err != nil {
		return sum, err
	}
	_, err = to.Import(ctx, dir) // messages with a known ID are skipped
	return sum, err
}

// drain waits until the queue is empty. Held mail never leaves by itself: drain
// refuses at once.
func drain(ctx context.Context, n int, q admin.Queue) error {
	timer := time.NewTimer(0)
	defer timer.Stop()
	for {
		var stuck []api.Problem
		for _, dest := range q.Destinations() {
			if dest.Messages > 0 && (dest.State == queue.Held || dest.State == queue.Frozen || dest.State == queue.Damaged) {
				stuck = append(stuck, api.Problem{Path: string(dest.Domain), Why: fmt.Sprintf("%d messages are %s and do not go by themselves", dest.Messages, dest.State)})
			}
		}
		if len(stuck) > 0 {
			return &api.Error{Kind: api.KindRefused, Text: fmt.Sprintf("site %d: not everything can be delivered", n), Problems: stuck,
				Hint: fmt.Sprintf("site delete %d --export DIR", n)}
		}
		if q.Counts().Messages == 0 {
			return nil
		}
		select {
		case <-ctx.Done():
			return context.Cause(ctx)
		case <-timer.C:
			timer.Reset(drainPoll)
		}
	}
}

// everything selects all messages of a queue.
func everything() queue.Filter { return queue.Filter{All: true} }
