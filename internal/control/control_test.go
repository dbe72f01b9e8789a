// SPDX-License-Identifier: Apache-2.0

package control

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"restante/engine/queue"
	"restante/engine/settings"
	"restante/internal/deptest"
	"restante/internal/kv"
	"restante/internal/seal"
	"restante/metabase"
	"restante/metabase/schema"
)

// newDesk makes a Desk over a tree of its own that is set up.
func newDesk(t *testing.T, e Engine) (*Desk, *metabase.Store) {
	t.Helper()
	db := kv.NewMem()
	store, err := metabase.Open(t.Context(), db, seal.New(), metabase.Options{
		Checks: []metabase.Check{schema.IIS().Check, settings.Check},
		Acts:   map[metabase.ID]metabase.Act{settings.ServerCommand: func(context.Context, metabase.Path, metabase.Value) error { return nil }},
		Admins: []metabase.Principal{"user:boss"},
	})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { store.Close(); db.Close() })
	ops, err := Setup(store.Snapshot(), schema.IIS(), settings.NewSite{Bindings: []string{"127.0.0.1:0"}, Domain: "hub.example"})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := store.Apply(t.Context(), metabase.Batch{Ops: ops}); err != nil {
		t.Fatal(err)
	}
	return New(store, schema.IIS(), e, nil, Place{Data: t.TempDir(), Version: "test"}), store
}

func boss() Caller { return Caller{Who: []metabase.Principal{"user:boss"}, Origin: metabase.FromCLI} }

func as(name string) Caller { return Caller{Who: []metabase.Principal{metabase.Principal(name)}} }

// fakeEngine has one site, number 2, with a queue.
type fakeEngine struct {
	mail  *fakeQueue
	state string
	said  []string
}

func (e *fakeEngine) Sites() []SiteState {
	return []SiteState{{Number: 2, State: e.state, Running: 1 << 40}}
}

func (e *fakeEngine) Queue(n int) (Queue, bool) { return e.mail, n == 2 && e.mail != nil }

func (e *fakeEngine) Sessions(int) ([]Session, error) { return []Session{{ID: "7"}}, nil }

func (e *fakeEngine) EndSession(_ int, id string) error {
	e.said = append(e.said, "end "+id)
	return nil
}

// fakeQueue has as many messages as it says, and fails where it is told to.
type fakeQueue struct {
	Queue // what is not needed panics
	count int
	fail  error
	busy  int
	state queue.State
}

func (q *fakeQueue) Counts() queue.Counts { return queue.Counts{Messages: q.count} }

func (q *fakeQueue) Destinations() []queue.DestinationState {
	return []queue.DestinationState{{Domain: "held.example", State: q.state, Messages: q.count}}
}

func (q *fakeQueue) Export(context.Context, queue.Filter, string) (queue.Tally, error) {
	return queue.Tally{Messages: q.count - q.busy, Busy: q.busy}, q.fail
}

func (q *fakeQueue) Delete(context.Context, queue.Filter, bool) (queue.Tally, error) {
	return queue.Tally{Messages: q.count - q.busy, Busy: q.busy}, q.fail
}

func kindOfCall[Q, A any](t *testing.T, c Conn, m Method[Q, A], q Q) Kind {
	t.Helper()
	_, _, err := m.Call(t.Context(), c, q)
	if err == nil {
		return ""
	}
	return AsError(err).Kind
}

func set(words ...string) ApplyRequest {
	return ApplyRequest{Lines: []Line{{Words: append([]string{"set"}, words...)}}}
}

