// SPDX-License-Identifier: Apache-2.0

package mail

import (
	"testing"

	"restante/internal/deptest"
)

func TestLayers(t *testing.T) {
	deptest.Forbid(t, map[string]string{
		"restante/": "mail is the lowest layer",
		"github":    "the nouns need nobody",
	})
}
