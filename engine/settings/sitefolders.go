// SPDX-License-Identifier: Apache-2.0

package settings

import (
	"strconv"

	"restante/metabase"
)

// SiteFolders are the properties that name the folders of a site's own.
var SiteFolders = []metabase.ID{QueueDirectory, DropDirectory, PickupDirectory, BadMailDirectory}

// Mailroot is the usual parent of a site's folders, below the data folder; with
// site 0 that of the service.
func Mailroot(n int) string {
	if n == 0 || n == DefaultSite {
		return "Mailroot"
	}
	return "Mailroot-" + strconv.Itoa(n)
}

// FolderIn is the folder below dir that a property usually names; "" where it
// names none.
func FolderIn(dir string, id metabase.ID) string {
	switch id {
	case QueueDirectory:
		return dir + "/Queue"
	case DropDirectory:
		return dir + "/Drop"
	case PickupDirectory:
		return dir + "/Pickup"
	case BadMailDirectory:
		return dir + "/Badmail"
	}
	return ""
}
