// SPDX-License-Identifier: Apache-2.0

package sites

import (
	"context"
	"errors"
	"fmt"
	"net/netip"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"restante/admin"
	"restante/admin/admintest"
	"restante/admin/api"
	"restante/engine/account"
	"restante/engine/alert"
	"restante/engine/mail"
	"restante/engine/policy"
	"restante/engine/queue"
	"restante/engine/release/calls"
	"restante/engine/settings"
	"restante/engine/site"
	"restante/engine/trace"
	"restante/internal/deptest"
	"restante/metabase"
	"restante/metabase/schema"
)

// fakeEngine has one site, number 2, with a queue.
type fakeEngine struct {
	silent []alert.Silence
	mail   *fakeQueue
	state  site.State
	said   []string
}

func (e *fakeEngine) Sites() []site.Status {
	return []site.Status{{Number: 2, State: e.state, Running: 1 << 40, Silent: e.silent}}
}

func (e *fakeEngine) Await(context.Context, metabase.Rev) ([]site.Status, error) { return nil, nil }

func (e *fakeEngine) LetGo(metabase.Change) map[int][]mail.Domain { return nil }

func (e *fakeEngine) Queue(n int) (admin.Queue, bool) { return e.mail, n == 2 && e.mail != nil }
func (e *fakeEngine) Calls(int) (*calls.Log, bool)    { return nil, false }

func (e *fakeEngine) OpenQueue(_ context.Context, n int) (admin.Queue, error) {
	if q, ok := e.Queue(n); ok {
		return q, nil
	}
	return nil, nil
}

func (e *fakeEngine) Sessions(int) ([]site.Session, error) {
	return []site.Session{{ID: "7"}}, nil
}

func (e *fakeEngine) Sources() policy.Sources { return policy.Sources{} }

func (e *fakeEngine) HostNames(context.Context, netip.Addr) ([]string, error) { return nil, nil }

func (e *fakeEngine) EndVoidSessions() int { return 0 }

func (e *fakeEngine) Trace() *trace.Store { return nil }

func (e *fakeEngine) LockOuts() []account.LockOut {
	return []account.LockOut{{Address: netip.MustParsePrefix("192.0.2.1/32"), Site: 1, Account: "ANNA", Until: lockEnd}}
}

var lockEnd = time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC)

func (e *fakeEngine) EndSession(_ int, id string) error {
	e.said = append(e.said, "end "+id)
	return nil
}

// fakeQueue has as many messages as it says, and fails where it is told to.
type fakeQueue struct {
	admin.Queue // what is not needed panics
	count       int
	fail        error
	busy        int
	deletes     int
	state       queue.State
	emptied     func() // called by Delete; may be nil
	dests       []queue.DestinationState
}

func (q *fakeQueue) Summary(context.Context, mail.Domain) (queue.Summary, error) {
	return queue.Summary{Largest: 7, InDoubt: 1}, nil
}

func (q *fakeQueue) Counts() queue.Counts { return queue.Counts{Messages: q.count} }

func (q *fakeQueue) Destinations() []queue.DestinationState {
	if q.dests != nil {
		return slices.Clone(q.dests)
	}
	return []queue.DestinationState{{Domain: "held.example", State: q.state, Messages: q.count}}
}

