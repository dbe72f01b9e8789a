// SPDX-License-Identifier: Apache-2.0

package api

import (
	"time"

	"restante/engine/account"
	"restante/engine/account/oauth"
	"restante/engine/release/calls"
	"restante/engine/settings"
	"restante/metabase"
)

// The calls about domains and the accounts that may collect their mail.
const (
	DomainList   Method[SiteRequest, []Domain]       = "domain/list"
	DomainShow   Method[DomainRequest, Domain]       = "domain/show"
	DomainCreate Method[DomainCreateRequest, Domain] = "domain/create"
	DomainDelete Method[DomainRequest, Deleted]      = "domain/delete"
	DomainDkim   Method[DkimRequest, Dkim]           = "domain/dkim"
	TurnList     Method[TurnListRequest, []Grant]    = "turn/list"
	TurnSet      Method[TurnRequest, Domain]         = "turn/set"
	TurnHistory  Method[HistoryRequest, []Release]   = "turn/history"
	DomainOauth  Method[DomainRequest, oauth.Code]   = "domain/oauth"

	DomainOauthWait Method[OauthWaitRequest, OauthDone] = "domain/oauth_wait"
)

// A Domain describes a domain of a site.
type Domain struct {
	Site        int             `json:"site"`
	Name        string          `json:"name"`
	Kind        string          `json:"kind"` // default, alias, local or remote
	RouteAction settings.Action `json:"route_action"`
	Held        bool            `json:"held"`
	Turn        []string        `json:"turn"`                // accounts that may collect its mail
	Etrn        []string        `json:"etrn"`                // callers that may start delivery to it by ETRN: accounts (those of turn), any, addresses, networks
	Off         []string        `json:"verbs_off,omitempty"` // of a held domain: ETRN, TURN and ATRN, where the site does not offer them
	SmartHost   string          `json:"smart_host,omitempty"`
	Relay       bool            `json:"relay"`
	Recipients  int             `json:"recipients,omitempty"`        // that Recipients lists; 0 without a file and a directory: any
	File        string          `json:"recipients_file,omitempty"`   // with more of them
	Directories []string        `json:"recipients_ldap,omitempty"`   // servers that know more of them
	Pushed      *PushedList     `json:"recipients_pushed,omitempty"` // by its host
	Messages    int             `json:"messages,omitempty"`          // waiting for it
	Bytes       int64           `json:"bytes,omitempty"`
	Oldest      time.Time       `json:"oldest,omitzero"`            // when the oldest of them came
	Largest     int64           `json:"largest,omitempty"`          // bytes of the largest
	InDoubt     int             `json:"in_doubt,omitempty"`         // of them, those that a host has had whole and not answered for
	Quota       *HoldQuota      `json:"quota,omitempty"`            // of a held domain that has one
	Link        string          `json:"link,omitempty"`             // the link profile of a held domain
	LinkMissing string          `json:"link_missing,omitempty"`     // one that it or an account of Turn names, and that is not there: no limits hold
	LastCall    *calls.Call     `json:"last_call,omitempty"`        // for a held domain, to a caller who may see to the site's mail
	NextCall    time.Time       `json:"next_call,omitzero"`         // when its host is expected to call
	Expires     time.Time       `json:"expires,omitzero"`           // the oldest of them, if it does not go before
	LastError   string          `json:"last_error,omitempty"`       // of the last attempt or call that did not take them
	Unknown     []string        `json:"unknown_accounts,omitempty"` // names of Turn that no account has
	Ended       int             `json:"sessions_ended,omitempty"`   // releases that a revocation ends
	Except      []string        `json:"except,omitempty"`           // of a grant: keys below the wildcard that it does not reach
	Oversize
}

// A HistoryRequest picks releases; 0, "" and the zero Time mean all.
type HistoryRequest struct {
	Site    int       `json:"site,omitempty"`
	Domain  string    `json:"domain,omitempty"`
	Account string    `json:"account,omitempty"`
	Since   time.Time `json:"since,omitzero"`
}

// A Release is what became of a call for held mail.
type Release struct {
	Site int `json:"site"`
	calls.Call
}

// A PushedList is the list of recipients that a domain's host has pushed.
type PushedList struct {
	Count int       `json:"count"`
	At    time.Time `json:"at"`
	By    string    `json:"by"` // account
}

// A HoldQuota bounds what waits for a held domain; 0 is no bound.
type HoldQuota struct {
	MaxMessages  int   `json:"max_messages,omitempty"`
	MaxBytes     int64 `json:"max_bytes,omitempty"`
	ReserveBytes int64 `json:"reserve_bytes,omitempty"` // of the disk, that stay free
	Percent      int   `json:"percent"`                 // of MaxMessages or MaxBytes that is used, the greater one
}

