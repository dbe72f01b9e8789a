// SPDX-License-Identifier: Apache-2.0

// Package datadir opens the stores of a data folder, for the service and for a command
// while no service runs.
package datadir

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"sync"
	"time"

	"restante/admin"
	"restante/admin/api"
	"restante/admin/explain"
	"restante/admin/queues"
	"restante/admin/rpc"
	"restante/admin/sites"
	"restante/admin/traces"
	"restante/admin/tree"
	"restante/engine"
	"restante/engine/settings"
	"restante/internal/disk"
	"restante/internal/kv"
	"restante/internal/seal"
	"restante/metabase"
	"restante/metabase/schema"
)

// Names within the data folder.
const (
	Store          = "metabase"
	Queue          = "queue" // the index of the queues
	Certificates   = "tls"   // the certificates that setup makes
	machineKeyFile = "machine.key"
)

// NewAPI makes an API with the handlers of every call. version is shown in status.
func NewAPI(t admin.Tree, e admin.Engine, data, version string) *admin.API {
	a := admin.New(t, schema.IIS(), e, admin.Env{Data: data, Version: version})
	tree.Register(a)
	sites.Register(a)
	queues.Register(a)
	traces.Register(a)
	running, ok := e.(explain.Engine)
	if !ok {
		running = engine.Offline{DataDir: data}
	}
	explain.Register(a, running)
	return a
}

// An Opened is an open metabase and the key-value store below it.
type Opened struct {
	Store     *metabase.Store
	SignInKey []byte // derived from the machine key
	db        kv.DB
}

// Close closes the store. Closing twice is harmless.
func (h *Opened) Close() error {
	return errors.Join(h.Store.Close(), h.db.Close())
}

// CloseAll closes stores, which are named by their folders, at the same
// time; within 0 is 30 s. One that does not close in time is left as it is: where
// its folder is gone or the disk refuses every write, Badger tries without end.
// What was acknowledged is in its logs already.
func CloseAll(within time.Duration, stores map[string]func() error) error {
	within = cmp.Or(within, 30*time.Second)
	ctx, cancel := context.WithTimeout(context.Background(), within)
	defer cancel()
	ends := map[string]chan error{}
	for dir, end := range stores {
		done := make(chan error, 1)
		ends[dir] = done
		go func() { done <- end() }()
	}
	var all []error
	for _, dir := range slices.Sorted(maps.Keys(ends)) {
		select {
		case err := <-ends[dir]:
			all = append(all, err)
		case <-ctx.Done():
			all = append(all, fmt.Errorf("close %s: not done after %v, the folder or the disk takes no writes; the next start reads from its logs what was acknowledged", dir, within))
		}
	}
	return errors.Join(all...)
}

// Options adjusts Open: the zero value opens a store that is there,
// for a command.
type Options struct {
	Create bool           // make the store and its key where there is none
	Read   bool           // it will only be read
	Act    metabase.Act   // of ServerCommand; nil: there is no service
	End    metabase.Act   // of EndSession; nil: there is no service
	Mail   metabase.Check // of queued mail; nil: by the index on the disk
	Log    *slog.Logger
	Audit  func(context.Context, metabase.Refusal)
}

