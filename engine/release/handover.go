// SPDX-License-Identifier: Apache-2.0

package release

import (
	"context"
	"net"
	"time"

	"restante/engine/delivery/transfer"
	"restante/engine/mail"
	"restante/engine/wire"
)

// handOver sends what is leased over the caller's own connection. The caller
// greets, we say EHLO. Neither STARTTLS nor AUTH is asked for: the connection
// is the one on which the caller has proved who it is, and what listens behind
// it may be a line-oriented pipe.
func (s *session) handOver(ctx context.Context, conn net.Conn) {
	defer s.close()
	log := s.desk.opts.Log.With("verb", s.verb, "account", s.caller.Account, "client", s.caller.Remote)
	c, err := wire.NewClient(ctx, conn, wire.ClientOptions{
		Hello: s.policy.Hello, TLSPolicy: wire.TLSNever, Timeouts: s.policy.Timeouts,
	})
	if err != nil {
		log.WarnContext(ctx, "reversed session: greeting", "err", err)
		return
	}
	for _, l := range s.leases {
		b := transfer.NewBatch(l.lease)
		b.Remember(s.desk.broke(l.Domain))
		res := b.Send(ctx, c, s.peer(c), 0)
		s.desk.remember(l.Domain, b.Broke())
		s.desk.opts.Journal.Released(ctx, l.Domain, s.verb, s.caller.Account, s.caller.Remote, res.Taken, max(0, l.Messages-res.Taken))
		if res.Err != nil {
			// What is not settled stays for the next call.
			log.WarnContext(ctx, "reversed session", "domain", l.Domain, "taken", res.Taken, "err", res.Err)
			_ = c.Close()
			return
		}
		l.lease.Close() // its mail of the next minute is for whoever calls then
	}
	_ = c.Quit(ctx) // all is settled: what the peer says to QUIT changes nothing
}

// peer names the other end in outcomes.
func (s *session) peer(c *wire.Client) string {
	if name := c.PeerName(); name != "" {
		return name
	}
	return s.caller.Remote.String()
}

// broke gives the message under which calls for dest broke last.
func (d *Desk) broke(dest mail.Domain) transfer.Break {
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.bad[dest]
}

func (d *Desk) remember(dest mail.Domain, b transfer.Break) {
	d.mu.Lock()
	defer d.mu.Unlock()
	if b.Times == 0 {
		delete(d.bad, dest)
	} else {
		d.bad[dest] = b
	}
}

// maxRemembered bounds the memory of the desk.
const maxRemembered = 10000

// again notes a call for key and says that the last one is not too recent.
func (d *Desk) again(key string, interval time.Duration) bool {
	if interval <= 0 {
		return true
	}
	now := d.opts.Now()
	d.mu.Lock()
	defer d.mu.Unlock()
	if at, ok := d.last[key]; ok && now.Sub(at) < interval {
		return false
	}
	if len(d.last) >= maxRemembered {
		for k, at := range d.last {
			if now.Sub(at) >= interval {
				delete(d.last, k)
			}
		}
	}
	d.last[key] = now
	return true
}

// forget takes back a call that came to nothing through no fault of the
// caller.
func (d *Desk) forget(key string) {
	d.mu.Lock()
	defer d.mu.Unlock()
	delete(d.last, key)
}
