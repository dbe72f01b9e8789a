// SPDX-License-Identifier: Apache-2.0

package control

import (
	"context"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"restante/metabase"
)

func TestStrangersRequestsAreSmall(t *testing.T) {
	own := Self()
	tests := []struct {
		name string
		who  []metabase.Principal
		big  bool
	}{
		{"who runs the service", own, true},
		{"root", []metabase.Principal{"uid:0"}, true},
		{"another user", []metabase.Principal{"user:other", "uid:54321"}, false},
		{"another user of the same group", append([]metabase.Principal{"uid:54321"}, own[2:]...), false},
	}
	s := server(func(Caller) Conn { return nil })
	for _, tt := range tests {
		for size, taken := range map[int]bool{100: true, 2 * maxStranger: tt.big} {
			r := httptest.NewRequest("POST", pathCall+"mb/get", strings.NewReader(strings.Repeat(" ", size)))
			ctx := context.WithValue(r.Context(), peerKey{}, whoIsIt{who: tt.who})
			_, _, err := s.accept(httptest.NewRecorder(), r.WithContext(ctx))
			if (err == nil) != taken {
				t.Errorf("%d octets from %s: %v", size, tt.name, err)
			}
		}
	}
	if _, _, err := s.accept(httptest.NewRecorder(), &http.Request{}); err == nil {
		t.Error("nobody's request is taken")
	}
}
