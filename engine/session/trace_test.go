// SPDX-License-Identifier: Apache-2.0

package session

import (
	"strings"
	"testing"
)

// TestTraceStandsAlone: a message without a header is kept behind our trace
// field, the empty line, and nothing else.
func TestTraceStandsAlone(t *testing.T) {
	for body, want := range map[string]string{
		"just some text\r\n":                     "\r\n\r\njust some text\r\n",
		"Subject: x\r\nnode: y\r\nmore text\r\n": "\r\nSubject: x\r\nnode: y\r\n\r\nmore text\r\n",
		" by evil.example\r\n":                   "\r\n\r\n by evil.example\r\n",
		"x":                                      "\r\n\r\nx",
	} {
		s := open(testPolicy(), "192.0.2.1")
		if r := s.send(t, body); !r.Positive() {
			t.Fatalf("%q: %v", body, r)
		}
		env := s.intake.envs[0]
		kept := s.intake.kept[env.ID]
		if !strings.HasSuffix(kept, want) || strings.Count(strings.TrimSuffix(kept, want), "\n") != 2 || env.Size != int64(len(kept)) {
			t.Errorf("%q is kept as %q (%d)", body, kept, env.Size)
		}
	}
}
