// SPDX-License-Identifier: Apache-2.0

// Package acme orders certificates from an authority by the ACME protocol (RFC 8555), and
// renews them before they end. It puts them into a file, whose readers notice that it
// changes; until then they have what they had. It orders nothing unless it is asked to.
package acme

import (
	"context"
	"fmt"
	"log/slog"
	"sync"
	"time"
)

// Settings say what is ordered, where, and how it is proved that the names are ours.
type Settings struct {
	Directory string // URL of the authority's
	Email     string // of the account there
	Names     string // of the certificates, parted by blanks
	TLSALPN   bool   // challenges are TLS-ALPN-01 (RFC 8737), not HTTP-01
	Listen    string // host and port of challenges
	Storage   string // folder of accounts and certificates, which sites may share
	File      string // gets the certificates and their keys
}

const (
	checkEvery = 6 * time.Hour // whether a certificate is to be renewed
	retryFirst = 5 * time.Minute
	retryMost  = 6 * time.Hour // authorities count what fails
)

// An Orderer keeps the certificates of one site.
type Orderer struct {
	settings func() *Settings
	order    func(context.Context, Settings) (changed bool, err error)
	log      *slog.Logger
	changed  func()
	ready    func()
	wake     chan struct{}

	mu  sync.Mutex // guards what follows
	err error
}

// New makes an Orderer that asks for its settings, nil for none. It calls changed after
// each change of Err, and ready when the file has others; neither may block.
func New(settings func() *Settings, log *slog.Logger, changed, ready func()) *Orderer {
	return &Orderer{settings: settings, order: order, log: log, changed: changed, ready: ready, wake: make(chan struct{}, 1)}
}

// Wake has the settings looked at.
func (o *Orderer) Wake() {
	select {
	case o.wake <- struct{}{}:
	default: // it is awake
	}
}

// Err says what is wrong with an order, and when it is tried again; nil: nothing is.
func (o *Orderer) Err() error {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.err
}

func (o *Orderer) note(err error) {
	o.mu.Lock()
	was := o.err
	o.err = err
	o.mu.Unlock()
	if fmt.Sprint(was) != fmt.Sprint(err) {
		o.changed()
	}
}

// Run orders and renews until ctx ends. Other settings are tried at once.
func (o *Orderer) Run(ctx context.Context) {
	var last Settings
	var due time.Time
	wait := retryFirst
	for ctx.Err() == nil {
		set := o.settings()
		if set == nil {
			last = Settings{}
			o.note(nil)
			select {
			case <-ctx.Done():
			case <-o.wake:
			}
			continue
		}
		if *set != last {
			last, due, wait = *set, time.Now(), retryFirst
		}
		if !time.Now().Before(due) {
			due, wait = o.attempt(ctx, *set, wait)
		}
		timer := time.NewTimer(time.Until(due))
		select {
		case <-ctx.Done():
		case <-o.wake:
		case <-timer.C:
		}
		timer.Stop()
	}
}

// attempt orders once. It gives the time of the next attempt, and how long after a failure
// the one behind it is to wait.
func (o *Orderer) attempt(ctx context.Context, set Settings, wait time.Duration) (due time.Time, next time.Duration) {
	changed, err := o.order(ctx, set)
	if changed {
		o.log.Info("certificates ordered", "names", set.Names, "authority", set.Directory)
		o.ready()
	}
	switch {
	case ctx.Err() != nil:
		return time.Now(), wait
	case err == nil:
		o.note(nil)
		return time.Now().Add(checkEvery), retryFirst
	}
	due = time.Now().Add(wait)
	o.log.Warn("order a certificate", "err", err, "again", due)
	o.note(fmt.Errorf("order a certificate: %w; next try at %s", err, due.UTC().Format(time.RFC3339)))
	return due, min(2*wait, retryMost)
}
