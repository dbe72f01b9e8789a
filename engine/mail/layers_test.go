// SPDX-License-Identifier: Apache-2.0

package mail

import (
	"testing"

	"restante/internal/deptest"
)

func TestLayers(t *testing.T) {
	deptest.Forbid(t, map[string]string{
		"/engine":        "mail is the lowest layer of it",
		"/metabase":      "the SMTP packages know nothing of paths",
		"/internal/kv":   "the nouns are stored by others",
		"/internal/disk": "the nouns are stored by others",
		"github":         "the nouns need nobody",
	})
}
