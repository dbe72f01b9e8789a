// SPDX-License-Identifier: Apache-2.0

package hashed

import (
	"strings"
	"testing"
)

func TestReadBook(t *testing.T) {
	for text, want := range map[string]string{
		"":                 "has no address",
		"# none\n":         "has no address",
		"a@b.test\na b@\n": "line 2 is no address",
		"joe\n":            "line 1 has no domain",
	} {
		if _, err := ReadBook(strings.NewReader(text), nil); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%q: %v, want %q", text, err, want)
		}
	}
}
