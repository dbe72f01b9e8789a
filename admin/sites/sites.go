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

// A drawer is the part of a Desk with these calls.
type drawer struct {
	*admin.Desk
	scripts Scripts
}

// Calls puts the handlers on a Desk. Scripts is nil where no script can run.
func Calls(on *admin.Desk, scripts Scripts) {
	d := drawer{on, scripts}
	admin.On(on, api.SiteList, d.sites)
	admin.On(on, api.SiteShow, d.siteShow)
	admin.On(on, api.SiteCreate, d.siteCreate)
	admin.On(on, api.SiteSet, d.siteSet)
	admin.On(on, api.SiteCommand, d.siteCommand)
	admin.On(on, api.SiteDelete, d.siteDelete)
	admin.On(on, api.Sessions, d.sessions)
	admin.On(on, api.EndSession, d.endSession)
	admin.On(on, api.DomainList, d.domains)
	admin.On(on, api.DomainShow, d.domainShow)
	admin.On(on, api.DomainCreate, d.domainCreate)
	admin.On(on, api.DomainDelete, d.domainDelete)
	admin.On(on, api.AccountList, d.accounts)
	admin.On(on, api.AccountPut, d.accountPut)
	admin.On(on, api.AccountDelete, d.accountDelete)
	admin.On(on, api.TurnList, d.turnList)
	admin.On(on, api.TurnSet, d.turnSet)
	admin.On(on, api.Status, d.status)
	admin.On(on, api.Explain, d.explain)
	admin.OnFlow(on, api.Run, d.run)
	admin.On(on, api.Complete, d.complete)
}
