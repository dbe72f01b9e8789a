// SPDX-License-Identifier: Apache-2.0

package api

import (
	"restante/engine/queue"
)

// The calls about mail that waits. All of them need the service.
const (
	QueueList     Method[QueueRequest, []Destination] = "queue/list"
	QueueMessages Method[QueueRequest, []Message]     = "queue/messages"
	QueueShow     Method[MessageRequest, Shown]       = "queue/show"
	QueueTrace    Method[TraceRequest, []Message]     = "queue/trace"
	QueueAct      Method[ActRequest, Acted]           = "queue/act"
	QueueRelease  Method[QueueRequest, Released]      = "queue/release"
	QueueExport   Method[CarryRequest, Acted]         = "queue/export"
	QueueImport   Method[CarryRequest, Acted]         = "queue/import"
)

// A QueueRequest asks for a site's queue, 0 for all, and of that for a
// destination.
type QueueRequest struct {
	Site   int    `json:"site,omitempty"`
	Domain string `json:"domain,omitempty"`
}

// A Destination is what waits for a domain.
type Destination struct {
	Site int `json:"site"`
	queue.DestinationState
}

// A Message is a message on its way to one destination.
type Message struct {
	Site int `json:"site"`
	queue.Message
}

// A MessageRequest asks for a message; with Body for its text, too.
type MessageRequest struct {
	ID   string `json:"id"`
	Body bool   `json:"body,omitempty"`
}

// Shown is all there is to know of a message.
type Shown struct {
	Site int `json:"site"`
	queue.Detail
	Body []byte `json:"body,omitempty"`
}

// A TraceRequest names a message or an address.
type TraceRequest struct {
	What string `json:"what"`
}

// An ActRequest picks messages, by all that it says, and an act: retry,
// freeze, thaw, delete or bounce.
type ActRequest struct {
	Act       string   `json:"act"`
	IDs       []string `json:"ids,omitempty"`
	Site      int      `json:"site,omitempty"`
	Domain    string   `json:"domain,omitempty"`
	From      *string  `json:"from,omitempty"`
	OlderThan float64  `json:"older_than,omitempty"` // seconds
	All       bool     `json:"all,omitempty"`
	DryRun    bool     `json:"dry_run,omitempty"`
}

// Acted says what an act came to.
type Acted struct {
	queue.Tally
	DryRun bool `json:"dry_run,omitempty"`
}

// Released says how many messages are tried now, of all sites where Site is 0.
type Released struct {
	Site     int    `json:"site,omitempty"`
	Domain   string `json:"domain"`
	Messages int    `json:"messages"`
}

// A CarryRequest names a folder, absolute.
type CarryRequest struct {
	Dir  string `json:"dir"`
	Site int    `json:"site,omitempty"`
}
