// SPDX-License-Identifier: Apache-2.0

package testpeer

import (
	"os"
	"testing"
)

// Missing skips a test whose peer is not on this machine, and says which. In
// CI nothing that is named as a check may go missing, so there it fails.
func Missing(t testing.TB, why error) {
	t.Helper()
	if os.Getenv("CI") != "" {
		t.Fatalf("needed in CI: %v", why)
	}
	t.Skipf("left out: %v", why)
}
