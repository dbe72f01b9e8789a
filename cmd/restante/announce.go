// SPDX-License-Identifier: Apache-2.0

package main

import (
	"context"
	"fmt"
	"net/netip"

	"restante/cmd/restante/internal/visible"
	"restante/engine"
)

// A siteState is what is told of a site.
type siteState struct {
	startedSite
	why string // it does not run, or not as configured; or ""
}

func siteStates(e *engine.Engine) (out []siteState) {
	for _, st := range e.Sites() {
		out = append(out, siteState{startedSite{st.Number, st.Name, st.Listening}, st.Why})
	}
	return out
}

// A startedSite is the JSON form of a site's line.
type startedSite struct {
	Site      int              `json:"site"`
	Name      string           `json:"name"`
	Listening []netip.AddrPort `json:"listening"`
}

// readyLine is the JSON form of the line after those of the sites.
type readyLine struct {
	Ready   bool `json:"ready"`
	Running int  `json:"running"`
	Sites   int  `json:"sites"`
}

// announce prints a line for each site that runs, why the others do not, and
// ready. Then it waits for the others, and prints the line of each when it runs.
// It returns when all of them do or ctx ends. A closed standard output does not
// stop the service.
func (c *cli) announce(ctx context.Context, sites func() []siteState, changed <-chan struct{}) {
	waiting, all := map[int]bool{}, sites()
	for _, st := range all {
		waiting[st.Site] = true
		c.announceStarted(waiting, st)
		c.explainSite(st)
	}
	ready := readyLine{true, len(all) - len(waiting), len(all)}
	_ = c.answerOwn(ready, func(w table) { w.printf("ready: %d of %d sites run\n", ready.Running, ready.Sites) })
	for len(waiting) > 0 {
		select {
		case <-ctx.Done():
			return
		case <-changed:
		}
		for _, st := range sites() {
			c.announceStarted(waiting, st)
		}
	}
}

// announceStarted prints the line of a site in waiting that runs, and takes it
// off.
func (c *cli) announceStarted(waiting map[int]bool, st siteState) {
	if !waiting[st.Site] || len(st.Listening) == 0 {
		return
	}
	delete(waiting, st.Site)
	_ = c.answerOwn(st.startedSite, func(w table) {
		w.printf("site %d %q started on %s\n", st.Site, st.Name, addresses(st.Listening, ", "))
	})
}

// explainSite says why a site does not run, or not as configured.
func (c *cli) explainSite(st siteState) {
	why := visible.Line(st.why)
	switch {
	case len(st.Listening) == 0 && why == "":
		why = "does not start by itself: ServerAutoStart is false"
	case len(st.Listening) == 0:
		why = "does not run: " + why
	case why == "":
		return
	}
	fmt.Fprintf(c.err, "restante: serve: site %d: %s\n", st.Site, why)
}
