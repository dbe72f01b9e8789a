// SPDX-License-Identifier: Apache-2.0

package api

import (
	"errors"
	"fmt"
	"testing"

	"restante/engine/queue"
	"restante/engine/settings"
	"restante/internal/deptest"
	"restante/internal/kv"
	"restante/metabase"
)

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
		{errors.Join(refused.Problems[0], metabase.Problem{Path: "/LM/x", ID: 4711, Err: errors.New("none")}), KindFailed, "/LM: MaxConnections: no\n/LM/x: property 4711: none"},
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

func TestLayers(t *testing.T) {
	deptest.Forbid(t, map[string]string{
		"/admin":          "the messages do not know the handlers",
		"/engine/wire":    "the API asks sites, it speaks no SMTP",
		"/engine/session": "the API asks sites",
		"/adsi-compat":    "scripts run in the process of the command",
		"/cmd":            "imports go down only",
		"urfave":          "only cmd reads arguments",
		"badger":          "only internal/kv/badgerkv knows what the store is made of",
	})
}
