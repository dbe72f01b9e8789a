// SPDX-License-Identifier: Apache-2.0

package queue

import (
	"fmt"
	"testing"
	"time"

	"restante/engine/mail"
)

func TestSchedule(t *testing.T) {
	p := Policy{
		Ladder: []time.Duration{15 * time.Minute, time.Hour}, Quick: 2, Expire: 48 * time.Hour, DelayNotice: 12 * time.Hour,
		Local: Times{Retry: time.Minute, Expire: time.Hour}, Held: Times{Expire: 240 * time.Hour},
	}
	for _, tt := range []struct {
		name  mail.Domain
		p     Policy
		route RouteState
		want  string // retries, notice, expiry, end
	}{
		{"a.test", Policy{}, RouteState{}, "[15m0s 30m0s 1h0m0s 4h0m0s] 12h0m0s 48h0m0s 0"},
		{"a.test", p, RouteState{}, "[1m0s 1m0s 15m0s 1h0m0s] 12h0m0s 48h0m0s 0"},
		{"a.test", p, RouteState{Local: true}, "[1m0s] 12h0m0s 1h0m0s 0"},
		{"a.test", p, RouteState{Held: true}, "[] 12h0m0s 240h0m0s 0"},
		{"a.test", p, RouteState{Held: true, End: Archive}, "[] 12h0m0s 240h0m0s 1"},
		{"a.test", p, RouteState{Held: true, End: Keep}, "[] 12h0m0s 0s 2"},
		{"a.test", Policy{}, RouteState{Held: true}, "[] 0s 0s 0"}, // without an end
		{Badmail, p, RouteState{}, "[1m0s 1m0s 15m0s 1h0m0s] 0s 0s 0"},
	} {
		s := tt.p.Schedule(tt.name, tt.route)
		if got := fmt.Sprint(s.Retries, s.Notice, s.Expire, int(s.End)); got != tt.want {
			t.Errorf("%s, %+v: %s, want %s", tt.name, tt.route, got, tt.want)
		}
	}
}
