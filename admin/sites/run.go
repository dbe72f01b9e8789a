// SPDX-License-Identifier: Apache-2.0

package sites

import (
	"bytes"
	"context"
	"io"
	"iter"

	"restante/admin"
	"restante/admin/api"
	"restante/metabase"
)

// Scripts runs one administration script over tree. Its changes have the author
// of as, its output goes to out.
type Scripts func(ctx context.Context, tree admin.Tree, as metabase.Batch, s api.Script, out io.Writer) error

// run runs a script and yields its output as it comes.
func (h handlers) run(ctx context.Context, who api.Caller, s api.Script) iter.Seq2[api.Output, error] {
	return func(yield func(api.Output, error) bool) {
		if h.scripts == nil {
			yield(api.Output{}, &api.Error{Kind: api.KindFailed, Text: "scripts need the command or the service"})
			return
		}
		who.Origin = metabase.FromLua
		if err := h.authorizeRun(ctx, who); err != nil {
			yield(api.Output{}, err)
			return
		}
		ctx, cancel := context.WithCancel(ctx)
		defer cancel()
		lines := make(chan api.Output)
		done := make(chan error, 1)
		go func() {
			out := lineWriter{ctx: ctx, lines: lines}
			err := h.scripts(ctx, h.As(who), who.Batch(), s, &out)
			out.flush()
			close(lines)
			done <- err
		}()
		more := true
		for line := range lines {
			if more && !yield(line, nil) {
				more = false
				cancel() // the client has hung up: the script ends at its next step
			}
		}
		if err := <-done; err != nil && more {
			yield(api.Output{}, err)
		}
	}
}

// authorizeRun refuses callers without any right but read: a script takes time
// and memory of the service, and commands suffice for reading.
func (h handlers) authorizeRun(ctx context.Context, who api.Caller) error {
	snap := h.Tree.Snapshot()
	if snap.Allows(who.Who, metabase.Root, metabase.Write) {
		return nil
	}
	for _, p := range snap.DataPaths(metabase.Root, metabase.AccessList) {
		if snap.Rights(who.Who, p)&^metabase.Read != 0 {
			return nil
		}
	}
	if err := h.Allow(ctx, who, metabase.Root, metabase.Write); err != nil { // the refusal is logged
		return api.Refused("denied", "running a script takes a right other than read")
	}
	return nil
}

// lineWriter passes whole lines on.
type lineWriter struct {
	ctx   context.Context
	lines chan<- api.Output
	rest  []byte
}

func (w *lineWriter) Write(b []byte) (int, error) {
	w.rest = append(w.rest, b...)
	i := bytes.LastIndexByte(w.rest, '\n')
	if i < 0 {
		return len(b), nil
	}
	text := string(w.rest[:i+1])
	w.rest = append([]byte(nil), w.rest[i+1:]...)
	select {
	case w.lines <- api.Output{Text: text}:
		return len(b), nil
	case <-w.ctx.Done():
		return 0, context.Cause(w.ctx)
	}
}

func (w *lineWriter) flush() {
	if len(w.rest) > 0 {
		_, _ = w.Write([]byte("\n")) // the script reports the end of the context
	}
}
