// SPDX-License-Identifier: Apache-2.0

package pullcmd

import (
	"testing"

	"restante/internal/deptest"
)

func TestLayers(t *testing.T) {
	deptest.Forbid(t, map[string]string{
		"/admin":       "it is for hosts without a service",
		"/metabase":    "it is for hosts without a service",
		"/engine/site": "it is for hosts without a service",
		"urfave":       "restante-pull reads its few options by itself",
		"go-smtp":      "only engine/wire speaks SMTP",
	})
}
