// SPDX-License-Identifier: Apache-2.0

package admin

import (
	"path/filepath"
	"strings"

	"restante/admin/api"
)

// exportsFolder is the folder, within the data folder, that mail goes to and comes
// from for those who are not the service's own. Each has a folder there: what
// one has exported is not for another to import.
const exportsFolder = "exports"

// Folder refuses a folder that the service would read or write for a caller
// without the rights of the service's own user.
func (d *API) Folder(who api.Caller, dir string) error {
	if api.Trusted(who.Who) {
		return nil
	}
	own := filepath.Join(d.Env.Data, exportsFolder, ownFolder(who))
	if rest, err := filepath.Rel(own, dir); err == nil && filepath.IsLocal(rest) {
		return nil
	}
	return api.Refused(dir, "denied: only root and the service's own user may name any folder; use "+own+" or a folder below it")
}

// ownFolder names the caller's own folder: by the name of the user, or by its
// number where the name would not do for a folder.
func ownFolder(who api.Caller) string {
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
