// SPDX-License-Identifier: Apache-2.0

package api

import (
	"math/big"
	"slices"
	"time"

	"restante/metabase"
)

// The calls that change the tree as a tree.
const (
	MbApply   Method[ApplyRequest, Applied]   = "mb/apply"
	MbConfirm Method[ConfirmRequest, Applied] = "mb/confirm"
)

// An ApplyRequest is a batch in words, as `mb apply` reads them.
type ApplyRequest struct {
	Lines   []Line       `json:"lines"`
	DryRun  bool         `json:"dry_run,omitempty"`
	IfRev   metabase.Rev `json:"if_rev,omitempty"`
	Confirm *float64     `json:"confirm,omitempty"` // seconds, more than 0 and up to ten years
}

// A Line is one operation: a verb, its options and its arguments. The word
// "--" ends the options.
type Line struct {
	Number int      `json:"number,omitempty"` // in its file; 0: it has none
	Words  []string `json:"words"`
	File   *File    `json:"file,omitempty"`   // what the last word names, where that is @FILE
	Broken string   `json:"broken,omitempty"` // why it could not be split into words
}

// A File is what the caller may read: it comes along where only who answers
// knows whether @FILE is meant.
type File struct {
	Hex string `json:"hex,omitempty"`
	Why string `json:"why,omitempty"` // it cannot be read
}

// Applied says what came of a batch, or with a dry run would come of it.
type Applied struct {
	Rev     metabase.Rev `json:"rev"`
	DryRun  bool         `json:"dry_run,omitempty"`
	Made    bool         `json:"made,omitempty"` // it is a new revision; else it changed nothing
	Until   time.Time    `json:"until,omitzero"` // to be confirmed before
	Changes []Change     `json:"changes"`
	Touches *Touches     `json:"touches,omitempty"`
}

// Acts says that the batch would do something that is not stored.
func (a Applied) Acts() bool {
	return a.Touches != nil && slices.ContainsFunc(a.Touches.Sites, func(s SiteTouched) bool { return len(s.Becomes) > 0 })
}

// A ConfirmRequest confirms a revision, 0 for the newest that waits.
type ConfirmRequest struct {
	Rev metabase.Rev `json:"rev"`
}

// Touches says what a batch that has not been made would mean beyond the keys
// that it names.
type Touches struct {
	Heirs    []Heirs       `json:"heirs"` // of each changed property that is inherited
	Sites    []SiteTouched `json:"sites"`
	Rerouted int           `json:"rerouted"` // queued messages that would go another way, or be held or let go
	Unseen   []int         `json:"unseen"`   // sites whose queue could not be looked at: what is in it is not in Rerouted
}

// Heirs are who takes a changed property from the key at Path.
type Heirs struct {
	Path     metabase.Path   `json:"path"`
	Property string          `json:"property"`
	Sites    []int           `json:"sites"`
	Domains  int             `json:"domains"`
	Accounts int             `json:"accounts"`
	Keys     []metabase.Path `json:"keys"` // all of them

	DomainNames  []string `json:"domain_names"`  // each after its site: 2/a.test
	AccountNames []string `json:"account_names"` // after its site, or alone for one of all sites
}

// SiteTouched says what a change does to one site.
type SiteTouched struct {
	Site        int      `json:"site"`
	Rerouted    int      `json:"rerouted"`
	Relay       *big.Int `json:"relay"`        // addresses that may relay and could not before
	RelayAll    *big.Int `json:"relay_all"`    // addresses that may relay then
	RelayAuth   bool     `json:"relay_auth"`   // whoever has signed in may, and could not before
	OpenDomains []string `json:"open_domains"` // that take mail from anybody, and did not before
	Becomes     []string `json:"becomes"`      // that it is new, is removed, starts, stops, listens elsewhere: in words
}

// The calls about what was.
const (
	MbLog    Method[LogRequest, []Entry]    = "mb/log"
	MbDiff   Method[DiffRequest, []Change]  = "mb/diff"
	MbRevert Method[RevertRequest, Applied] = "mb/revert"
	MbWatch  Stream[WatchRequest, Entry]    = "mb/watch"
)

// A LogRequest asks for the newest Count revisions that changed something at
// or below Path, 0 for all there are.
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

	// What an item has beside its value; types and user types where they differ.
	OldAttributes string             `json:"old_attributes,omitempty"`
	NewAttributes string             `json:"new_attributes,omitempty"`
	OldType       string             `json:"old_type,omitempty"`
	NewType       string             `json:"new_type,omitempty"`
	OldUserType   *metabase.UserType `json:"old_user_type,omitempty"`
	NewUserType   *metabase.UserType `json:"new_user_type,omitempty"`
}

// A DiffRequest asks what leads from one revision to another, 0 for now.
type DiffRequest struct {
	From metabase.Rev `json:"from"`
	To   metabase.Rev `json:"to"`
}

// A RevertRequest takes a revision back, at and below Path.
type RevertRequest struct {
	Rev    metabase.Rev `json:"rev"`
	Path   string       `json:"path"`
	DryRun bool         `json:"dry_run,omitempty"`
}

// A WatchRequest asks for each change at and below Path, from revision Since
// on, 0 for now.
type WatchRequest struct {
	Path  string       `json:"path"`
	Since metabase.Rev `json:"since,omitempty"`
}