// A silent host is shown to callers who may read its domain.
func TestSilentHosts(t *testing.T) {
	e := &fakeEngine{state: site.Started, silent: []alert.Silence{{Domain: "a.example"}, {Domain: "b.example"}}}
	d, store := admintest.New(t, e)
	Register(d)
	c := d.Direct(admintest.Admin())
	if _, _, err := api.SiteCreate.Call(t.Context(), c, api.SiteCreateRequest{Name: "Two", Bind: []string{"127.0.0.1:0"}, Domain: "two.example"}); err != nil {
		t.Fatal(err)
	}
	for _, name := range []string{"a.example", "b.example"} {
		if _, _, err := api.DomainCreate.Call(t.Context(), c, api.DomainCreateRequest{Site: 2, Name: name, Hold: true}); err != nil {
			t.Fatal(err)
		}
	}
	prop, _ := schema.IIS().Property("AccessList")
	list, err := prop.Parse([]string{"user:boss all"}) // nobody else
	if err != nil {
		t.Fatal(err)
	}
	hide := metabase.Set{Path: settings.DomainPath(2, "b.example"), Property: prop.Item(list)}
	if _, err := store.Apply(t.Context(), metabase.Batch{Ops: []metabase.Op{hide}, Actor: "user:boss"}); err != nil {
		t.Fatal(err)
	}
	for who, want := range map[metabase.Principal]int{"user:boss": 2, "user:joe": 1} {
		got, _, err := api.SiteShow.Call(t.Context(), d.Direct(api.Caller{Who: []metabase.Principal{who}, Origin: metabase.FromCLI}), api.SiteRequest{Site: 2})
		if err != nil || len(got.Silent) != want || got.Silent[0].Domain != "a.example" {
			t.Errorf("%s sees %+v, %v; want %d", who, got.Silent, err, want)
		}
	}
}

// A domain is shown with what waits for the names that its key decides over, and with
// when the oldest of it expires.
func TestWaitingOfADomain(t *testing.T) {
	at := func(days int) time.Time { return lockEnd.AddDate(0, 0, days) }
	e := &fakeEngine{state: site.Started, mail: &fakeQueue{dests: []queue.DestinationState{
		{Domain: "@badmail", Messages: 50},
		{Domain: "a.wild.example", Messages: 1, Bytes: 10, Expires: at(3)},
		{Domain: "b.wild.example", Messages: 2, Bytes: 20, Expires: at(2), LastError: "451 later"},
		{Domain: "c.wild.example", Messages: 4, Bytes: 40}, // without end
		{Domain: "held.example", Messages: 8, Bytes: 80, Expires: at(1)},
		{Domain: "own.wild.example", Messages: 16, Expires: at(0)},
	}}}
	d, _ := admintest.New(t, e)
	Register(d)
	c := d.Direct(admintest.Admin())
	if _, _, err := api.SiteCreate.Call(t.Context(), c, api.SiteCreateRequest{Name: "Two", Bind: []string{"127.0.0.1:0"}, Domain: "two.example"}); err != nil {
		t.Fatal(err)
	}
	for _, name := range []string{"*.wild.example", "held.example", "none.example", "own.wild.example"} {
		if _, _, err := api.DomainCreate.Call(t.Context(), c, api.DomainCreateRequest{Site: 2, Name: name, Hold: true}); err != nil {
			t.Fatal(err)
		}
	}
	for _, tt := range []struct {
		name string
		want api.Domain
	}{
		{"held.example", api.Domain{Messages: 8, Bytes: 80, Expires: at(1), Largest: 7, InDoubt: 1}},
		{"*.wild.example", api.Domain{Messages: 7, Bytes: 70, Expires: at(2), LastError: "451 later", Largest: 7, InDoubt: 3}},
		{"own.wild.example", api.Domain{Messages: 16, Expires: at(0), Largest: 7, InDoubt: 1}},
		{"none.example", api.Domain{}},
	} {
		got, _, err := api.DomainShow.Call(t.Context(), c, api.DomainRequest{Site: 2, Name: tt.name})
		if err != nil || got.Messages != tt.want.Messages || got.Bytes != tt.want.Bytes || !got.Expires.Equal(tt.want.Expires) || got.LastError != tt.want.LastError ||
			got.Largest != tt.want.Largest || got.InDoubt != tt.want.InDoubt {
			t.Errorf("%s: %+v, %v, want %+v", tt.name, got, err, tt.want)
		}
	}
}

func (q *fakeQueue) Export(context.Context, queue.Filter, string) (queue.Tally, error) {
	return queue.Tally{Messages: q.count - q.busy, Busy: q.busy}, q.fail
}

