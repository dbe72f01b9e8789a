// SPDX-License-Identifier: Apache-2.0

package settings

import (
	"reflect"
	"strings"
	"testing"
	"time"

	"restante/engine/mail"
)

// What is told of held mail goes nowhere where it would wait itself, and a program takes
// control over all.
func TestAlerts(t *testing.T) {
	two := newTwoSites(t)
	held, wild, free := DomainPath(2, "a.test"), DomainPath(2, "*.w.test"), DomainPath(2, "free.test")
	for _, p := range []string{"a.test", "*.w.test", "free.test"} {
		ops, err := CreateDomain(two.store.Snapshot(), 2, p, map[bool]Action{true: Hold, false: DomainRelay}[p != "free.test"])
		if err != nil {
			t.Fatal(err)
		}
		if err := two.apply(ops...); err != nil {
			t.Fatal(err)
		}
	}
	for _, tt := range []struct {
		name   string
		values []string
		want   string // "": taken
	}{
		{"HoldOwner", []string{"boss@else.test", "boss@free.test"}, ""},
		{"HoldOwner", []string{"boss@else.test", "x@a.test"}, `"x@a.test" is in a.test, which site 2 holds`},
		{"HoldOwner", []string{"x@A.TEST"}, "which site 2 holds"},
		{"HoldOwner", []string{"x@b.w.test"}, `"x@b.w.test" is in b.w.test, which site 2 holds`},
		{"HoldOwner", []string{"boss"}, `"boss" has no domain`},
		{"WakeUrl", []string{"https://host.test/x"}, ""},
		{"WakeUrl", []string{"host.test"}, "is not a URL"},
		{"WakeSecret", []string{"0123456789abcdef"}, ""},
		{"WakeSecret", []string{"short"}, "fewer than 16 octets"},
		{"WakeCommand", []string{"program"}, "is not the absolute path of a program"},
		{"WakeCommand", []string{"/usr/bin/program", "arg"}, "/usr/bin/program would run with the rights of the service: that takes the right control at /"},
	} {
		got := two.problems(joe, set(t, held, tt.name, tt.values...))
		if tt.want == "" && len(got) > 0 || tt.want != "" && (len(got) != 1 || !strings.Contains(got[0], tt.want)) {
			t.Errorf("%s %q: %q, want %q", tt.name, tt.values, got, tt.want)
		}
	}
	if got := two.problems("user:boss", set(t, held, "WakeCommand", "/usr/bin/program", "arg")); len(got) > 0 {
		t.Errorf("with control: %q", got)
	}
	two.set(SitePath(2), "WakeUrl", "http://127.0.0.1:1/x")
	two.set(held, "WakeAfter", "5")
	two.set(held, "HoldOwner", "boss@else.test", "boss@free.test")
	two.set(free, "RouteAction", "512") // it is held, later
	s := Unchecked(two.store.Snapshot(), 2)
	a := s.AlertsOf("a.test")
	if a.WakeUrl != "http://127.0.0.1:1/x" || a.WakeAfter != 5*time.Minute {
		t.Errorf("%+v", a)
	}
	if got, want := s.Owners(a), []mail.Address{{Local: "boss", Domain: "else.test"}}; !reflect.DeepEqual(got, want) {
		t.Errorf("the owners are %v, want %v", got, want)
	}
	if a := s.AlertsOf("b.w.test"); a.WakeAfter != 0 || len(a.HoldOwner) > 0 || a.WakeUrl == "" {
		t.Errorf("of a wildcard %s: %+v", wild, a)
	}
}
