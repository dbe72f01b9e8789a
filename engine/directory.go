// SPDX-License-Identifier: Apache-2.0

package engine

import (
	"context"

	"restante/engine/account"
	"restante/engine/account/ldap"
	"restante/engine/mail"
	"restante/engine/recipients"
	"restante/engine/settings"
	"restante/engine/site/certs"
)

// knownTokens is next or, where that has the same settings as before, the one from
// before, which has the issuer's keys.
func (e *Engine) knownTokens(n int, next account.Tokens) account.Tokens {
	e.mu.Lock()
	defer e.mu.Unlock()
	if was := e.tokens[n]; was != nil && next != nil && was.ID() == next.ID() {
		return was
	}
	e.tokens[n] = next
	return next
}

// directory is what a site checks the passwords of accounts by that are not kept
// here; nil for nothing. While its settings stay, a site keeps the one that it has,
// which knows which server answers.
func (e *Engine) directory(a *siteAdapter) account.Directory {
	e.mu.Lock()
	defer e.mu.Unlock()
	set := a.Ldap
	if len(set.LdapUrls) == 0 {
		delete(e.directories, a.Number)
		return nil
	}
	cfg := ldap.Config{
		URLs: set.LdapUrls, StartTLS: set.LdapStartTls, CAFile: set.LdapCaFile, BindDN: set.LdapBindDn, BindPassword: a.BindPassword(),
		Template: set.LdapBindTemplate, BaseDN: set.LdapBaseDn, Filter: set.LdapUserFilter, Attribute: set.LdapAccountAttribute,
		Group: set.LdapRequiredGroup, Timeout: set.LdapTimeout, Cache: set.LdapCacheTime,
	}
	next := a.openDirectory(cfg)
	if was := e.directories[a.Number]; was != nil && was.ID() == next.ID() {
		return was
	}
	e.directories[a.Number] = next
	return next
}

// hasMailbox asks a directory that a site names for a mailbox.
func (e *Engine) hasMailbox(ctx context.Context, s *settings.Site, cfg ldap.Config, a mail.Address) (bool, error) {
	at := siteAdapter{Site: s, dir: e.opts.DataDir}
	return e.asked.Has(ctx, at.openDirectory(cfg), recipients.User{Site: s.Number, Domain: a.Domain}, a)
}

// openDirectory makes a directory whose CAFile is as stored.
func (a *siteAdapter) openDirectory(cfg ldap.Config) *ldap.Directory {
	if cfg.CAFile = a.path(cfg.CAFile); cfg.CAFile != "" {
		cfg.Roots = certs.NewPool(cfg.CAFile).Roots
	}
	return ldap.New(cfg)
}
