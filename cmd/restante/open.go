// SPDX-License-Identifier: Apache-2.0

package main

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
	"restante/admin/queues"
	"restante/admin/rpc"
	"restante/admin/sites"
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
	storeName = "metabase"
	keyName   = "machine.key"
	tlsName   = "tls" // the certificate that setup makes
)

// A conn carries calls to the administration API. Close it after use.
type conn struct {
	api.Conn
	close func() error
}

// open finds the running service or else opens the store itself.
func (c *cli) open(ctx context.Context) (*conn, error) { return c.openAs(ctx, metabase.FromCLI) }

// openAs is open for calls of an origin.
func (c *cli) openAs(ctx context.Context, from metabase.Origin) (*conn, error) {
	data, err := filepath.Abs(c.data)
	if err != nil {
		return nil, err
	}
	who := api.Caller{Who: api.Self(), Origin: from, Comment: c.comment, Terms: c.terms}
	client, err := rpc.Dial(ctx, data, who)
	if err == nil {
		return &conn{client, client.Close}, nil
	}
	if !errors.Is(err, api.ErrNoService) {
		return nil, err
	}
	rest := &storeConn{data: data, who: who}
	return &conn{rest, rest.close}, nil
}

// newAPI makes an API with the handlers of every call.
func newAPI(t admin.Tree, e admin.Engine, data string) *admin.API {
	a := admin.New(t, schema.IIS(), e, admin.Env{Data: data, Version: thisBuild().Version})
	tree.Register(a)
	sites.Register(a)
	queues.Register(a)
	return a
}

// An openedStore is an open metabase and the key-value store below it.
type openedStore struct {
	store     *metabase.Store
	db        kv.DB
	signInKey []byte // derived from the machine key
}

// Close closes the store. Closing twice is harmless.
func (h *openedStore) Close() error {
	return errors.Join(h.store.Close(), h.db.Close())
}

// closeStores closes the stores, which are named by their folders, at the same
// time; within 0 is 30 s. One that does not close in time is left as it is: where
// its folder is gone or the disk refuses every write, Badger tries without end.
// What was acknowledged is in its logs already.
func closeStores(within time.Duration, stores map[string]func() error) error {
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

// storeOptions adjusts openStore: the zero value opens a store that is there,
// for a command.
type storeOptions struct {
	create bool // make the store and its key where there is none
	read   bool // it will only be read
	act    metabase.Act
	mail   metabase.Check // of queued mail; nil: by the index on the disk
	log    *slog.Logger
	audit  func(context.Context, metabase.Refusal)
}

// openStore opens the metabase of a data folder with all checks. The error is
// kv.ErrInUse while another process has it.
func openStore(ctx context.Context, data string, o storeOptions) (*openedStore, error) {
	dir := filepath.Join(data, storeName)
	if _, err := os.Stat(dir); errors.Is(err, os.ErrNotExist) && !o.create {
		return nil, errNotSetUp(data)
	}
	if err := disk.CheckParents(data); err != nil {
		return nil, asFailed(err)
	}
	for _, name := range []string{"", storeName, queueName} {
		if err := disk.CheckPrivate(filepath.Join(data, name)); err != nil && !errors.Is(err, os.ErrNotExist) {
			return nil, asFailed(err)
		}
	}
	key, err := machineKey(data, o.create)
	if errors.Is(err, fs.ErrPermission) && !o.create { // another user has only the service's socket
		return nil, &api.Error{Kind: api.KindNoService, Text: fmt.Sprintf("the service is needed and does not run: %v", err)}
	}
	if err != nil {
		return nil, asFailed(fmt.Errorf("machine key: %w", err))
	}
	db, err := openLasting(dir, o.log, o.read)
	if err != nil {
		return nil, err
	}
	if !o.read {
		removeUnfinished(filepath.Join(data, "backups"))
	}
	if o.act == nil {
		o.act = func(context.Context, metabase.Path, metabase.Value) error { return api.ErrNoService }
	}
	if o.mail == nil {
		o.mail = checkQueuesAtRest(data)
	}
	store, err := metabase.Open(ctx, db, key, metabase.Options{
		Checks: []metabase.Check{schema.IIS().Check, dataLayout(data).Check, o.mail},
		Acts:   map[metabase.ID]metabase.Act{settings.ServerCommand: o.act},
		Keep:   settings.Retention,
		Audit:  o.audit,
		Log:    o.log,
	})
	if err != nil {
		_ = db.Close() // nothing was written
		if errors.Is(err, kv.ErrReadOnly) {
			return nil, err
		}
		return nil, asFailed(fmt.Errorf("%s with %s: %w", dir, filepath.Join(data, keyName), err))
	}
	return &openedStore{store, db, key.Derive("sign-in")}, nil
}

// openLasting opens a store that works again after a failure of the disk.
func openLasting(dir string, log *slog.Logger, read bool) (kv.DB, error) {
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

func errNotSetUp(data string) error {
	return &api.Error{Kind: api.KindFailed, Text: data + ": nothing is set up there yet: the service does it when it runs for the first time", Hint: "serve"}
}

// dataLayout is the data folder, with the folders that no site may have for its own.
func dataLayout(data string) settings.Layout {
	return settings.Layout{
		Data: data, Reserved: append([]string{storeName, queueName, "backups", "exports", keyName}, rpc.Names...),
		Certificates: tlsName, OwnAddress: engine.IsOwnAddress,
	}
}

// checkQueuesAtRest checks by the index of the queues that no service has open. It is
// opened only when a change needs it.
func checkQueuesAtRest(data string) metabase.Check {
	dir := filepath.Join(data, queueName)
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
	file := filepath.Join(data, keyName)
	key, err := seal.Read(file)
	if !errors.Is(err, seal.ErrMissing) || !create {
		return key, err
	}
	if _, err := os.Stat(filepath.Join(data, storeName)); err == nil {
		return key, fmt.Errorf("%s is gone, and the store beside it cannot be opened without: bring it back from your backup", file)
	}
	return seal.Create(file)
}
