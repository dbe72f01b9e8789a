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

// Explain asks what would happen to a message.
const Explain Method[ExplainRequest, Explained] = "explain"

// An ExplainRequest describes a message. Without a Client, the sender's address
// gives no rights.
type ExplainRequest struct {
	Site      int    `json:"site"`
	Recipient string `json:"recipient"`
	From      string `json:"from,omitempty"`
	Client    string `json:"client,omitempty"`
	Account   string `json:"account,omitempty"`
	TLS       bool   `json:"tls,omitempty"`
}

// Explained is what would happen now, and the reasons.
type Explained struct {
	Site      int          `json:"site"`
	Rev       metabase.Rev `json:"rev"`
	Recipient string       `json:"recipient"`
	QueuedAs  string       `json:"queued_as,omitempty"` // the address of an alias or of postmaster
	Domain    string       `json:"domain"`
	Key       string       `json:"key,omitempty"` // of the domain, "" where none applies
	Standing  string       `json:"standing"`
	Accepted  bool         `json:"accepted"`
	Refusal   string       `json:"refusal,omitempty"` // why not
	Reply     string       `json:"reply,omitempty"`   // to RCPT, or to what is refused before it
	Route     string       `json:"route,omitempty"`
	Held      bool         `json:"held"`
	Waiting   int          `json:"waiting"` // messages for that domain
	NextTry   time.Time    `json:"next_try,omitzero"`
	Turn      []string     `json:"turn,omitempty"`          // accounts that may collect it
	Etrn      []string     `json:"etrn,omitempty"`          // callers that may start its delivery by ETRN
	Off       []string     `json:"verbs_off,omitempty"`     // of a held domain: ETRN, TURN and ATRN, where the site does not offer them
	Narrowed  []string     `json:"calls_refused,omitempty"` // what TurnRules say now to calls of the account and client
	Why       []Reason     `json:"why"`
}

// A Reason is a property that decided.
type Reason struct {
	Step     string        `json:"step"` // etrn, verbs, accept or route
	Property string        `json:"property"`
	Value    string        `json:"value"`
	From     metabase.Path `json:"from,omitempty"` // "": the schema's default
}
