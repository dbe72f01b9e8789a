// SPDX-License-Identifier: Apache-2.0

package settings

import (
	"cmp"
	"fmt"
	"slices"
	"strconv"

	"restante/metabase"
	"restante/metabase/schema"
)

// NewSite describes a site that is to be created.
type NewSite struct {
	Name     string   // for display; "" for a name with the number
	Bindings []string // ip:port:host or ADDR:PORT; none for all addresses, port 25
	ODMR     []string // addresses for ATRN alone, such as :366
	Domain   string   // the default domain; "" for none
	FQDN     string   // our name; "" for the domain's
	Dir      string   // parent of the folders; "" for Mailroot-N, Mailroot for the default site
}

// Setup returns the operations that make the tree of a fresh install: the
// service with its defaults, and the default site. It changes nothing that is
// there already. The caller makes the certificate's files.
func Setup(snap metabase.Snapshot, site NewSite) ([]metabase.Op, error) {
	b := &builder{snap: snap, schema: schema.IIS()}
	b.key(Computer, schema.Computer)
	if b.key(Service, schema.Service) {
		for _, row := range serviceDefaults {
			b.set(Service, row.id, row.value)
		}
	}
	b.key(Service.Join("Info"), schema.Info)
	b.key(UsersPath(0), schema.User)
	if !snap.Has(SitePath(DefaultSite)) {
		if site.Name == "" {
			site.Name = "Default SMTP Site"
		}
		b.site(DefaultSite, site)
	}
	return b.ops, b.err
}

// Upgrade returns the operations that give the service the schema's defaults of
// this version where Setup of an earlier one stored its own, and nobody has
// changed them since, and the sites of an earlier one the link profiles that it lacked.
func Upgrade(snap metabase.Snapshot) ([]metabase.Op, error) {
	b := &builder{snap: snap, schema: schema.IIS()}
	made, _ := snap.Stored(Service, metabase.KeyType)
	for _, row := range serviceDefaults {
		prop, _ := b.schema.ByID(row.id)
		was, ok := snap.Stored(Service, row.id)
		if ok && row.value == schemaDefault && was.Rev == made.Rev && !was.Value.Equal(prop.Default) {
			b.set(Service, row.id, schemaDefault)
		}
	}
	sites := Numbers(snap)
	if !slices.ContainsFunc(sites, func(n int) bool { return snap.Has(LinksPath(n)) }) {
		for _, n := range sites {
			b.links(SitePath(n))
		}
	}
	return b.ops, b.err
}

// CreateSite returns the number of a new site and the operations that make it:
// its key with the folders below Dir, its containers, and the key of its default
// domain. It inherits the rest from the service.
func CreateSite(snap metabase.Snapshot, site NewSite) (int, []metabase.Op, error) {
	n := DefaultSite
	for _, have := range Numbers(snap) {
		n = max(n, have+1)
	}
	if site.Name == "" {
		site.Name = fmt.Sprintf("SMTP Site %d", n)
	}
	b := &builder{snap: snap, schema: schema.IIS()}
	b.site(n, site)
	return n, b.ops, b.err
}

// SiteParts returns the operations that give the site whose key is made at path
// the folders and containers that CreateSite gives one; none where path is no
// place of a site.
func SiteParts(snap metabase.Snapshot, path metabase.Path) ([]metabase.Op, error) {
	n, rest, ok := siteOf(path)
	if !ok || rest != "" {
		return nil, nil
	}
	b := &builder{snap: snap, schema: schema.IIS()}
	b.parts(path, Mailroot(n))
	return b.ops, b.err
}

// CreateDomain returns the operations that make a domain's key with its
// RouteAction, and the container where the site has none.
func CreateDomain(snap metabase.Snapshot, n int, name string, action Action) ([]metabase.Op, error) {
	b := &builder{snap: snap, schema: schema.IIS()}
	b.key(DomainsPath(n), schema.Domain)
	b.ops = append(b.ops, metabase.AddKey{Path: DomainPath(n, name), Class: schema.Domain})
	b.set(DomainPath(n, name), RouteAction, strconv.FormatUint(uint64(action), 10))
	return b.ops, b.err
}

