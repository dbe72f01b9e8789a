// SPDX-License-Identifier: Apache-2.0

package admin

import (
	"context"
	"fmt"
	"slices"
	"time"

	"restante/admin/api"
	"restante/engine/queue"
	"restante/engine/settings"
	"restante/engine/site"
	"restante/metabase"
)

// returnAfter is how long mail whose domain is gone waits before it is returned to its
// senders: time to see the mistake, and to undo it.
const returnAfter = time.Hour

// keepWaiting freezes the mail that a change is to let go, if word says that it is to
// be kept, or returned after a time. The caller calls end with the revision that was
// made, or 0. From then on, mail of domains that are held waits as before; at a site
// where the change is not in force, from the next start on.
func (b barrier) keepWaiting(ctx context.Context, word string, try func() (metabase.Change, error)) (end func(metabase.Rev), err error) {
	ends := map[int][]func(){}
	var notes []api.Noted
	end = func(rev metabase.Rev) {
		var late []site.Status
		if rev != 0 && len(ends) > 0 {
			var waitErr error
			late, waitErr = b.api.Engine.Await(context.WithoutCancel(ctx), rev) // the caller may have hung up
			if waitErr != nil {
				return // the mail stays as it is until the next start
			}
			for _, n := range notes {
				api.Forward(ctx, n)
			}
		}
		for n, list := range ends {
			if slices.ContainsFunc(late, func(st site.Status) bool { return st.Number == n }) {
				continue
			}
			for _, end := range list {
				end()
			}
		}
	}
	if b.api.Engine == nil || word != settings.KeepWaiting && word != settings.ReturnWaiting {
		return end, nil
	}
	change, err := try()
	if err != nil {
		return nil, err
	}
	var at time.Time
	then := "queue thaw lets it go"
	if word == settings.ReturnWaiting {
		at = time.Now().Add(returnAfter)
		then = fmt.Sprintf("it is returned to its senders at %s unless the domain is held again before", at.Format(time.DateTime+" MST"))
	}
	for n, domains := range b.api.Engine.LetGo(change) {
		q, ok := b.api.Engine.Queue(n)
		for _, d := range domains {
			if !ok {
				err = api.Refused(fmt.Sprintf("site %d", n), "its queue is not open: start the site first")
			}
			var sum queue.Tally
			if err == nil {
				var made func()
				sum, made, err = q.Keep(ctx, d, at)
				ends[n] = append(ends[n], made)
			}
			if err == nil && sum.Busy > 0 {
				err = api.Refused(string(d), fmt.Sprintf("mail is being handed over just now (messages: %d): try again in a moment", sum.Busy))
			}
			if err != nil {
				end(0)
				return nil, err
			}
			notes = append(notes, api.Noted{Subject: string(settings.DomainPath(n, string(d))), Text: fmt.Sprintf("mail for it stays, frozen (messages: %d): %s", sum.Messages, then)})
		}
	}
	return end, nil
}
