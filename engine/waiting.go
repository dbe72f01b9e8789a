// SPDX-License-Identifier: Apache-2.0

package engine

import (
	"context"
	"fmt"
	"hash/fnv"
	"path/filepath"
	"strings"

	"restante/engine/queue"
	"restante/engine/settings"
	"restante/engine/site"
	"restante/engine/spool"
	"restante/internal/kv"
	"restante/metabase"
	"restante/metabase/schema"
)

// A Stock knows how much mail waits in the queues of the sites, open or not, by
// their index. Open, where it is set, tells of a queue that is open: its folder
// and how many messages it has; "" where none is.
type Stock struct {
	Data  string
	Index func() (kv.DB, error)
	Open  func(n int) (folder string, messages int)
}

// A heap is mail in a folder of a site's.
type heap struct {
	folder   string // as in the tree
	messages int
}

func (h heap) String() string {
	if h.messages == 1 {
		return "1 message waits"
	}
	return fmt.Sprintf("%d messages wait", h.messages)
}

// onDisk makes a path of the tree absolute; "" stays.
func onDisk(data, p string) string {
	if p == "" || filepath.IsAbs(p) {
		return p
	}
	return filepath.Join(data, filepath.FromSlash(p))
}

// plain is the one spelling of a folder that its index goes by.
func plain(data, folder string) string {
	folder = onDisk(data, folder)
	if rel, err := filepath.Rel(data, folder); err == nil && filepath.IsLocal(rel) {
		folder = rel
	}
	return filepath.ToSlash(filepath.Clean(folder))
}

// indexOf is where the queue of site n in a folder keeps what it knows. Another
// folder is another queue: an index must never meet bodies that are not its own.
func indexOf(db kv.DB, data string, n int, folder string) kv.DB {
	h := fnv.New64a()
	h.Write([]byte(plain(data, folder)))
	return kv.Prefix(db, fmt.Sprintf("site/%d/%016x/", n, h.Sum64()))
}

// folders is where it stands which folders site n has had for its queue.
func folders(n int) string { return fmt.Sprintf("folders/%d/", n) }

// note keeps in mind that site n has a queue in folder.
func note(ctx context.Context, db kv.DB, data string, n int, folder string) error {
	key := []byte(folders(n) + plain(data, folder))
	if _, ok, err := db.Get(key); ok || err != nil {
		return err
	}
	return db.Commit(ctx, kv.Put(key, nil))
}

// heaps lists what waits for site n: in folder and in those that it had before.
func (s Stock) heaps(n int, folder string) ([]heap, error) {
	db, err := s.Index()
	if err != nil {
		return nil, err
	}
	names := []string{plain(s.Data, folder)}
	for p, err := range db.Scan(context.Background(), []byte(folders(n))) {
		if err != nil {
			return nil, err
		}
		if name := string(p.Key[len(folders(n)):]); name != names[0] {
			names = append(names, name)
		}
	}
	var out []heap
	for _, name := range names {
		h := heap{folder: name}
		if at, messages := s.open(n); at == onDisk(s.Data, name) && at != "" {
			h.messages = messages
		} else if h.messages, err = spool.Count(context.Background(), indexOf(db, s.Data, n, name)); err != nil {
			return nil, err
		}
		if h.messages > 0 {
			out = append(out, h)
		}
	}
	return out, nil
}

func (s Stock) open(n int) (string, int) {
	if s.Open == nil {
		return "", 0
	}
	return s.Open(n)
}

// Check is a [metabase.Check]: a site does not go, and gets no other number and
// no other folder for its queue, while mail waits in it.
func (s Stock) Check(c metabase.Change) (problems []metabase.Problem) {
	for _, n := range settings.Moved(c) {
		problems = append(problems, s.check(c, n)...)
	}
	return problems
}

