// SPDX-License-Identifier: Apache-2.0

// Package sites answers the calls about the virtual servers: the sites with
// their domains and accounts, what would become of a message, and the service
// as a whole with its scripts. A site is not taken away before its mail is where
// it was asked to be.
//
// What it changes, it changes by batches on the tree; the running sites follow.
package sites

import (
	"restante/admin"
	"restante/admin/api"
)

// handlers are the part of an API with these calls.
type handlers struct {
	*admin.API
	scripts Scripts
}

// Register registers the handlers. Scripts is nil where no script can run.
func Register(on *admin.API, scripts Scripts) {
	d := handlers{on, scripts}
	admin.Handle(on, api.SiteList, d.sites)
	admin.Handle(on, api.SiteShow, d.siteShow)
	admin.Handle(on, api.SiteCreate, d.siteCreate)
	admin.Handle(on, api.SiteSet, d.siteSet)
	admin.Handle(on, api.SiteCommand, d.siteCommand)
	admin.Handle(on, api.SiteDelete, d.siteDelete)
	admin.Handle(on, api.Sessions, d.sessions)
	admin.Handle(on, api.EndSession, d.endSession)
	admin.Handle(on, api.DomainList, d.domains)
	admin.Handle(on, api.DomainShow, d.domainShow)
	admin.Handle(on, api.DomainCreate, d.domainCreate)
	admin.Handle(on, api.DomainDelete, d.domainDelete)
	admin.Handle(on, api.AccountList, d.accounts)
	admin.Handle(on, api.AccountPut, d.accountPut)
	admin.Handle(on, api.AccountDelete, d.accountDelete)
	admin.Handle(on, api.TurnList, d.turnList)
	admin.Handle(on, api.TurnSet, d.turnSet)
	admin.Handle(on, api.Status, d.status)
	admin.Handle(on, api.Explain, d.explain)
	admin.HandleStream(on, api.Run, d.run)
	admin.Handle(on, api.Complete, d.complete)
}
