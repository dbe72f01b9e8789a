// SPDX-License-Identifier: Apache-2.0

package engine

import (
	"context"
	"errors"
	"fmt"
	"net"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"restante/engine/settings"
	"restante/engine/site"
	"restante/internal/kv"
	"restante/metabase"
)

func TestAwaitPutsALimitInForce(t *testing.T) {
	h := started(t)
	there := h.dial(1)
	for i := range 200 {
		limit := 2000 + i
		h.apply(h.set(settings.SitePath(1), "MaxMessageSize", fmt.Sprint(limit)))
		if s := h.status(1); s.Running != uint64(h.store.Snapshot().Rev()) || s.Configured != s.Running {
			t.Fatalf("limit %d: %+v", limit, s)
		}
		if i%20 != 0 {
			continue
		}
		l := h.dial(1)
		if err := l.Say(fmt.Sprintf("MAIL FROM:<a@b.example> SIZE=%d", limit+1), "552"); err != nil {
			t.Fatalf("limit %d: %v", limit, err)
		}
		l.Quit()
	}
	if err := there.Say("MAIL FROM:<a@b.example> SIZE=1000000", "250"); err != nil {
		t.Errorf("the caller that was connected before: %v", err)
	}
}

// Many callers at once are answered by few passes, each with its revision in
// force.
func TestAwaitOfManyCallers(t *testing.T) {
	h := started(t)
	var all sync.WaitGroup
	for i := range 50 {
		op := h.set(settings.SitePath(1), "MaxMessageSize", fmt.Sprint(3000+i))
		all.Go(func() {
			rev, err := h.store.Apply(t.Context(), metabase.Batch{Ops: []metabase.Op{op}, Origin: metabase.FromSystem})
			if err != nil {
				t.Error(err)
				return
			}
			late, err := h.Await(t.Context(), rev)
			if err != nil || len(late) != 0 || h.status(1).Running < uint64(rev) {
				t.Errorf("revision %d: %+v, %v", rev, late, err)
			}
		})
	}
	all.Wait()
}

func TestAwaitTellsWhereItIsNot(t *testing.T) {
	h := started(t)
	blocker, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer blocker.Close()
	n := h.newSite("127.0.0.1:0")
	was := h.status(n).Running
	h.apply(h.set(settings.SitePath(n), "ServerBindings", blocker.Addr().String()))
	for range 2 { // the second time, nothing has changed
		late := h.await(h.store.Snapshot().Rev())
		if len(late) != 1 || late[0].Number != n || late[0].Running != was || !strings.Contains(late[0].Why, "listen on "+blocker.Addr().String()) {
			t.Fatalf("not in force at %+v", late)
		}
	}
	h.apply(h.set(settings.SitePath(n), "ServerBindings", "127.0.0.1:0"))
	if late := h.await(h.store.Snapshot().Rev()); len(late) != 0 {
		t.Errorf("cured, and yet not in force at %+v", late)
	}
	// A site that is stopped, or must not run, holds nothing up.
	if err := h.Command(t.Context(), n, uint32(site.Stop)); err != nil {
		t.Fatal(err)
	}
	h.apply(h.set(settings.SitePath(n), "ServerBindings", blocker.Addr().String()))
	h.apply(h.set(settings.Service, "SmtpServiceVersion", "1"))
	if late := h.await(h.store.Snapshot().Rev()); len(late) != 0 {
		t.Errorf("not in force at %+v", late)
	}
}

// A slowDB blocks commits while it is held.
type slowDB struct {
	kv.DB
	held atomic.Bool
	free chan struct{}
}

func (s *slowDB) Commit(ctx context.Context, ops ...kv.Op) error {
	if s.held.Load() {
		<-s.free
	}
	return s.DB.Commit(ctx, ops...)
}

// A site that hangs holds one answer up, for a bounded time, and no other site.
func TestAwaitIsBounded(t *testing.T) {
	h := newHarness(t)
	slow := &slowDB{DB: h.db, free: make(chan struct{})}
	h.db, h.patience = slow, 50*time.Millisecond
	h.run()
	slow.held.Store(true)
	n, ops, err := settings.CreateSite(h.store.Snapshot(), settings.NewSite{Bindings: []string{"127.0.0.1:0"}, Domain: "two.example"})
	if err != nil {
		t.Fatal(err)
	}
	rev, err := h.store.Apply(t.Context(), metabase.Batch{Ops: ops, Origin: metabase.FromSystem})
	if err != nil {
		t.Fatal(err)
	}
	late := h.await(rev)
	if len(late) != 1 || late[0].Number != n || !strings.Contains(late[0].Why, "the site is starting and needs longer than 50ms") {
		t.Errorf("not in force at %+v", late)
	}
	// No later Await waits for it.
	h.Engine.opts.Patience = time.Hour
	h.apply(h.set(settings.SitePath(1), "MaxMessageSize", "4000"))
	if s := h.status(1); s.Running != uint64(h.store.Snapshot().Rev()) {
		t.Errorf("site 1: %+v", s)
	}
	close(slow.free)
	h.eventually("the site starts", func() bool { return h.status(n).State == site.Started })
	if late := h.await(h.store.Snapshot().Rev()); len(late) != 0 {
		t.Errorf("not in force at %+v", late)
	}
}

func TestAwaitEnds(t *testing.T) {
	h := started(t)
	ctx, cancel := context.WithCancelCause(t.Context())
	left := errors.New("the caller left")
	cancel(left)
	if _, err := h.Await(ctx, 1<<40); !errors.Is(err, left) {
		t.Errorf("a caller that left: %v", err)
	}
	h.stop()
	if late, err := h.Await(t.Context(), h.store.Snapshot().Rev()); err != nil || len(late) != 0 {
		t.Errorf("after Run: %+v, %v", late, err)
	}
}

// A site that hangs does not keep the engine from ending.
func TestRunEndsBesideASiteThatHangs(t *testing.T) {
	h := newHarness(t)
	slow := &slowDB{DB: h.db, free: make(chan struct{})}
	h.db, h.patience = slow, 50*time.Millisecond
	h.run()
	slow.held.Store(true)
	n, ops, err := settings.CreateSite(h.store.Snapshot(), settings.NewSite{Bindings: []string{"127.0.0.1:0"}, Domain: "two.example"})
	if err != nil {
		t.Fatal(err)
	}
	h.apply(ops...)
	if st := h.status(n); st.State != site.Starting {
		t.Errorf("%+v", st)
	}
	if err := h.Engine.Command(t.Context(), n, uint32(site.Stop)); !errors.Is(err, errNoAnswer) {
		t.Errorf("stop of a site that hangs: %v", err)
	}
	h.stop()
	close(slow.free)
	for _, m := range h.Engine.sites {
		<-m.ended // before its folder is removed
	}
}
