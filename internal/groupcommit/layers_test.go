// SPDX-License-Identifier: Apache-2.0

package groupcommit

import (
	"testing"

	"restante/internal/deptest"
)

func TestLayers(t *testing.T) {
	deptest.Forbid(t, map[string]string{
		"restante/": "the line knows nothing of what is waited for",
	})
}
