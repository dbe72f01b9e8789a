// SPDX-License-Identifier: Apache-2.0

package site

import (
	"time"

	"restante/engine/mail"
	"restante/engine/queue"
)

// rerouted says that mail for d goes another way under now than under was.
func rerouted(was, now *Config, d mail.Domain) bool {
	return now != was && !now.Mail.Routes.Route(d).Same(was.Mail.Routes.Route(d))
}

// recheck has a queue look at its destinations anew after the settings have
// changed. In a large queue that takes its time, during which nobody else gets
// at it; so however fast changes come, it is done for a tenth of the time only.
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
