// SPDX-License-Identifier: Apache-2.0

package control

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"net/netip"
	"path"
	"slices"
	"strconv"
	"strings"

	"restante/engine/settings"
	"restante/metabase"
	"restante/metabase/mbxml"
	"restante/metabase/schema"
)

// The folders of a site, by the properties that name them, below its own.
var siteFolders = map[string]string{
	"queuedirectory":   "Queue",
	"pickupdirectory":  "Pickup",
	"dropdirectory":    "Drop",
	"badmaildirectory": "Badmail",
	"logfiledirectory": "LogFiles",
}

// place parts the path of a key below the service into the number of its site,
// 0 for the service's own keys, and the names below that.
func place(key metabase.Path) (site int, below []string) {
	if !key.Within(servicePath) || key.Equal(servicePath) {
		return 0, nil
	}
	words := strings.Split(string(key[len(servicePath)+1:]), "/")
	if n, err := strconv.Atoi(words[0]); err == nil && n > 0 {
		return n, words[1:]
	}
	return 0, words
}

// mailroot is the folder that a site's folders stand in, below the data folder.
func mailroot(site int) string {
	if site == 0 || site == settings.DefaultSite {
		return "Mailroot"
	}
	return "Mailroot-" + itoa(site)
}

// folder maps a folder of another machine to one below the data folder. No two
// purposes get the same one: what a site queues must not mix with what a
// domain drops.
func (d *Desk) folder(key metabase.Path, property, folder string) string {
	site, below := place(key)
	root := mailroot(site)
	if len(below) == 2 && strings.EqualFold(below[0], "Domain") {
		return root + "/Domains/" + fileName(below[1])
	}
	if name, ok := siteFolders[strings.ToLower(property)]; ok {
		return root + "/" + name
	}
	if p, ok := d.schema.Property(property); !ok || p.Syntax != schema.FilePath {
		return folder // a text with slashes in it
	}
	return root + "/Other/" + fileName(path.Base(strings.ReplaceAll(folder, `\`, "/")))
}

// fileName makes a name that every system takes for a file, and that leads
// nowhere else.
func fileName(s string) string {
	s = strings.Map(func(r rune) rune {
		if r < ' ' || strings.ContainsRune(`<>:"/\|?*`, r) {
			return '_'
		}
		return r
	}, s)
	if s = strings.TrimRight(s, ". "); s == "" {
		return "_"
	}
	return s
}

// classByPlace is the class of the keys that each site has, where a file has
// not written it.
func classByPlace(key metabase.Path) string {
	_, below := place(key)
	if len(below) == 0 {
		return ""
	}
	for _, c := range []struct{ name, class string }{
		{"Domain", schema.Domain}, {"User", schema.User}, {"Alias", schema.Alias}, {"DL", schema.DL},
		{"Sessions", schema.Sessions}, {"RoutingSources", schema.RoutingSource},
	} {
		if strings.EqualFold(below[0], c.name) {
			return c.class
		}
	}
	return ""
}

// review looks at what means something else here than it did there.
func (d *Desk) review(_ metabase.Path, p mbxml.Prop, v metabase.Value) (metabase.Value, bool, string) {
	switch p.ID {
	case settings.RelayIPList, settings.IPSecurity:
		if _, err := schema.DecodeIPList(v.Bytes()); err != nil {
			return nobody(p.ID), true, fmt.Sprintf("the list of addresses does not have the known form (%v) and grants nothing here%s; its bytes: %x",
				err, map[bool]string{true: ": nobody but this machine may connect"}[p.ID == settings.IPSecurity], v.Bytes())
		}
	case settings.AuthFlags:
		if v.Type() == metabase.DWordType && v.DWord()&4 != 0 {
			return v, true, "callers signed in by NTLM; here they use SCRAM-SHA-256, or CRAM-MD5, and each needs an account: restante account add"
		}
	}
	switch p.Name {
	case "SSLCertHash":
		return v, false, "certificates are files here: set TlsCertificateFile and TlsKeyFile"
	case "AdminACL", "AdminACLBin":
		return v, false, "names accounts of Windows: who may do what is set by AccessList here"
	}
	return v, true, ""
}

// nobody is a list of addresses that grants nothing. An empty IPSecurity would
// let everybody connect.
func nobody(id metabase.ID) metabase.Value {
	if id != settings.IPSecurity {
		return metabase.Binary(nil)
	}
	b, _ := schema.EncodeIPList([]netip.Prefix{netip.MustParsePrefix("127.0.0.1/32")}) // one address has the form
	return metabase.Binary(b)
}

// An incoming batch is what a foreign file makes, on its way to fit.
type incoming struct {
	desk   *Desk
	snap   metabase.Snapshot
	report *mbxml.Report
	ops    []metabase.Op
}

func (in *incoming) remark(v mbxml.Verdict, p metabase.Path, property, text string) {
	in.report.Remarks = append(in.report.Remarks, mbxml.Remark{Verdict: v, Path: p, Property: property, Text: text})
}

