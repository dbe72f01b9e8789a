// SPDX-License-Identifier: Apache-2.0

package sites

import (
	"context"
	"os"
	"strconv"
	"strings"

	"restante/engine/settings"
	"restante/internal/control"
	"restante/internal/desk"
	"restante/metabase"
)

func (d drawer) status(ctx context.Context, who control.Caller, _ struct{}) (control.Service, error) {
	if d.Engine == nil {
		return control.Service{}, control.ErrNoService
	}
	snap := d.Tree.Snapshot()
	sites, err := d.sites(ctx, who, struct{}{})
	if err != nil {
		return control.Service{}, err
	}
	out := control.Service{
		Version: d.Place.Version, Data: d.Place.Data, PID: os.Getpid(),
		Revision: snap.Rev(), Changed: snap.Time(), Sites: sites,
	}
	for _, p := range d.Tree.Pending() {
		out.Pending = append(out.Pending, control.Unconfirmed{Rev: p.Rev, Until: p.Until})
	}
	for _, s := range sites {
		out.Messages += s.Messages
		out.Held += s.Held
		out.Connections += s.Connections
	}
	return out, nil
}

func (d drawer) complete(ctx context.Context, who control.Caller, q control.CompleteRequest) ([]string, error) {
	snap := d.Tree.Snapshot()
	out := []string{}
	add := func(word string) {
		if len(word) >= len(q.Prefix) && strings.EqualFold(word[:len(q.Prefix)], q.Prefix) {
			out = append(out, word)
		}
	}
	switch q.Kind {
	case "path":
		d.completePath(snap, who, q.Prefix, add)
	case "property":
		for p := range d.Schema.Props() {
			add(p.Name)
		}
	case "site":
		for _, n := range settings.Numbers(snap) {
			add(strconv.Itoa(n))
		}
	case "domain":
		for _, n := range settings.Numbers(snap) {
			for name := range snap.Children(settings.SitePath(n).Join("Domain")) {
				add(name)
			}
		}
	case "account":
		all, err := d.accounts(ctx, who, control.SiteRequest{})
		if err != nil {
			return nil, err
		}
		for _, a := range all {
			if a.Site != 0 {
				add(strconv.Itoa(a.Site) + "/" + a.Name)
			} else {
				add(a.Name)
			}
		}
	}
	return out, nil
}

func (d drawer) completePath(snap metabase.Snapshot, who control.Caller, prefix string, add func(string)) {
	above := "/"
	if i := strings.LastIndex(prefix, "/"); i >= 0 {
		above = prefix[:i+1]
	}
	p, err := desk.ParsePath(above)
	if err != nil || !snap.Allows(who.Who, p, metabase.Read) {
		return
	}
	for name := range snap.Children(p) {
		add(above + name)
	}
}