func TestOperatorsOfOneSiteChangeThatSiteAlone(t *testing.T) {
	d, _ := newDesk(t, nil)
	two := SiteCreateRequest{Name: "Two", Bind: []string{"127.0.0.1:0"}, Domain: "two.example"}
	if k := kindOfCall(t, d.Direct(boss()), SiteCreate, two); k != "" {
		t.Fatal(k)
	}
	grant := set("SMTPSVC/2", "AccessList", "user:olga all")
	if k := kindOfCall(t, d.Direct(boss()), MbApply, grant); k != "" {
		t.Fatal(k)
	}
	olga, other := d.Direct(as("user:olga")), d.Direct(as("user:other"))
	for _, tt := range []struct {
		what string
		got  Kind
		want Kind
	}{
		{"her own site", kindOfCall(t, olga, MbApply, set("SMTPSVC/2", "MaxRecipients", "5")), ""},
		{"a domain of it", kindOfCall(t, olga, DomainCreate, DomainCreateRequest{Site: 2, Name: "x.example"}), ""},
		{"another site", kindOfCall(t, olga, MbApply, set("SMTPSVC/1", "MaxRecipients", "5")), KindRefused},
		{"the service", kindOfCall(t, olga, MbApply, set("SMTPSVC", "MaxRecipients", "5")), KindRefused},
		{"a backup", kindOfCall(t, olga, MbBackup, BackupRequest{Name: "b"}), KindRefused},
		{"another one reads her site", kindOfCall(t, other, SiteShow, SiteRequest{Site: 2}), KindRefused},
		{"another one reads the rest", kindOfCall(t, other, SiteShow, SiteRequest{Site: 1}), ""},
		{"another one writes", kindOfCall(t, other, MbApply, set("SMTPSVC/1", "MaxRecipients", "5")), KindRefused},
		{"another one exports it all", kindOfCall(t, other, MbExport, ExportRequest{Path: "SMTPSVC"}), KindRefused},
		{"nobody", kindOfCall(t, d.Direct(Caller{}), SiteShow, SiteRequest{Site: 1}), KindRefused},
		{"nobody writes", kindOfCall(t, d.Direct(Caller{}), MbApply, set("SMTPSVC/1", "MaxRecipients", "5")), KindRefused},
	} {
		if tt.got != tt.want {
			t.Errorf("%s: kind %q, want %q", tt.what, tt.got, tt.want)
		}
	}
	sites, _, err := SiteList.Call(t.Context(), other, struct{}{})
	if err != nil || len(sites) != 1 {
		t.Errorf("another one sees %v, %v", sites, err)
	}
}

func TestHundredGrantsAtOnceAllStay(t *testing.T) {
	d, _ := newDesk(t, nil)
	c := d.Direct(boss())
	if _, _, err := DomainCreate.Call(t.Context(), c, DomainCreateRequest{Site: 1, Name: "held.example", Hold: true}); err != nil {
		t.Fatal(err)
	}
	var all sync.WaitGroup
	for i := range 100 {
		all.Go(func() {
			if _, _, err := TurnSet.Call(t.Context(), c, TurnRequest{Site: 1, Domain: "held.example", Account: fmt.Sprint("a", i)}); err != nil {
				t.Error(err)
			}
		})
	}
	all.Wait()
	got, _, err := TurnList.Call(t.Context(), c, TurnListRequest{})
	if err != nil || len(got) != 100 {
		t.Errorf("%d grants, %v", len(got), err)
	}
}

