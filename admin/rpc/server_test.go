// SPDX-License-Identifier: Apache-2.0

package rpc

import (
	"context"
	"encoding/json"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"restante/admin/api"

	"restante/metabase"
)

func TestRequestSizeOfOtherUsers(t *testing.T) {
	own := api.Self()
	tests := []struct {
		name string
		who  []metabase.Principal
		big  bool
	}{
		{"the service's own user", own, true},
		{"root", []metabase.Principal{"uid:0"}, true},
		{"another user", []metabase.Principal{"user:other", "uid:54321"}, false},
		{"another user of the same group", append([]metabase.Principal{"uid:54321"}, own[2:]...), false},
	}
	s := handler(func(api.Caller) api.Conn { return nil })
	for _, tt := range tests {
		for size, taken := range map[int]bool{100: true, 2 * maxUntrustedRequest: tt.big} {
			r := httptest.NewRequest("POST", pathCall+"mb/get", strings.NewReader(strings.Repeat(" ", size)))
			r.Header.Set(headerOrigin, "cli")
			r.Header.Set(headerComment, `""`)
			ctx := context.WithValue(r.Context(), peerKey{}, peer{who: tt.who})
			_, _, err := s.accept(httptest.NewRecorder(), r.WithContext(ctx))
			if (err == nil) != taken {
				t.Errorf("%d octets from %s: %v", size, tt.name, err)
			}
		}
	}
	if _, _, err := s.accept(httptest.NewRecorder(), &http.Request{}); err == nil {
		t.Error("a request without peer credentials is accepted")
	}
}

// TestOriginIsNotTheCallersToChoose checks that a caller over the socket cannot
// name itself as the service or an import.
func TestOriginIsNotTheCallersToChoose(t *testing.T) {
	tests := []struct {
		origin, comment string
		taken           bool
	}{
		{"cli", `"why"`, true},
		{"", `"why"`, false},
		{"lua", `"why"`, true},
		{"import", `"why"`, false},
		{"system", `"why"`, false},
		{"cli ", `"why"`, false},
		{"CLI", `"why"`, false},
		{strings.Repeat("cli", 1000), `"why"`, false},
		{"cli", `why`, false},
		{"cli", ``, false},
	}
	for _, tt := range tests {
		r := httptest.NewRequest("POST", pathCall+"mb/get", nil)
		r.Header.Set(headerOrigin, tt.origin)
		r.Header.Set(headerComment, tt.comment)
		who, err := caller(r.WithContext(context.WithValue(r.Context(), peerKey{}, peer{who: api.Self()})))
		if (err == nil) != tt.taken || tt.taken && (string(who.Origin) != tt.origin || who.Comment != "why") {
			t.Errorf("origin %.20q, comment %q: %+v, %v", tt.origin, tt.comment, who, err)
		}
		if err != nil && len(err.Error()) > 200 {
			t.Errorf("the error repeats what came: %d octets", len(err.Error()))
		}
	}
}

// TestHeaderText sends every character below U+0100, and others, as a header has them.
func TestHeaderText(t *testing.T) {
	text := "日本\u2028\U0001F600"
	for r := range rune(0x100) {
		text += string(r)
	}
	header := headerText(text)
	if strings.ContainsFunc(header, func(r rune) bool { return r < ' ' || r == 0x7f }) {
		t.Errorf("%q is no value of a header", header)
	}
	var back string
	if err := json.Unmarshal([]byte(header), &back); err != nil || back != text {
		t.Errorf("%q is read as %q, %v", header, back, err)
	}
}

func TestCommentIsOneLine(t *testing.T) {
	tests := []struct {
		comment string
		taken   bool
	}{
		{"", true},
		{"grüße, 日本 \U0001F600", true},
		{strings.Repeat("ü", api.MaxComment), true},
		{strings.Repeat("ü", api.MaxComment+1), false},
		{"one\n5  2026-01-01  user:root  cli  1 change  forged", false},
		{"one\rtwo", false},
		{"one\ttwo", false},
		{"\x1b[2J", false},
		{"\u009b2J", false}, // the same in one character
		{"\x00", false},
		{"\x7f", false},
		{"one\u2028two", false},
		{"\u202etoor", false}, // shown from right to left
		{"\xff", false},
	}
	for _, tt := range tests {
		if err := (api.Caller{Comment: tt.comment}).Check(); (err == nil) != tt.taken || err != nil && api.AsError(err).Kind != api.KindRefused {
			t.Errorf("comment %.40q: %v", tt.comment, err)
		}
	}
}
