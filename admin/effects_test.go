// SPDX-License-Identifier: Apache-2.0

package admin_test

import (
	"context"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"io/fs"
	"log/slog"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"restante/admin/admintest"
	"restante/admin/api"
	"restante/admin/explain"
	"restante/admin/queues"
	"restante/admin/sites"
	"restante/admin/traces"
	"restante/admin/tree"
	"restante/engine/journal"
	"restante/engine/trace"
	"restante/internal/kv"
	"restante/metabase"
)

// A countingDB counts the commits.
type countingDB struct {
	kv.DB
	commits int
}

func (c *countingDB) Commit(ctx context.Context, ops ...kv.Op) error {
	c.commits++
	return c.DB.Commit(ctx, ops...)
}

// While no service runs, each call that is registered is answered with ErrNoService or
// done, and changes something or not, as NeedsService and Reads say of it.
func TestReadsAndNeedsService(t *testing.T) {
	db := &countingDB{DB: kv.NewMem()}
	defer db.Close()
	d, store := admintest.Over(t, db, nil, metabase.Options{Admins: []metabase.Principal{"user:boss"}})
	tree.Register(d)
	sites.Register(d)
	queues.Register(d)
	traces.Register(d)
	explain.Register(d, noHosts{})
	life := trace.New(filepath.Join(d.Env.Data, api.TraceFolder), trace.Limits{Age: time.Hour, Bytes: 1 << 20}, slog.New(slog.DiscardHandler))
	life.Add(trace.Event{Site: 1, Name: "refused", Keys: []string{"address x@b.example"}})
	life.Add(trace.Event{Site: 1, Name: "delivered", Keys: []string{journal.IDKey("00000000000000000000")}, Attrs: []slog.Attr{slog.String("msg_id", "00000000000000000000"), slog.String("to", "<a@b.example>")}})
	life.Flush()
	calls := []struct{ method, request string }{ // in this order
		{"status", `{}`}, {"mb/watch", `{"path":"/"}`}, {"mb/backup", `{"name":"b"}`}, {"mb/backups", `{}`}, {"mb/export", `{"path":"SMTPSVC/1"}`},
		{"mb/apply", `{"lines":[{"words":["set","SMTPSVC/1","MaxRecipients","7"]}]}`}, {"mb/revert", `{"rev":REV,"path":"/"}`},
		{"domain/create", `{"site":1,"name":"a.example","hold":true}`}, {"mb/import", `{"xml":"XML","at":"SMTPSVC/1"}`},
		{"domain/create", `{"site":1,"name":"b.example","hold":true}`}, {"mb/restore", `{"name":"b","version":-1}`},
		{"mb/confirm", `{"rev":REV}`}, {"mb/backups/delete", `{"name":"b","version":-1}`}, {"mb/read", `{"path":"SMTPSVC/1"}`},
		{"as-if", `{"method":"site/list","request":{},"after":[{"words":["touch","SMTPSVC/1"]}]}`},
		{"mb/get", `{"words":["SMTPSVC/1","HopCount"]}`}, {"mb/show", `{"path":"SMTPSVC/1"}`}, {"mb/ls", `{"path":"/"}`},
		{"mb/find", `{"path":"/","property":"KeyType"}`}, {"mb/schema", `{"name":"HopCount"}`}, {"mb/log", `{"path":"/"}`}, {"mb/diff", `{"from":1}`},
		{"mb/verify", `{}`}, {"site/list", `{}`}, {"site/show", `{"site":1}`}, {"site/create", `{"name":"Two","bind":["127.0.0.1:0"],"domain":"two.example"}`},
		{"site/set", `{"site":1,"name":"x"}`}, {"site/command", `{"site":1,"command":"stop"}`}, {"site/delete", `{"site":2,"discard":true}`},
		{"site/sessions", `{"site":1}`}, {"site/end-session", `{"site":1,"all":true}`}, {"domain/create", `{"site":1,"name":"a.example","hold":true}`},
		{"domain/list", `{"site":1}`}, {"domain/show", `{"site":1,"name":"a.example"}`}, {"domain/dkim", `{"site":1,"name":"a.example"}`}, {"account/put", `{"name":"1/anna","password":"x"}`},
		{"account/list", `{"site":1}`}, {"turn/set", `{"site":1,"domain":"a.example","account":"anna"}`}, {"turn/list", `{"site":1}`},
		{"account/delete", `{"name":"1/anna"}`}, {"domain/delete", `{"site":1,"name":"a.example"}`},
		{"queue/list", `{"site":1}`}, {"queue/messages", `{"site":1,"domain":"a.example"}`}, {"queue/show", `{"id":"x"}`}, {"queue/trace", `{"what":"x@b.example"}`}, {"queue/follow", `{"what":"x"}`},
		{"queue/catalogue", `{"site":1,"domain":"a.example"}`}, {"turn/history", `{"site":1}`},
		{"queue/act", `{"act":"retry","all":true}`}, {"queue/release", `{"site":1,"domain":"a.example"}`},
		{"queue/export", `{"site":1,"dir":"/nowhere"}`}, {"queue/import", `{"site":1,"dir":"/nowhere"}`},
		{"explain", `{"site":1,"recipient":"a@b.example"}`}, {"explain/message", `{"id":"00000000000000000000"}`}, {"complete", `{"kind":"site","prefix":""}`},
	}
	methods, streams := d.Methods()
	byTokenServer := []string{"domain/oauth", "domain/oauth_wait"} // TestServiceSignsInByTokens of testpeer has one
	for _, method := range slices.Concat(methods, streams) {
		if !slices.Contains(byTokenServer, method) && !slices.ContainsFunc(calls, func(c struct{ method, request string }) bool { return c.method == method }) {
			t.Errorf("%s is registered, and not called here", method)
		}
	}
	xml := ""
	for _, c := range calls {
		if c.method == "mb/confirm" {
			who := as("user:boss")
			who.Confirm = new(60.0)
			if _, _, err := api.MbApply.Call(t.Context(), d.Direct(who), set("SMTPSVC/1", "MaxRecipients", "9")); err != nil {
				t.Fatal(err)
			}
		}
		before, files := db.commits, names(t, d.Env.Data)
		conn := d.Direct(as("user:boss"))
		request := []byte(strings.NewReplacer("REV", fmt.Sprint(store.Snapshot().Rev()), "XML", xml).Replace(c.request))
		var answer json.RawMessage
		var err error
		if slices.Contains(streams, c.method) {
			for _, e := range conn.Stream(t.Context(), c.method, request) {
				err = e
			}
		} else {
			answer, err = conn.Call(t.Context(), c.method, request)
		}
		if c.method == "mb/export" {
			var file api.Exported
			_ = json.Unmarshal(answer, &file)
			xml = base64.StdEncoding.EncodeToString(file.XML)
		}
		if api.NeedsService(c.method) {
			if kind := api.AsError(err).Kind; kind != api.KindNoService {
				t.Errorf("%s needs the service, and is answered with %v", c.method, err)
			}
			continue
		}
		changed := db.commits != before || !slices.Equal(files, names(t, d.Env.Data))
		if err != nil || changed == api.Reads(c.method) {
			t.Errorf("%s changes something: %v, Reads says %v; %v", c.method, changed, api.Reads(c.method), err)
		}
	}
}

// names lists what is below a folder.
func names(t *testing.T, dir string) (out []string) {
	t.Helper()
	err := fs.WalkDir(os.DirFS(dir), ".", func(name string, _ fs.DirEntry, err error) error {
		out = append(out, name)
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	return out
}
