// SPDX-License-Identifier: Apache-2.0

package delivery

import (
	"context"
	"fmt"
	"io"
	"slices"
	"strings"
	"sync"

	"restante/engine/mail"
)

// fixed is a router with one route.
type fixed Route

func (f fixed) Route(mail.Domain) Route { return Route(f) }

// lease is a queue of one destination in memory.
type lease struct {
	mu      sync.Mutex // guards what follows
	items   []mail.Item
	taken   []mail.Item
	settled map[mail.MessageID][]mail.Outcome
}

func newLease(items ...mail.Item) *lease {
	return &lease{items: items, settled: map[mail.MessageID][]mail.Outcome{}}
}

func (l *lease) Next() (mail.Item, bool) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if len(l.items) == 0 {
		return mail.Item{}, false
	}
	it := l.items[0]
	l.items, l.taken = l.items[1:], append(l.taken, it)
	return it, true
}

func (l *lease) Settle(_ context.Context, id mail.MessageID, outcomes []mail.Outcome) error {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.settled[id] = append(l.settled[id], outcomes...)
	return nil
}

func (l *lease) Until(ctx context.Context) (context.Context, context.CancelFunc) {
	return context.WithCancel(ctx)
}

// Defer settles what has no outcome yet.
func (l *lease) Defer(_ context.Context, r mail.Reply, host string) error {
	l.mu.Lock()
	defer l.mu.Unlock()
	for _, it := range append(l.taken, l.items...) {
		for _, to := range it.To {
			if !slices.ContainsFunc(l.settled[it.Env.ID], func(o mail.Outcome) bool { return o.To == to.Address }) {
				o := mail.Outcome{To: to.Address, Status: mail.Deferred, Reply: r, Host: host}
				l.settled[it.Env.ID] = append(l.settled[it.Env.ID], o)
			}
		}
	}
	l.items, l.taken = nil, nil
	return nil
}

func (l *lease) Close() {}

// outcomes gives what was settled of message n.
func (l *lease) outcomes(n int) string {
	l.mu.Lock()
	defer l.mu.Unlock()
	var out []string
	for _, o := range l.settled[msgID(n)] {
		out = append(out, o.To.String()+" "+o.Status.String())
	}
	slices.Sort(out)
	return strings.Join(out, ", ")
}

// via gives the conversation in which message n was settled first.
func (l *lease) via(n int) mail.Via {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.settled[msgID(n)][0].Via
}

// reply gives what was settled last of message n.
func (l *lease) reply(n int) mail.Reply {
	l.mu.Lock()
	defer l.mu.Unlock()
	o := l.settled[msgID(n)]
	if len(o) == 0 {
		return mail.Reply{}
	}
	return o[len(o)-1].Reply
}

func msgID(n int) mail.MessageID { return mail.MessageID(fmt.Sprintf("%020d", n)) }

type closer struct{ io.ReadSeeker }

func (closer) Close() error { return nil }

// message n from s@from.test.
func message(n int, body string, to ...string) mail.Item {
	it := mail.Item{
		Env:  mail.Envelope{ID: msgID(n), From: mail.Address{Local: "s", Domain: "from.test"}, Size: int64(len(body))},
		Open: func() (io.ReadSeekCloser, error) { return closer{strings.NewReader(body)}, nil },
	}
	for _, s := range to {
		a, err := mail.ParseAddress(s)
		if err != nil {
			panic(err)
		}
		it.To = append(it.To, mail.Recipient{Address: a})
	}
	it.Env.To = it.To
	return it
}