func (s Stock) check(c metabase.Change, n int) (problems []metabase.Problem) {
	was, to := settings.QueueFolder(c.Old, n), settings.QueueFolder(c.New, n)
	stays := to != ""
	if stays && plain(s.Data, was) == plain(s.Data, to) {
		return nil
	}
	bad := func(id metabase.ID, err error) {
		prop, _ := schema.IIS().ByID(id)
		problems = append(problems, metabase.Problem{Path: settings.SitePath(n), ID: id, Property: prop.Name, Err: err})
	}
	heaps, err := s.heaps(n, was)
	if err != nil {
		bad(0, refuse(metabase.Invalid, "it cannot be seen whether mail waits in its queue: %v", err))
	}
	open, _ := s.open(n)
	for _, h := range heaps {
		current := h.folder == plain(s.Data, was)
		switch {
		case stays && h.folder == plain(s.Data, to):
			// It is found there again.
		case stays && (current || onDisk(s.Data, h.folder) == open):
			bad(settings.QueueDirectory, refuse(metabase.Invalid,
				"%s in %s and would stay behind: let the queue become empty first, see queue list --site %d", h, h.folder, n))
		case !stays && current:
			bad(0, refuse(settings.ErrMailWaits,
				"%s in its queue: site delete %d with --drain, --move-to M, --export DIR or --discard says what becomes of that", h, n))
		case !stays:
			bad(0, refuse(metabase.Invalid, "%s in %s, where its queue was: set QueueDirectory back to that first", h, h.folder))
		}
	}
	return problems
}

// A refusal is an error of kind [metabase.Invalid], and perhaps of another.
type refusal struct {
	text string
	kind error
}

func (r refusal) Error() string        { return r.text }
func (r refusal) Is(target error) bool { return target == metabase.Invalid || target == r.kind }

func refuse(kind error, format string, args ...any) error {
	return refusal{fmt.Sprintf(format, args...), kind}
}

// Check is [Stock.Check] of the running sites' queues.
func (e *Engine) Check(c metabase.Change) []metabase.Problem { return e.stock().Check(c) }

func (e *Engine) stock() Stock {
	return Stock{
		Data:  e.opts.DataDir,
		Index: func() (kv.DB, error) { return e.opts.IndexDB, nil },
		Open: func(n int) (string, int) {
			s := e.site(n)
			if s == nil {
				return "", 0
			}
			return s.Mail()
		},
	}
}

// OpenQueue is Queue, of a site that need not have been started; nil where no
// mail waits and the queue is not open.
func (e *Engine) OpenQueue(ctx context.Context, n int) (*queue.Queue, error) {
	if q, ok := e.Queue(n); ok {
		return q, nil
	}
	s, snap := e.site(n), e.tree.Snapshot()
	if s == nil {
		return nil, fmt.Errorf("site %d: %w", n, ErrNoSite)
	}
	heaps, err := e.stock().heaps(n, settings.QueueFolder(snap, n))
	if err != nil || len(heaps) == 0 {
		return nil, err
	}
	if why := e.ground().Shared(snap)[n]; why != nil {
		return nil, fmt.Errorf("site %d: %w", n, why)
	}
	if err := s.Do(ctx, site.Open); err != nil {
		return nil, fmt.Errorf("site %d: %w", n, err)
	}
	return s.Queue(), nil
}

// minded is what was last looked at for mail that is left behind.
type minded struct {
	folder, open string
	behind       string // "": nothing is
}

// mind looks whether mail is left behind where a site has got another folder
// for its queue, or has opened one.
func (e *Engine) mind() {
	e.mu.Lock()
	now := make(map[int]minded, len(e.sites))
	for n, m := range e.sites {
		next := minded{folder: m.folder}
		if m.Site != nil {
			next.open = m.Folder()
		}
		if next.folder != m.minded.folder || next.open != m.minded.open {
			now[n] = next
		}
	}
	e.mu.Unlock()
	for n, next := range now {
		next.behind = e.behind(n, next.folder)
		if next.behind != "" {
			e.opts.Log.Warn("mail is left behind", "site", n, "why", next.behind)
		}
		e.mu.Lock()
		if m := e.sites[n]; m != nil {
			m.minded = next
		}
		e.mu.Unlock()
	}
}

// behind says what mail of a site waits in folders that its queue does not
// have (any more): nobody sends that.
func (e *Engine) behind(n int, folder string) string {
	heaps, err := e.stock().heaps(n, folder)
	if err != nil {
		return ""
	}
	open, _ := e.stock().open(n)
	var out []string
	for _, h := range heaps {
		if at := onDisk(e.opts.DataDir, h.folder); at != open && h.folder != plain(e.opts.DataDir, folder) {
			out = append(out, fmt.Sprintf("%s in %s, where its queue was: set QueueDirectory back to that to have it sent", h, h.folder))
		}
	}
	return strings.Join(out, "; ")
}
