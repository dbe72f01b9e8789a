// SPDX-License-Identifier: Apache-2.0

package schema

import "testing"

// FuzzCallers holds that a network is written as it is read.
func FuzzCallers(f *testing.F) {
	for _, s := range []string{"10.0.0.0/8", "::1", "::ffff:10.0.0.0/104", "fe80::1%eth0", "::/0", "10.0.0.1/8", "accounts", "ANY"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		for _, parse := range []func(string) (string, error){parsePrefix6, parseNetwork, parseCaller} {
			if text, err := parse(s); err == nil {
				if again, err := parse(text); err != nil || again != text {
					t.Errorf("%q is %q, which is %q, %v", s, text, again, err)
				}
			}
		}
	})
}