func (q *fakeQueue) Delete(context.Context, queue.Filter, bool) (queue.Tally, error) {
	q.deletes++
	if q.emptied != nil {
		q.emptied()
	}
	return queue.Tally{Messages: q.count - q.busy, Busy: q.busy}, q.fail
}

func TestHundredGrantsAtOnceAllStay(t *testing.T) {
	d, _ := admintest.New(t, nil)
	Register(d)
	c := d.Direct(admintest.Admin())
	if _, _, err := api.DomainCreate.Call(t.Context(), c, api.DomainCreateRequest{Site: 1, Name: "held.example", Hold: true}); err != nil {
		t.Fatal(err)
	}
	var all sync.WaitGroup
	for i := range 100 {
		all.Go(func() {
			if _, _, err := api.TurnSet.Call(t.Context(), c, api.TurnRequest{Site: 1, Domain: "held.example", Account: fmt.Sprint("a", i)}); err != nil {
				t.Error(err)
			}
		})
	}
	all.Wait()
	got, _, err := api.TurnList.Call(t.Context(), c, api.TurnListRequest{})
	if err != nil || len(got) != 100 {
		t.Errorf("%d grants, %v", len(got), err)
	}
}

// A grant on top of one that is not confirmed is refused at once: to try it again, as
// after another change, would go on until that is taken back.
func TestGrantOverOneThatIsNotConfirmed(t *testing.T) {
	d, store := admintest.New(t, nil)
	Register(d)
	c := d.Direct(admintest.Admin())
	must := func(err error) {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
	}
	_, _, err := api.DomainCreate.Call(t.Context(), c, api.DomainCreateRequest{Site: 1, Name: "held.example", Hold: true})
	must(err)
	accounts, _ := d.Schema.Property("AuthTurnList")
	set := metabase.Set{Path: "/LM/SMTPSVC/1/Domain/held.example", Property: accounts.Item(metabase.MultiSZ("ann"))}
	_, err = store.Apply(t.Context(), metabase.Batch{Ops: []metabase.Op{set}, Confirm: time.Hour})
	must(err)
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	for _, q := range []api.TurnRequest{{Account: "bob"}, {Account: "ann", Revoke: true}} {
		q.Site, q.Domain = 1, "held.example"
		if _, _, err := api.TurnSet.Call(ctx, c, q); ctx.Err() != nil || err == nil || !strings.Contains(err.Error(), "is not confirmed: confirm or revert that first") {
			t.Errorf("%+v: %v, %v", q, err, ctx.Err())
		}
	}
}

func TestSiteIsNotDeletedUnlessItsMailIsSafe(t *testing.T) {
	broken := errors.New("disk gone")
	tests := []struct {
		name string
		q    fakeQueue
		r    api.SiteDeleteRequest
		want api.Kind
	}{
		{"export", fakeQueue{count: 3}, api.SiteDeleteRequest{Site: 2, Export: "/x"}, ""},
		{"export breaks off", fakeQueue{count: 3, fail: broken}, api.SiteDeleteRequest{Site: 2, Export: "/x"}, api.KindFailed},
		{"export leaves some", fakeQueue{count: 3, busy: 1}, api.SiteDeleteRequest{Site: 2, Export: "/x"}, api.KindRefused},
		{"discard", fakeQueue{count: 3}, api.SiteDeleteRequest{Site: 2, Discard: true}, ""},
		{"discard leaves some", fakeQueue{count: 3, busy: 1}, api.SiteDeleteRequest{Site: 2, Discard: true}, api.KindRefused},
		{"drain of nothing", fakeQueue{}, api.SiteDeleteRequest{Site: 2, Drain: true}, ""},
		{"drain of held mail", fakeQueue{count: 3, state: queue.Held}, api.SiteDeleteRequest{Site: 2, Drain: true}, api.KindRefused},
		{"to itself", fakeQueue{count: 3}, api.SiteDeleteRequest{Site: 2, MoveTo: 2}, api.KindUsage},
		{"to nowhere", fakeQueue{count: 3}, api.SiteDeleteRequest{Site: 2, MoveTo: 9}, api.KindNotFound},
		{"the default site", fakeQueue{}, api.SiteDeleteRequest{Site: 1, Discard: true}, api.KindRefused},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			d, store := admintest.New(t, &fakeEngine{mail: &tt.q, state: site.Started})
			Register(d)
			c := d.Direct(admintest.Admin())
			if _, _, err := api.SiteCreate.Call(t.Context(), c, api.SiteCreateRequest{Name: "Two", Bind: []string{"127.0.0.1:0"}, Domain: "two.example"}); err != nil {
				t.Fatal(err)
			}
			got := admintest.Kind(t, c, api.SiteDelete, tt.r)
			there := store.Snapshot().Has("/LM/SMTPSVC/2")
			if got != tt.want || there != (tt.want != "") {
				t.Errorf("kind %q, want %q; the site is there: %v", got, tt.want, there)
			}
			if tt.r.Export != "" && (tt.q.deletes > 0) != (tt.want == "") {
				t.Errorf("the queue was emptied %d times", tt.q.deletes)
			}
		})
	}
}

