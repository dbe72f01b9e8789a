// SPDX-License-Identifier: Apache-2.0

package datadir

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"iter"
	"os"
	"path/filepath"
	"strings"
	"time"

	"restante/admin/api"
	"restante/admin/rpc"
	"restante/internal/disk"
	"restante/internal/kv"
)

// A Conn carries calls while no service runs. It opens the store at the first
// call that needs it, and for writing only if the call may change something. Close it
// after use.
type Conn struct {
	Data    string // the folder
	Who     api.Caller
	Version string // of this build

	conn  api.Conn // nil: nothing is open
	reads bool     // the store of conn can only be read
	end   func() error
}

func (s *Conn) Call(ctx context.Context, method string, request []byte) (json.RawMessage, error) {
	if err := s.open(ctx, method, request); err != nil {
		return nil, err
	}
	return s.conn.Call(ctx, method, request)
}

func (s *Conn) Stream(ctx context.Context, method string, request []byte) iter.Seq2[json.RawMessage, error] {
	if err := s.open(ctx, method, request); err != nil {
		return func(yield func(json.RawMessage, error) bool) { yield(nil, err) }
	}
	return s.conn.Stream(ctx, method, request)
}

// open opens what a call needs, unless it is open. A service that has started
// meanwhile gets the call.
func (s *Conn) open(ctx context.Context, method string, request []byte) error {
	needsService := api.NeedsService(method)
	reads := (api.Reads(method) || isDryRun(request)) && !needsService
	if s.conn != nil && (reads || !s.reads) {
		return nil
	}
	if err := s.Close(); err != nil {
		return err
	}
	if _, err := os.Stat(filepath.Join(s.Data, Store)); errors.Is(err, os.ErrNotExist) {
		return notSetUp(s.Data)
	}
	if needsService {
		return api.ErrNoService
	}
	return WhenFree(ctx, s.Data, func() error {
		err := s.openStore(ctx, reads)
		if !errors.Is(err, kv.ErrInUse) {
			return err
		}
		client, gone := rpc.Dial(ctx, s.Data, s.Who)
		if gone != nil {
			return err
		}
		s.conn, s.reads, s.end = client, false, client.Close
		return nil
	})
}

// openStore opens the store. One that is to be read, but needs something written
// before, such as after a crash, is opened for writing.
func (s *Conn) openStore(ctx context.Context, reads bool) error {
	restore, err := disk.ActAsOwner(s.Data)
	if err != nil {
		return err
	}
	h, err := Open(ctx, s.Data, Options{Read: reads})
	if errors.Is(err, kv.ErrUnclean) || errors.Is(err, kv.ErrReadOnly) {
		needs := err
		reads = false
		if h, err = Open(ctx, s.Data, Options{}); disk.IsRefused(err) {
			err = &api.Error{Kind: api.KindFailed, Text: fmt.Sprintf(
				"%s: must be written before it can be read, as %s: %v; run the command once as a user who may write there", s.Data, whyWritten(needs), err)}
		}
	}
	if err != nil {
		restore()
		return err
	}
	s.conn, s.reads = NewAPI(h.Store, nil, s.Data, s.Version).Direct(s.Who), reads
	s.end = func() error {
		defer restore()
		return CloseAll(0, map[string]func() error{filepath.Join(s.Data, Store): h.Close})
	}
	return nil
}

// isDryRun reports whether a request asks only what it would do.
func isDryRun(request []byte) bool {
	var q struct {
		DryRun bool `json:"dry_run"`
	}
	return json.Unmarshal(request, &q) == nil && q.DryRun
}

// whyWritten tells why a store that is only to be read has to be written.
func whyWritten(needs error) string {
	if errors.Is(needs, kv.ErrUnclean) {
		return "its last user did not close it"
	}
	return "a change that was not confirmed in time is to be taken back"
}

// Close closes what is open.
func (s *Conn) Close() error {
	if s.conn == nil {
		return nil
	}
	s.conn = nil
	return s.end()
}

// A command has the store for less than a second as a rule.
const (
	freeWait = 10 * time.Second
	freePoll = 20 * time.Millisecond
)

// WhenFree calls open until it finds the store of a data folder free, for a while.
func WhenFree(ctx context.Context, data string, open func() error) error {
	for deadline := time.Now().Add(freeWait); ; {
		err := open()
		if !errors.Is(err, kv.ErrInUse) {
			return err
		}
		if time.Now().After(deadline) {
			return &api.Error{Kind: api.KindFailed, Text: fmt.Sprintf("%s: in use by another process%s, which does not answer on its socket (yet)", data, lockHolder(err))}
		}
		select {
		case <-ctx.Done():
			return context.Cause(ctx)
		case <-time.After(freePoll):
		}
	}
}

// lockHolder names the process that has the store open: its number, and its
// name where the system tells it.
func lockHolder(err error) string {
	var by *kv.InUse
	if !errors.As(err, &by) {
		return ""
	}
	name, rerr := os.ReadFile(fmt.Sprintf("/proc/%d/comm", by.PID))
	if rerr != nil {
		return fmt.Sprintf(" (%d)", by.PID)
	}
	return fmt.Sprintf(" (%d, %s)", by.PID, strings.TrimSpace(string(name)))
}
