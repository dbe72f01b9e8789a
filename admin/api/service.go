// SPDX-License-Identifier: Apache-2.0

package api

import (
	"time"

	"restante/metabase"
)

// The calls about the service as a whole.
const (
	Status   Method[struct{}, Service]         = "status"
	Complete Method[CompleteRequest, []string] = "complete"
)

// A Service describes the running service.
type Service struct {
	Version     string        `json:"version"`
	Data        string        `json:"data"`
	PID         int           `json:"pid"`
	Stopping    bool          `json:"stopping,omitempty"` // it ends when callers and messages in hand are done, or their grace time is over
	Revision    metabase.Rev  `json:"revision"`
	Changed     time.Time     `json:"changed,omitzero"`
	Pending     []Unconfirmed `json:"pending,omitempty"`
	Messages    int           `json:"messages"`
	Held        int           `json:"held"`
	Connections int           `json:"connections"`
	Trace       *TraceState   `json:"trace,omitempty"` // nil: there is none, or the caller may not know of it
	Sites       []Site        `json:"sites"`
}

// A TraceState is what the trace of all sites has.
type TraceState struct {
	Events  int       `json:"events"`
	Bytes   int64     `json:"bytes"`
	Since   time.Time `json:"since,omitzero"` // of the oldest event
	LeftOut int       `json:"left_out"`       // events since the start that could not be written
	Damaged int       `json:"damaged"`        // events that do not read
	Why     string    `json:"why,omitempty"`  // why nothing is written
}

// Unconfirmed is a revision that is rolled back unless it is confirmed in time.
type Unconfirmed struct {
	Rev   metabase.Rev `json:"rev"`
	Until time.Time    `json:"until"`
}

// A CompleteRequest asks for the completions of Prefix.
type CompleteRequest struct {
	Kind   string `json:"kind"` // path, property, site, domain or account
	Prefix string `json:"prefix"`
}
