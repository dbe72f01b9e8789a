// SPDX-License-Identifier: Apache-2.0

// Package descriptors shares the open files that the system allows the process
// among its uses, so that callers cannot take those that the stores, the spool
// and the local socket need.
package descriptors

import "sync/atomic"

// A Budget is a limit of open files in shares. An eighth, and at least 64, is
// the reserve of the stores, the segments of the spools, the local socket and
// what the process opens for a moment.
type Budget struct {
	Limit         int
	Callers       *Share // connections of SMTP callers
	Files         *Share // messages that come into a file of their own
	Conversations int    // with other hosts, at once
	Local         int    // connections to the local socket
}

// unknown is the limit where the system has none: more than memory has room for.
const unknown = 1 << 20

// New makes the shares of a limit; 0 stands for one that is not known.
func New(limit int) *Budget {
	if limit <= 0 {
		limit = unknown
	}
	reserve := min(max(limit/8, 64), limit/2)
	rest := limit - reserve
	return &Budget{
		Limit:         limit,
		Callers:       &Share{limit: int64(rest * 5 / 8)},
		Files:         &Share{limit: int64(rest / 8)},
		Conversations: max(rest/8, 1), // each asks for names, too
		Local:         max(reserve/4, 1),
	}
}

// A Share is a number of descriptors that may be taken. Its methods may be
// called from anywhere.
type Share struct {
	limit int64
	used  atomic.Int64
}

// Take takes one, if one is left. Each is given back by Release.
func (s *Share) Take() bool {
	if s.used.Add(1) <= s.limit {
		return true
	}
	s.used.Add(-1)
	return false
}

// Release gives one back.
func (s *Share) Release() { s.used.Add(-1) }

// Limit is how many there are.
func (s *Share) Limit() int { return int(s.limit) }
