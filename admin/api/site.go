// SPDX-License-Identifier: Apache-2.0

package api

import (
	"restante/engine/account"
	"restante/engine/site"
	"restante/metabase"
)

// The calls about sites.
const (
	SiteList    Method[struct{}, []Site]           = "site/list"
	SiteShow    Method[SiteRequest, Site]          = "site/show"
	SiteCreate  Method[SiteCreateRequest, Site]    = "site/create"
	SiteSet     Method[SiteSetRequest, Site]       = "site/set"
	SiteCommand Method[SiteCommandRequest, Site]   = "site/command"
	SiteDelete  Method[SiteDeleteRequest, Deleted] = "site/delete"
	Sessions    Method[SiteRequest, []Session]     = "site/sessions"
	EndSession  Method[EndRequest, Ended]          = "site/end-session"
)

// A Site describes a virtual server: as it runs, and what is set for it.
type Site struct {
	site.Status
	Domain    string `json:"domain,omitempty"`
	FQDN      string `json:"fqdn,omitempty"`
	AutoStart bool   `json:"auto_start"`
	Domains   int    `json:"domains"`
	Queue     string `json:"queue_directory,omitempty"`

	LockOuts []account.LockOut `json:"locked_out,omitempty"` // at all sites, without the accounts
}

// A SiteRequest names a site.
type SiteRequest struct {
	Site int `json:"site"`
}

// A SiteCreateRequest describes a new site: the answers of IIS's wizard.
type SiteCreateRequest struct {
	Name   string   `json:"name"`
	Bind   []string `json:"bind"`
	Odmr   []string `json:"odmr,omitempty"` // addresses for ATRN alone
	Domain string   `json:"domain"`
	Dir    string   `json:"dir,omitempty"` // "": Mailroot-N
}

// A SiteSetRequest renames a site or replaces its addresses; an empty field
// changes nothing.
type SiteSetRequest struct {
	Site int      `json:"site"`
	Name string   `json:"name,omitempty"`
	Bind []string `json:"bind,omitempty"`
}

// A SiteCommandRequest is start, stop, pause or continue.
type SiteCommandRequest struct {
	Site    int    `json:"site"`
	Command string `json:"command"`
}

// A SiteDeleteRequest names a site and what becomes of its queued mail: exactly
// one of the four fields.
type SiteDeleteRequest struct {
	Site    int    `json:"site"`
	Drain   bool   `json:"drain,omitempty"`
	MoveTo  int    `json:"move_to,omitempty"`
	Export  string `json:"export,omitempty"` // a folder, absolute
	Discard bool   `json:"discard,omitempty"`
}

// Deleted is the result of a deletion.
type Deleted struct {
	Rev      metabase.Rev `json:"rev"`
	Site     int          `json:"site,omitempty"`
	Name     string       `json:"name,omitempty"`
	Messages int          `json:"messages"`
	Bytes    int64        `json:"bytes"`
	Folders  []string     `json:"folders,omitempty"`  // that stay on disk
	NamedBy  []string     `json:"named_by,omitempty"` // domains whose AuthTurnList still names the account
	Ended    int          `json:"sessions_ended,omitempty"`
}

// A Session is the connection of one SMTP client.
type Session = site.Session

// An EndRequest ends a session or, with All, every session of the site.
type EndRequest struct {
	Site int    `json:"site"`
	ID   string `json:"id,omitempty"`
	All  bool   `json:"all,omitempty"`
}

// Ended counts the sessions that were ended.
type Ended struct {
	Sessions int `json:"sessions"`
}