// A DomainRequest names a domain of a site.
type DomainRequest struct {
	Site int    `json:"site"`
	Name string `json:"name"`
}

// A DomainCreateRequest describes a new domain.
type DomainCreateRequest struct {
	Site      int      `json:"site"`
	Name      string   `json:"name"`
	Alias     bool     `json:"alias,omitempty"` // of the default domain; else remote
	Hold      bool     `json:"hold,omitempty"`
	Turn      []string `json:"turn,omitempty"`
	SmartHost string   `json:"smart_host,omitempty"`
	Relay     bool     `json:"relay,omitempty"`
}

// An OauthWaitRequest waits until somebody has typed a code.
type OauthWaitRequest struct {
	DomainRequest
	Code oauth.Code `json:"code"`
}

// OauthDone says where the refresh token is.
type OauthDone struct {
	Site int           `json:"site"`
	Name string        `json:"name"`
	Path metabase.Path `json:"path"`
}

// A DkimRequest asks for the keys that sign a domain's mail. Where there is none, one is
// made.
type DkimRequest struct {
	Site     int    `json:"site"`
	Name     string `json:"name"`
	Selector string `json:"selector,omitempty"` // of a key that is made if it is not there; "": one is found for it
	Type     string `json:"type,omitempty"`     // of a key that is made: rsa or ed25519; "": rsa
	Rotate   bool   `json:"rotate,omitempty"`   // make one that takes the place of that which signs, or have it do so
	Delete   bool   `json:"delete,omitempty"`   // remove the key of Selector
	Force    bool   `json:"force,omitempty"`    // also the last one that signs
}

// Dkim is what signs a domain's mail.
type Dkim struct {
	Site    int       `json:"site"`
	Name    string    `json:"name"`
	Made    []string  `json:"made,omitempty"`    // selectors of keys that the request has made
	Deleted string    `json:"deleted,omitempty"` // selector of the key that Delete has removed
	Retired []string  `json:"retired,omitempty"` // of those in whose place others sign now: their records stay until the mail is there
	For     []string  `json:"for"`               // accounts and networks whose mail is signed; empty: that of all who may submit
	Keys    []DkimKey `json:"keys"`
}

// A DkimKey is the public half of a key.
type DkimKey struct {
	Selector  string `json:"selector"`
	Type      string `json:"type"`
	Signs     bool   `json:"signs"`
	Waits     bool   `json:"waits,omitempty"` // it signs when a request with Rotate finds it published
	Record    string `json:"record"`          // name of its TXT record
	Text      string `json:"text"`            // of the record
	Published string `json:"published"`       // published, missing, different or unknown
	Found     string `json:"found,omitempty"` // what else is there, or why nothing is known
}

// A TurnListRequest asks which accounts may collect which domain's mail; 0 and
// "" mean all.
type TurnListRequest struct {
	Site    int    `json:"site,omitempty"`
	Account string `json:"account,omitempty"`
}

// A Grant lets an account collect a domain's mail.
type Grant struct {
	Site    int      `json:"site"`
	Domain  string   `json:"domain"`
	Account string   `json:"account"`
	Rules   []string `json:"rules,omitempty"`  // that narrow it, in order
	Except  []string `json:"except,omitempty"` // keys below a wildcard that do not name the account
}

// A TurnRequest grants or revokes a Grant.
type TurnRequest struct {
	Site    int    `json:"site"`
	Domain  string `json:"domain"`
	Account string `json:"account"`
	Revoke  bool   `json:"revoke,omitempty"`
}

// The calls about accounts.
const (
	AccountList   Method[SiteRequest, []Account]  = "account/list"
	AccountPut    Method[AccountRequest, Account] = "account/put"
	AccountDelete Method[AccountRequest, Deleted] = "account/delete"
)

// An Account may sign in at one site, or with site 0 at all of them.
type Account struct {
	Site    int      `json:"site"`
	Name    string   `json:"name"`
	CramMD5 bool     `json:"cram_md5"`
	Domains []string `json:"domains"`                  // whose mail it may collect, SITE/DOMAIN
	Ended   int      `json:"sessions_ended,omitempty"` // by the new password

	LockOuts []account.LockOut `json:"locked_out,omitempty"` // addresses that tried this name last
}

// An AccountRequest names an account as [SITE/]NAME, with its password where
// the call needs one.
type AccountRequest struct {
	Name     string `json:"name"`
	Password string `json:"password,omitempty"`
	CramMD5  bool   `json:"cram_md5,omitempty"`
	Change   bool   `json:"change,omitempty"` // it must exist; else it must not
}
