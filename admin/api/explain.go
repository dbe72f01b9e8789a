// SPDX-License-Identifier: Apache-2.0

package api

import (
	"time"

	"restante/engine/mail"
	"restante/engine/release/calls"
	"restante/metabase"
)

// The calls that explain what becomes of mail.
const (
	Explain        Method[ExplainRequest, Explained]          = "explain"
	ExplainMessage Method[ExplainIDRequest, ExplainedMessage] = "explain/message"
)

// An ExplainRequest describes a message. Without a Client, the sender's address
// gives no rights. Rev or At has it explained by the configuration as of then, while DNS,
// the files of recipients and the greylist are those of now, and what waits, who is
// connected and what directories say is left out.
type ExplainRequest struct {
	Site      int           `json:"site"`
	Recipient string        `json:"recipient"`
	From      string        `json:"from,omitempty"`
	Client    string        `json:"client,omitempty"`
	Account   string        `json:"account,omitempty"`
	TLS       bool          `json:"tls,omitempty"`
	Rev       *metabase.Rev `json:"rev,omitempty"` // 0 for the empty tree; nil: now
	At        time.Time     `json:"at,omitzero"`   // the revision that was in force then
}

// Explained is what would happen, and the reasons.
type Explained struct {
	Site      int    `json:"site"`
	Recipient string `json:"recipient"`
	QueuedAs  string `json:"queued_as,omitempty"` // the address of an alias or of postmaster
	Accepted  bool   `json:"accepted"`
	Refusal   string `json:"refusal,omitempty"` // why not
	Reply     string `json:"reply,omitempty"`   // to RCPT, or to what is refused before it

	Narrowed []string `json:"calls_refused,omitempty"` // what TurnRules say to calls of the account and client
	WayOut
}

// A WayOut is what happens to the mail for a domain of a site, by the configuration of one
// revision. What is of now is left out where Past is set, and hosts where a domain's mail
// goes into a folder.
type WayOut struct {
	Rev      metabase.Rev `json:"rev"`
	Past     bool         `json:"past,omitempty"` // Rev was asked for
	Domain   mail.Domain  `json:"domain"`
	Key      string       `json:"key,omitempty"` // of the domain, "" where none applies
	Standing string       `json:"standing"`
	Route    string       `json:"route,omitempty"`
	Held     bool         `json:"held"`
	Turn     []string     `json:"turn,omitempty"`      // accounts that may collect it
	Etrn     []string     `json:"etrn,omitempty"`      // callers that may start its delivery by ETRN
	Off      []string     `json:"verbs_off,omitempty"` // of a held domain: ETRN, TURN and ATRN, where the site does not offer them

	Hosts       []HostGroup `json:"hosts,omitempty"`        // in the order to try them
	Retries     []float64   `json:"retries,omitempty"`      // seconds before each further attempt; the last one repeats
	DelayNotice float64     `json:"delay_notice,omitempty"` // seconds after which the sender is told that the mail is late
	Expire      float64     `json:"expire,omitempty"`       // seconds after which it is given up
	HoldEnd     string      `json:"hold_end,omitempty"`     // what becomes of held mail then: return, archive or keep

	Waiting   int         `json:"waiting"` // messages for that domain
	State     string      `json:"state,omitempty"`
	NextTry   time.Time   `json:"next_try,omitzero"`
	LastError string      `json:"last_error,omitempty"`
	Expires   time.Time   `json:"expires,omitzero"`    // the first of them
	LastCall  *calls.Call `json:"last_call,omitempty"` // of the domain's host, to a caller who may see to the site's mail
	NextCall  time.Time   `json:"next_call,omitzero"`  // that is expected

	Why []Reason `json:"why"`
}

// A HostGroup has hosts that are tried in order. Those of the next group are tried when
// none of them takes the mail. Without a host, Outcome and Reply are what an attempt comes
// to.
type HostGroup struct {
	By      string     `json:"by"` // dns or smart_host
	Hosts   []NextHost `json:"hosts"`
	SignIn  *SignInOut `json:"sign_in,omitempty"`
	Outcome string     `json:"outcome,omitempty"` // deferred or failed
	Reply   string     `json:"reply,omitempty"`
}

// A NextHost is an address to which mail goes. TLS is required, implicit, offered,
// opportunistic or none.
type NextHost struct {
	Name    string `json:"name"`
	Address string `json:"address"`
	Port    uint16 `json:"port"`
	TLS     string `json:"tls"`
	Rule    string `json:"rule,omitempty"`  // of the host's owner, that decides about TLS: dane or sts
	Reply   string `json:"reply,omitempty"` // why it is passed over
}

// SignInOut is how we sign in at a smart host.
type SignInOut struct {
	Account    string   `json:"account"`
	Mechanisms []string `json:"mechanisms"` // the strongest first
	InClear    bool     `json:"in_clear"`   // the password may go without TLS
}

// A Reason is a property that decided.
type Reason struct {
	Step     string        `json:"step"` // accept, queued as, etrn, verbs, route, dns, port, tls, sign-in, retry, expiry or hold
	Property string        `json:"property"`
	Value    string        `json:"value"`
	From     metabase.Path `json:"from,omitempty"` // "": the schema's default
	Made     *Provenance   `json:"made,omitempty"` // the revision that set it; nil for the schema's default
}

// An ExplainIDRequest names a message.
type ExplainIDRequest struct {
	ID string `json:"id"`
}

// An ExplainedMessage is what became of a message, and why.
type ExplainedMessage struct {
	ID       mail.MessageID    `json:"id"`
	Site     int               `json:"site"`
	State    string            `json:"state"` // as queue trace has it; of several destinations, that of the first
	From     mail.Address      `json:"from"`
	Size     int64             `json:"size"`
	Received time.Time         `json:"received"`
	Queued   []ExplainedQueued `json:"queued"`   // by destination
	Outcomes []RecipientEnd    `json:"outcomes"` // of recipients that it does not wait for any more
}

// ExplainedQueued is a message that waits for a destination.
type ExplainedQueued struct {
	Message Message `json:"message"`
	WayOut  *WayOut `json:"way_out,omitempty"` // by the configuration of now; nil for a report or bad mail
}

// A RecipientEnd is what a message came to for a recipient, and the way that its mail
// went by the configuration as of then, where the history has that.
type RecipientEnd struct {
	To      string    `json:"to"`
	Event   string    `json:"event"` // as in the trace: delivered, failed, expired, dropped, archived, in badmail
	Time    time.Time `json:"time"`
	Host    string    `json:"host,omitempty"`
	Address string    `json:"address,omitempty"`
	TLS     string    `json:"tls,omitempty"`
	Reply   string    `json:"reply,omitempty"`
	WayOut  *WayOut   `json:"way_out,omitempty"`
}
