// SPDX-License-Identifier: Apache-2.0

package control

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"time"

	"restante/engine/queue"
	"restante/engine/settings"
	"restante/metabase"
	"restante/metabase/schema"
)

// drainLook is the time between two looks at a queue that empties.
const drainLook = 500 * time.Millisecond

// siteDelete takes a site away once its mail is where it should be. The site
// is paused meanwhile, so that nothing new comes in; when something goes
// wrong it goes on as it was.
func (d *Desk) siteDelete(ctx context.Context, who Caller, q SiteDeleteRequest) (Deleted, error) {
	p, err := d.siteAt(ctx, who, q.Site, metabase.Delete)
	if err != nil {
		return Deleted{}, err
	}
	subject := fmt.Sprintf("site %d", q.Site)
	if q.Site == settings.DefaultSite {
		return Deleted{}, refused(subject, "the default site cannot be deleted")
	}
	if d.engine == nil {
		return Deleted{}, ErrNoService
	}
	if q.MoveTo != 0 {
		if q.MoveTo == q.Site {
			return Deleted{}, usage(subject+": its mail cannot move to itself", "")
		}
		if _, err := d.siteAt(ctx, who, q.MoveTo, metabase.Write); err != nil {
			return Deleted{}, err
		}
	}
	before := d.site(d.tree.Snapshot(), q.Site)
	if before.State == "started" {
		if err := d.command(ctx, who, p, "pause"); err != nil {
			return Deleted{}, err
		}
	}
	moved, err := d.emptied(ctx, q)
	if err == nil {
		return d.dropSite(ctx, who, p, q.Site, moved)
	}
	if before.State == "started" {
		// The caller may have gone: the site must not stay paused for that.
		_ = d.command(context.WithoutCancel(ctx), who, p, "continue")
	}
	return Deleted{}, err
}

func (d *Desk) command(ctx context.Context, who Caller, p metabase.Path, word string) error {
	w := writer{schema: d.schema}
	w.set(p, "ServerCommand", word)
	if w.err != nil {
		return w.err
	}
	_, err := d.tree.Apply(ctx, who.batch(w.ops...))
	return err
}

func (d *Desk) dropSite(ctx context.Context, who Caller, p metabase.Path, n int, moved queue.Tally) (Deleted, error) {
	snap := d.tree.Snapshot()
	out := Deleted{Site: n, Messages: moved.Messages, Bytes: moved.Bytes}
	for _, name := range []string{"QueueDirectory", "DropDirectory", "PickupDirectory", "BadMailDirectory"} {
		if dir := d.text(snap, p, name); dir != "" {
			out.Folders = append(out.Folders, d.abs(dir))
		}
	}
	var err error
	out.Rev, err = d.tree.Apply(ctx, who.batch(metabase.Remove{Path: p, Recursive: true}))
	return out, err
}

// abs is a folder of the tree on the disk.
func (d *Desk) abs(dir string) string {
	dir = filepath.FromSlash(strings.ReplaceAll(dir, `\`, "/"))
	if filepath.IsAbs(dir) {
		return dir
	}
	return filepath.Join(d.place.Data, dir)
}

// emptied brings the mail of a site to where the request says.
func (d *Desk) emptied(ctx context.Context, r SiteDeleteRequest) (queue.Tally, error) {
	from, ok := d.engine.Queue(r.Site)
	if !ok {
		if r.Discard {
			return queue.Tally{}, nil
		}
		return queue.Tally{}, refused(fmt.Sprintf("site %d", r.Site),
			"its queue is not open: start the site, or delete it with --discard")
	}
	switch {
	case r.Discard:
		return discard(ctx, from)
	case r.Export != "":
		sum, err := from.Export(ctx, everything(), r.Export)
		if err != nil {
			return sum, err
		}
		return sum, whole(from, sum)
	case r.MoveTo != 0:
		return d.move(ctx, from, r.MoveTo)
	}
	return queue.Tally{}, drain(ctx, r.Site, from)
}

func discard(ctx context.Context, q Queue) (queue.Tally, error) {
	sum, err := q.Delete(ctx, everything(), false)
	if err == nil && sum.Busy > 0 {
		err = refused("", fmt.Sprintf("%d messages are being sent just now: try again in a moment", sum.Busy))
	}
	return sum, err
}

// whole says whether everything in q is in sum.
func whole(q Queue, sum queue.Tally) error {
	if there := q.Counts().Messages; sum.Messages < there {
		return refused("", fmt.Sprintf("%d of %d messages were taken, the others are being sent just now: try again in a moment", sum.Messages, there))
	}
	return nil
}

// move brings everything into another site's queue, by way of a folder. Where
// it breaks off, mail may be in both queues, and in neither is none.
func (d *Desk) move(ctx context.Context, from Queue, n int) (queue.Tally, error) {
	to, ok := d.engine.Queue(n)
	if !ok {
		return queue.Tally{}, refused(fmt.Sprintf("site %d", n), "its queue is not open: start the site first")
	}
	dir, err := os.MkdirTemp(d.place.Data, "move-")
	if err != nil {
		return queue.Tally{}, err
	}
	defer os.RemoveAll(dir)
	sum, err := from.Export(ctx, everything(), dir)
	if err != nil {
		return sum, err
	}
	if err := whole(from, sum); err != nil {
		return sum, err
	}
	_, err = to.Import(ctx, dir) // what is there already by its ID is left
	return sum, err
}

// drain waits until the queue is empty. Mail that waits for a call would never
// go by itself: that is said at once.
func drain(ctx context.Context, n int, q Queue) error {
	timer := time.NewTimer(0)
	defer timer.Stop()
	for {
		var stuck []Problem
		for _, dest := range q.Destinations() {
			if dest.Messages > 0 && (dest.State == queue.Held || dest.State == queue.Frozen || dest.State == queue.Damaged) {
				stuck = append(stuck, Problem{Path: string(dest.Domain), Why: fmt.Sprintf("%d messages are %s and do not go by themselves", dest.Messages, dest.State)})
			}
		}
		if len(stuck) > 0 {
			return &Error{Kind: KindRefused, Text: fmt.Sprintf("site %d: not everything can be delivered", n), Problems: stuck,
				Hint: fmt.Sprintf("site delete %d --export DIR", n)}
		}
		if q.Counts().Messages == 0 {
			return nil
		}
		select {
		case <-ctx.Done():
			return context.Cause(ctx)
		case <-timer.C:
			timer.Reset(drainLook)
		}
	}
}

// schemaBinding gives ip:port:host as ADDR:PORT.
func schemaBinding(s string) (string, error) {
	b, err := schema.ParseBinding(s)
	if err != nil {
		return "", err
	}
	addr := b.AddrPort()
	if !addr.Addr().IsValid() || addr.Addr().IsUnspecified() {
		return ":" + itoa(int(addr.Port())), nil
	}
	return addr.String(), nil
}
