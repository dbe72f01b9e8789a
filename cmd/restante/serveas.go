// SPDX-License-Identifier: Apache-2.0

package main

import (
	"fmt"
	"log/slog"
	"os"
	"os/user"
	"path/filepath"
	"strconv"

	"restante/admin/api"
	"restante/cmd/restante/internal/batch"
	"restante/internal/disk"
	"restante/internal/runas"
)

// defaultUser is the one that the service of root runs as, where there is one.
const defaultUser = "restante"

// becomeUser has the service go on as the user of a name: it then does not return,
// and the same command runs once more, as that user. An empty name is that of
// defaultUser, where root starts the service and that user can have the data folder.
func (c *cli) becomeUser(name string) error {
	byDefault := name == ""
	if byDefault {
		if name = defaultUser; os.Getuid() != 0 || !runas.Supported {
			return nil
		}
	}
	refuse := func(why string) error {
		return &api.Error{Kind: api.KindFailed, Text: fmt.Sprintf("--user %s: %s", name, why)}
	}
	u, err := user.Lookup(name)
	switch {
	case err != nil && byDefault:
		return nil
	case err != nil:
		return refuse("this machine has no such user: make it first, or name another")
	case u.Uid == strconv.Itoa(os.Getuid()):
		return nil
	case !runas.Supported:
		return refuse(runas.ErrUnsupported.Error() + ": have the system start the service as that user")
	case os.Getuid() != 0:
		return refuse("only root can run the service as another user")
	}
	data, err := filepath.Abs(c.data)
	if err != nil {
		return err
	}
	theirs, err := handOver(data, u)
	switch {
	case err != nil:
		return err
	case theirs:
		return runas.Exec(u, "RESTANTE_DATA="+data)
	case byDefault:
		return nil
	}
	return refuse(fmt.Sprintf("%s is not that user's: %s", data, chown(name, data)))
}

// handOver makes the data folder where there is none and gives it to u if it is
// empty. It reports whether it is the folder of u.
func handOver(data string, u *user.User) (bool, error) {
	uid, err := strconv.Atoi(u.Uid)
	if err != nil {
		return false, err
	}
	gid, err := strconv.Atoi(u.Gid)
	if err != nil {
		return false, err
	}
	if err := disk.MkdirAll(nil, data, dataMode); err != nil {
		return false, err
	}
	return disk.HandOver(data, uid, gid)
}

func chown(name, data string) string { return "chown -R " + batch.Quote(name+":", data) }

// logUser logs which user the service runs as, and for root what to do about it.
func logUser(log *slog.Logger, data string) {
	if os.Getuid() != 0 {
		name := ""
		if u, err := user.Current(); err == nil {
			name = u.Username
		}
		log.Info("runs as a user", "user", name, "uid", os.Getuid())
		return
	}
	remedy := "start it as a user of its own"
	if runas.Supported {
		remedy = "serve --user NAME, after " + chown("NAME", data)
	}
	log.Warn("runs as root", "remedy", remedy)
}
