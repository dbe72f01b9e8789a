// SPDX-License-Identifier: Apache-2.0

package rpc

import (
	"context"
	"encoding/json"
	"iter"
	"log/slog"
	"runtime"
	"testing"

	"restante/admin/api"
	"restante/internal/progress"
)

// A stepConn counts one step of two, and answers when released is closed.
type stepConn struct{ released chan struct{} }

func (c stepConn) Call(ctx context.Context, _ string, _ []byte) (json.RawMessage, error) {
	m := progress.From(ctx)
	m.Expect(2)
	m.Add(1)
	api.Note(ctx, "/LM", "noted")
	if m != nil {
		<-c.released
	}
	return json.RawMessage(`"done"`), nil
}

func (stepConn) Stream(context.Context, string, []byte) iter.Seq2[json.RawMessage, error] { return nil }

// TestProgress checks that a client that wants it gets the count of a call that
// is under way, and that any other one gets the same answer.
func TestProgress(t *testing.T) {
	dir := t.TempDir()
	l, err := Listen(dir)
	if err != nil {
		t.Fatal(err)
	}
	conn := stepConn{make(chan struct{})}
	ctx, stop := context.WithCancel(t.Context())
	served := make(chan error, 1)
	go func() {
		served <- Serve(ctx, l, 0, slog.New(slog.DiscardHandler), func(api.Caller) api.Conn { return conn })
	}()
	defer func() { stop(); <-served }()
	client, err := Dial(ctx, dir, api.Caller{Origin: "cli"})
	if err != nil {
		t.Fatal(err)
	}
	defer client.Close()

	call := func(ctx context.Context) {
		notes := 0
		raw, err := client.Call(api.WithNotes(ctx, func(api.Noted) { notes++ }), "x", nil)
		if string(raw) != `"done"` || err != nil || notes != 1 {
			t.Errorf("the answer is %q, %v, with %d notes", raw, err, notes)
		}
	}
	call(ctx) // without a meter
	var m progress.Meter
	answered := make(chan struct{})
	go func() { defer close(answered); call(progress.With(ctx, &m)) }()
	for _, total := m.Count(); total == 0; _, total = m.Count() {
		select {
		case <-answered:
			t.Fatal("an answer, and no progress before it")
		default:
			runtime.Gosched()
		}
	}
	close(conn.released)
	<-answered
	if done, total := m.Count(); done != 1 || total != 2 {
		t.Errorf("counted %d of %d, want 1 of 2", done, total)
	}
}