// A site is deleted at the revision that the caller has read, or stays with its mail.
// When its mail is gone, a later revision does not keep it.
func TestSiteDeletedAtARevision(t *testing.T) {
	for _, stale := range []bool{false, true} {
		q := &fakeQueue{count: 3}
		d, store := admintest.New(t, &fakeEngine{mail: q, state: site.Started})
		Register(d)
		create := api.SiteCreateRequest{Name: "Two", Bind: []string{"127.0.0.1:0"}, Domain: "two.example"}
		if _, _, err := api.SiteCreate.Call(t.Context(), d.Direct(admintest.Admin()), create); err != nil {
			t.Fatal(err)
		}
		change := func() {
			if _, err := store.Apply(t.Context(), metabase.Batch{Ops: []metabase.Op{metabase.AddKey{Path: "/LM/SMTPSVC/1/Domain/new.example", Class: "IIsSmtpDomain"}}}); err != nil {
				t.Error(err)
			}
		}
		who := admintest.Admin()
		who.IfRev = new(store.Snapshot().Rev())
		want := api.Kind("")
		if stale {
			change()
			want = api.KindRefused
		} else {
			q.emptied = change
		}
		got := admintest.Kind(t, d.Direct(who), api.SiteDelete, api.SiteDeleteRequest{Site: 2, Discard: true})
		if got != want || store.Snapshot().Has("/LM/SMTPSVC/2") != stale || (q.deletes > 0) == stale {
			t.Errorf("stale %v: kind %q, want %q; the queue was emptied %d times", stale, got, want, q.deletes)
		}
	}
}

