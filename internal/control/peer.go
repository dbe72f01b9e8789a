// SPDX-License-Identifier: Apache-2.0

package control

import (
	"os"
	"os/user"
	"strconv"

	"restante/metabase"
)

// Self is the principals of the process' own user: the name first, then the
// number and the groups.
func Self() []metabase.Principal {
	return principals(os.Getuid())
}

// principals looks up who a user number is. A number without a name is still
// a principal.
func principals(uid int) []metabase.Principal {
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