func TestSiteIsNotDeletedUnlessItsMailIsSafe(t *testing.T) {
	broken := errors.New("disk gone")
	tests := []struct {
		name string
		q    fakeQueue
		r    SiteDeleteRequest
		want Kind
	}{
		{"export", fakeQueue{count: 3}, SiteDeleteRequest{Site: 2, Export: "/x"}, ""},
		{"export breaks off", fakeQueue{count: 3, fail: broken}, SiteDeleteRequest{Site: 2, Export: "/x"}, KindFailed},
		{"export leaves some", fakeQueue{count: 3, busy: 1}, SiteDeleteRequest{Site: 2, Export: "/x"}, KindRefused},
		{"discard", fakeQueue{count: 3}, SiteDeleteRequest{Site: 2, Discard: true}, ""},
		{"discard leaves some", fakeQueue{count: 3, busy: 1}, SiteDeleteRequest{Site: 2, Discard: true}, KindRefused},
		{"drain of nothing", fakeQueue{}, SiteDeleteRequest{Site: 2, Drain: true}, ""},
		{"drain of held mail", fakeQueue{count: 3, state: queue.Held}, SiteDeleteRequest{Site: 2, Drain: true}, KindRefused},
		{"to itself", fakeQueue{count: 3}, SiteDeleteRequest{Site: 2, MoveTo: 2}, KindUsage},
		{"to nowhere", fakeQueue{count: 3}, SiteDeleteRequest{Site: 2, MoveTo: 9}, KindNotFound},
		{"the default site", fakeQueue{}, SiteDeleteRequest{Site: 1, Discard: true}, KindRefused},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			d, store := newDesk(t, &fakeEngine{mail: &tt.q, state: "started"})
			c := d.Direct(boss())
			if _, _, err := SiteCreate.Call(t.Context(), c, SiteCreateRequest{Name: "Two", Bind: []string{"127.0.0.1:0"}, Domain: "two.example"}); err != nil {
				t.Fatal(err)
			}
			got := kindOfCall(t, c, SiteDelete, tt.r)
			there := store.Snapshot().Has("/LM/SMTPSVC/2")
			if got != tt.want || there != (tt.want != "") {
				t.Errorf("kind %q, want %q; the site is there: %v", got, tt.want, there)
			}
		})
	}
}

// serve has d answer on a socket in its own folder.
func serve(t *testing.T, d *Desk) (stop func()) {
	t.Helper()
	l, err := Listen(d.place.Data)
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan error, 1)
	go func() { done <- Serve(ctx, l, slog.New(slog.DiscardHandler), d.Direct) }()
	stop = sync.OnceFunc(func() {
		cancel()
		if err := <-done; !errors.Is(err, context.Canceled) {
			t.Errorf("Serve = %v", err)
		}
	})
	t.Cleanup(stop)
	return stop
}

func TestSocketAnswersAsTheDeskDoes(t *testing.T) {
	d, store := newDesk(t, nil)
	// The test's own user is who the socket says it is, and may do everything.
	me := Self()
	if _, err := store.Apply(t.Context(), metabase.Batch{Ops: []metabase.Op{metabase.Set{Path: "/LM",
		Property: metabase.Property{ID: metabase.AdminACL, Attr: metabase.Inherit, UserType: metabase.UTServer,
			Value: metabase.MultiSZ(string(me[0]) + " all")}}}}); err != nil {
		t.Fatal(err)
	}
	serve(t, d)
	who := Caller{Who: me, Origin: metabase.FromCLI, Comment: "line one\nand \u00fc"}
	socket, err := Dial(t.Context(), d.place.Data, who)
	if err != nil {
		t.Fatal(err)
	}
	defer socket.Close()
	if _, _, err := MbApply.Call(t.Context(), socket, set("SMTPSVC/1", "MaxRecipients", "7")); err != nil {
		t.Fatal(err)
	}
	r, err := store.Record(t.Context(), store.Snapshot().Rev())
	if err != nil || r.Actor != me[0] || r.Comment != who.Comment || r.Origin != metabase.FromCLI {
		t.Errorf("the record says %+v, %v", r, err)
	}
	for _, call := range []struct{ method, request string }{
		{"mb/get", `{"words":["SMTPSVC/1","MaxRecipients"]}`},
		{"mb/get", `{"words":["SMTPSVC/9","MaxRecipients"]}`},
		{"mb/show", `{"path":"SMTPSVC","all":true}`},
		{"mb/ls", `{"path":"/LM","deep":true}`},
		{"mb/apply", `{"lines":[{"number":1,"words":["set","SMTPSVC/1","X","1"]},{"number":2,"words":["frob"]}]}`},
		{"mb/apply", `{"lines":`},
		{"site/list", `{}`},
		{"status", `{}`},
		{"no/such", `{}`},
	} {
		want, wantErr := d.Direct(who).Call(t.Context(), call.method, []byte(call.request))
		got, gotErr := socket.Call(t.Context(), call.method, []byte(call.request))
		if string(got) != string(want) {
			t.Errorf("%s %s = %s, want %s", call.method, call.request, got, want)
		}
		if wantErr != nil && (gotErr == nil || *AsError(gotErr).strip() != *AsError(wantErr).strip() || gotErr.Error() != wantErr.Error()) {
			t.Errorf("%s %s: error %#v, want %#v", call.method, call.request, gotErr, wantErr)
		}
	}
}

