// SPDX-License-Identifier: Apache-2.0

// Package runas has the process of root go on as another user, who may listen on
// ports below 1024 and has no other right of root. It knows nothing of what the
// process does.
package runas

import (
	"errors"
	"fmt"
	"os/user"
	"strconv"
)

// ErrUnsupported means that this system has no way to leave a process only the
// right to listen on ports below 1024.
var ErrUnsupported = errors.New("is only available on Linux")

// An identity is a user by numbers.
type identity struct {
	uid, gid int
	groups   []int
}

func identityOf(u *user.User) (id identity, err error) {
	groups, err := u.GroupIds()
	if err != nil {
		return id, fmt.Errorf("groups of %s: %w", u.Username, err)
	}
	for _, text := range append([]string{u.Uid, u.Gid}, groups...) {
		n, err := strconv.Atoi(text)
		if err != nil {
			return id, fmt.Errorf("user %s: %w", u.Username, err)
		}
		id.groups = append(id.groups, n)
	}
	id.uid, id.gid, id.groups = id.groups[0], id.groups[1], id.groups[2:]
	return id, nil
}
