// SPDX-License-Identifier: Apache-2.0

package main

import (
	"slices"
	"strings"
	"testing"
)

// TestCandidates completes commands and flags, which needs no store.
func TestCandidates(t *testing.T) {
	tests := []struct {
		words []string
		want  string
	}{
		{[]string{"acc"}, "account"},
		{[]string{"--json", "acc"}, "account"},
		{[]string{"--data", "x", "acc"}, "account"},
		{[]string{"account", "pass"}, "passwd"},
		{[]string{"mb", "get", "--s"}, "--stored"},
		{[]string{"--y"}, "--yes"},
		{[]string{"mb", "get", "--rev", ""}, ""}, // the value of a flag
		{[]string{"mb", "get", "--rev"}, "--rev"},
		{[]string{"__comp"}, ""},
		{[]string{"mb", "x", "ge"}, ""}, // after an argument no command
	}
	for _, tt := range tests {
		c := &cli{data: t.TempDir()}
		if got := c.candidates(t.Context(), c.app(), tt.words); !slices.Equal(got, strings.Fields(tt.want)) {
			t.Errorf("candidates(%q) = %q, want %q", tt.words, got, tt.want)
		}
	}
}
