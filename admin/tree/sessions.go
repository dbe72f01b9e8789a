// SPDX-License-Identifier: Apache-2.0

package tree

import (
	"strconv"
	"time"

	"restante/admin"
	"restante/engine/settings"
	"restante/engine/site"
	"restante/metabase"
	"restante/metabase/schema"
)

// A tree with sessions has the sessions of the moment as keys.
type withSessions struct {
	admin.Tree
	now metabase.Snapshot
}

func (t withSessions) Snapshot() metabase.Snapshot { return t.now }

// live is d over a tree in which the sessions of sites are keys, where p is the
// container of some, stored or not, or below it. With listed, p may also be a site, and with deep
// anything above. Nothing is kept of them: a connection costs no write.
func (d handlers) live(p metabase.Path, listed, deep bool) handlers {
	if d.Engine == nil {
		return d
	}
	now := d.Tree.Snapshot()
	for name := range now.Names(settings.Service) {
		n, err := strconv.Atoi(name)
		if err != nil {
			continue
		}
		at := settings.SessionsPath(n)
		if p.Within(at) || listed && p.Equal(at.Parent()) || deep && at.Within(p) {
			if list, err := d.Engine.Sessions(n); err == nil {
				now = now.WithKeys(at, schema.Sessions, sessionKeys(d.Schema, list))
			}
		}
	}
	out := *d.API
	out.Tree = withSessions{d.Tree, now}
	return handlers{&out}
}

func sessionKeys(s *schema.Schema, list []site.Session) []metabase.MemoryKey {
	keys := make([]metabase.MemoryKey, len(list))
	for i, one := range list {
		k := metabase.MemoryKey{Name: string(one.ID), Class: schema.Session, Modified: one.Since}
		add := func(id metabase.ID, v metabase.Value) {
			p, _ := s.ByID(id)
			k.Properties = append(k.Properties, p.Item(v))
		}
		var secure uint32
		if one.TLS {
			secure = 1
		}
		add(settings.SessionAddress, metabase.String(one.Remote.String()))
		add(settings.SessionLocal, metabase.String(one.Local.String()))
		add(settings.SessionHello, metabase.String(one.Hello))
		add(settings.SessionUser, metabase.String(one.Account))
		add(settings.SessionTls, metabase.DWord(secure))
		add(settings.SessionSince, metabase.String(one.Since.UTC().Format(time.RFC3339)))
		add(settings.SessionDoing, metabase.String(one.Activity))
		keys[i] = k
	}
	return keys
}

// isSessions reports whether path is the container of the sessions of a site.
func (d handlers) isSessions(path metabase.Path) bool {
	n, err := strconv.Atoi(path.Parent().Base())
	return err == nil && path.Equal(settings.SessionsPath(n)) && d.Tree.Snapshot().Has(path.Parent())
}

// endsSession is the operation that ends the session at path; false where there is
// none.
func (d handlers) endsSession(path metabase.Path) (metabase.Op, bool) {
	at := path.Parent()
	if !d.isSessions(at) || !d.live(at, false, false).Tree.Snapshot().Has(path) {
		return nil, false
	}
	p, _ := d.Schema.ByID(settings.EndSession)
	return metabase.Set{Path: at.Parent(), Property: p.Item(metabase.String(path.Base()))}, true
}
