// SPDX-License-Identifier: Apache-2.0

package admin_test

import (
	"context"
	"strings"
	"testing"

	"restante/admin"
	"restante/admin/api"
	"restante/engine/account"
	"restante/engine/queue"
	"restante/engine/site"
	"restante/metabase"
)

// TestFolders checks who may name which folder for the service to write.
func TestFolders(t *testing.T) {
	d, _ := full(t, nil)
	below := d.Env.Data + "/exports/"
	tests := []struct {
		who  []metabase.Principal
		dir  string
		want bool
	}{
		{[]metabase.Principal{"user:root", "uid:0"}, "/etc", true},
		{api.Self(), "/etc", true},
		{[]metabase.Principal{"user:olga", "uid:54321"}, below + "olga", true},
		{[]metabase.Principal{"user:olga", "uid:54321"}, below + "olga/mail/more", true},
		{[]metabase.Principal{"user:olga", "uid:54321"}, below + "olga/../other", false},
		{[]metabase.Principal{"user:olga", "uid:54321"}, below + "mike/mail", false},
		{[]metabase.Principal{"user:..", "uid:54321"}, below + "54321/mail", true},
		{[]metabase.Principal{"user:a/b", "uid:54321"}, below + "a/b", false},
		{[]metabase.Principal{"user:olga", "uid:54321"}, below + "olga/../../queue", false},
		{[]metabase.Principal{"user:olga", "uid:54321"}, below + "../exports-2", false},
		{[]metabase.Principal{"user:olga", "uid:54321"}, d.Env.Data, false},
		{[]metabase.Principal{"user:olga", "uid:54321"}, "/etc", false},
		{[]metabase.Principal{"user:olga", "uid:54321"}, "olga", false},
		{[]metabase.Principal{"user:olga", "uid:54321"}, "", false},
		{nil, "/etc", false},
	}
	for _, tt := range tests {
		err := d.Folder(api.Caller{Who: tt.who}, tt.dir)
		if (err == nil) != tt.want || err != nil && !strings.Contains(err.Error(), below[:len(below)-1]) {
			t.Errorf("Folder(%v, %s) = %v", tt.who, tt.dir, err)
		}
	}
}

// open is an engine with a queue, which knows what it is made to write.
type open struct {
	admin.Engine
	wrote []string
}

func (open) LockOuts() []account.LockOut { return nil }

func (e *open) Sites() []site.Status          { return nil }
func (e *open) Queue(int) (admin.Queue, bool) { return fakeQueue{e: e}, true }

func (e *open) Await(context.Context, metabase.Rev) ([]site.Status, error) { return nil, nil }

func (e *open) OpenQueue(context.Context, int) (admin.Queue, error) { return fakeQueue{e: e}, nil }

type fakeQueue struct {
	admin.Queue // what is not needed panics
	e           *open
}

func (c fakeQueue) Counts() queue.Counts { return queue.Counts{} }

func (c fakeQueue) Export(_ context.Context, _ queue.Filter, dir string) (queue.Tally, error) {
	c.e.wrote = append(c.e.wrote, dir)
	return queue.Tally{}, nil
}

func (c fakeQueue) Delete(context.Context, queue.Filter, bool) (queue.Tally, error) {
	return queue.Tally{}, nil
}

func (c fakeQueue) Import(_ context.Context, dir string) (queue.Tally, error) {
	c.e.wrote = append(c.e.wrote, dir)
	return queue.Tally{}, nil
}

// TestServiceWritesNowhereForStrangers has the operator of a site name folders.
func TestServiceWritesNowhereForStrangers(t *testing.T) {
	o := newAPIFixture(t)
	e := &open{}
	o.API.Engine = e
	o.apply(t, "boss", "set SMTPSVC/2 AccessList 'user:olga all'")
	for _, tt := range []struct{ method, request string }{
		{"queue/export", `{"site":1,"dir":"DIR"}`},
		{"queue/export", `{"dir":"DIR"}`},
		{"queue/import", `{"site":1,"dir":"DIR"}`},
		{"site/delete", `{"site":2,"export":"DIR"}`},
	} {
		for _, dir := range []string{"/etc", o.Env.Data, o.Env.Data + "/exports/olga"} { // the site goes with the last
			want := strings.HasSuffix(dir, "/olga")
			e.wrote = nil
			text, kind := o.call(t, "olga", tt.method, strings.Replace(tt.request, "DIR", dir, 1))
			if (kind == "") != want || (len(e.wrote) > 0) != want || !want && !strings.Contains(text, "/exports") {
				t.Errorf("%s %s: %q %s; it wrote %v", tt.method, dir, kind, text, e.wrote)
			}
			if !want && !o.store.Snapshot().Has("/LM/SMTPSVC/2") {
				t.Fatal("the site is gone")
			}
		}
	}
}

// TestSiteStaysWithItsMail has Olga delete a site of which she may not delete
// all: its mail must not be gone before that is found out.
func TestSiteStaysWithItsMail(t *testing.T) {
	o := newAPIFixture(t)
	e := &open{}
	o.API.Engine = e
	o.apply(t, "boss", "set SMTPSVC/2 AccessList 'user:olga all'\nset SMTPSVC/2/Domain/theirs.example AccessList 'user:boss all'")
	text, kind := o.call(t, "olga", "site/delete", `{"site":2,"export":"`+o.Env.Data+`/exports/two"}`)
	if kind != api.KindRefused || len(e.wrote) > 0 || strings.Contains(text, "theirs.example") {
		t.Errorf("%q %s; it wrote %v", kind, text, e.wrote)
	}
}
