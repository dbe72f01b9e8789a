// SPDX-License-Identifier: Apache-2.0

package site

import (
	"errors"
	"fmt"
	"net/netip"
	"slices"
	"strings"

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

var stateNames = [...]string{"starting", "started", "stopping", "stopped", "pausing", "paused", "continuing"}

// String is the state in a word.
func (s State) String() string {
	if s < Starting || s > Continuing {
		return fmt.Sprintf("state %d", uint32(s))
	}
	return stateNames[s-1]
}

// MarshalText gives the state in a word.
func (s State) MarshalText() ([]byte, error) { return []byte(s.String()), nil }

// UnmarshalText reads the word of a state.
func (s *State) UnmarshalText(text []byte) error {
	i := slices.Index(stateNames[:], string(text))
	if i < 0 {
		return fmt.Errorf("there is no state %q of a site", text)
	}
	*s = State(i + 1)
	return nil
}

// serving reports whether callers are served and mail goes out.
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

// ErrStopped answers a command that only a running site can execute.
var ErrStopped = errors.New("the site is not started")

// ErrEnded answers a command that comes after the end of Run.
var ErrEnded = errors.New("the site is closed")

// Status is a site as it runs and as it is shown.
type Status struct {
	Number      int              `json:"number"`
	Name        string           `json:"name"`
	Bindings    []string         `json:"bindings"` // as configured, ADDR:PORT
	State       State            `json:"state"`
	Listening   []netip.AddrPort `json:"listening"`         // with the ports that the system picked
	Configured  uint64           `json:"configured"`        // the newest revision
	Running     uint64           `json:"running,omitempty"` // the revision in force; 0: the site does not run
	Why         string           `json:"why,omitempty"`     // why it is not as configured
	Connections int              `json:"connections"`

	queue.Counts
	Counters Counters `json:"counters"`
}

// explain words a cause for Why, on one line.
func (s Status) explain(cause error) string {
	if cause == nil {
		return ""
	}
	text := strings.ReplaceAll(cause.Error(), "\n", "; ")
	if s.Running != 0 && s.Running != s.Configured {
		return fmt.Sprintf("configured %d, running %d, because %s", s.Configured, s.Running, text)
	}
	return text
}
