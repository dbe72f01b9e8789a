// SPDX-License-Identifier: Apache-2.0

package adsi

import (
	"context"
	"strconv"

	"restante/metabase"
)

// Commands of a site object, as ServerCommand takes them.
const (
	commandStart    = 1
	commandStop     = 2
	commandPause    = 3
	commandContinue = 4
)

// Start, Stop, Pause and Continue act on a site at once. Whether it came to
// that shows in Status.
func (o *Object) Start(ctx context.Context) error { return o.command(ctx, "Start", commandStart) }
func (o *Object) Stop(ctx context.Context) error  { return o.command(ctx, "Stop", commandStop) }
func (o *Object) Pause(ctx context.Context) error { return o.command(ctx, "Pause", commandPause) }
func (o *Object) Continue(ctx context.Context) error {
	return o.command(ctx, "Continue", commandContinue)
}

func (o *Object) command(ctx context.Context, op string, n int) error {
	p, err := o.prop(op, "ServerCommand")
	if err != nil {
		return err
	}
	v, err := p.Parse([]string{strconv.Itoa(n)})
	if err != nil {
		return o.fail(op, CodeInvalid, "%w", err)
	}
	set := metabase.Set{Path: o.path, Property: p.Item(v)}
	return o.dir.wrap(op, o.ADsPath(), o.dir.apply(ctx, 0, set))
}

// Status is the site's ServerState: 1 starting, 2 started, 3 stopping,
// 4 stopped, 5 pausing, 6 paused, 7 continuing.
func (o *Object) Status(ctx context.Context) (any, error) { return o.Get(ctx, "ServerState") }
