// SPDX-License-Identifier: Apache-2.0

package rpc

import (
	"net"

	"golang.org/x/sys/unix"
)

// socketMode lets every user connect: the kernel identifies them.
const socketMode = 0o666

// peerUID returns the user at the other end of the socket.
func peerUID(c *net.UnixConn) (int, error) {
	raw, err := c.SyscallConn()
	if err != nil {
		return 0, err
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
		return 0, err
	}
	return int(cred.Uid), nil
}