// flat is what can be compared of an Error.
type flat struct {
	kind       Kind
	text, hint string
}

func (e *Error) strip() *flat { return &flat{e.Kind, e.Text, e.Hint} }

func TestWatchEndsWithTheService(t *testing.T) {
	d, store := newDesk(t, &fakeEngine{})
	stop := serve(t, d)
	c, err := Dial(t.Context(), d.place.Data, Caller{})
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	set := metabase.Set{Path: "/LM/SMTPSVC/1", Property: metabase.Property{ID: settings.MaxConnections, Attr: metabase.Inherit, UserType: 1, Value: metabase.DWord(9)}}
	if _, err := store.Apply(t.Context(), metabase.Batch{Ops: []metabase.Op{set}}); err != nil {
		t.Fatal(err)
	}
	seen := 0
	for e, err := range MbWatch.Open(t.Context(), c, WatchRequest{Path: "SMTPSVC/1", Since: 1}) {
		if err != nil {
			t.Fatal(err)
		}
		if len(e.Changes) != 1 || e.Changes[0].Property != "MaxConnections" {
			t.Errorf("told of %+v", e)
		}
		seen++
		stop()
	}
	if seen != 1 {
		t.Errorf("told %d times", seen)
	}
	if _, err := Dial(t.Context(), d.place.Data, Caller{}); !errors.Is(err, ErrNoService) {
		t.Errorf("Dial after the end = %v", err)
	}
}

func TestListen(t *testing.T) {
	short, long := t.TempDir(), filepath.Join(t.TempDir(), strings.Repeat("long/", 30))
	if err := os.MkdirAll(long, 0o755); err != nil {
		t.Fatal(err)
	}
	for _, dir := range []string{short, long} {
		if _, err := dial(t.Context(), dir); !errors.Is(err, ErrNoService) {
			t.Errorf("dial without a socket = %v", err)
		}
		for range 2 {
			l, err := Listen(dir)
			if err != nil {
				t.Fatal(err)
			}
			c, err := dial(t.Context(), dir)
			if err != nil {
				t.Fatal(err)
			}
			c.Close()
			// A service that was killed leaves its socket.
			l.(*socket).Listener.(*net.UnixListener).SetUnlinkOnClose(false)
			l.(*socket).Listener.Close()
			if _, err := os.Stat(address(dir)); err != nil {
				t.Errorf("the socket is gone: %v", err)
			}
			if _, err := dial(t.Context(), dir); !errors.Is(err, ErrNoService) {
				t.Errorf("dial of a stale socket = %v", err)
			}
		}
		left := filepath.Dir(address(dir))
		l, err := Listen(dir)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := os.Stat(left); dir == long && err == nil {
			t.Errorf("%s of a killed service is still there", left)
		}
		if err := l.Close(); err != nil {
			t.Error(err)
		}
		if _, err := os.Stat(address(dir)); err == nil {
			t.Error("the socket is still there")
		}
	}
}

