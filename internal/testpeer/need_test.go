// SPDX-License-Identifier: Apache-2.0

package testpeer

import (
	"errors"
	"fmt"
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
