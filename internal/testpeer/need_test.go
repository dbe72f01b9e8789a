// SPDX-License-Identifier: Apache-2.0

package testpeer

import (
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"
)

func TestPeersRequired(t *testing.T) {
	for _, tt := range []struct {
		env  map[string]string
		want bool
	}{
		{nil, false},
		{map[string]string{"CI": "true"}, true},
		{map[string]string{"CI": "false"}, false},
		{map[string]string{"RESTANTE_PEERS": "required"}, true},
		{map[string]string{"RESTANTE_PEERS": "optional"}, false},
	} {
		if got := peersRequired(func(name string) string { return tt.env[name] }); got != tt.want {
			t.Errorf("with %v: %v, want %v", tt.env, got, tt.want)
		}
	}
}

func TestMissingPeerIsNamed(t *testing.T) {
	if testing.Short() {
		t.Skip("-short leaves out everything that needs a peer")
	}
	for _, tt := range []struct {
		required string
		want     string
	}{
		{"", "skip: needs no-such-program: "},
		{"required", "fatal: no-such-program is required here"},
	} {
		t.Setenv("CI", "")
		t.Setenv("RESTANTE_PEERS", tt.required)
		r := &recorder{TB: t}
		func() {
			defer func() { _ = recover() }()
			Need(r, "no-such-program")
		}()
		if !strings.HasPrefix(r.said, tt.want) {
			t.Errorf("RESTANTE_PEERS=%q: %q, want %q", tt.required, r.said, tt.want)
		}
	}
}

// A recorder keeps how a test would have ended.
type recorder struct {
	testing.TB
	said string
}

func (r *recorder) Helper() {}

func (r *recorder) Skipf(format string, args ...any)  { r.end("skip: ", format, args) }
func (r *recorder) Fatalf(format string, args ...any) { r.end("fatal: ", format, args) }

func (r *recorder) end(how, format string, args []any) {
	r.said = how + fmt.Sprintf(format, args...)
	panic(errors.New("ended"))
}

func TestFaultSteps(t *testing.T) {
	for _, tt := range []struct {
		soak       string
		n, between int
		least      int // how many steps there are, at least
	}{
		{"", 1, 8, 1},
		{"", 2, 8, 2},
		{"", 10, 100, 10},
		{"", 100, 8, 9},
		{"1", 100, 0, 100},
	} {
		t.Setenv("RESTANTE_SOAK", tt.soak)
		got := FaultSteps(t, tt.n, tt.between)
		if !slices.IsSorted(got) || len(slices.Compact(slices.Clone(got))) != len(got) {
			t.Errorf("%+v: %v is not in order", tt, got)
		}
		if got[0] != 1 || got[len(got)-1] != tt.n || len(got) < tt.least || tt.soak == "" && len(got) > tt.between+4 {
			t.Errorf("%+v: %v", tt, got)
		}
	}
}
