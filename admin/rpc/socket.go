// SPDX-License-Identifier: Apache-2.0

package rpc

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"math/rand/v2"
	"net"
	"os"
	"path/filepath"
	"strings"

	"restante/admin/api"
	"restante/internal/disk"
)

// The names within the data folder.
const (
	socketName = "control.sock"
	// A socket's path has at most about 100 octets. Where the data folder's is
	// longer, the socket lies elsewhere and this file names it.
	addressName = "control.addr"
	maxSocket   = 100
	tempPrefix  = "restante-control-"
)

// Names are the files that Listen makes in the data folder.
var Names = []string{socketName, addressName}

// Listen opens the local socket of a data folder. The caller has the store open:
// a socket that Listen finds is stale. Closing the listener removes what Listen
// made.
func Listen(data string) (net.Listener, error) {
	path := filepath.Join(data, socketName)
	removeStale(data)
	var cleanup []string
	if len(path) > maxSocket {
		dir := filepath.Join(shortTemp(), fmt.Sprintf("%s%016x", tempPrefix, rand.Uint64()))
		// Other users must reach the socket: each call checks their rights.
		if err := disk.Mkdir(dir, 0o711); err != nil {
			return nil, fmt.Errorf("control socket: %w", err)
		}
		path = filepath.Join(dir, socketName)
		note := filepath.Join(data, addressName)
		if err := disk.WriteFile(nil, note, 0o644, disk.Bytes([]byte(path+"\n"))); err != nil {
			return nil, fmt.Errorf("control socket: %w", err)
		}
		cleanup = []string{note, path, dir}
	} else {
		cleanup = []string{path}
		if err := os.Remove(path); err != nil && !errors.Is(err, fs.ErrNotExist) {
			return nil, fmt.Errorf("control socket: remove the old one: %w", err)
		}
	}
	l, err := net.Listen("unix", path)
	if err != nil {
		return nil, fmt.Errorf("control socket: %w", err)
	}
	if err := os.Chmod(path, socketMode); err != nil {
		l.Close()
		return nil, fmt.Errorf("control socket: %w", err)
	}
	return &socket{Listener: l, cleanup: cleanup}, nil
}

// removeStale removes the socket that a killed service left elsewhere, and nothing
// else.
func removeStale(data string) {
	if path := address(data); filepath.Base(path) == socketName && strings.HasPrefix(filepath.Base(filepath.Dir(path)), tempPrefix) {
		_ = os.Remove(path)
		_ = os.Remove(filepath.Dir(path)) // only if it is empty
	}
	_ = os.Remove(filepath.Join(data, addressName))
}

type socket struct {
	net.Listener
	cleanup []string
}

// Close stops listening and removes the socket.
func (s *socket) Close() error {
	err := s.Listener.Close()
	for _, name := range s.cleanup {
		_ = os.Remove(name) // best effort: the next start removes it
	}
	return err
}

// address returns the path of a data folder's socket.
func address(data string) string {
	if b, err := os.ReadFile(filepath.Join(data, addressName)); err == nil {
		if path := strings.TrimSpace(string(b)); filepath.IsAbs(path) {
			return path
		}
	}
	return filepath.Join(data, socketName)
}

// dial connects to the service of a data folder. The error is api.ErrNoService
// where nothing listens, a stale socket included.
func dial(ctx context.Context, data string) (net.Conn, error) {
	path := address(data)
	if len(path) > maxSocket {
		return nil, api.ErrNoService // nothing can listen there
	}
	conn, err := (&net.Dialer{}).DialContext(ctx, "unix", path)
	switch {
	case err == nil:
		return conn, nil
	case errors.Is(err, fs.ErrNotExist) || isRefused(err):
		return nil, api.ErrNoService
	}
	return nil, fmt.Errorf("control socket: %w", err)
}
