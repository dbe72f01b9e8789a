// SPDX-License-Identifier: Apache-2.0

// Package queues answers the calls about the mail that waits. All of them need
// the running sites, and of the caller the right to write at each site whose
// mail is meant: mail is not everybody's to look at.
//
// It knows a queue by an interface, and how mail is kept not at all.
package queues

import (
	"context"
	"fmt"

	"restante/engine/settings"
	"restante/internal/control"
	"restante/internal/desk"
	"restante/metabase"
)

// A drawer is the part of a Desk with these calls.
type drawer struct{ *desk.Desk }

// Calls puts the handlers on a Desk.
func Calls(on *desk.Desk) {
	d := drawer{on}
	desk.On(on, control.QueueList, d.list)
	desk.On(on, control.QueueMessages, d.messages)
	desk.On(on, control.QueueShow, d.show)
	desk.On(on, control.QueueTrace, d.trace)
	desk.On(on, control.QueueAct, d.act)
	desk.On(on, control.QueueRelease, d.release)
	desk.On(on, control.QueueExport, d.exportTo)
	desk.On(on, control.QueueImport, d.importFrom)
}

// numbered is a site's queue.
type numbered struct {
	site int
	desk.Queue
}

// queues opens the queues that are meant and that the caller may see to; 0 for
// those of all sites. Mail is not everybody's to look at: Write is asked for.
func (d drawer) queues(ctx context.Context, who control.Caller, site int) ([]numbered, error) {
	if site != 0 {
		if _, err := d.SiteAt(ctx, who, site, metabase.Write); err != nil {
			return nil, err
		}
		if d.Engine == nil {
			return nil, control.ErrNoService
		}
		q, ok := d.Engine.Queue(site)
		if !ok {
			return nil, &control.Error{Kind: control.KindFailed, Text: fmt.Sprintf("site %d: its queue is not open", site), Hint: fmt.Sprintf("site start %d", site)}
		}
		return []numbered{{site, q}}, nil
	}
	if d.Engine == nil {
		return nil, control.ErrNoService
	}
	snap := d.Tree.Snapshot()
	var all []numbered
	var denied []metabase.Path
	mine := 0
	for _, n := range settings.Numbers(snap) {
		if p := settings.SitePath(n); !snap.Allows(who.Who, p, metabase.Write) {
			denied = append(denied, p)
			continue
		}
		mine++
		if q, ok := d.Engine.Queue(n); ok {
			all = append(all, numbered{n, q})
		}
	}
	if mine == 0 && len(denied) > 0 {
		return nil, d.Deny(ctx, who, denied[0], metabase.Write, settings.Service, "you may see to no site's mail")
	}
	return all, nil
}
