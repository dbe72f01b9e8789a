// SPDX-License-Identifier: Apache-2.0

// Package filter shows messages to filters that speak the milter protocol of Sendmail
// and Postfix, such as rspamd and OpenDKIM, and carries out what they ask for.
//
// Filters are trusted with the message and its envelope, but not with the service: what
// one answers is bounded in memory and time and checked before it is used, and one that
// hangs or sends garbage counts as down. Each message has a connection of its own to each
// filter, which begins with the first recipient that is accepted.
package filter

import (
	"context"
	"net"
	"time"
)

// What becomes of a message when its filter is down.
const (
	TempFail = "tempfail" // its sender tries again later
	Accept   = "accept"   // it is taken as if there were no such filter
	Reject   = "reject"   // it is refused for good
)

// A Filter is the address of one, as package net has it, and what becomes of mail when it
// is down.
type Filter struct {
	Network, Address string
	Down             string
}

// String names the filter as it is set, without Down.
func (f Filter) String() string {
	if f.Network == "unix" {
		return "unix:" + f.Address
	}
	return "inet:" + f.Address
}

// A Config says which filters a site has.
type Config struct {
	Site    int
	Filters []Filter      // in order
	Command time.Duration // for a filter to connect, and for each answer before the message
	Content time.Duration // for it to take the message and decide
	MaxSize int64         // octets of a message that is shown to them; 0: any
	Health  *Health

	// Dial is that of [net.Dialer] for tests; nil: that one.
	Dial func(ctx context.Context, network, address string) (net.Conn, error)
}
