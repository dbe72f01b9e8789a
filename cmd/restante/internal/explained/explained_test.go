// SPDX-License-Identifier: Apache-2.0

package explained

import (
	"testing"

	"restante/admin/api"
)

func TestTimes(t *testing.T) {
	for _, tt := range []struct {
		w    api.WayOut
		want string
	}{
		{api.WayOut{}, ""},
		{api.WayOut{Retries: []float64{60, 900, 5400}, DelayNotice: 43200, Expire: 172800}, "tried again after 1m, 15m, then every 1h30m; reported late after 12h; returned after 2 days"},
		{api.WayOut{Retries: []float64{3600}, Expire: 86400}, "tried again every 1h; returned after 24h"},
		{api.WayOut{Held: true, HoldEnd: "archive", Expire: 90}, "archived after 1m30s"},
		{api.WayOut{Held: true, HoldEnd: "keep", DelayNotice: 60}, "reported late after 1m; waits without end"},
		{api.WayOut{Held: true, HoldEnd: "return"}, "waits without end"},
	} {
		if got := times(tt.w); got != tt.want {
			t.Errorf("%+v: %q, want %q", tt.w, got, tt.want)
		}
	}
}

func TestErrorOfCall(t *testing.T) {
	for _, tt := range []struct {
		arguments int
		why       bool
		used      []string
		want      string
	}{
		{2, false, nil, ""},
		{2, false, []string{"rev", "tls"}, ""},
		{0, true, []string{"why"}, ""},
		{0, false, nil, "takes SITE RECIPIENT, or --why ID"},
		{3, false, nil, "takes SITE RECIPIENT, or --why ID"},
		{2, false, []string{"at", "rev"}, "--rev and --at exclude each other"},
		{1, true, []string{"why"}, "--why takes the ID of a message, and neither SITE nor RECIPIENT"},
		{0, true, []string{"at", "why"}, "--why and --at exclude each other"},
	} {
		if got := ErrorOfCall(tt.arguments, tt.why, tt.used); got != tt.want {
			t.Errorf("%+v: %q", tt, got)
		}
	}
}
