// SPDX-License-Identifier: Apache-2.0

//go:build !linux && !darwin

package rpc

import (
	"net"
	"os"
)

// socketMode keeps others out: the system does not say who knocks, so the
// file's protection must.
const socketMode = 0o600

// peerUID is who runs the service: nobody else gets to the socket.
func peerUID(*net.UnixConn) (int, error) { return os.Getuid(), nil }
