// SPDX-License-Identifier: Apache-2.0

package site

import (
	"time"

	"restante/engine/mail"
	"restante/engine/queue"
)

// rerouted reports whether mail for d has another route under now than under was.
func rerouted(was, now *Config, d mail.Domain) bool {
	return now != was && !now.Mail.Routes.Route(d).Same(was.Mail.Routes.Route(d))
}

// A recheck has a queue examine its destinations after the settings changed. That
// locks a large queue for long, so it takes a tenth of the time at most, however
// fast changes come.
type recheck struct {
	c        <-chan time.Time
	timer    *time.Timer // set while c is
	earliest time.Time   // of the next one
	under    *Config     // that the last one was done under
}

func (r *recheck) schedule() {
	if r.c == nil {
		r.timer = time.NewTimer(time.Until(r.earliest))
		r.c = r.timer.C
	}
}

func (r *recheck) run(q *queue.Queue, cfg *Config) {
	r.c = nil
	was := r.under
	r.under = cfg
	if q == nil {
		return
	}
	begun := time.Now()
	if cfg != was {
		q.Reroute(func(d mail.Domain) bool { return rerouted(was, cfg, d) })
	}
	q.Recheck()
	end := time.Now()
	r.earliest = end.Add(9 * end.Sub(begun))
}

func (r *recheck) stop() {
	if r.c != nil {
		r.timer.Stop()
	}
}
