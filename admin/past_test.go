// SPDX-License-Identifier: Apache-2.0

package admin_test

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"testing"

	"restante/admin/api"
	"restante/metabase"
)

// seen returns the answers to all of Olga's calls about the history.
func (o *apiFixture) seen(t *testing.T) string {
	t.Helper()
	var all strings.Builder
	now := o.store.Snapshot().Rev()
	for rev := metabase.Rev(1); rev <= now; rev++ {
		text, _ := o.call(t, "olga", "mb/diff", fmt.Sprintf(`{"from":%d}`, rev))
		all.WriteString(text)
		text, _ = o.call(t, "olga", "mb/diff", fmt.Sprintf(`{"from":%d,"to":%d}`, rev-1, rev))
		all.WriteString(text)
		text, _ = o.call(t, "olga", "mb/revert", fmt.Sprintf(`{"rev":%d,"path":"SMTPSVC/1/Domain/gone.example"}`, rev))
		all.WriteString(text)
		text, kind := o.call(t, "olga", "mb/get", fmt.Sprintf(`{"rev":%d,"words":["SMTPSVC/1/Domain/gone.example","RouteActionString"]}`, rev))
		if kind == "" {
			all.WriteString(text)
		}
	}
	text, _ := o.call(t, "olga", "mb/log", `{"path":"SMTPSVC/1"}`)
	all.WriteString(text)
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	for e, err := range api.MbWatch.Open(ctx, o.Direct(as("user:olga")), api.WatchRequest{Path: "SMTPSVC/1", Since: new(metabase.Rev(1))}) {
		if err != nil {
			t.Fatal(err)
		}
		fmt.Fprintf(&all, "%+v", e)
		if e.Comment == "last" {
			break
		}
	}
	return all.String()
}

// TestListThatIsGoneOpensNoPast has a key that was not Olga's, and is no more.
func TestListThatIsGoneOpensNoPast(t *testing.T) {
	for name, ends := range map[string][]string{
		"the key goes":             {"rm SMTPSVC/1/Domain/gone.example"},
		"the key goes with others": {"set SMTPSVC/1 MaxRecipients 6\nrm SMTPSVC/1/Domain/gone.example\nset SMTPSVC/1 HopCount 6"},
		"the list goes first": {"set SMTPSVC/1/Domain/gone.example RouteActionString open.example", "unset SMTPSVC/1/Domain/gone.example AccessList",
			"rm SMTPSVC/1/Domain/gone.example"},
		"it moves out of sight": {"mv SMTPSVC/1/Domain/gone.example SMTPSVC/2/Domain/away.example"},
		"the list comes again": {"set SMTPSVC/1/Domain/gone.example RouteActionString open.example", "unset SMTPSVC/1/Domain/gone.example AccessList", "set SMTPSVC/1/Domain/gone.example AccessList 'user:boss all'",
			"set SMTPSVC/1/Domain/gone.example RouteActionString secret.example", "rm SMTPSVC/1/Domain/gone.example"},
	} {
		t.Run(name, func(t *testing.T) {
			o := newAPIFixture(t)
			o.apply(t, "boss", "add SMTPSVC/1/Domain/gone.example\nset SMTPSVC/1/Domain/gone.example AccessList 'user:boss all'\n"+
				"set SMTPSVC/1/Domain/gone.example RouteActionString secret.example")
			for _, text := range ends {
				o.apply(t, "boss", text)
			}
			o.apply(t, "olga", "set SMTPSVC/1 MaxRecipients 7") // hers to see
			who := as("user:olga")
			who.Comment = "last"
			if _, _, err := api.MbApply.Call(t.Context(), o.Direct(who), set("SMTPSVC/1", "MaxRecipients", "8")); err != nil {
				t.Fatal(err)
			}
			before := o.store.Snapshot().Rev()
			all := o.seen(t)
			if strings.Contains(all, "secret.example") || strings.Contains(all, "away.example") || !strings.Contains(all, "MaxRecipients") {
				t.Errorf("Olga is told: %s", all)
			}
			opens := strings.HasPrefix(name, "the list")
			if strings.Contains(all, "open.example") != opens {
				t.Errorf("what was done in the open is told: %v", !opens)
			}
			if now := o.store.Snapshot().Rev(); now != before && name != "the list goes first" {
				t.Errorf("Olga took revisions back: %d are %d", before, now)
			}
			if text := o.must(t, "boss", "mb/log", `{"path":"SMTPSVC/1/Domain/gone.example"}`); !strings.Contains(text, "secret.example") {
				t.Errorf("the boss is told: %s", text)
			}
		})
	}
}

// TestPastRefusalIsLogged checks that a refusal by an earlier access list is in the log.
func TestPastRefusalIsLogged(t *testing.T) {
	o := newAPIFixture(t)
	rev := o.apply(t, "boss", "add SMTPSVC/1/Domain/gone.example\nset SMTPSVC/1/Domain/gone.example AccessList 'user:boss all'\n"+
		"set SMTPSVC/1/Domain/gone.example RouteActionString secret.example")
	o.apply(t, "boss", "rm SMTPSVC/1/Domain/gone.example")
	o.refusals()
	text, kind := o.call(t, "olga", "mb/get", fmt.Sprintf(`{"rev":%d,"words":["SMTPSVC/1/Domain/gone.example","RouteActionString"]}`, rev))
	told := o.refusals()
	if kind != api.KindNotFound || len(told) != 1 || told[0].Path != "/LM/SMTPSVC/1/Domain/gone.example" || told[0].Actor != "user:olga" {
		t.Errorf("%q %s; told of %+v", kind, text, told)
	}
}

