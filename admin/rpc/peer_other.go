// SPDX-License-Identifier: Apache-2.0

//go:build !linux && !darwin

package rpc

import (
	"net"
	"os"
)

// socketMode admits the owner only: the system does not identify the peer.
const socketMode = 0o600

// peerUID returns the service's own user: no other can connect.
func peerUID(*net.UnixConn) (int, error) { return os.Getuid(), nil }
