// SPDX-License-Identifier: Apache-2.0

package admin_test

import (
	"context"
	"fmt"
	"strings"
	"testing"

	"restante/admin/api"
	"restante/engine/site"
	"restante/metabase"
)

// lateSite is an engine in which site 1 does not run at any revision.
type lateSite struct{ sharedAddress }

func (e lateSite) Await(context.Context, metabase.Rev) ([]site.Status, error) {
	return []site.Status{{Number: 1, State: site.Started, Running: 1, Why: "its queue has no space"}}, nil
}

// A caller who may change a domain and not read its site is not told how the site
// is; one who may read it is.
func TestStateOfAHiddenSiteIsNotTold(t *testing.T) {
	for _, tt := range []struct {
		late bool
		want string // told to the boss
	}{{false, "does not run: listen on"}, {true, "not in force at every site"}} {
		o := newAPIFixture(t)
		o.apply(t, "boss", "set SMTPSVC/1/Domain/mine.example AccessList 'user:dora all'")
		if tt.late {
			o.API.Engine = lateSite{}
		}
		for n, who := range []string{"dora", "boss"} {
			var told []api.Noted
			ctx := api.WithNotes(t.Context(), func(n api.Noted) {
				if n.Rev == 0 { // the others tell of the revision
					told = append(told, n)
				}
			})
			q := lines(fmt.Sprintf("set SMTPSVC/1/Domain/mine.example AuthTurnList u%d", n))
			a, _, err := api.MbApply.Call(ctx, o.Direct(as(metabase.Principal("user:"+who))), q)
			text := fmt.Sprint(told, err)
			switch {
			case a.Rev == 0:
				t.Errorf("%s: %v", who, err)
			case who == "boss" && !strings.Contains(text, tt.want):
				t.Errorf("the boss is told %s, want %q", text, tt.want)
			case who == "dora" && (err != nil || len(told) > 0):
				t.Errorf("dora is told %s", text)
			}
		}
	}
}
