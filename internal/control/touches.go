// SPDX-License-Identifier: Apache-2.0

package control

import (
	"math/big"
	"strings"

	"restante/engine/mail"
	"restante/engine/settings"
	"restante/metabase"
)

// Touches says what a batch that has not been made would mean beyond the keys
// that it names.
type Touches struct {
	Heirs    []Heirs       `json:"heirs"` // of each changed property that is inherited
	Sites    []SiteTouched `json:"sites"`
	Rerouted int           `json:"rerouted"` // queued messages that would go another way, or be held or let go
}

// Heirs are who takes a changed property from the key at Path.
type Heirs struct {
	Path     metabase.Path   `json:"path"`
	Property string          `json:"property"`
	Sites    []int           `json:"sites"`
	Domains  int             `json:"domains"`
	Accounts int             `json:"accounts"`
	Keys     []metabase.Path `json:"keys"` // all of them
}

// SiteTouched says what a change does to one site.
type SiteTouched struct {
	Site        int      `json:"site"`
	Rerouted    int      `json:"rerouted"`
	Relay       *big.Int `json:"relay"`        // addresses that may relay and could not before
	RelayAll    *big.Int `json:"relay_all"`    // addresses that may relay then
	RelayAuth   bool     `json:"relay_auth"`   // whoever has signed in may, and could not before
	OpenDomains []string `json:"open_domains"` // that take mail from anybody, and did not before
}

// touches looks at both states of the tree, and at the mail that waits.
func (d *Desk) touches(c metabase.Change) Touches {
	t := Touches{Heirs: []Heirs{}, Sites: []SiteTouched{}}
	impact := settings.Assess(c)
	for _, h := range impact.Heirs {
		name := h.Property
		if name == "" {
			name = number(h.ID)
		}
		t.Heirs = append(t.Heirs, Heirs{h.Path, name, append([]int{}, h.Sites...), h.Domains, h.Accounts, h.Keys})
	}
	for _, s := range impact.Sites {
		out := SiteTouched{Site: s.Number, Relay: s.Relay, RelayAll: s.After, RelayAuth: s.RelayAuth, OpenDomains: append([]string{}, s.OpenDomain...)}
		if out.Relay == nil {
			out.Relay, out.RelayAll = new(big.Int), new(big.Int)
		}
		out.Rerouted = d.rerouted(s)
		t.Rerouted += out.Rerouted
		t.Sites = append(t.Sites, out)
	}
	return t
}

// rerouted counts the messages in a site's queue that would go another way.
func (d *Desk) rerouted(s settings.SiteImpact) (n int) {
	if d.engine == nil {
		return 0
	}
	q, ok := d.engine.Queue(s.Number)
	if !ok {
		return 0
	}
	for _, dest := range q.Destinations() {
		if s.Reroutes(dest.Domain) {
			n += dest.Messages
		}
	}
	return n
}

// routeText says for people where a domain's mail goes.
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
