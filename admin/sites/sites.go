// SPDX-License-Identifier: Apache-2.0

// Package sites has the handlers of calls about sites, their domains and
// accounts, and about the service. A site is deleted only after its mail has
// reached the place that the request names.
//
// Every change is a batch on the tree; the running sites follow it.
package sites

import (
	"restante/admin"
	"restante/admin/api"
)

// handlers are the part of an API with these calls.
type handlers struct{ *admin.API }

// Register registers the handlers.
func Register(on *admin.API) {
	on.AddPart(Register)
	h := handlers{on}
	admin.Handle(on, api.SiteList, h.sites)
	admin.Handle(on, api.SiteShow, h.siteShow)
	admin.Handle(on, api.SiteCreate, h.siteCreate)
	admin.Handle(on, api.SiteSet, h.siteSet)
	admin.Handle(on, api.SiteCommand, h.siteCommand)
	admin.Handle(on, api.SiteDelete, h.siteDelete)
	admin.Handle(on, api.Sessions, h.sessions)
	admin.Handle(on, api.EndSession, h.endSession)
	admin.Handle(on, api.DomainList, h.domains)
	admin.Handle(on, api.DomainShow, h.domainShow)
	admin.Handle(on, api.DomainCreate, h.domainCreate)
	admin.Handle(on, api.DomainDelete, h.domainDelete)
	admin.Handle(on, api.DomainDkim, h.domainDkim)
	admin.Handle(on, api.DomainOauth, h.domainOauth)
	admin.Handle(on, api.DomainOauthWait, h.domainOauthWait)
	admin.Handle(on, api.AccountList, h.accounts)
	admin.Handle(on, api.AccountPut, h.accountPut)
	admin.Handle(on, api.AccountDelete, h.accountDelete)
	admin.Handle(on, api.TurnList, h.turnList)
	admin.Handle(on, api.TurnSet, h.turnSet)
	admin.Handle(on, api.Status, h.status)
	admin.Handle(on, api.Complete, h.complete)
}
