// SPDX-License-Identifier: Apache-2.0

package mail

import (
	"testing"

	"restante/internal/deptest"
)

func TestFloor(t *testing.T) {
	deptest.Forbid(t, map[string]string{
		"restante/": "the nouns are the ground floor",
		"github":    "the nouns need nobody",
	})
}
