// SPDX-License-Identifier: Apache-2.0

// Package sites answers the calls about the virtual servers: the sites with
// their domains and accounts, what would become of a message, and the service
// as a whole with its scripts. A site is not taken away before its mail is where
// it was asked to be.
//
// What it changes, it changes by batches on the tree; the running sites follow.
package sites

import (
	"restante/internal/control"
	"restante/internal/desk"
)

// A drawer is the part of a Desk with these calls.
type drawer struct {
	*desk.Desk
	scripts Scripts
}

// Calls puts the handlers on a Desk. Scripts is nil where no script can run.
func Calls(on *desk.Desk, scripts Scripts) {
	d := drawer{on, scripts}
	desk.On(on, control.SiteList, d.sites)
	desk.On(on, control.SiteShow, d.siteShow)
	desk.On(on, control.SiteCreate, d.siteCreate)
	desk.On(on, control.SiteSet, d.siteSet)
	desk.On(on, control.SiteCommand, d.siteCommand)
	desk.On(on, control.SiteDelete, d.siteDelete)
	desk.On(on, control.Sessions, d.sessions)
	desk.On(on, control.EndSession, d.endSession)
	desk.On(on, control.DomainList, d.domains)
	desk.On(on, control.DomainShow, d.domainShow)
	desk.On(on, control.DomainCreate, d.domainCreate)
	desk.On(on, control.DomainDelete, d.domainDelete)
	desk.On(on, control.AccountList, d.accounts)
	desk.On(on, control.AccountPut, d.accountPut)
	desk.On(on, control.AccountDelete, d.accountDelete)
	desk.On(on, control.TurnList, d.turnList)
	desk.On(on, control.TurnSet, d.turnSet)
	desk.On(on, control.Status, d.status)
	desk.On(on, control.Explain, d.explain)
	desk.OnFlow(on, control.Run, d.run)
	desk.On(on, control.Complete, d.complete)
}
