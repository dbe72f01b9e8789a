// SPDX-License-Identifier: Apache-2.0

package disk_test

import (
	"testing"

	"restante/internal/testpeer/winetest"
)

// The tests of this package pass on Windows, as far as Wine is one.
func TestUnderWine(t *testing.T) { winetest.RunTests(t, "") }
