// SPDX-License-Identifier: Apache-2.0

package desk

import (
	"path/filepath"

	"restante/internal/control"
)

// exports is the folder, within the data folder, that mail goes to and comes
// from for those who are not the service's own.
const exports = "exports"

// Folder refuses a folder that the service would read or write for a caller who
// could not himself. Root and whoever runs the service could.
func (d *Desk) Folder(who control.Caller, dir string) error {
	if control.Trusted(who.Who) {
		return nil
	}
	room := filepath.Join(d.Place.Data, exports)
	if rest, err := filepath.Rel(room, dir); err == nil && filepath.IsLocal(rest) && rest != "." {
		return nil
	}
	return control.Refused(dir, "denied: only root and who runs the service name folders as they like; you may name those below "+room)
}
