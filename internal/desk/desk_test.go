// SPDX-License-Identifier: Apache-2.0

package desk_test

import (
	"context"
	"errors"
	"log/slog"
	"sync"
	"testing"

	"restante/engine/settings"
	"restante/internal/control"
	"restante/internal/deptest"
	"restante/internal/desk"
	"restante/internal/desk/desktest"
	"restante/internal/desk/mb"
	"restante/internal/desk/queues"
	"restante/internal/desk/sites"
	"restante/metabase"
)

func set(words ...string) control.ApplyRequest {
	return control.ApplyRequest{Lines: []control.Line{{Words: append([]string{"set"}, words...)}}}
}

// full is a Desk with every handler.
func full(t *testing.T, e desk.Engine) (*desk.Desk, *metabase.Store) {
	t.Helper()
	d, store := desktest.New(t, e)
	mb.Calls(d)
	sites.Calls(d, nil)
	queues.Calls(d)
	return d, store
}

func as(name metabase.Principal) control.Caller {
	return control.Caller{Who: []metabase.Principal{name}}
}

func TestOperatorsOfOneSiteChangeThatSiteAlone(t *testing.T) {
	d, _ := full(t, nil)
	two := control.SiteCreateRequest{Name: "Two", Bind: []string{"127.0.0.1:0"}, Domain: "two.example"}
	if k := desktest.Kind(t, d.Direct(desktest.Boss()), control.SiteCreate, two); k != "" {
		t.Fatal(k)
	}
	grant := set("SMTPSVC/2", "AccessList", "user:olga all")
	if k := desktest.Kind(t, d.Direct(desktest.Boss()), control.MbApply, grant); k != "" {
		t.Fatal(k)
	}
	olga, other := d.Direct(as("user:olga")), d.Direct(as("user:other"))
	for _, tt := range []struct {
		what string
		got  control.Kind
		want control.Kind
	}{
		{"her own site", desktest.Kind(t, olga, control.MbApply, set("SMTPSVC/2", "MaxRecipients", "5")), ""},
		{"a domain of it", desktest.Kind(t, olga, control.DomainCreate, control.DomainCreateRequest{Site: 2, Name: "x.example"}), ""},
		{"another site", desktest.Kind(t, olga, control.MbApply, set("SMTPSVC/1", "MaxRecipients", "5")), control.KindRefused},
		{"the service", desktest.Kind(t, olga, control.MbApply, set("SMTPSVC", "MaxRecipients", "5")), control.KindRefused},
		{"a backup", desktest.Kind(t, olga, control.MbBackup, control.BackupRequest{Name: "b"}), control.KindRefused},
		{"another one reads her site", desktest.Kind(t, other, control.SiteShow, control.SiteRequest{Site: 2}), control.KindRefused},
		{"another one reads the rest", desktest.Kind(t, other, control.SiteShow, control.SiteRequest{Site: 1}), ""},
		{"another one writes", desktest.Kind(t, other, control.MbApply, set("SMTPSVC/1", "MaxRecipients", "5")), control.KindRefused},
		{"another one exports it all", desktest.Kind(t, other, control.MbExport, control.ExportRequest{Path: "SMTPSVC"}), control.KindRefused},
		{"nobody", desktest.Kind(t, d.Direct(control.Caller{}), control.SiteShow, control.SiteRequest{Site: 1}), control.KindRefused},
		{"nobody writes", desktest.Kind(t, d.Direct(control.Caller{}), control.MbApply, set("SMTPSVC/1", "MaxRecipients", "5")), control.KindRefused},
	} {
		if tt.got != tt.want {
			t.Errorf("%s: kind %q, want %q", tt.what, tt.got, tt.want)
		}
	}
	seen, _, err := control.SiteList.Call(t.Context(), other, struct{}{})
	if err != nil || len(seen) != 1 {
		t.Errorf("another one sees %v, %v", seen, err)
	}
}

// serve has d answer on a socket in its own folder.
func serve(t *testing.T, d *desk.Desk) (stop func()) {
	t.Helper()
	l, err := control.Listen(d.Place.Data)
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan error, 1)
	go func() { done <- control.Serve(ctx, l, slog.New(slog.DiscardHandler), d.Direct) }()
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
	me := control.Self()
	if _, err := store.Apply(t.Context(), metabase.Batch{Ops: []metabase.Op{metabase.Set{Path: "/LM",
		Property: metabase.Property{ID: metabase.AccessList, Attr: metabase.Inherit, UserType: metabase.UTServer,
			Value: metabase.MultiSZ(string(me[0]) + " all")}}}}); err != nil {
		t.Fatal(err)
	}
	serve(t, d)
	who := control.Caller{Who: me, Origin: metabase.FromCLI, Comment: "one line and \u00fc"}
	socket, err := control.Dial(t.Context(), d.Place.Data, who)
	if err != nil {
		t.Fatal(err)
	}
	defer socket.Close()
	if _, _, err := control.MbApply.Call(t.Context(), socket, set("SMTPSVC/1", "MaxRecipients", "7")); err != nil {
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
	kind       control.Kind
	text, hint string
}

func strip(err error) flat {
	e := control.AsError(err)
	return flat{e.Kind, e.Text, e.Hint}
}

// noSites is an engine that only is there.
type noSites struct{ desk.Engine }

func TestWatchEndsWithTheService(t *testing.T) {
	d, store := full(t, noSites{})
	stop := serve(t, d)
	c, err := control.Dial(t.Context(), d.Place.Data, control.Caller{Origin: metabase.FromCLI})
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	set := metabase.Set{Path: "/LM/SMTPSVC/1", Property: metabase.Property{ID: settings.MaxConnections, Attr: metabase.Inherit, UserType: 1, Value: metabase.DWord(9)}}
	if _, err := store.Apply(t.Context(), metabase.Batch{Ops: []metabase.Op{set}}); err != nil {
		t.Fatal(err)
	}
	seen := 0
	for e, err := range control.MbWatch.Open(t.Context(), c, control.WatchRequest{Path: "SMTPSVC/1", Since: 1}) {
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
	if _, err := control.Dial(t.Context(), d.Place.Data, control.Caller{}); !errors.Is(err, control.ErrNoService) {
		t.Errorf("Dial after the end = %v", err)
	}
}

func TestLayers(t *testing.T) {
	deptest.Forbid(t, map[string]string{
		"/internal/desk":  "the handlers stand on the Desk, not it on them",
		"/engine/wire":    "a Desk asks sites, it speaks no SMTP",
		"/engine/session": "a Desk asks sites",
		"/engine/site":    "a Desk sees sites by its own interfaces",
		"/adsi-compat":    "scripts are brought by cmd",
		"/cmd":            "imports go down only",
		"urfave":          "only cmd reads arguments",
		"badger":          "only internal/kv/badgerkv knows what the store is made of",
	})
}
