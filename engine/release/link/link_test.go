// SPDX-License-Identifier: Apache-2.0

package link

import (
	"testing"
	"time"

	"restante/internal/deptest"
)

func TestLayers(t *testing.T) {
	deptest.Forbid(t, map[string]string{"restante/": "a meter is asked, and knows neither queue nor connection"})
}

// A memDay keeps one day in memory.
type memDay map[string]Budget

func (d memDay) Used(link string) Budget { return d[link] }

func (d memDay) Use(link string, more Budget) {
	u := d[link]
	d[link] = Budget{u.Bytes + more.Bytes, u.Time + more.Time}
}

func TestMeter(t *testing.T) {
	const min = time.Minute
	tests := []struct {
		name  string
		p     Profile
		used  Budget
		sizes []int64 // one offered each minute
		want  string  // taken
		why   string
		day   Budget // used at the end
	}{
		{"no limit", Profile{}, Budget{}, []int64{5, 1 << 40}, "yy", "", Budget{}},
		{"ceiling", Profile{Ceiling: 10}, Budget{}, []int64{10, 11, 3, 400}, "ynyn", "link l keeps 2 of 411 bytes beyond its size ceiling of 10 bytes", Budget{}},
		{"octets of a session: what fits goes", Profile{Session: Budget{Bytes: 10}}, Budget{}, []int64{6, 5, 4, 1}, "ynyn",
			"link l keeps 2 of 6 bytes beyond its budget of a session, 10 bytes", Budget{}},
		{"time of a session", Profile{Session: Budget{Time: 2 * min}}, Budget{}, []int64{1, 1, 1}, "yyn",
			"link l keeps 1 of 1 bytes beyond its budget of a session, 2m0s", Budget{}},
		{"octets of a day", Profile{Day: Budget{Bytes: 10}}, Budget{Bytes: 5}, []int64{4, 2, 1}, "yny",
			"link l keeps 1 of 2 bytes beyond its budget of the day, 10 bytes", Budget{10, 3 * min}},
		{"time of a day", Profile{Day: Budget{Time: 5 * min}}, Budget{Time: 4 * min}, []int64{4, 2, 1}, "ynn",
			"link l keeps 2 of 3 bytes beyond its budget of the day, 5m0s", Budget{4, 7 * min}},
		{"both", Profile{Ceiling: 9, Session: Budget{Bytes: 12}}, Budget{}, []int64{8, 10, 5}, "ynn",
			"link l keeps 1 of 10 bytes beyond its size ceiling of 9 bytes, 1 of 5 bytes beyond its budget of a session, 12 bytes", Budget{}},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			at := time.Unix(0, 0)
			day := memDay{"me": tt.used}
			tt.p.Name, tt.p.Of = "l", "me"
			m := NewMeter(tt.p, day, func() time.Time { return at })
			got := ""
			for _, size := range tt.sizes {
				if m.Take(size) {
					got += "y"
					m.Sent(size)
				} else {
					got += "n"
				}
				at = at.Add(min)
			}
			m.End()
			if got != tt.want || m.Why() != tt.why {
				t.Errorf("took %s, want %s; %q, want %q", got, tt.want, m.Why(), tt.why)
			}
			if tt.p.Day != (Budget{}) && day["me"] != tt.day {
				t.Errorf("the day has %v, want %v", day["me"], tt.day)
			}
		})
	}
}

// Of a call over midnight UTC, the time before it counts for the day before.
func TestMeterOverMidnight(t *testing.T) {
	at := time.Date(2026, 3, 1, 23, 30, 0, 0, time.FixedZone("", 5*3600)).Add(5 * time.Hour) // 23:30 UTC
	day := memDay{}
	m := NewMeter(Profile{Name: "l", Of: "me", Day: Budget{Time: 20 * time.Minute}}, day, func() time.Time { return at })
	at = at.Add(19 * time.Minute)
	if !m.Take(1) {
		t.Error("19 of 20 minutes are all of them")
	}
	at = at.Add(2 * time.Minute)
	if m.Take(1) {
		t.Error("21 of 20 minutes leave some")
	}
	at = at.Add(19 * time.Minute) // 00:10
	clear(day)                    // it is that of the new day
	if !m.Take(1) {
		t.Error("10 of 20 minutes of the new day are all of them")
	}
	if m.Sent(1); day["me"] != (Budget{1, 10 * time.Minute}) {
		t.Errorf("the new day has %v, want its ten minutes", day["me"])
	}
}

// What is handed out and not confirmed yet counts against the day of this call, and not of
// the next.
func TestMeterCountsWhatIsUnderWay(t *testing.T) {
	day := memDay{}
	p := Profile{Name: "l", Of: "me", Day: Budget{Bytes: 10}}
	m := NewMeter(p, day, time.Now)
	if !m.Take(6) || m.Take(6) {
		t.Error("two of 6 octets go in a day of 10")
	}
	m.End() // the line broke
	if next := NewMeter(p, day, time.Now); !next.Take(6) || next.Spent() {
		t.Error("what the host did not get counts for the next call")
	} else if next.Sent(6); next.Spent() {
		t.Error("6 of 10 octets are all of them")
	} else if next.Take(4); next.Spent() {
		t.Error("what is under way has used up the day")
	} else if next.Sent(4); !next.Spent() {
		t.Error("10 of 10 octets leave some")
	}
}

func TestNoProfile(t *testing.T) {
	for _, p := range []Profile{{}, {Name: "gone", Missing: true, Ceiling: 1}} {
		m := NewMeter(p, nil, time.Now)
		if !m.Take(1<<40) || m.Spent() || m.Smallest() || m.Why() != "" {
			t.Errorf("%+v has limits", p)
		}
		m.Sent(1)
		m.End()
	}
}
