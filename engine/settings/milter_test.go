// SPDX-License-Identifier: Apache-2.0

package settings

import (
	"errors"
	"reflect"
	"strings"
	"testing"

	"restante/metabase"
)

// TestMilters: the forms of a filter, those that are none, and who may name a socket.
func TestMilters(t *testing.T) {
	for text, want := range map[string]Milter{
		"inet:127.0.0.1:11332":               {"tcp", "127.0.0.1:11332", "tempfail"},
		"inet:[::1]:8891 accept":             {"tcp", "[::1]:8891", "accept"},
		"inet:filter.example:1 tempfail":     {"tcp", "filter.example:1", "tempfail"},
		"unix:/run/opendkim/s.sock reject":   {"unix", "/run/opendkim/s.sock", "reject"},
		"unix:/run/with blank/accept accept": {"unix", "/run/with blank/accept", "accept"},
	} {
		if got, err := ParseMilter(text); got != want || err != nil {
			t.Errorf("%q is %+v, %v; want %+v", text, got, err, want)
		}
	}
	for _, text := range []string{"127.0.0.1:11332", "inet:11332", "inet:host", "inet::25", "inet:host:0", "inet:host:65536", "inet:host:smtp", "inet:host:1 maybe", "unix:run/s", "unix:", "local:/run/s", "inet:a b:1"} {
		if got, err := ParseMilter(text); !errors.Is(err, metabase.Invalid) {
			t.Errorf("%q is %+v, %v", text, got, err)
		}
	}
	tr := newTree(t)
	if err := tr.apply(set(t, SitePath(1), "Milters", "inet:127.0.0.1:11332", "bogus")); err == nil || !strings.Contains(err.Error(), `Milters: "bogus": write inet:HOST:PORT or unix:PATH`) {
		t.Errorf("a filter that is none: %v", err)
	}
	if err := tr.apply(set(t, Service, "Milters", "unix:/run/a accept", "inet:127.0.0.1:1")); err != nil {
		t.Fatal(err)
	}
	s, err := Load(tr.store.Snapshot(), 1)
	if want := []Milter{{"unix", "/run/a", "accept"}, {"tcp", "127.0.0.1:1", "tempfail"}}; err != nil || !reflect.DeepEqual(s.Filters(), want) {
		t.Errorf("a site inherits %+v, %v", s.Filters(), err)
	}

	// joe has all rights at site 2 alone.
	two := newTwoSites(t)
	if got := two.problems(joe, set(t, SitePath(2), "Milters", "unix:/run/a")); len(got) != 1 || !strings.HasSuffix(got[0], "Milters: unix:/run/a: that takes the right control at /") {
		t.Errorf("a socket: %q", got)
	}
	if got := two.problems(joe, set(t, SitePath(2), "Milters", "inet:127.0.0.1:2")); len(got) > 0 {
		t.Errorf("a port: %q", got)
	}
	two.set(SitePath(2), "Milters", "unix:/run/a")
	if got := two.problems(joe, set(t, SitePath(2), "Milters", "inet:127.0.0.1:2", "unix:/run/a")); len(got) > 0 {
		t.Errorf("one that is there already: %q", got)
	}
}