// openStore opens the metabase of a data folder with all checks. The error is
// kv.ErrInUse while another process has it.
func Open(ctx context.Context, data string, o Options) (*Opened, error) {
	dir := filepath.Join(data, Store)
	if _, err := os.Stat(dir); errors.Is(err, os.ErrNotExist) && !o.Create {
		return nil, notSetUp(data)
	}
	if err := disk.CheckParents(data); err != nil {
		return nil, asFailed(err)
	}
	for _, name := range []string{"", Store, Queue, api.TraceFolder} {
		if err := disk.CheckPrivate(filepath.Join(data, name)); err != nil && !errors.Is(err, os.ErrNotExist) {
			return nil, asFailed(err)
		}
	}
	key, err := machineKey(data, o.Create)
	if errors.Is(err, fs.ErrPermission) && !o.Create { // another user has only the service's socket
		return nil, &api.Error{Kind: api.KindNoService, Text: fmt.Sprintf("the service is needed and does not run: %v", err)}
	}
	if err != nil {
		return nil, asFailed(fmt.Errorf("machine key: %w", err))
	}
	db, err := OpenKV(dir, o.Log, o.Read)
	if err != nil {
		return nil, err
	}
	if !o.Read {
		removeUnfinished(filepath.Join(data, "backups"))
	}
	if o.Act == nil {
		o.Act = func(context.Context, metabase.Path, metabase.Value) error { return api.ErrNoService }
		o.End = o.Act
	}
	if o.Mail == nil {
		o.Mail = CheckQueues(data)
	}
	store, err := metabase.Open(ctx, db, key, metabase.Options{
		Checks: []metabase.Check{schema.IIS().Check, layout(data).Check, o.Mail},
		Acts:   map[metabase.ID]metabase.Act{settings.ServerCommand: o.Act, settings.EndSession: o.End},
		Keep:   settings.Retention,
		Audit:  o.Audit,
		Log:    o.Log,
		Named:  schema.IIS().Named,
	})
	if err != nil {
		_ = db.Close() // nothing was written
		if errors.Is(err, kv.ErrReadOnly) {
			return nil, err
		}
		return nil, asFailed(fmt.Errorf("%s with %s: %w", dir, filepath.Join(data, machineKeyFile), err))
	}
	return &Opened{store, key.Derive("sign-in"), db}, nil
}

// OpenKV opens the key-value store in a folder, to be read only or to be written. It
// works again after a failure of the disk.
func OpenKV(dir string, log *slog.Logger, read bool) (kv.DB, error) {
	return kv.Reopen(func() (kv.DB, error) { return openKV(dir, log, read) }, log)
}

// removeUnfinished removes the backups that a killed process had not finished. Only
// the process that has the store open writes backups.
func removeUnfinished(dir string) {
	names, _ := filepath.Glob(filepath.Join(dir, "tmp-*.part")) // see disk.CreateFile; the pattern is valid
	for _, name := range names {
		_ = os.Remove(name) // best effort
	}
}

func notSetUp(data string) error {
	return &api.Error{Kind: api.KindFailed, Text: data + ": nothing is set up there yet: the service does it when it runs for the first time", Hint: "serve"}
}

// layout is the data folder, with the folders that no site may have for its own.
func layout(data string) settings.Layout {
	return settings.Layout{
		Data: data, Reserved: append([]string{Store, Queue, api.TraceFolder, "backups", "exports", machineKeyFile}, rpc.Names...),
		Certificates: Certificates, OwnAddress: engine.IsOwnAddress,
	}
}

// CheckQueues checks by the index of the queues that no service has open. It is
// opened only when a change needs it.
func CheckQueues(data string) metabase.Check {
	dir := filepath.Join(data, Queue)
	var one sync.Mutex // the index can be open once
	return func(c metabase.Change) []metabase.Problem {
		one.Lock()
		defer one.Unlock()
		if _, err := os.Stat(dir); errors.Is(err, os.ErrNotExist) {
			return nil
		}
		var index kv.DB
		defer func() {
			if index != nil {
				_ = index.Close() // it was only read
			}
		}()
		open := func() (kv.DB, error) {
			var err error
			if index == nil {
				index, err = openKV(dir, nil, true)
				if errors.Is(err, kv.ErrUnclean) {
					index, err = openKV(dir, nil, false)
				}
			}
			return index, err
		}
		return engine.Backlog{Data: data, Index: open}.Check(c)
	}
}

// asFailed gives an error of opening the store the kind KindFailed. Its own kind
// would be taken for the answer to the call, such as "not found".
func asFailed(err error) error {
	return &api.Error{Kind: api.KindFailed, Text: err.Error()}
}

// machineKey reads the key that secure values are encrypted with. A store
// whose key is gone is not given a new one: its secrets would be lost.
func machineKey(data string, create bool) (seal.Key, error) {
	file := filepath.Join(data, machineKeyFile)
	key, err := seal.Read(file)
	if !errors.Is(err, seal.ErrMissing) || !create {
		return key, err
	}
	if _, err := os.Stat(filepath.Join(data, Store)); err == nil {
		return key, fmt.Errorf("%s is gone, and the store beside it cannot be opened without: bring it back from your backup", file)
	}
	return seal.Create(file)
}
