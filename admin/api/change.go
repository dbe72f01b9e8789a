// SPDX-License-Identifier: Apache-2.0

package api

import (
	"math/big"
	"slices"
	"time"

	"restante/metabase"
)

// The calls that apply batches.
const (
	MbApply   Method[ApplyRequest, Applied]   = "mb/apply"
	MbConfirm Method[ConfirmRequest, Applied] = "mb/confirm"
)

// An ApplyRequest is a batch in the words of `mb apply`.
type ApplyRequest struct {
	Lines  []Line `json:"lines"`
	DryRun bool   `json:"dry_run,omitempty"`
}

// A Line is one operation: a verb, its options and its arguments. The word
// "--" ends the options.
type Line struct {
	Number int      `json:"number,omitempty"` // in its file; 0: it has none
	Words  []string `json:"words"`
	File   *File    `json:"file,omitempty"` // the file of the last word, where that is @FILE

	// Property is what the verb set stores, in the place of PROP VALUE.
	Property *Property `json:"property,omitempty"`

	// Amends says that Property was made of what holds for the key: see [metabase.Amend].
	Amends bool `json:"amends,omitempty"`

	// AsIIS makes the line do what it did in IIS: a new site gets its folders and
	// containers, and a folder of a Windows machine is one below the data folder.
	AsIIS bool `json:"as_iis,omitempty"`

	Broken string `json:"broken,omitempty"` // why it could not be split into words
}

// A File is the content of a file that the client read. The client sends it
// with any @FILE, because only the handler knows whether the property is binary.
type File struct {
	Hex string `json:"hex,omitempty"`
	Why string `json:"why,omitempty"` // it cannot be read
}

// Applied is the result of a batch, or of its dry run.
type Applied struct {
	Rev     metabase.Rev `json:"rev"`
	DryRun  bool         `json:"dry_run,omitempty"`
	Made    bool         `json:"made,omitempty"` // there is a new revision; else nothing changed
	Changes []Change     `json:"changes"`
	Touches *Impact      `json:"touches,omitempty"`
}

// Acts reports whether the batch would change a site's state or address.
func (a Applied) Acts() bool {
	return a.Touches != nil && slices.ContainsFunc(a.Touches.Sites, func(s SiteImpact) bool { return len(s.Becomes) > 0 })
}

// A ConfirmRequest confirms a pending revision, 0 for the newest.
type ConfirmRequest struct {
	Rev metabase.Rev `json:"rev"`
}

// Impact is the effect of a batch beyond the keys that it names.
type Impact struct {
	Inheritors  []Inheritors `json:"inherited_by"` // of each changed property that is inherited
	Sites       []SiteImpact `json:"sites"`
	Rerouted    int          `json:"rerouted"` // queued messages that would be routed differently, held or released
	Uninspected []int        `json:"unseen"`   // sites whose queue could not be opened; Rerouted leaves them out
}

// Inheritors are the sites, domains and accounts that inherit a changed property
// from the key at Path.
type Inheritors struct {
	Path     metabase.Path   `json:"path"`
	Property string          `json:"property"`
	Sites    []int           `json:"sites"`
	Domains  int             `json:"domains"`
	Accounts int             `json:"accounts"`
	Keys     []metabase.Path `json:"keys"` // all of them

	DomainNames  []string `json:"domain_names"`  // each after its site: 2/a.test
	AccountNames []string `json:"account_names"` // after its site, or alone for one of all sites
}

// SiteImpact is the effect of a change on one site.
type SiteImpact struct {
	Site         int      `json:"site"`
	Rerouted     int      `json:"rerouted"`
	Relay        *big.Int `json:"relay"`         // addresses that may relay and could not before
	RelayFewer   *big.Int `json:"relay_fewer"`   // that could, and may no longer
	RelayAll     *big.Int `json:"relay_all"`     // addresses that may relay then
	Connect      *big.Int `json:"connect"`       // addresses that may connect and could not before
	ConnectFewer *big.Int `json:"connect_fewer"` // that could, and may no longer
	ConnectAll   *big.Int `json:"connect_all"`   // addresses that may connect then
	RelayAuth    bool     `json:"relay_auth"`    // signed-in callers may relay, and could not before
	OpenDomains  []string `json:"open_domains"`  // that accept mail from anybody, and did not before
	Becomes      []string `json:"becomes"`       // in words: new, removed, starts, stops, listens elsewhere, who may relay to one domain
}

// The calls about the history.
const (
	MbLog    Method[LogRequest, []Entry]    = "mb/log"
	MbDiff   Method[DiffRequest, []Change]  = "mb/diff"
	MbRevert Method[RevertRequest, Applied] = "mb/revert"
	MbWatch  Stream[WatchRequest, Entry]    = "mb/watch"
)

// A LogRequest asks for the newest Count revisions that changed something at
// or below Path; Count 0 means all.
type LogRequest struct {
	Path  string `json:"path"`
	Count int    `json:"count"`
}

// An Entry is one revision.
type Entry struct {
	Rev     metabase.Rev       `json:"rev"`
	Time    time.Time          `json:"time,omitzero"`
	Actor   metabase.Principal `json:"actor"`
	Origin  metabase.Origin    `json:"origin"`
	Comment string             `json:"comment,omitempty"`
	Reverts metabase.Rev       `json:"reverts,omitempty"`
	Until   time.Time          `json:"until,omitzero"`
	Kept    []string           `json:"kept,omitempty"`
	Changes []Change           `json:"changes"`
	Anew    bool               `json:"anew,omitempty"` // of a watch: more has changed than is told; read the tree anew
}

// A Change is one line of a difference.
type Change struct {
	Path     metabase.Path `json:"path"`
	What     string        `json:"what"`
	Property string        `json:"property,omitempty"`
	ID       metabase.ID   `json:"id,omitempty"`
	Old      any           `json:"old,omitempty"`
	New      any           `json:"new,omitempty"`
	OldText  []string      `json:"old_text,omitempty"`
	NewText  []string      `json:"new_text,omitempty"`
	To       metabase.Path `json:"to,omitempty"`

	// Attributes; types and user types where they differ.
	OldAttributes string             `json:"old_attributes,omitempty"`
	NewAttributes string             `json:"new_attributes,omitempty"`
	OldType       string             `json:"old_type,omitempty"`
	NewType       string             `json:"new_type,omitempty"`
	OldUserType   *metabase.UserType `json:"old_user_type,omitempty"`
	NewUserType   *metabase.UserType `json:"new_user_type,omitempty"`
}

// A DiffRequest asks for the difference between two revisions, 0 for the
// newest.
type DiffRequest struct {
	From metabase.Rev `json:"from"`
	To   metabase.Rev `json:"to"`
}

// A RevertRequest reverts a revision, at and below Path.
type RevertRequest struct {
	Rev    metabase.Rev `json:"rev"`
	Path   string       `json:"path"`
	DryRun bool         `json:"dry_run,omitempty"`
}

// A WatchRequest asks for each change at and below Path after revision Since, 0
// for the empty tree and nil for the newest.
type WatchRequest struct {
	Path  string        `json:"path"`
	Since *metabase.Rev `json:"since,omitempty"`
}
