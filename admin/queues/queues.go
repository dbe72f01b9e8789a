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

	"restante/admin"
	"restante/admin/api"
	"restante/metabase"
)

// handlers are the part of an API with these calls.
type handlers struct{ *admin.API }

// Register registers the handlers.
func Register(on *admin.API) {
	on.AddPart(Register)
	h := handlers{on}
	admin.Handle(on, api.QueueList, h.list)
	admin.Handle(on, api.QueueMessages, h.messages)
	admin.Handle(on, api.QueueShow, h.show)
	admin.Handle(on, api.TurnHistory, h.history)
	admin.HandleStream(on, api.QueueCatalogue, h.catalogue)
	admin.Handle(on, api.QueueAct, h.act)
	admin.Handle(on, api.QueueRelease, h.release)
	admin.Handle(on, api.QueueExport, h.exportTo)
	admin.Handle(on, api.QueueImport, h.importFrom)
}

// siteQueue is a site's queue.
type siteQueue struct {
	site int
	admin.Queue
}

// queues opens the queues that are meant and that the caller may see to; 0 for
// those of all sites. Mail is not everybody's to look at: Write is asked for.
func (h handlers) queues(ctx context.Context, who api.Caller, site int) ([]siteQueue, error) {
	if site != 0 {
		if _, err := h.SiteAt(ctx, who, site, metabase.Write); err != nil {
			return nil, err
		}
		if h.Engine == nil {
			return nil, api.ErrNoService
		}
		q, ok := h.Engine.Queue(site)
		if !ok {
			return nil, &api.Error{Kind: api.KindFailed, Text: fmt.Sprintf("site %d: its queue is not open", site), Hint: fmt.Sprintf("site start %d", site)}
		}
		return []siteQueue{{site, q}}, nil
	}
	mine, err := h.MailSites(ctx, who)
	if err != nil {
		return nil, err
	}
	if h.Engine == nil {
		return nil, api.ErrNoService
	}
	var all []siteQueue
	for _, n := range mine {
		if q, ok := h.Engine.Queue(n); ok {
			all = append(all, siteQueue{n, q})
		}
	}
	return all, nil
}
