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
	"restante/internal/disk"
	"restante/internal/kv"
	"restante/metabase"
	"restante/metabase/schema"
)

// A Backlog counts the mail in every site's queue from the index, whether or not
// the queue is open. Open gives the folder and the messages of a queue that is
// open, "" where none is; nil: none is. Queue is the queue itself; nil: no service runs.
type Backlog struct {
	Data  string
	Index func() (kv.DB, error)
	Open  func(n int) (folder string, messages int)
	Queue func(n int) (*queue.Queue, bool)
}

// A folderBacklog is the mail in one folder of a site.
type folderBacklog struct {
	folder   string // as in the tree
	messages int
}

func (h folderBacklog) String() string {
	if h.messages == 1 {
		return "1 message waits"
	}
	return fmt.Sprintf("%d messages wait", h.messages)
}

// indexName is the spelling of a folder in the keys of the index.
func indexName(data, folder string) string {
	folder = disk.Locate(data, folder)
	if rel, err := filepath.Rel(data, folder); err == nil && filepath.IsLocal(rel) {
		folder = rel
	}
	return filepath.ToSlash(filepath.Clean(folder))
}

// queueIndex is the index of the queue of site n in a folder. Each folder has an
// index of its own: one must never be used with the bodies of another.
func queueIndex(db kv.DB, data string, n int, folder string) kv.DB {
	h := fnv.New64a()
	h.Write([]byte(indexName(data, folder)))
	return kv.Prefix(db, fmt.Sprintf("site/%d/%016x/", n, h.Sum64()))
}

// folderPrefix begins the keys that record each queue folder of site n.
func folderPrefix(n int) string { return fmt.Sprintf("folders/%d/", n) }

// folders lists the mail of site n, in folder and in its earlier ones.
func (s Backlog) folders(n int, folder string) ([]folderBacklog, error) {
	db, err := s.Index()
	if err != nil {
		return nil, err
	}
	names := []string{indexName(s.Data, folder)}
	for p, err := range db.Scan(context.Background(), []byte(folderPrefix(n))) {
		if err != nil {
			return nil, err
		}
		if name := string(p.Key[len(folderPrefix(n)):]); name != names[0] {
			names = append(names, name)
		}
	}
	var out []folderBacklog
	for _, name := range names {
		h := folderBacklog{folder: name}
		if at, messages := s.open(n); at == disk.Locate(s.Data, name) && at != "" {
			h.messages = messages
		} else if h.messages, err = spool.Count(context.Background(), queueIndex(db, s.Data, n, name)); err != nil {
			return nil, err
		}
		if h.messages > 0 {
			out = append(out, h)
		}
	}
	return out, nil
}

func (s Backlog) open(n int) (string, int) {
	if s.Open == nil {
		return "", 0
	}
	return s.Open(n)
}

// Check is a [metabase.Check]: while mail waits in a site's queue, the site is not
// removed, and neither its number nor its queue's folder changes. Nor is a domain with
// waiting mail, unless the change says what becomes of that.
func (s Backlog) Check(c metabase.Change) (problems []metabase.Problem) {
	for _, n := range settings.Moved(c) {
		problems = append(problems, s.check(c, n)...)
	}
	return append(problems, s.checkWaiting(c)...)
}

func (s Backlog) check(c metabase.Change, n int) (problems []metabase.Problem) {
	was, to := settings.QueueFolder(c.Old, n), settings.QueueFolder(c.New, n)
	stays := to != ""
	if stays && indexName(s.Data, was) == indexName(s.Data, to) {
		return nil
	}
	bad := func(id metabase.ID, err error) {
		prop, _ := schema.IIS().ByID(id)
		problems = append(problems, metabase.Problem{Path: settings.SitePath(n), ID: id, Property: prop.Name, Err: err})
	}
	waiting, err := s.folders(n, was)
	if err != nil {
		bad(0, refuse(metabase.Invalid, "it cannot be seen whether mail waits in its queue: %v", err))
	}
	open, _ := s.open(n)
	for _, h := range waiting {
		current := h.folder == indexName(s.Data, was)
		switch {
		case stays && h.folder == indexName(s.Data, to):
			// The mail stays in the queue.
		case stays && (current || disk.Locate(s.Data, h.folder) == open):
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

// Check is [Backlog.Check] of the running sites' queues.
func (e *Engine) Check(c metabase.Change) []metabase.Problem {
	return e.backlog().Check(c)
}

func (e *Engine) backlog() Backlog {
	return Backlog{
		Data:  e.opts.DataDir,
		Index: func() (kv.DB, error) { return e.opts.IndexDB, nil },
		Open: func(n int) (string, int) {
			s := e.site(n)
			if s == nil {
				return "", 0
			}
			return s.Mail()
		},
		Queue: e.Queue,
	}
}

// OpenQueue is Queue for a site that may not have been started; nil where the
// queue is not open and holds no mail.
func (e *Engine) OpenQueue(ctx context.Context, n int) (*queue.Queue, error) {
	if q, ok := e.Queue(n); ok {
		return q, nil
	}
	s, snap := e.site(n), e.tree.Snapshot()
	if s == nil {
		return nil, fmt.Errorf("site %d: %w", n, ErrNoSite)
	}
	waiting, err := e.backlog().folders(n, settings.QueueFolder(snap, n))
	if err != nil || len(waiting) == 0 {
		return nil, err
	}
	if why := e.layout().Shared(snap)[n]; why != nil {
		return nil, fmt.Errorf("site %d: %w", n, why)
	}
	if err := s.Do(ctx, site.Open); err != nil {
		return nil, fmt.Errorf("site %d: %w", n, err)
	}
	return s.Queue(), nil
}

// A stranded is the result of the last check for mail in folders that the queue
// no longer has.
type stranded struct {
	folder, open string
	text         string // "": there is none
}

// checkStranded checks the sites whose queue folder changed, in the tree or
// because the queue was opened.
func (e *Engine) checkStranded() {
	e.mu.Lock()
	now := make(map[int]stranded, len(e.sites))
	for n, m := range e.sites {
		next := stranded{folder: m.folder}
		if m.Site != nil {
			next.open = m.Folder()
		}
		if next.folder != m.stranded.folder || next.open != m.stranded.open {
			now[n] = next
		}
	}
	e.mu.Unlock()
	for n, next := range now {
		next.text = e.strandedText(n, next.folder)
		if next.text != "" {
			e.opts.Log.Warn("mail is stranded", "site", n, "why", next.text)
		}
		e.mu.Lock()
		if m := e.sites[n]; m != nil {
			m.stranded = next
		}
		e.mu.Unlock()
	}
}

// strandedText names the folders with mail of a site that its queue does not
// have (any more), so that it is not sent.
func (e *Engine) strandedText(n int, folder string) string {
	waiting, err := e.backlog().folders(n, folder)
	if err != nil {
		return ""
	}
	open, _ := e.backlog().open(n)
	var out []string
	for _, h := range waiting {
		if at := disk.Locate(e.opts.DataDir, h.folder); at != open && h.folder != indexName(e.opts.DataDir, folder) {
			out = append(out, fmt.Sprintf("%s in %s, where its queue was: set QueueDirectory back to that to have it sent", h, h.folder))
		}
	}
	return strings.Join(out, "; ")
}
