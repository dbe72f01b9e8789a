// SPDX-License-Identifier: Apache-2.0

package admin

import (
	"os"
	"strings"

	"restante/engine/mail"
	"restante/engine/settings"
	"restante/metabase"
	"restante/metabase/schema"
)

// Setup gives the operations that make the default tree of an empty store, and
// the schema as keys.
func Setup(snap metabase.Snapshot, s *schema.Schema, site settings.NewSite) ([]metabase.Op, error) {
	ops, err := settings.Setup(snap, site)
	return append(ops, s.Sync(snap)...), err
}

// FirstSite is the site of setup. Names that are not given come from the host;
// a host with a short name announces its domain.
func FirstSite(bind []string, domain, fqdn string) settings.NewSite {
	host, err := os.Hostname()
	if err != nil {
		host = "localhost"
	}
	if _, err := mail.ParseDomain(host); err != nil {
		host = "localhost"
	}
	site := settings.NewSite{Bindings: bind, Domain: domain, FQDN: fqdn}
	if site.Domain == "" {
		site.Domain = host
	}
	if site.FQDN == "" && strings.Contains(host, ".") {
		site.FQDN = host
	}
	return site
}