// TestRevertAsksWhereItChanges has Olga take back without a path.
func TestRevertAsksWhereItChanges(t *testing.T) {
	o := newAPIFixture(t)
	mine := o.apply(t, "olga", "set SMTPSVC/1 MaxRecipients 7\nadd SMTPSVC/1/Domain/new.example")
	both := o.apply(t, "boss", "set SMTPSVC/1 HopCount 7\nset SMTPSVC/2 HopCount 7")
	above := o.apply(t, "boss", "set SMTPSVC HopCount 9")
	under := o.apply(t, "olga", "add SMTPSVC/1/Extra")
	o.apply(t, "boss", "add SMTPSVC/1/Extra/hidden\nset SMTPSVC/1/Extra/hidden AccessList 'user:boss all'")
	for _, tt := range []struct {
		rev  metabase.Rev
		path string
		want api.Kind
	}{
		{both, "", api.KindRefused},
		{above, "", api.KindRefused},
		{under, "", api.KindRefused}, // the conflicting key is not hers
		{999, "", api.KindRefused},
		{both, "SMTPSVC/1", ""},
		{mine, "", ""},
	} {
		o.refusals()
		text, kind := o.call(t, "olga", "mb/revert", fmt.Sprintf(`{"rev":%d,"path":%q}`, tt.rev, tt.path))
		if kind != tt.want || (kind != "") != (len(o.refusals()) > 0) || strings.Contains(text, "SMTPSVC/2") || strings.Contains(text, "hidden") {
			t.Errorf("revert %d %s: %q %s", tt.rev, tt.path, kind, text)
		}
	}
	snap := o.store.Snapshot()
	if snap.Has("/LM/SMTPSVC/1/Domain/new.example") {
		t.Error("it is not taken back")
	}
	if hops, _, _ := snap.Effective("/LM/SMTPSVC/2", 36886); hops.Value.DWord() != 7 {
		t.Errorf("HopCount of site 2 is %d", hops.Value.DWord())
	}
}

// TestConfirmAsksWhereItChanged has Rita, who may write at the root, confirm a
// change of keys that she may not write.
func TestConfirmAsksWhereItChanged(t *testing.T) {
	o := newAPIFixture(t)
	boss := o.Direct(as("user:boss"))
	wait := func(text string) metabase.Rev {
		hour := 3600.0
		a, _, err := api.MbApply.Call(api.WithTerms(t.Context(), api.Terms{Confirm: &hour}), boss, lines(text))
		if err != nil {
			t.Fatal(err)
		}
		return a.Rev
	}
	pending := func() (revs []metabase.Rev) {
		for _, p := range o.store.Pending() {
			revs = append(revs, p.Rev)
		}
		return revs
	}
	open := wait("set SMTPSVC HopCount 9")
	theirs := wait("set SMTPSVC HopCount 10\nset SMTPSVC/2 HopCount 9")
	moved := wait("rm SMTPSVC/1/Domain/hidden.example") // by the list of today it would be Olga's
	status := func(who string) string { return o.must(t, who, "status", `{}`) }
	for who, told := range map[string]int{"boss": 3, "rita": 1, "olga": 0} {
		if n := strings.Count(status(who), `"until"`); n != told {
			t.Errorf("%s is told of %d that wait, want %d: %s", who, n, told, status(who))
		}
	}
	refused := func(who string, rev metabase.Rev, at metabase.Path) {
		t.Helper()
		o.refusals()
		text, kind := o.call(t, who, "mb/confirm", fmt.Sprintf(`{"rev":%d}`, rev))
		told := o.refusals()
		if kind != api.KindRefused || strings.Contains(text, "SMTPSVC/2") || strings.Contains(text, "hidden.example") {
			t.Errorf("%s confirms %d: %q %s", who, rev, kind, text)
		}
		if !slices.ContainsFunc(told, func(r metabase.Refusal) bool { return r.Path == at && r.Need == metabase.Write }) {
			t.Errorf("%s confirms %d: told of %v, want %s", who, rev, told, at)
		}
	}
	refused("rita", theirs, "/LM/SMTPSVC/2")
	refused("olga", moved, "/LM/SMTPSVC/1/Domain/hidden.example")
	refused("olga", 0, "/LM/SMTPSVC/1/Domain/hidden.example")
	o.must(t, "rita", "mb/confirm", `{"rev":0}`) // her own, though others are newer
	if got := pending(); !slices.Equal(got, []metabase.Rev{moved, theirs}) {
		t.Errorf("%v wait, confirmed should be %d", got, open)
	}
	refused("rita", 0, "/LM/SMTPSVC/1/Domain/hidden.example")
	o.must(t, "boss", "mb/confirm", fmt.Sprintf(`{"rev":%d}`, theirs))
	o.must(t, "boss", "mb/confirm", `{"rev":0}`)
	if got := pending(); len(got) != 0 {
		t.Errorf("%v still wait", got)
	}
	if _, kind := o.call(t, "olga", "mb/confirm", `{"rev":0}`); kind != api.KindNotFound {
		t.Errorf("nothing waits: %q", kind)
	}
}
