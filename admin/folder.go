// SPDX-License-Identifier: Apache-2.0

package admin

import (
	"path/filepath"
	"strings"

	"restante/admin/api"
)

// exports is the folder, within the data folder, that mail goes to and comes
// from for those who are not the service's own. Each has a folder there: what
// one has exported is not for another to import.
const exports = "exports"

// Folder refuses a folder that the service would read or write for a caller who
// could not himself. Root and whoever runs the service could.
func (d *API) Folder(who api.Caller, dir string) error {
	if api.Trusted(who.Who) {
		return nil
	}
	room := filepath.Join(d.Env.Data, exports, roomOf(who))
	if rest, err := filepath.Rel(room, dir); err == nil && filepath.IsLocal(rest) {
		return nil
	}
	return api.Refused(dir, "denied: only root and who runs the service name folders as they like; you may name "+room+" and those below it")
}

// roomOf names the caller's own folder: by the name of the user, or by its
// number where the name would not do for a folder.
func roomOf(who api.Caller) string {
	for _, scheme := range []string{"user:", "uid:"} {
		for _, p := range who.Who {
			name, ok := strings.CutPrefix(string(p), scheme)
			if ok && filepath.IsLocal(name) && name != "." && !strings.ContainsAny(name, `/\`) {
				return name
			}
		}
	}
	return "nobody"
}
