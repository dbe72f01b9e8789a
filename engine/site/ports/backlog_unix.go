// SPDX-License-Identifier: Apache-2.0

//go:build unix

package ports

import (
	"net"
	"syscall"
)

// setBacklog sets how many connections may wait to be accepted, 0 for as many as the
// system lets, by a second listen(2).
func (l *listener) setBacklog(n int) {
	tcp, ok := l.Listener.(*net.TCPListener)
	if !ok || n == 0 && l.backlog == 0 {
		return // net has asked for as many
	}
	l.backlog = n
	if n == 0 {
		n = mostBacklog
	}
	if raw, err := tcp.SyscallConn(); err == nil {
		_ = raw.Control(func(fd uintptr) { _ = syscall.Listen(int(fd), n) }) // it goes on as it was
	}
}

// mostBacklog is more than systems let wait.
const mostBacklog = 65535