// sets says whether the batch stores id at p.
func (in *incoming) sets(p metabase.Path, id metabase.ID) bool {
	return slices.ContainsFunc(in.ops, func(op metabase.Op) bool {
		set, ok := op.(metabase.Set)
		return ok && set.Property.ID == id && set.Path.Equal(p)
	})
}

// ownFolders gives each new site that names no folders its own: two sites must
// not share what they inherit.
func (in *incoming) ownFolders() {
	for _, op := range slices.Clone(in.ops) {
		add, ok := op.(metabase.AddKey)
		if !ok || !strings.EqualFold(add.Class, schema.Server) {
			continue
		}
		n, _ := place(add.Path)
		for _, name := range []string{"QueueDirectory", "PickupDirectory", "DropDirectory", "BadMailDirectory"} {
			prop, ok := in.desk.schema.Property(name)
			if !ok || in.sets(add.Path, prop.ID) {
				continue
			}
			folder := mailroot(n) + "/" + siteFolders[strings.ToLower(name)]
			in.ops = append(in.ops, metabase.Set{Path: add.Path, Property: prop.Item(metabase.String(folder))})
			in.remark(mbxml.Translated, add.Path, name, "was inherited; the site has a folder of its own here: "+folder)
		}
	}
}

// onlyIPv4 keeps what a list grants to what it granted: IIS's list has no IPv6
// addresses, and those that are granted here above it are not to count.
func (in *incoming) onlyIPv4() {
	prop, ok := in.desk.schema.ByID(settings.RelayIPv6List)
	if !ok {
		return
	}
	for _, op := range slices.Clone(in.ops) {
		set, ok := op.(metabase.Set)
		if !ok || set.Property.ID != settings.RelayIPList || in.sets(set.Path, prop.ID) {
			continue
		}
		if was, stored := in.snap.Stored(set.Path, prop.ID); stored && len(was.Value.Strings()) == 0 {
			continue
		}
		in.ops = append(in.ops, metabase.Set{Path: set.Path, Property: prop.Item(metabase.MultiSZ())})
		in.remark(mbxml.Translated, set.Path, prop.Name, "no IPv6 address may relay: RelayIpList has none")
	}
}

// accounts tells whose passwords did not come along: those who may take mail
// and are no accounts here.
func (in *incoming) accounts() {
	prop, ok := in.desk.schema.Property("AuthTurnList")
	if !ok {
		return
	}
	names := map[string]string{}
	for _, op := range in.ops {
		set, ok := op.(metabase.Set)
		if !ok || set.Property.ID != prop.ID {
			continue
		}
		site, _ := place(set.Path)
		for _, name := range set.Property.Value.Strings() {
			if !hasAccount(in.snap, site, name) {
				names[strings.ToLower(name)] = name
			}
		}
	}
	if len(names) == 0 {
		return
	}
	const most = 20
	list := slices.Sorted(maps.Values(names))
	text := fmt.Sprintf("%d who may take mail have no account here yet: restante account add, without the domain of Windows: ", len(list))
	if len(list) > most {
		list = append(list[:most:most], "...")
	}
	in.remark(mbxml.Decision, servicePath, prop.Name, text+strings.Join(list, ", "))
}

// commit applies the batch or tries it. The values that a check here stands
// against are left out, each with a remark; what cannot be left out is refused.
func (in *incoming) commit(ctx context.Context, who Caller, dry bool) (Applied, error) {
	const rounds = 5 // one value may hide what is wrong with another
	for n := 0; ; n++ {
		applied, err := in.desk.commit(ctx, who.batch(in.ops...), dry)
		var no *metabase.Refused
		if n == rounds || !errors.As(err, &no) || !in.leaveOut(no.Problems) {
			return applied, err
		}
	}
}

func (in *incoming) leaveOut(problems []metabase.Problem) (some bool) {
	type item struct {
		path string
		id   metabase.ID
	}
	why := map[item]error{}
	for _, p := range problems {
		if p.ID != 0 && p.ID != metabase.KeyType && !errors.Is(p.Err, metabase.Denied) {
			why[item{strings.ToLower(string(p.Path)), p.ID}] = p.Err
		}
	}
	in.ops = slices.DeleteFunc(in.ops, func(op metabase.Op) bool {
		set, ok := op.(metabase.Set)
		if !ok {
			return false
		}
		err, bad := why[item{strings.ToLower(string(set.Path)), set.Property.ID}]
		if !bad {
			return false
		}
		p, _ := in.desk.schema.ByID(set.Property.ID)
		name := p.Name
		if name == "" {
			name = number(set.Property.ID)
		}
		some = true
		in.report.Properties--
		in.remark(mbxml.Decision, set.Path, name, fmt.Sprintf("does not fit here and is left out: %v", err))
		return true
	})
	return some
}
