// SPDX-License-Identifier: Apache-2.0

package schema

import "testing"

func TestNamed(t *testing.T) {
	for line, want := range map[string]string{
		"/LM/SMTPSVC/1: property 36886: is needed: by x": "/LM/SMTPSVC/1: HopCount: is needed: by x",
		"/LM/SMTPSVC/1: property 36886":                  "/LM/SMTPSVC/1: HopCount",
		"/LM/SMTPSVC/1: property x: y":                   "/LM/SMTPSVC/1: property x: y",
		"/LM/SMTPSVC/1: the key is needed":               "/LM/SMTPSVC/1: the key is needed",
		"/LM":                                            "/LM",
	} {
		if got := IIS().Named(line); got != want {
			t.Errorf("%q becomes %q, want %q", line, got, want)
		}
	}
}
