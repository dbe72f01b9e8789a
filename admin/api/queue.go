// SPDX-License-Identifier: Apache-2.0

package api

import (
	"restante/engine/queue"
)

// The calls about queued mail. All of these need the service.
const (
	QueueList     Method[QueueRequest, []Destination]   = "queue/list"
	QueueMessages Method[QueueRequest, []Message]       = "queue/messages"
	QueueShow     Method[MessageRequest, MessageDetail] = "queue/show"
	QueueAct      Method[ActRequest, ActResult]         = "queue/act"
	QueueRelease  Method[QueueRequest, Released]        = "queue/release"
	QueueExport   Method[FolderRequest, ActResult]      = "queue/export"
	QueueImport   Method[FolderRequest, ActResult]      = "queue/import"

	QueueCatalogue Stream[QueueRequest, CatalogueLine] = "queue/catalogue"
)

// A CatalogueLine tells what a message is.
type CatalogueLine struct {
	Site int `json:"site"`
	queue.CatalogueLine
}

// A QueueRequest names a site, 0 for all, and a destination, "" for all.
type QueueRequest struct {
	Site   int    `json:"site,omitempty"`
	Domain string `json:"domain,omitempty"`
}

// A Destination describes the mail that waits for a domain.
type Destination struct {
	Site int `json:"site"`
	queue.DestinationState
	Oversize
}

// Oversize counts the messages above the size ceiling of the links over which they could
// be collected. They stay.
type Oversize struct {
	SizeCeiling   int64 `json:"size_ceiling,omitempty"`
	TooLarge      int   `json:"too_large,omitempty"`
	TooLargeBytes int64 `json:"too_large_bytes,omitempty"`
}

// A Message is a message on its way to one destination.
type Message struct {
	Site int `json:"site"`
	queue.Message
}

// A MessageRequest names a message; Body asks for its text, too.
type MessageRequest struct {
	ID   string `json:"id"`
	Body bool   `json:"body,omitempty"`
}

// MessageDetail is everything known of a message.
type MessageDetail struct {
	Site int `json:"site"`
	queue.Detail
	Body []byte `json:"body,omitempty"`
}

// An ActRequest selects the messages that match all its fields, and names an
// act: retry, freeze, thaw, delete or bounce.
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

// ActResult counts the messages that an act changed, or would change.
type ActResult struct {
	queue.Tally
	DryRun bool `json:"dry_run,omitempty"`
}

// Released counts the messages that are tried now, of all sites where Site is 0.
type Released struct {
	Site     int    `json:"site,omitempty"`
	Domain   string `json:"domain"`
	Messages int    `json:"messages"`
}

// A FolderRequest names a folder, absolute.
type FolderRequest struct {
	Dir  string `json:"dir"`
	Site int    `json:"site,omitempty"`
}