func TestPeerIsSelf(t *testing.T) {
	l, err := Listen(t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	go func() {
		if c, err := net.DialTimeout("unix", l.Addr().String(), time.Minute); err == nil {
			defer c.Close()
			_, _ = c.Read(make([]byte, 1))
		}
	}()
	c, err := l.Accept()
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	who, err := peer(c.(*net.UnixConn))
	if err != nil || len(who) == 0 || who[0] != Self()[0] {
		t.Errorf("peer = %v, %v; want %v", who, err, Self())
	}
}

func TestAsError(t *testing.T) {
	refused := &metabase.Refused{Problems: []metabase.Problem{{Path: "/LM", ID: settings.MaxConnections, Err: errors.New("no")}}}
	gone := &metabase.Refused{Problems: []metabase.Problem{{Path: "/LM", Err: metabase.NotFound}}}
	tests := []struct {
		err  error
		kind Kind
		text string
	}{
		{errors.New("disk gone"), KindFailed, "disk gone"},
		{&metabase.Error{Op: "get", Path: "/LM", Kind: metabase.NotFound}, KindNotFound, "/LM: not found"},
		{fmt.Errorf("a: %w", metabase.Conflict), KindRefused, "a: conflict"},
		{refused, KindRefused, "/LM: MaxConnections: no"},
		{gone, KindNotFound, "/LM: not found"},
		{fmt.Errorf("queue: %w", queue.ErrNotFound), KindNotFound, "queue: no such message"},
		{queue.ErrNoFilter, KindUsage, queue.ErrNoFilter.Error()},
		{queue.ErrBusy{Domain: "x", Holder: "y"}, KindRefused, queue.ErrBusy{Domain: "x", Holder: "y"}.Error()},
		{fmt.Errorf("open: %w", kv.ErrInUse), KindFailed, "open: " + kv.ErrInUse.Error()},
		{fmt.Errorf("deep: %w", ErrNoService), KindNoService, ErrNoService.Error()},
	}
	for _, tt := range tests {
		if e := AsError(tt.err); e.Kind != tt.kind || e.Error() != tt.text {
			t.Errorf("AsError(%v) = %s %q, want %s %q", tt.err, e.Kind, e.Error(), tt.kind, tt.text)
		}
	}
}

func TestFind(t *testing.T) {
	d, store := newDesk(t, nil)
	has := store.Snapshot().Has
	tests := []struct {
		words string
		path  metabase.Path
		prop  string
		rest  int
		kind  Kind
	}{
		{"/LM/SMTPSVC/1 MaxConnections", "/LM/SMTPSVC/1", "MaxConnections", 0, ""},
		{"smtpsvc/1/maxconnections", "/LM/smtpsvc/1", "MaxConnections", 0, ""},
		{"SMTPSVC/1/MaxConnections 5", "/LM/SMTPSVC/1", "MaxConnections", 1, ""},
		{"LM/SMTPSVC/1/1014 5", "/LM/SMTPSVC/1", "MaxConnections", 1, ""},
		{`\\LM\\SMTPSVC\\1 1014`, "/LM/SMTPSVC/1", "MaxConnections", 0, ""},
		{"/Schema/Properties KeyType", "/Schema/Properties", "KeyType", 0, ""},
		{"SMTPSVC/1014 MaxConnections 5", "", "", 0, KindNotFound}, // a site that is not there
		{"SMTPSVC/9/MaxConnections", "", "", 0, KindNotFound},
		{"SMTPSVC/9 MaxConnections", "", "", 0, KindNotFound},
		{"SMTPSVC/1 NoSuch", "", "", 0, KindNotFound},
		{"SMTPSVC/1", "", "", 0, KindUsage},
		{"", "", "", 0, KindUsage},
	}
	for _, tt := range tests {
		got, err := d.find(has, strings.Fields(tt.words))
		if tt.kind != "" {
			if err == nil || AsError(err).Kind != tt.kind {
				t.Errorf("find(%q) = %v, want %s", tt.words, err, tt.kind)
			}
			continue
		}
		if err != nil || got.path != tt.path || got.prop.Name != tt.prop || len(got.rest) != tt.rest {
			t.Errorf("find(%q) = %s %s %v, %v", tt.words, got.path, got.prop.Name, got.rest, err)
		}
	}
}

func TestFloor(t *testing.T) {
	deptest.Forbid(t, map[string]string{
		"/engine/wire":    "control asks sites, it speaks no SMTP",
		"/engine/session": "control asks sites",
		"/engine/site":    "control sees sites by its own interfaces",
		"/adsi-compat":    "scripts are brought by cmd",
		"/cmd":            "imports go down only",
		"urfave":          "only cmd reads arguments",
		"badger":          "only internal/kv knows what the store is made of",
	})
}
