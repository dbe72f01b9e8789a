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

// handOver sends the leased mail over the caller's own connection. The caller
// greets, this side says EHLO. It asks for neither STARTTLS nor AUTH: the
// caller has proved its identity on this connection, and may pipe it to a
// line-oriented program.
func (s *handover) handOver(ctx context.Context, conn net.Conn) {
	defer s.close()
	log := s.service.opts.Log.With("verb", s.verb, "account", s.caller.Account, "client", s.caller.Remote)
	c, err := wire.NewClient(ctx, conn, wire.ClientOptions{
		Hello: s.policy.Hello, TLSPolicy: wire.TLSNever, Timeouts: s.policy.Timeouts,
	})
	if err != nil {
		log.WarnContext(ctx, "reversed session: greeting", "err", err)
		return
	}
	for _, l := range s.leases {
		b := transfer.NewBatch(l.lease)
		b.SetLastBreak(s.service.lastBreak(l.Domain))
		res := b.Send(ctx, c, s.peer(c), 0)
		s.service.recordBreak(l.Domain, b.LastBreak())
		s.service.opts.Journal.Released(ctx, l.Domain, s.verb, s.caller.Account, s.caller.Remote, res.Taken, max(0, l.Messages-res.Taken))
		if res.Err != nil {
			// What is not settled stays for the next call.
			log.WarnContext(ctx, "reversed session", "domain", l.Domain, "taken", res.Taken, "err", res.Err)
			_ = c.Close()
			return
		}
		l.lease.Close() // later arrivals are for the next call
	}
	_ = c.Quit(ctx) // all is settled: the answer to QUIT changes nothing
}

// peer is the name of the other end in outcomes.
func (s *handover) peer(c *wire.Client) string {
	if name := c.PeerName(); name != "" {
		return name
	}
	return s.caller.Remote.String()
}

// lastBreak returns the message at which calls for dest broke last.
func (svc *Service) lastBreak(dest mail.Domain) transfer.Break {
	svc.mu.Lock()
	defer svc.mu.Unlock()
	return svc.breaks[dest]
}

func (svc *Service) recordBreak(dest mail.Domain, b transfer.Break) {
	svc.mu.Lock()
	defer svc.mu.Unlock()
	if b.Times == 0 {
		delete(svc.breaks, dest)
	} else {
		svc.breaks[dest] = b
	}
}

// maxRemembered bounds the calls that a Service remembers.
const maxRemembered = 10000

// allowCall records a call for key and reports whether the interval since the
// last one has passed.
func (svc *Service) allowCall(key string, interval time.Duration) bool {
	if interval <= 0 {
		return true
	}
	now := svc.opts.Now()
	svc.mu.Lock()
	defer svc.mu.Unlock()
	if at, ok := svc.lastCall[key]; ok && now.Sub(at) < interval {
		return false
	}
	if len(svc.lastCall) >= maxRemembered {
		for k, at := range svc.lastCall {
			if now.Sub(at) >= interval {
				delete(svc.lastCall, k)
			}
		}
	}
	svc.lastCall[key] = now
	return true
}

// forgetCall removes a call that failed through no fault of the caller.
func (svc *Service) forgetCall(key string) {
	svc.mu.Lock()
	defer svc.mu.Unlock()
	delete(svc.lastCall, key)
}
