// SPDX-License-Identifier: Apache-2.0

package queues

import (
	"context"
	"slices"

	"restante/admin/api"
	"restante/engine/mail"
	"restante/engine/release/calls"
)

// history lists the releases of held mail, the newest first.
func (h handlers) history(ctx context.Context, who api.Caller, r api.HistoryRequest) ([]api.Release, error) {
	qs, err := h.queues(ctx, who, r.Site)
	if err != nil {
		return nil, err
	}
	f := calls.Filter{Account: r.Account, Since: r.Since}
	if r.Domain != "" {
		if f.Domain, err = mail.ParseDomain(r.Domain); err != nil {
			return nil, api.Usage(err.Error(), "")
		}
	}
	out := []api.Release{}
	for _, q := range qs {
		log, ok := h.Engine.Calls(q.site)
		if !ok {
			continue
		}
		list, err := log.History(ctx, f)
		if err != nil {
			return nil, err
		}
		for _, c := range list {
			out = append(out, api.Release{Site: q.site, Call: c})
		}
	}
	slices.SortStableFunc(out, func(a, b api.Release) int { return b.Begin.Compare(a.Begin) })
	return out, nil
}
