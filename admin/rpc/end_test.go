// SPDX-License-Identifier: Apache-2.0

package rpc

import (
	"context"
	"encoding/json"
	"errors"
	"iter"
	"log/slog"
	"testing"

	"restante/admin/api"
)

// An endlessConn answers when the context of the call ends.
type endlessConn struct{ began chan struct{} }

func (c endlessConn) Call(ctx context.Context, _ string, _ []byte) (json.RawMessage, error) {
	c.began <- struct{}{}
	<-ctx.Done()
	return nil, api.AsError(context.Cause(ctx))
}

func (c endlessConn) Stream(ctx context.Context, method string, request []byte) iter.Seq2[json.RawMessage, error] {
	return func(yield func(json.RawMessage, error) bool) { yield(c.Call(ctx, method, request)) }
}

// A call that ends with the service is told that none runs.
func TestCallsEndWithTheService(t *testing.T) {
	for what, call := range map[string]func(*Client) error{
		"call": func(c *Client) error {
			_, err := c.Call(context.Background(), "x", nil)
			return err
		},
		"stream": func(c *Client) (err error) {
			for _, err = range c.Stream(context.Background(), "x", nil) {
			}
			return err
		},
	} {
		dir := t.TempDir()
		l, err := Listen(dir)
		if err != nil {
			t.Fatal(err)
		}
		conn := endlessConn{make(chan struct{})}
		ctx, stop := context.WithCancel(t.Context())
		served := make(chan error, 1)
		go func() {
			served <- Serve(ctx, l, 0, slog.New(slog.DiscardHandler), func(api.Caller) api.Conn { return conn })
		}()
		client, err := Dial(t.Context(), dir, api.Caller{Origin: "cli"})
		if err != nil {
			t.Fatal(err)
		}
		told := make(chan error, 1)
		go func() { told <- call(client) }()
		<-conn.began
		stop()
		var e *api.Error
		if err := <-told; !errors.As(err, &e) || e.Kind != api.KindNoService {
			t.Errorf("%s: %v", what, err)
		}
		if err := <-served; !errors.Is(err, context.Canceled) {
			t.Errorf("%s: the service ends with %v", what, err)
		}
		_ = client.Close()
	}
}