// One decision says what a held domain is: for what is shown of it, for grants, and
// for its mail.
func TestHeldDomains(t *testing.T) {
	tests := []struct {
		name    string
		action  settings.Action
		kind    string
		held    bool
		refused api.Kind // what a grant is
	}{
		{"hold.example", settings.Hold, "remote", true, ""},
		{"turn.example", settings.Hold | settings.SmartRoute, "remote", true, ""},
		{"plain.example", 0, "remote", false, ""},
		{"alias.example", settings.Alias, "alias", false, api.KindRefused},
		{"drop.example", settings.Drop, "local", false, api.KindRefused},
		{"local.example", settings.Deliver, "local", false, api.KindRefused},
		{"default.example", settings.Default, "default", false, api.KindRefused},
		{"heldalias.example", settings.Alias | settings.Hold, "remote", true, ""},
		{"helddrop.example", settings.Drop | settings.Hold, "remote", true, ""},
		{"heldlocal.example", settings.Deliver | settings.Hold, "remote", true, ""},
		{"helddefault.example", settings.Default | settings.Hold, "default", true, ""},
	}
	d, store := admintest.New(t, &fakeEngine{})
	Register(d)
	c := d.Direct(admintest.Admin())
	for _, tt := range tests {
		p := settings.DomainPath(1, tt.name)
		action, err := schema.IIS().Lookup("RouteAction")
		if err != nil {
			t.Fatal(err)
		}
		if _, err := store.Apply(t.Context(), metabase.Batch{Origin: metabase.FromSystem, Ops: []metabase.Op{
			metabase.AddKey{Path: p, Class: "IIsSmtpDomain"}, metabase.Set{Path: p, Property: action.Item(metabase.DWord(uint32(tt.action)))},
		}}); err != nil {
			t.Fatal(err)
		}
		is, _, err := api.DomainShow.Call(t.Context(), c, api.DomainRequest{Site: 1, Name: tt.name})
		if err != nil || is.Kind != tt.kind || is.Held != tt.held {
			t.Errorf("%s: %s, held %v, %v", tt.name, is.Kind, is.Held, err)
		}
		standing := settings.Unchecked(store.Snapshot(), 1).Standing(mail.Domain(tt.name))
		if (standing == mail.Held) != tt.held || (standing == mail.Local) != (tt.refused != "") {
			t.Errorf("%s: its mail is %v", tt.name, standing)
		}
		if got := admintest.Kind(t, c, api.TurnSet, api.TurnRequest{Site: 1, Domain: tt.name, Account: "joe"}); got != tt.refused {
			t.Errorf("%s: a grant gives %q, want %q", tt.name, got, tt.refused)
		}
	}
}

func TestLayers(t *testing.T) {
	deptest.Forbid(t, map[string]string{
		"/admin/tree":     "handlers of different subjects are independent",
		"/admin/queues":   "handlers of different subjects are independent",
		"/engine/wire":    "the API asks sites and speaks no SMTP",
		"/engine/session": "the API asks sites",
		"/adsi-compat":    "scripts run in the process of the command",
		"/cmd":            "imports go down only",
		"urfave":          "only cmd reads arguments",
		"badger":          "only internal/kv/badgerkv knows what the store is made of",
	})
}

// A lock-out and its end show beside the account that was tried, which is the site's
// own where it has one of that name, and at the site without the account's name.
func TestLockOutsAreShown(t *testing.T) {
	d, _ := admintest.New(t, &fakeEngine{})
	Register(d)
	c := d.Direct(admintest.Admin())
	for _, name := range []string{"anna", "bert"} {
		if _, _, err := api.AccountPut.Call(t.Context(), c, api.AccountRequest{Name: name, Password: "correct horse"}); err != nil {
			t.Fatal(err)
		}
	}
	list, _, err := api.AccountList.Call(t.Context(), c, api.SiteRequest{})
	if err != nil || len(list) != 2 || len(list[1].LockOuts) != 0 || len(list[0].LockOuts) != 1 || !list[0].LockOuts[0].Until.Equal(lockEnd) {
		t.Errorf("account list: %+v, %v", list, err)
	}
	site, _, err := api.SiteShow.Call(t.Context(), c, api.SiteRequest{Site: 1})
	if err != nil || len(site.LockOuts) != 1 || site.LockOuts[0].Account != "" || site.LockOuts[0].Address.String() != "192.0.2.1/32" {
		t.Errorf("site show: %+v, %v", site.LockOuts, err)
	}
	if _, _, err := api.AccountPut.Call(t.Context(), c, api.AccountRequest{Name: "1/Anna", Password: "correct horse"}); err != nil {
		t.Fatal(err)
	}
	list, _, err = api.AccountList.Call(t.Context(), c, api.SiteRequest{})
	if err != nil || len(list) != 3 || len(list[0].LockOuts) != 0 || list[2].Site != 1 || len(list[2].LockOuts) != 1 {
		t.Errorf("with an account of the site: %+v, %v", list, err)
	}
}
