// SPDX-License-Identifier: Apache-2.0

package admin

import (
	"maps"
	"slices"
)

// Methods lists the registered calls and streams.
func (d *API) Methods() (calls, streams []string) {
	return slices.Sorted(maps.Keys(d.calls)), slices.Sorted(maps.Keys(d.streams))
}
