// SPDX-License-Identifier: Apache-2.0

package settings

import (
	"strconv"
	"strings"

	"restante/metabase"
	"restante/metabase/schema"
)

// Keys of the machine and of the SMTP service.
const (
	Computer metabase.Path = "/LM"
	Service  metabase.Path = "/LM/SMTPSVC"
)

// DefaultSite is the number of the site that Setup creates. It cannot be
// deleted.
const DefaultSite = 1

var defaultSite = SitePath(DefaultSite)

// SitePath is the key of site n.
func SitePath(n int) metabase.Path { return Service.Join(strconv.Itoa(n)) }

// DomainsPath is the container of site n's domains.
func DomainsPath(n int) metabase.Path { return SitePath(n).Join("Domain") }

// RoutingPath is the key that says by which directory site n looks recipients up.
func RoutingPath(n int) metabase.Path { return SitePath(n).Join("RoutingSources") }

// SessionsPath is the container of the sessions of site n.
func SessionsPath(n int) metabase.Path { return SitePath(n).Join("Sessions") }

// DomainPath is the key of one of site n's domains.
func DomainPath(n int, name string) metabase.Path { return DomainsPath(n).Join(name) }

// UsersPath is the container of site n's accounts; 0 is for the accounts of all
// sites.
func UsersPath(n int) metabase.Path {
	if n == 0 {
		return Service.Join("User")
	}
	return SitePath(n).Join("User")
}

// UserPath is the key of an account of site n, 0 for one of all sites.
func UserPath(n int, name string) metabase.Path { return UsersPath(n).Join(name) }

// AccountPath returns the key of the account that signs in at site n by a name: one
// of the site or, where it has none, one of all sites.
func AccountPath(snap metabase.Snapshot, n int, name string) (p metabase.Path, ok bool) {
	if p = UserPath(n, name); snap.Has(p) {
		return p, true
	}
	p = UserPath(0, name)
	return p, snap.Has(p)
}

// HasAccount reports whether an account can sign in at site n; where a directory is
// asked, it may know any.
func HasAccount(snap metabase.Snapshot, n int, name string) bool {
	_, ok := AccountPath(snap, n, name)
	return ok || HasDirectory(snap, n)
}

// Numbers lists the numbers of the sites in the tree, in order.
func Numbers(snap metabase.Snapshot) (numbers []int) {
	for name := range snap.Children(Service) {
		if n, err := strconv.Atoi(name); err == nil && strings.EqualFold(snap.Class(Service.Join(name)), schema.Server) {
			numbers = append(numbers, n)
		}
	}
	return numbers
}

// What becomes of waiting mail that a change lets go, as [metabase.Batch].Waiting.
const (
	ReleaseWaiting = "release" // it goes where the new settings send it
	ReturnWaiting  = "return"  // it is returned to its senders after a time
	KeepWaiting    = "keep"    // it stays, frozen
)

// isBelow reports whether the first element of a relative path is name.
func isBelow(rest, name string) bool {
	first, _, _ := strings.Cut(rest, "/")
	return strings.EqualFold(first, name)
}

// siteOf splits /LM/SMTPSVC/2/Domain/a.test into 2 and "Domain/a.test".
func siteOf(path metabase.Path) (n int, rest string, ok bool) {
	if !path.Within(Service) || len(path) <= len(Service) {
		return 0, "", false
	}
	number, rest, _ := strings.Cut(string(path[len(Service)+1:]), "/")
	n, err := strconv.Atoi(number)
	return n, rest, err == nil
}

// domainOf splits the path of a domain's key into its site and its name.
func domainOf(path metabase.Path) (n int, name string, ok bool) {
	n, rest, ok := siteOf(path)
	container, name, below := strings.Cut(rest, "/")
	return n, name, ok && below && strings.EqualFold(container, "Domain") && !strings.Contains(name, "/")
}
