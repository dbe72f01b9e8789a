// SPDX-License-Identifier: Apache-2.0

package settings

import (
	"fmt"
	"strconv"

	"restante/metabase"
	"restante/metabase/schema"
)

// NewSite is what the wizard for a new site asks for.
type NewSite struct {
	Name     string   // for display; "" for a name with the number
	Bindings []string // ip:port:host or ADDR:PORT; none for all addresses, port 25
	Domain   string   // the default domain; "" for none
	FQDN     string   // our name; "" for the domain's
	Dir      string   // parent of the folders; "" for Mailroot-N, Mailroot for the default site
}

// Setup gives what makes the tree of a fresh install: the service with its
// defaults, and the default site. It leaves alone what is there already. The
// certificate's files that it names are for the caller to make.
func Setup(snap metabase.Snapshot, site NewSite) ([]metabase.Op, error) {
	b := &builder{snap: snap, schema: schema.IIS()}
	b.key(Computer, schema.Computer)
	if b.key(Service, schema.Service) {
		for _, row := range serviceDefaults() {
			b.set(Service, row.id, row.value...)
		}
	}
	b.key(Service.Join("Info"), schema.Info)
	b.key(UsersPath(0), schema.User)
	if !snap.Has(SitePath(DefaultSite)) {
		if site.Name == "" {
			site.Name = "Default SMTP Site"
		}
		if site.Dir == "" {
			site.Dir = "Mailroot"
		}
		b.site(DefaultSite, site)
	}
	return b.ops, b.err
}

// CreateSite gives the number of a new site and what makes it: its key with
// the folders below Dir, its containers, and the key of its default domain.
// All else comes from the service.
func CreateSite(snap metabase.Snapshot, site NewSite) (int, []metabase.Op, error) {
	n := DefaultSite
	for _, have := range Numbers(snap) {
		n = max(n, have+1)
	}
	if site.Name == "" {
		site.Name = fmt.Sprintf("SMTP Site %d", n)
	}
	if site.Dir == "" {
		site.Dir = "Mailroot-" + strconv.Itoa(n)
	}
	b := &builder{snap: snap, schema: schema.IIS()}
	b.site(n, site)
	return n, b.ops, b.err
}

// CreateDomain gives what makes a domain's key with its RouteAction, and the
// container where the site has none.
func CreateDomain(snap metabase.Snapshot, n int, name string, action Action) ([]metabase.Op, error) {
	b := &builder{snap: snap, schema: schema.IIS()}
	b.key(DomainsPath(n), schema.Domain)
	b.ops = append(b.ops, metabase.AddKey{Path: DomainPath(n, name), Class: schema.Domain})
	b.set(DomainPath(n, name), RouteAction, strconv.FormatUint(uint64(action), 10))
	return b.ops, b.err
}

type row struct {
	id    metabase.ID
	value []string
}

// serviceDefaults are what setup stores: where they differ from the schema's
// defaults, they are what an administrator of IIS finds in the dialogs.
func serviceDefaults() []row {
	one := func(id metabase.ID, value string) row { return row{id, []string{value}} }
	return []row{
		one(ServiceVersion, "2"),
		one(ServerAutoStart, "true"),
		one(HopCount, "100"),
		one(MaxMessageSize, "33554432"),
		one(MaxSessionSize, "268435456"),
		one(MaxRecipients, "100"),
		one(MaxOutConnections, "1000"),
		one(MaxOutPerDomain, "100"),
		one(ConnectionTimeout, "600"),
		one(RemoteTimeout, "600"),
		one(RetryLadder, "15,30,60,240"),
		one(RemoteDelay, "720"),
		one(RemoteExpire, "2880"),
		one(LocalDelay, "720"),
		one(LocalExpire, "2880"),
		// Only this machine, and who has signed in: nobody else may relay.
		one(RelayIPList, "127.0.0.0/8"),
		one(RelayIPv6List, "::1"),
		one(RelayForAuth, "true"),
		one(AuthFlags, "7"),
		one(InboundVerbs, "5600449"),
		one(TLSCertificateFile, "tls/cert.pem"),
		one(TLSKeyFile, "tls/key.pem"),
	}
}

// A builder gathers ops; after the first error it gathers no more.
type builder struct {
	snap   metabase.Snapshot
	schema *schema.Schema
	ops    []metabase.Op
	err    error
}

// key adds a key unless it is there, and says whether it did.
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
	v, err := prop.Parse(value)
	if err != nil {
		b.err = metabase.Problem{Path: path, ID: id, Property: prop.Name, Err: err}
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
	if site.Domain != "" {
		b.set(path, DefaultDomain, site.Domain)
	}
	if site.FQDN != "" {
		b.set(path, FQDN, site.FQDN)
	}
	b.set(path, QueueDirectory, site.Dir+"/Queue")
	b.set(path, DropDirectory, site.Dir+"/Drop")
	b.set(path, PickupDirectory, site.Dir+"/Pickup")
	b.set(path, BadMailDirectory, site.Dir+"/Badmail")
	for _, c := range []struct{ name, class string }{
		{"Domain", schema.Domain}, {"User", schema.User}, {"Alias", schema.Alias}, {"DL", schema.DL},
		{"Sessions", schema.Sessions}, {"RoutingSources", schema.RoutingSource},
	} {
		b.key(path.Join(c.name), c.class)
	}
	if site.Domain != "" {
		b.key(DomainPath(n, site.Domain), schema.Domain)
		b.set(DomainPath(n, site.Domain), RouteAction, strconv.Itoa(int(Default)))
	}
}
