// SPDX-License-Identifier: Apache-2.0

package api

import (
	"os"
	"os/user"
	"slices"
	"strconv"
	"strings"

	"restante/metabase"
)

// Self returns the principals of the process's own user: the name first, then
// the number and the groups.
func Self() []metabase.Principal {
	return PrincipalsOf(os.Getuid())
}

// PrincipalsOf returns the principals of a user number. A number without a name
// is still a principal.
func PrincipalsOf(uid int) []metabase.Principal {
	var u *user.User
	var err error
	if uid < 0 || uid == os.Getuid() {
		u, err = user.Current() // Windows has no numbers
	} else {
		u, err = user.LookupId(strconv.Itoa(uid))
	}
	number := metabase.Principal("uid:" + strconv.Itoa(uid))
	if err != nil {
		return []metabase.Principal{number}
	}
	who := []metabase.Principal{metabase.Principal("user:" + u.Username), metabase.Principal("uid:" + u.Uid)}
	groups, err := u.GroupIds()
	if err != nil {
		return who // fewer rights, never more
	}
	for _, id := range groups {
		who = append(who, metabase.Principal("gid:"+id))
		if g, err := user.LookupGroupId(id); err == nil {
			who = append(who, metabase.Principal("group:"+g.Name))
		}
	}
	return who
}

// Trusted reports whether the caller is root or the service's own user.
func Trusted(who []metabase.Principal) bool {
	own := Self()
	return slices.ContainsFunc(who, func(p metabase.Principal) bool {
		return p == "uid:0" || slices.Contains(own, p) && strings.HasPrefix(string(p), "uid:")
	})
}
