// SPDX-License-Identifier: Apache-2.0

package control

import (
	"math"
	"net/netip"
	"slices"
	"strconv"
	"strings"

	"restante/engine/mail"
	"restante/engine/settings"
	"restante/metabase"
	"restante/metabase/schema"
)

// Touches says what a batch that has not been made would mean.
type Touches struct {
	Sites    []int         `json:"sites"`    // that live under another value afterwards
	Domains  []string      `json:"domains"`  // SITE/DOMAIN
	Accounts []string      `json:"accounts"` // [SITE/]NAME
	Rerouted int           `json:"rerouted"` // queued messages that go another way, or are held or let go
	Relay    []RelayChange `json:"relay,omitempty"`
}

// A RelayChange says how many addresses may relay through a site.
type RelayChange struct {
	Site    int     `json:"site"`
	Before  float64 `json:"before"`
	After   float64 `json:"after"`
	ForAuth bool    `json:"for_auth"` // and whoever has signed in
	Wider   bool    `json:"wider"`
}

// touches looks at both states of the tree.
func (d *Desk) touches(c metabase.Change) Touches {
	t := Touches{Sites: []int{}, Domains: []string{}, Accounts: []string{}}
	ids := map[metabase.ID]bool{}
	for _, line := range c.Diff() {
		if line.ID != 0 {
			ids[line.ID] = true
		}
	}
	touched := func(p metabase.Path) bool {
		if slices.ContainsFunc(c.Touched, p.Equal) {
			return true
		}
		for id := range ids {
			was, _, had := c.Old.Effective(p, id)
			is, _, has := c.New.Effective(p, id)
			if had != has || has && !was.Value.Equal(is.Value) {
				return true
			}
		}
		return false
	}
	for _, p := range roots(c.Touched) {
		for _, snap := range []metabase.Snapshot{c.Old, c.New} {
			for below := range snap.Walk(p) {
				if touched(below) {
					t.note(snap, below)
				}
			}
		}
	}
	for _, n := range t.Sites {
		d.compare(&t, c, n)
	}
	return t
}

// roots leaves out what is below another.
func roots(paths []metabase.Path) (out []metabase.Path) {
	for _, p := range paths {
		if !slices.ContainsFunc(out, p.Within) {
			out = append(out, p)
		}
	}
	return out
}

func (t *Touches) note(snap metabase.Snapshot, p metabase.Path) {
	if !p.Within(servicePath) || p.Equal(servicePath) {
		return
	}
	words := strings.Split(strings.TrimPrefix(string(p), "/"), "/")[2:]
	n, err := strconv.Atoi(words[0])
	below := ""
	if err == nil {
		t.Sites = once(t.Sites, n)
		below, words = words[0]+"/", words[1:]
	}
	if len(words) != 2 {
		return
	}
	switch class := snap.Class(p); {
	case strings.EqualFold(class, schema.Domain):
		t.Domains = once(t.Domains, below+words[1])
	case strings.EqualFold(class, schema.User):
		t.Accounts = once(t.Accounts, below+words[1])
	}
}

func once[T comparable](list []T, v T) []T {
	if slices.Contains(list, v) {
		return list
	}
	return append(list, v)
}

// compare looks at what a site's settings make of its mail and of relaying.
func (d *Desk) compare(t *Touches, c metabase.Change, n int) {
	was, err := settings.Load(c.Old, n)
	if err != nil {
		was = nil
	}
	is, err := settings.Load(c.New, n)
	if err != nil {
		return // refused, or gone
	}
	r := RelayChange{Site: n, After: addressCount(is.Relay.Nets), ForAuth: is.Relay.ForAuth}
	authBefore := false
	if was != nil {
		r.Before, authBefore = addressCount(was.Relay.Nets), was.Relay.ForAuth
	}
	r.Wider = r.After > r.Before || r.ForAuth && !authBefore
	if r.Wider || r.After != r.Before || r.ForAuth != authBefore {
		t.Relay = append(t.Relay, r)
	}
	if d.engine == nil || was == nil {
		return
	}
	q, ok := d.engine.Queue(n)
	if !ok {
		return
	}
	for _, dest := range q.Destinations() {
		if routeText(was, dest.Domain) != routeText(is, dest.Domain) {
			t.Rerouted += dest.Messages
		}
	}
}

// addressCount is how many addresses nets hold.
func addressCount(nets []netip.Prefix) (sum float64) {
	for _, n := range nets {
		sum += math.Pow(2, float64(n.Addr().BitLen()-n.Bits()))
	}
	return sum
}

// routeText says where mail goes, for comparing and for people.
func routeText(s *settings.Site, name mail.Domain) string {
	r := s.Route(name)
	var b strings.Builder
	switch r.Way {
	case settings.ToFolder:
		b.WriteString("into the folder " + r.Folder)
	case settings.BySmartHost:
		hosts := make([]string, len(r.Hosts))
		for i, h := range r.Hosts {
			hosts[i] = h.Name
			if h.Port != 0 {
				hosts[i] += ":" + itoa(int(h.Port))
			}
		}
		b.WriteString("by the smart host " + strings.Join(hosts, ", "))
		if r.DirectFirst {
			b.WriteString(", after its own hosts")
		}
	default:
		b.WriteString("by DNS")
	}
	if r.Held {
		b.WriteString(", when its host calls")
	}
	return b.String()
}
