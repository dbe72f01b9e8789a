// SPDX-License-Identifier: Apache-2.0

package queues

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"time"

	"restante/admin"
	"restante/admin/api"
	"restante/engine/mail"
	"restante/engine/queue"
	"restante/engine/settings"
)

// filter converts the selection of a request.
func filter(r api.ActRequest, now time.Time) (queue.Filter, error) {
	f := queue.Filter{All: r.All}
	for _, s := range r.IDs {
		id, err := mail.ParseMessageID(s)
		if err != nil {
			return f, api.Missing("", err.Error())
		}
		f.IDs = append(f.IDs, id)
	}
	if r.Domain != "" {
		domain, err := parseDomain(r.Domain)
		if err != nil {
			return f, err
		}
		f.Domain = domain
	}
	if r.From != nil {
		from, err := mail.ParseMailbox(*r.From)
		if err != nil {
			return f, api.Usage(err.Error(), "")
		}
		f.From = &from
	}
	if r.OlderThan > 0 {
		f.Before = now.Add(-time.Duration(r.OlderThan * float64(time.Second)))
	}
	return f, nil
}

func (h handlers) act(ctx context.Context, who api.Caller, r api.ActRequest) (api.ActResult, error) {
	out := api.ActResult{DryRun: r.DryRun}
	qs, err := h.queues(ctx, who, r.Site)
	if err != nil {
		return out, err
	}
	f, err := filter(r, time.Now())
	if err != nil {
		return out, err
	}
	f.By = string(who.Who[0])
	if err := checkExist(qs, f.IDs); err != nil {
		return out, err
	}
	for _, q := range qs {
		act, ok := map[string]func(context.Context, queue.Filter, bool) (queue.Tally, error){
			"retry": q.Retry, "freeze": q.Freeze, "thaw": q.Thaw, "delete": q.Delete, "bounce": q.Bounce,
		}[r.Act]
		if !ok {
			return out, api.Usage(fmt.Sprintf("unknown act %q: use retry, freeze, thaw, delete or bounce", r.Act), "")
		}
		mine := f
		if f.From != nil {
			from := f.From.In(settings.DefaultDomainOf(h.Tree.Snapshot(), q.site))
			mine.From = &from
		}
		if len(f.IDs) > 0 {
			if mine.IDs = existing(q, f.IDs); len(mine.IDs) == 0 {
				continue
			}
		}
		sum, err := act(ctx, mine, r.DryRun)
		if err != nil && !errors.Is(err, queue.ErrNotFound) {
			return out, err
		}
		out.Add(sum)
	}
	return out, nil
}

func existing(q admin.Queue, ids []mail.MessageID) (out []mail.MessageID) {
	for _, id := range ids {
		if _, err := q.Show(id); err == nil {
			out = append(out, id)
		}
	}
	return out
}

// checkExist returns an error that names each message that is in no queue.
func checkExist(qs []siteQueue, ids []mail.MessageID) error {
	var problems []api.Problem
	for _, id := range ids {
		found := false
		for _, q := range qs {
			found = found || len(existing(q, []mail.MessageID{id})) > 0
		}
		if !found {
			problems = append(problems, api.Problem{Path: string(id), Why: "no such message"})
		}
	}
	if len(problems) > 0 {
		return &api.Error{Kind: api.KindNotFound, Problems: problems}
	}
	return nil
}

// release starts delivery to a held domain, as ETRN does.
func (h handlers) release(ctx context.Context, who api.Caller, r api.QueueRequest) (api.Released, error) {
	qs, err := h.queues(ctx, who, r.Site)
	if err != nil {
		return api.Released{}, err
	}
	domain, err := parseDomain(r.Domain)
	if err != nil {
		return api.Released{}, err
	}
	out, found := api.Released{Site: r.Site, Domain: string(domain)}, false
	for _, q := range qs {
		if slices.ContainsFunc(q.Destinations(), func(s queue.DestinationState) bool { return s.Domain == domain }) {
			found = true
			out.Messages += q.Release(ctx, domain, string(who.Who[0]))
		}
	}
	if !found {
		return api.Released{}, api.Missing(string(domain), "no mail waits for that domain")
	}
	return out, nil
}

func (h handlers) exportTo(ctx context.Context, who api.Caller, r api.FolderRequest) (api.ActResult, error) {
	qs, err := h.queues(ctx, who, r.Site)
	if err == nil {
		err = h.Folder(who, r.Dir)
	}
	if err != nil {
		return api.ActResult{}, err
	}
	var out api.ActResult
	for _, q := range qs {
		dir := r.Dir
		if len(qs) > 1 {
			dir = filepath.Join(r.Dir, strconv.Itoa(q.site))
		}
		sum, err := q.Export(ctx, queue.Filter{All: true}, dir)
		if err != nil {
			return out, err
		}
		out.Add(sum)
	}
	return out, nil
}

func (h handlers) importFrom(ctx context.Context, who api.Caller, r api.FolderRequest) (api.ActResult, error) {
	_, err := h.queues(ctx, who, r.Site)
	if err == nil {
		err = h.Folder(who, r.Dir)
	}
	if err != nil {
		return api.ActResult{}, err
	}
	if r.Site == 0 {
		if sites := siteFolders(r.Dir); len(sites) > 0 {
			return h.importSites(ctx, who, r.Dir, sites)
		}
		r.Site = settings.DefaultSite
	}
	return h.importSite(ctx, who, r.Dir, r.Site)
}

func (h handlers) importSite(ctx context.Context, who api.Caller, dir string, site int) (api.ActResult, error) {
	qs, err := h.queues(ctx, who, site)
	if err != nil {
		return api.ActResult{}, err
	}
	sum, err := qs[0].Import(ctx, dir)
	if err != nil && sum.Messages > 0 {
		err = fmt.Errorf("%d imported, then: %w", sum.Messages, err)
	}
	return api.ActResult{Tally: sum}, err
}

// importSites imports what exportTo wrote for several sites. Every queue must be
// open before anything is imported.
func (h handlers) importSites(ctx context.Context, who api.Caller, dir string, sites []int) (out api.ActResult, err error) {
	for _, n := range sites {
		if _, err := h.queues(ctx, who, n); err != nil {
			return out, err
		}
	}
	for _, n := range sites {
		sum, err := h.importSite(ctx, who, filepath.Join(dir, strconv.Itoa(n)), n)
		if err != nil {
			return out, err
		}
		out.Messages += sum.Messages
		out.Bytes += sum.Bytes
	}
	return out, nil
}

// siteFolders lists the sites that have a folder of their own in an export.
func siteFolders(dir string) (sites []int) {
	entries, _ := os.ReadDir(dir) // the import of the folder itself reports the error
	for _, e := range entries {
		if n, err := strconv.Atoi(e.Name()); err == nil && n > 0 && e.Name() == strconv.Itoa(n) && e.IsDir() {
			sites = append(sites, n)
		}
	}
	return sites
}
