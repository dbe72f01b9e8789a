// SPDX-License-Identifier: Apache-2.0

package admin_test

import (
	"context"
	"errors"
	"log/slog"
	"net/netip"
	"sync"
	"testing"

	"restante/admin"
	"restante/admin/admintest"
	"restante/admin/api"
	"restante/admin/explain"
	"restante/admin/queues"
	"restante/admin/rpc"
	"restante/admin/sites"
	"restante/admin/traces"
	"restante/admin/tree"
	"restante/engine/delivery"
	"restante/engine/mail"
	"restante/engine/policy"
	"restante/engine/queue"
	"restante/engine/recipients"
	"restante/engine/settings"
	"restante/internal/deptest"
	"restante/metabase"
)

func set(words ...string) api.ApplyRequest {
	return api.ApplyRequest{Lines: []api.Line{{Words: append([]string{"set"}, words...)}}}
}

// full is an API with every handler.
func full(t *testing.T, e admin.Engine) (*admin.API, *metabase.Store) {
	t.Helper()
	d, store := admintest.New(t, e)
	tree.Register(d)
	sites.Register(d)
	queues.Register(d)
	traces.Register(d)
	explain.Register(d, noHosts{})
	return d, store
}

// noHosts asks no DNS.
type noHosts struct{}

func (noHosts) NextHosts(context.Context, *settings.Site, mail.Domain) []delivery.Stage { return nil }

func (noHosts) Schedule(*settings.Site, mail.Domain) queue.Schedule { return queue.Schedule{} }

func (noHosts) Sources() policy.Sources { return policy.Sources{Lists: &recipients.Files{}} }

func (noHosts) HostNames(context.Context, netip.Addr) ([]string, error) { return nil, nil }

func as(name metabase.Principal) api.Caller {
	return api.Caller{Who: []metabase.Principal{name}}
}

func TestOperatorsOfOneSiteChangeThatSiteAlone(t *testing.T) {
	d, _ := full(t, nil)
	two := api.SiteCreateRequest{Name: "Two", Bind: []string{"127.0.0.1:0"}, Domain: "two.example"}
	if k := admintest.Kind(t, d.Direct(admintest.Admin()), api.SiteCreate, two); k != "" {
		t.Fatal(k)
	}
	grant := set("SMTPSVC/2", "AccessList", "user:olga all")
	if k := admintest.Kind(t, d.Direct(admintest.Admin()), api.MbApply, grant); k != "" {
		t.Fatal(k)
	}
	olga, other := d.Direct(as("user:olga")), d.Direct(as("user:other"))
	for _, tt := range []struct {
		what string
		got  api.Kind
		want api.Kind
	}{
		{"her own site", admintest.Kind(t, olga, api.MbApply, set("SMTPSVC/2", "MaxRecipients", "5")), ""},
		{"a domain of it", admintest.Kind(t, olga, api.DomainCreate, api.DomainCreateRequest{Site: 2, Name: "x.example"}), ""},
		{"another site", admintest.Kind(t, olga, api.MbApply, set("SMTPSVC/1", "MaxRecipients", "5")), api.KindRefused},
		{"the service", admintest.Kind(t, olga, api.MbApply, set("SMTPSVC", "MaxRecipients", "5")), api.KindRefused},
		{"a backup", admintest.Kind(t, olga, api.MbBackup, api.BackupRequest{Name: "b"}), api.KindRefused},
		{"another one reads her site", admintest.Kind(t, other, api.SiteShow, api.SiteRequest{Site: 2}), api.KindNotFound},
		{"another one reads the rest", admintest.Kind(t, other, api.SiteShow, api.SiteRequest{Site: 1}), ""},
		{"another one writes", admintest.Kind(t, other, api.MbApply, set("SMTPSVC/1", "MaxRecipients", "5")), api.KindRefused},
		{"another one exports it all", admintest.Kind(t, other, api.MbExport, api.ExportRequest{Path: "SMTPSVC"}), api.KindRefused},
		{"nobody", admintest.Kind(t, d.Direct(api.Caller{}), api.SiteShow, api.SiteRequest{Site: 1}), api.KindRefused},
		{"nobody writes", admintest.Kind(t, d.Direct(api.Caller{}), api.MbApply, set("SMTPSVC/1", "MaxRecipients", "5")), api.KindRefused},
	} {
		if tt.got != tt.want {
			t.Errorf("%s: kind %q, want %q", tt.what, tt.got, tt.want)
		}
	}
	seen, _, err := api.SiteList.Call(t.Context(), other, struct{}{})
	if err != nil || len(seen) != 1 {
		t.Errorf("another one sees %v, %v", seen, err)
	}
}

