// SPDX-License-Identifier: Apache-2.0

package control

import (
	"net"

	"golang.org/x/sys/unix"

	"restante/metabase"
)

// socketMode lets everybody knock: the kernel says who it is.
const socketMode = 0o666

// peer is who is at the other end of the socket.
func peer(c *net.UnixConn) ([]metabase.Principal, error) {
	raw, err := c.SyscallConn()
	if err != nil {
		return nil, err
	}
	var cred *unix.Xucred
	var inner error
	err = raw.Control(func(fd uintptr) {
		cred, inner = unix.GetsockoptXucred(int(fd), unix.SOL_LOCAL, unix.LOCAL_PEERCRED)
	})
	if err == nil {
		err = inner
	}
	if err != nil {
		return nil, err
	}
	return principals(int(cred.Uid)), nil
}
