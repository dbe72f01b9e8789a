// SPDX-License-Identifier: Apache-2.0

//go:build unix

package postfix

import (
	"os"
	"os/user"
	"strconv"
)

func chownTo(name, path string) error {
	u, err := user.Lookup(name)
	if err != nil {
		return err
	}
	uid, err := strconv.Atoi(u.Uid)
	if err != nil {
		return err
	}
	return os.Chown(path, uid, -1)
}
