// SPDX-License-Identifier: Apache-2.0

package main

import (
	"context"
	"errors"
	"path/filepath"

	"restante/admin/api"
	"restante/admin/rpc"
	"restante/cmd/restante/internal/datadir"
	"restante/metabase"
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
	rest := &datadir.Conn{Data: data, Who: who, Version: thisBuild().Version}
	return &conn{rest, rest.Close}, nil
}
