// SPDX-License-Identifier: Apache-2.0

package site

import (
	"errors"
	"fmt"
	"net/netip"

	"restante/engine/queue"
)

// A State is a site's, by the numbers that ServerState has.
type State uint32

// The states of a site. Continuing is over before anybody can see it, but is
// part of the numbering.
const (
	Starting State = 1 + iota
	Started
	Stopping
	Stopped
	Pausing
	Paused
	Continuing
)

// String is the state in a word.
func (s State) String() string {
	names := [...]string{"starting", "started", "stopping", "stopped", "pausing", "paused", "continuing"}
	if s < Starting || s > Continuing {
		return fmt.Sprintf("state %d", uint32(s))
	}
	return names[s-1]
}

// serving says that callers are served and mail goes out.
func (s State) serving() bool { return s == Started || s == Paused }

// A Command changes the state, by the numbers that ServerCommand has.
type Command uint32

// The commands of an administrator.
const (
	Start Command = 1 + iota
	Stop
	Pause
	Continue

	// Open opens the queue of a site that need not be started. No administrator
	// says it.
	Open Command = 100
)

// String is the command in a word.
func (c Command) String() string {
	names := [...]string{"start", "stop", "pause", "continue"}
	if c == Open {
		return "open"
	}
	if c < Start || c > Continue {
		return fmt.Sprintf("command %d", uint32(c))
	}
	return names[c-1]
}

// ErrStopped answers a command that only a running site can obey.
var ErrStopped = errors.New("the site is not started")

// ErrEnded answers a command that comes after the end of Run.
var ErrEnded = errors.New("the site is closed")

// Status is a site as it is shown.
type Status struct {
	Number      int              `json:"number"`
	Name        string           `json:"name"`
	State       State            `json:"-"`
	Configured  uint64           `json:"configured"`        // the revision that it should run at
	Running     uint64           `json:"running,omitempty"` // the one that it does run at; 0: stopped
	Why         error            `json:"-"`                 // why it is stopped, older, or less than it should be; nil: all is well
	Listening   []netip.AddrPort `json:"listening"`
	Connections int              `json:"callers"`
	Queue       queue.Counts     `json:"queue"`
	Counters    Counters         `json:"counters"`
}

// Behind says in words what is not as configured, "" for nothing.
func (s Status) Behind() string {
	switch {
	case s.Why == nil:
		return ""
	case s.Running != 0 && s.Running != s.Configured:
		return fmt.Sprintf("configured %d, running %d, because %v", s.Configured, s.Running, s.Why)
	}
	return s.Why.Error()
}
