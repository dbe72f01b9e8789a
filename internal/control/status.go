// SPDX-License-Identifier: Apache-2.0

package control

import (
	"bytes"
	"context"
	"iter"
	"os"
	"strings"
	"time"

	"restante/engine/settings"
	"restante/metabase"
)

// The calls about the service as a whole.
const (
	Status   Method[struct{}, Service]         = "status"
	Run      Flow[Script, Output]              = "run"
	Complete Method[CompleteRequest, []string] = "complete"
)

// A Service is what there is to know of a running one.
type Service struct {
	Version     string        `json:"version"`
	Data        string        `json:"data"`
	PID         int           `json:"pid"`
	Revision    metabase.Rev  `json:"revision"`
	Changed     time.Time     `json:"changed,omitzero"`
	Pending     []Unconfirmed `json:"pending,omitempty"`
	Messages    int           `json:"messages"`
	Held        int           `json:"held"`
	Connections int           `json:"connections"`
	Sites       []Site        `json:"sites"`
}

// Unconfirmed is a revision that is taken back unless it is confirmed in time.
type Unconfirmed struct {
	Rev   metabase.Rev `json:"rev"`
	Until time.Time    `json:"until"`
}

func (d *Desk) status(ctx context.Context, who Caller, _ struct{}) (Service, error) {
	if d.engine == nil {
		return Service{}, ErrNoService
	}
	snap := d.tree.Snapshot()
	sites, err := d.sites(ctx, who, struct{}{})
	if err != nil {
		return Service{}, err
	}
	out := Service{
		Version: d.place.Version, Data: d.place.Data, PID: os.Getpid(),
		Revision: snap.Rev(), Changed: snap.Time(), Sites: sites,
	}
	for _, p := range d.tree.Pending() {
		out.Pending = append(out.Pending, Unconfirmed{p.Rev, p.Until})
	}
	for _, s := range sites {
		out.Messages += s.Messages
		out.Held += s.Held
		out.Connections += s.Connections
	}
	return out, nil
}

// Output is a piece of what a script prints.
type Output struct {
	Text string `json:"text"`
}

// run runs a script and yields what it prints as it comes.
func (d *Desk) run(ctx context.Context, who Caller, s Script) iter.Seq2[Output, error] {
	return func(yield func(Output, error) bool) {
		if d.scripts == nil {
			yield(Output{}, &Error{Kind: KindFailed, Text: "there is nothing here that runs scripts"})
			return
		}
		ctx, cancel := context.WithCancel(ctx)
		defer cancel()
		lines := make(chan Output)
		done := make(chan error, 1)
		who.Origin = metabase.FromLua
		go func() {
			out := lineWriter{ctx: ctx, lines: lines}
			err := d.scripts(ctx, d.tree, who.batch(), s, &out)
			out.flush()
			close(lines)
			done <- err
		}()
		more := true
		for line := range lines {
			if more && !yield(line, nil) {
				more = false
				cancel() // nobody listens: the script ends at its next step
			}
		}
		if err := <-done; err != nil && more {
			yield(Output{}, err)
		}
	}
}

// lineWriter hands whole lines over.
type lineWriter struct {
	ctx   context.Context
	lines chan<- Output
	rest  []byte
}

func (w *lineWriter) Write(b []byte) (int, error) {
	w.rest = append(w.rest, b...)
	i := bytes.LastIndexByte(w.rest, '\n')
	if i < 0 {
		return len(b), nil
	}
	text := string(w.rest[:i+1])
	w.rest = append([]byte(nil), w.rest[i+1:]...)
	select {
	case w.lines <- Output{text}:
		return len(b), nil
	case <-w.ctx.Done():
		return 0, context.Cause(w.ctx)
	}
}

func (w *lineWriter) flush() {
	if len(w.rest) > 0 {
		_, _ = w.Write([]byte("\n")) // the context's end is told by the script
	}
}

// A CompleteRequest asks for the words that may stand where Prefix begins one.
type CompleteRequest struct {
	Kind   string `json:"kind"` // path, property, site, domain or account
	Prefix string `json:"prefix"`
}

func (d *Desk) complete(ctx context.Context, who Caller, q CompleteRequest) ([]string, error) {
	snap := d.tree.Snapshot()
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
		for p := range d.schema.Props() {
			add(p.Name)
		}
	case "site":
		for _, n := range settings.Numbers(snap) {
			add(itoa(n))
		}
	case "domain":
		for _, n := range settings.Numbers(snap) {
			for name := range snap.Children(sitePath(n).Join("Domain")) {
				add(name)
			}
		}
	case "account":
		all, err := d.accounts(ctx, who, SiteRequest{})
		if err != nil {
			return nil, err
		}
		for _, a := range all {
			if a.Site != 0 {
				add(itoa(a.Site) + "/" + a.Name)
			} else {
				add(a.Name)
			}
		}
	}
	return out, nil
}

func (d *Desk) completePath(snap metabase.Snapshot, who Caller, prefix string, add func(string)) {
	above := "/"
	if i := strings.LastIndex(prefix, "/"); i >= 0 {
		above = prefix[:i+1]
	}
	p, err := parsePath(above)
	if err != nil || !snap.Allows(who.Who, p, metabase.Read) {
		return
	}
	for name := range snap.Children(p) {
		add(above + name)
	}
}
