// SPDX-License-Identifier: Apache-2.0

package api

import (
	"restante/engine/settings"
)

// The calls about domains and who may take their mail.
const (
	DomainList   Method[SiteRequest, []Domain]       = "domain/list"
	DomainShow   Method[DomainRequest, Domain]       = "domain/show"
	DomainCreate Method[DomainCreateRequest, Domain] = "domain/create"
	DomainDelete Method[DomainRequest, Deleted]      = "domain/delete"
	TurnList     Method[TurnListRequest, []Grant]    = "turn/list"
	TurnSet      Method[TurnRequest, Domain]         = "turn/set"
)

// A Domain is a domain of a site as it is shown.
type Domain struct {
	Site        int             `json:"site"`
	Name        string          `json:"name"`
	Kind        string          `json:"kind"` // default, alias, local or remote
	RouteAction settings.Action `json:"route_action"`
	Held        bool            `json:"held"`
	Turn        []string        `json:"turn"` // accounts that may take its mail
	SmartHost   string          `json:"smart_host,omitempty"`
	Relay       bool            `json:"relay"`
	Messages    int             `json:"messages,omitempty"` // that wait for it
	Bytes       int64           `json:"bytes,omitempty"`
	Unknown     []string        `json:"unknown_accounts,omitempty"` // of Turn, that there are no accounts for yet
}

// A DomainRequest names a domain of a site.
type DomainRequest struct {
	Site int    `json:"site"`
	Name string `json:"name"`
}

// A DomainCreateRequest says what becomes of mail to a domain.
type DomainCreateRequest struct {
	Site      int      `json:"site"`
	Name      string   `json:"name"`
	Alias     bool     `json:"alias,omitempty"` // of the default domain; else remote
	Hold      bool     `json:"hold,omitempty"`
	Turn      []string `json:"turn,omitempty"`
	SmartHost string   `json:"smart_host,omitempty"`
	Relay     bool     `json:"relay,omitempty"`
}

// A TurnListRequest asks who may take which domain's mail; 0 and "" for all.
type TurnListRequest struct {
	Site    int    `json:"site,omitempty"`
	Account string `json:"account,omitempty"`
}

// A Grant lets an account take a domain's mail.
type Grant struct {
	Site    int    `json:"site"`
	Domain  string `json:"domain"`
	Account string `json:"account"`
}

// A TurnRequest grants or revokes.
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

// An Account is who may sign in, at one site or with site 0 at all of them.
type Account struct {
	Site    int      `json:"site"`
	Name    string   `json:"name"`
	CramMD5 bool     `json:"cram_md5"`
	Domains []string `json:"domains"` // whose mail it may take, SITE/DOMAIN
}

// An AccountRequest names an account as [SITE/]NAME, and where one is needed
// has its password.
type AccountRequest struct {
	Name     string `json:"name"`
	Password string `json:"password,omitempty"`
	CramMD5  bool   `json:"cram_md5,omitempty"`
	Change   bool   `json:"change,omitempty"` // it must exist; else it must not
}