// schemaDefault stands for the schema's default as the value of a property.
const schemaDefault = "\x00"

// serviceDefaults are the properties that Setup stores. A value that is not the
// schema's default is the one in the dialogs of IIS.
var serviceDefaults = []struct {
	id    metabase.ID
	value string
}{
	{SmtpServiceVersion, "2"},
	{ServerAutoStart, schemaDefault},
	{HopCount, schemaDefault},
	{MaxMessageSize, schemaDefault},
	{MaxSessionSize, schemaDefault},
	{MaxRecipients, schemaDefault},
	{MaxOutConnections, "1000"},
	{MaxOutConnectionsPerDomain, "100"},
	{ConnectionTimeout, schemaDefault},
	{RemoteTimeout, "600"},
	{SmtpRemoteProgressiveRetry, schemaDefault},
	{SmtpRemoteDelayExpireMinutes, "720"},
	{SmtpRemoteNDRExpireMinutes, schemaDefault},
	{SmtpLocalDelayExpireMinutes, "720"},
	{SmtpLocalNDRExpireMinutes, schemaDefault},
	// Only this machine and signed-in clients may relay.
	{RelayIpList, "127.0.0.0/8"},
	{RelayIpv6List, "::1"},
	{RelayForAuth, "true"},
	{AuthFlags, schemaDefault},
	{SmtpInboundCommandSupportOptions, schemaDefault},
	{TlsCertificateFile, "tls/cert.pem"},
	{TlsKeyFile, "tls/key.pem"},
}

// A builder collects operations, up to the first error.
type builder struct {
	snap   metabase.Snapshot
	schema *schema.Schema
	ops    []metabase.Op
	err    error
}

// key adds a key unless it is there, and reports whether it did.
func (b *builder) key(path metabase.Path, class string) bool {
	if b.snap.Has(path) {
		return false
	}
	b.ops = append(b.ops, metabase.AddKey{Path: path, Class: class})
	return true
}

func (b *builder) set(path metabase.Path, id metabase.ID, value ...string) {
	prop, ok := b.schema.ByID(id)
	if !ok || b.err != nil {
		return
	}
	v, err := prop.Default, error(nil)
	if !slices.Equal(value, []string{schemaDefault}) {
		v, err = prop.Parse(value)
	}
	if err != nil {
		b.err = problem(path, id, err)
		return
	}
	b.ops = append(b.ops, metabase.Set{Path: path, Property: prop.Item(v)})
}

func (b *builder) site(n int, site NewSite) {
	path := SitePath(n)
	b.key(path, schema.Server)
	if len(site.Bindings) == 0 {
		site.Bindings = []string{":25:"}
	}
	b.set(path, ServerComment, site.Name)
	b.set(path, ServerBindings, site.Bindings...)
	if len(site.ODMR) > 0 {
		b.set(path, AtrnBindings, site.ODMR...)
	}
	if site.Domain != "" {
		b.set(path, DefaultDomain, site.Domain)
	}
	if site.FQDN != "" {
		b.set(path, FullyQualifiedDomainName, site.FQDN)
	}
	b.parts(path, cmp.Or(site.Dir, Mailroot(n)))
	b.links(path)
	if site.Domain != "" {
		b.key(DomainPath(n, site.Domain), schema.Domain)
		b.set(DomainPath(n, site.Domain), RouteAction, strconv.Itoa(int(Default)))
	}
}

// parts makes what every site has of its own: its folders and its containers.
func (b *builder) parts(path metabase.Path, dir string) {
	for _, id := range SiteFolders {
		b.set(path, id, FolderIn(dir, id))
	}
	for _, c := range []struct{ name, class string }{
		{"Domain", schema.Domain}, {"User", schema.User}, {"Alias", schema.Alias}, {"DL", schema.DL},
		{"Sessions", schema.Sessions}, {"RoutingSources", schema.RoutingSource},
	} {
		b.key(path.Join(c.name), c.class)
	}
}
