// SPDX-License-Identifier: Apache-2.0

package adsutil

import (
	"context"
	"errors"
	"fmt"

	adsi "restante/adsi-compat"
)

type transferFunc func(o *adsi.Object, ctx context.Context, from, to string) (*adsi.Object, error)

// An act is what can be done to a site.
type act struct {
	verb, does, done string
	runs             bool // the site accepts callers after it
	do               func(*adsi.Object, context.Context) error
}

// acts are in the order of ServerCommand's numbers, from 1 on.
var acts = []act{
	{"START_SERVER", "starts a site", "STARTED", true, (*adsi.Object).Start},
	{"STOP_SERVER", "stops a site", "STOPPED", false, (*adsi.Object).Stop},
	{"PAUSE_SERVER", "pauses a site", "PAUSED", false, (*adsi.Object).Pause},
	{"CONTINUE_SERVER", "continues a paused site", "CONTINUED", true, (*adsi.Object).Continue},
}

func (c *call) act(p path, n int) error {
	o, err := c.bind(p)
	if err == nil {
		err = acts[n].do(o, c.ctx)
	}
	if err == nil && acts[n].runs {
		err = stopped(c.ctx, o)
	}
	if err == nil {
		c.printf("Server %s Successfully %s\n", p, acts[n].done)
	}
	return err
}

const stateStopped = "4"

// stopped is the error of a site that is stopped all the same.
func stopped(ctx context.Context, o *adsi.Object) error {
	state, err := o.Status(ctx)
	if err != nil || fmt.Sprint(state) != stateStopped {
		return err
	}
	return &Error{Code: adsi.CodeFailed, Err: errors.New("the site does not run"), Hint: "site show " + o.Name()}
}
