// SPDX-License-Identifier: Apache-2.0

package main

import (
	"context"
	"fmt"
	"strings"
	"sync"

	"restante/internal/descriptors"
	"restante/internal/testpeer"
)

// measureSites measures the start and the resident memory of a service of many sites,
// each with domains that it holds mail for, but without mail.
func measureSites(ctx context.Context, o options, r *report) error {
	s, err := startRestante(ctx, o, o.restante)
	if err != nil {
		return err
	}
	defer s.stop()
	for n := 2; n <= o.sites; n++ {
		if _, err := s.Run(ctx, "", "site", "create", "--name", fmt.Sprint("owner ", n), "--bind", "127.0.0.1:0", "--domain", fmt.Sprintf("hub%d.test", n)); err != nil {
			return err
		}
	}
	var batch strings.Builder
	for n := 1; n <= o.sites; n++ {
		for d := range o.domains {
			key := fmt.Sprintf("/LM/SMTPSVC/%d/Domain/d%d.owner%d.test", n, d, n)
			fmt.Fprintf(&batch, "add %s IIsSmtpDomain\nset %s RouteAction etrn_cmd\nset %s AuthTurnList %s\n", key, key, key, account)
		}
	}
	if _, err := s.Run(ctx, batch.String(), "mb", "apply"); err != nil {
		return err
	}
	if err := restart(ctx, s.Service); err != nil {
		return err
	}
	for n := 1; n <= o.sites; n++ {
		if s.Addr(n) == "" {
			return fmt.Errorf("site %d of %d does not run: %s", n, o.sites, s.Log())
		}
	}
	mib, err := s.resident()
	if err != nil {
		return err
	}
	what := fmt.Sprintf("%d sites of %d domains each", o.sites, o.domains)
	if err := r.figure(one("exec to ready, "+what, "ms", float64(s.Ready.Milliseconds()))); err != nil {
		return err
	}
	return r.figure(one("resident, "+what, "MiB", mib))
}

// measureIdle measures the resident memory of a service with many connections that
// have said EHLO and are silent.
func measureIdle(ctx context.Context, o options, r *report) error {
	if limit := descriptors.Limit(); limit > 0 && descriptors.New(limit).Callers.Limit() < o.idle {
		r.heading("  left out: the system lets a process have %d files open, of which callers get %d; %d connections need more (ulimit -n)",
			limit, descriptors.New(limit).Callers.Limit(), o.idle)
		return nil
	}
	s, err := startRestante(ctx, o, o.restante)
	if err != nil {
		return err
	}
	defer s.stop()
	if _, err := s.Run(ctx, "", "mb", "set", "SMTPSVC/1", "ConnectionLimitExempt", "127.0.0.1"); err != nil {
		return err
	}
	if err := restart(ctx, s.Service); err != nil {
		return err
	}
	before, err := s.resident()
	if err != nil {
		return err
	}
	all, err := connectMany(s.Addr(1), o.idle)
	defer func() {
		for _, c := range all {
			c.Close()
		}
	}()
	if err != nil {
		return err
	}
	if err := settle(ctx); err != nil {
		return err
	}
	after, err := s.resident()
	if err != nil {
		return err
	}
	if err := all[0].Say("NOOP", "250"); err != nil {
		return fmt.Errorf("the first of %d connections: %w", o.idle, err)
	}
	if err := r.figure(one(fmt.Sprintf("resident, %d idle connections", o.idle), "MiB", after)); err != nil {
		return err
	}
	return r.figure(one("of that for each connection", "KiB", (after-before)*1024/float64(o.idle)))
}

// connectMany opens n connections that say EHLO. It gives those that are open even
// with an error.
func connectMany(addr string, n int) (all []*testpeer.Client, first error) {
	var mu sync.Mutex // guards the results
	var workers sync.WaitGroup
	const atOnce = 32
	for w := range atOnce {
		workers.Go(func() {
			for i := w; i < n; i += atOnce {
				c, err := testpeer.Dial(addr)
				mu.Lock()
				if err == nil {
					all = append(all, c)
				} else if first == nil {
					first = err
				}
				stop := first != nil
				mu.Unlock()
				if stop {
					return
				}
			}
		})
	}
	workers.Wait()
	return all, first
}
