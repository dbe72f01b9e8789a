// SPDX-License-Identifier: Apache-2.0

package settings

import (
	"slices"

	"restante/metabase"
	"restante/metabase/schema"
)

// IsOfPart reports whether a property sets that part of a site, which is
// "bindings", "certificate", "queue", or a folder's property.
func IsOfPart(id metabase.ID, part string) bool {
	switch part {
	case "bindings":
		return slices.Contains([]metabase.ID{ServerBindings, SecureBindings, AtrnBindings, ServerListenBacklog}, id)
	case "certificate":
		return slices.Contains([]metabase.ID{TlsCertificateFile, TlsKeyFile, TlsMoreCertificates, AcmeDirectory}, id)
	case "queue":
		return id == QueueDirectory
	}
	prop, ok := schema.IIS().ByID(id)
	return ok && prop.Name == part
}

// Concerns reports whether a change is one of the settings of site n, or of those
// that it may inherit or shares with other sites, and which of the two.
func Concerns(c metabase.DiffLine, n int) (own, shared bool) {
	for _, p := range []metabase.Path{c.Path, c.To} {
		if p == "" || !p.Within(Service) && !Service.Within(p) {
			continue
		}
		k, _, ok := siteOf(p)
		own, shared = own || ok && k == n, shared || !ok
	}
	return own, shared
}

// Differs reports whether the settings differ from earlier ones of the same site
// in more than the properties that except names.
func (s *Site) Differs(from *Site, except func(metabase.ID) bool) bool {
	lines := metabase.Change{Old: from.snap, New: s.snap}.Diff()
	return slices.ContainsFunc(lines, func(c metabase.DiffLine) bool {
		own, shared := Concerns(c, s.Number)
		return (own || shared) && !except(c.ID)
	})
}