// serve has d answer on a socket in its own folder.
func serve(t *testing.T, d *admin.API) (stop func()) {
	t.Helper()
	l, err := rpc.Listen(d.Env.Data)
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan error, 1)
	go func() { done <- rpc.Serve(ctx, l, 0, slog.New(slog.DiscardHandler), d.Direct) }()
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
	d, store := full(t, nil)
	// The test's own user is who the socket says it is, and may do everything.
	me := api.Self()
	if _, err := store.Apply(t.Context(), metabase.Batch{Ops: []metabase.Op{metabase.Set{Path: "/LM",
		Property: metabase.Property{ID: metabase.AccessList, Attr: metabase.Inherit, UserType: metabase.UTServer,
			Value: metabase.MultiSZ(string(me[0]) + " all")}}}}); err != nil {
		t.Fatal(err)
	}
	serve(t, d)
	who := api.Caller{Who: me, Origin: metabase.FromCLI, Comment: "one line and \u00fc"}
	socket, err := rpc.Dial(t.Context(), d.Env.Data, who)
	if err != nil {
		t.Fatal(err)
	}
	defer socket.Close()
	if _, _, err := api.MbApply.Call(t.Context(), socket, set("SMTPSVC/1", "MaxRecipients", "7")); err != nil {
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
		if wantErr != nil && (gotErr == nil || strip(gotErr) != strip(wantErr) || gotErr.Error() != wantErr.Error()) {
			t.Errorf("%s %s: error %#v, want %#v", call.method, call.request, gotErr, wantErr)
		}
	}
}

// flat is what can be compared of an Error.
type flat struct {
	kind       api.Kind
	text, hint string
}

func strip(err error) flat {
	e := api.AsError(err)
	return flat{e.Kind, e.Text, e.Hint}
}

// noSites is an engine that only is there.
type noSites struct{ admin.Engine }

func TestWatchEndsWithTheService(t *testing.T) {
	d, store := full(t, noSites{})
	stop := serve(t, d)
	c, err := rpc.Dial(t.Context(), d.Env.Data, api.Caller{Origin: metabase.FromCLI})
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	set := metabase.Set{Path: "/LM/SMTPSVC/1", Property: metabase.Property{ID: settings.MaxConnections, Attr: metabase.Inherit, UserType: 1, Value: metabase.DWord(9)}}
	if _, err := store.Apply(t.Context(), metabase.Batch{Ops: []metabase.Op{set}}); err != nil {
		t.Fatal(err)
	}
	seen := 0
	for e, err := range api.MbWatch.Open(t.Context(), c, api.WatchRequest{Path: "SMTPSVC/1", Since: new(metabase.Rev(1))}) {
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
	if _, err := rpc.Dial(t.Context(), d.Env.Data, api.Caller{}); !errors.Is(err, api.ErrNoService) {
		t.Errorf("Dial after the end = %v", err)
	}
}

func TestLayers(t *testing.T) {
	deptest.Forbid(t, map[string]string{
		"/admin/tree":     "handlers import the API, not the reverse",
		"/admin/sites":    "handlers import the API, not the reverse",
		"/admin/queues":   "handlers import the API, not the reverse",
		"/admin/rpc":      "the API does not know how calls arrive",
		"/engine/wire":    "the API asks sites and speaks no SMTP",
		"/engine/session": "the API asks sites",
		"/adsi-compat":    "scripts run in the process of the command",
		"/cmd":            "imports go down only",
		"urfave":          "only cmd reads arguments",
		"badger":          "only internal/kv/badgerkv knows what the store is made of",
	})
}
