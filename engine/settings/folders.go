// SPDX-License-Identifier: Apache-2.0

package settings

import (
	"fmt"
	"iter"
	"net/netip"
	"path"
	"path/filepath"
	"slices"
	"strings"

	"restante/internal/disk"
	"restante/metabase"
	"restante/metabase/schema"
)

// siteFolders are the folders of a site that the service writes to or takes
// files from. The queue's comes first. It belongs to one site alone: a second
// site in it would take its mail, and any other file in it could pass for mail.
// So no other folder may be the same, in it or above it.
var siteFolders = []metabase.ID{QueueDirectory, DropDirectory, PickupDirectory, BadMailDirectory, HoldArchiveDirectory, LogFileDirectory}

// siteFiles are the files that a site reads.
var siteFiles = []metabase.ID{TlsCertificateFile, TlsKeyFile, TlsMoreCertificates, RecipientsFile, LdapCaFile, TlsClientCaFile, RemoteCertificateFile}

// Layout is the data folder and what the service has in it. No folder of a site
// may be among the Reserved names, and no file of one, except in Certificates
// for a caller with control at the root. Without Data, an absolute folder is
// compared with absolute ones only.
type Layout struct {
	Data         string
	Reserved     []string
	Certificates string
	OwnAddress   func(netip.Addr) bool // nil: every address is this machine's
}

// A folder is a folder of a site or a domain.
type folder struct {
	site int
	key  metabase.Path // of the site or the domain
	from metabase.Path // where it is stored; "" for the schema's default
	id   metabase.ID
	text string // as stored
	at   string // result of place
}

// own reports whether it is stored at the site or the domain itself.
func (f folder) own() bool { return f.from.Equal(f.key) }

// taken reports whether a site takes files from f.
func (f folder) taken() bool {
	return f.id == PickupDirectory && (f.own() || f.site == DefaultSite)
}

// kind is what f is.
func (f folder) kind() string {
	if slices.Contains(siteFiles, f.id) {
		return "file"
	}
	return "folder"
}

// String names the folder by its owner.
func (f folder) String() string {
	if f.id == RouteActionString {
		return fmt.Sprintf("the folder of the domain %s of site %d", f.key.Base(), f.site)
	}
	prop, _ := schema.IIS().ByID(f.id)
	if _, name, ok := domainOf(f.key); ok {
		return fmt.Sprintf("the %s of the domain %s of site %d", prop.Name, name, f.site)
	}
	return fmt.Sprintf("the %s of site %d", prop.Name, f.site)
}

// place is the absolute name of a folder in canonical form: the same text for
// the same folder. Case does not count, as on many file systems. Links are not
// followed: the code that opens the folder does that.
func (l Layout) place(text string) string {
	return strings.ToLower(filepath.ToSlash(disk.Locate(l.Data, text)))
}

// above yields the places that contain a place, the nearest first.
func above(at string) iter.Seq[string] {
	return func(yield func(string) bool) {
		for up := path.Dir(at); up != at; at, up = up, path.Dir(up) {
			if !yield(up) {
				return
			}
		}
	}
}

// in reports whether place a is b or lies in it.
func in(a, b string) bool {
	for up := range above(a) {
		if up == b {
			return true
		}
	}
	return a == b
}

// folderOf reads a folder of a site.
func (l Layout) folderOf(snap metabase.Snapshot, n int, id metabase.ID) (folder, bool) {
	r := newReader(snap, SitePath(n))
	v, from, _ := r.value(id)
	text := v.Str()
	switch {
	case id == HoldArchiveDirectory:
		text = ArchiveFolder(n, text)
	case id == LogFileDirectory && text != "":
		text = SiteLog(n, text) // sites may share what is above
	}
	return folder{n, r.path, from, id, text, l.place(text)}, text != "" && snap.Has(r.path)
}

// filesOf lists the files that a site itself reads.
func (l Layout) filesOf(snap metabase.Snapshot, n int) (list []folder) {
	r := newReader(snap, SitePath(n))
	for _, id := range siteFiles {
		v, from, _ := r.value(id)
		for _, text := range textsOf(v) {
			list = append(list, folder{n, r.path, from, id, text, l.place(text)})
		}
	}
	return list
}

// textsOf are the texts of a value that is a text or a list of them.
func textsOf(v metabase.Value) []string {
	if list := v.Strings(); list != nil {
		return list
	}
	return []string{v.Str()}
}

// dropOf reads the Drop folder of a domain, where it has one of its own.
func (l Layout) dropOf(snap metabase.Snapshot, n int, domain metabase.Path) (folder, bool) {
	r := newReader(snap, domain)
	text := r.text(RouteActionString)
	if text == "" || !Action(r.number(RouteAction)).Has(Drop) || !snap.Has(domain) {
		return folder{}, false
	}
	return folder{n, domain, domain, RouteActionString, text, l.place(text)}, true
}

// listOf reads the file of recipients that a domain's key stores.
func (l Layout) listOf(snap metabase.Snapshot, n int, domain metabase.Path) (folder, bool) {
	item, ok := snap.Stored(domain, RecipientsFile)
	text := item.Value.Str()
	return folder{n, domain, domain, RecipientsFile, text, l.place(text)}, ok && text != ""
}

// A folderIndex finds folders by place.
type folderIndex struct{ at, below map[string][]folder }

func newFolderIndex() folderIndex {
	return folderIndex{map[string][]folder{}, map[string][]folder{}}
}

func (i folderIndex) add(f folder) {
	i.at[f.at] = append(i.at[f.at], f)
	for up := range above(f.at) {
		i.below[up] = append(i.below[up], f)
	}
}

// near lists the folders that are at a place, in it or above it.
func (i folderIndex) near(at string) []folder {
	found := slices.Concat(i.at[at], i.below[at])
	for up := range above(at) {
		found = append(found, i.at[up]...)
	}
	return found
}

// queues indexes the queue folders of all sites.
func (l Layout) queues(snap metabase.Snapshot) folderIndex {
	i := newFolderIndex()
	for _, n := range Numbers(snap) {
		if f, ok := l.folderOf(snap, n, QueueDirectory); ok {
			i.add(f)
		}
	}
	return i
}

// yields reports whether the queue folder f goes to the site of o: a folder
// that a site stores itself comes before an inherited one, and a lower site
// number before a higher one.
func (f folder) yields(o folder) bool {
	if f.own() != o.own() {
		return o.own()
	}
	return o.site < f.site
}

// Shared returns an error for each site whose queue folder is, or lies in or
// above, that of another site which comes first. Such a site must not run.
func (l Layout) Shared(snap metabase.Snapshot) map[int]error {
	shared := map[int]error{}
	queues := l.queues(snap)
	for _, list := range queues.at {
		for _, f := range list {
			first := f
			for _, o := range queues.near(f.at) {
				if first.yields(o) {
					first = o
				}
			}
			if first.site != f.site {
				shared[f.site] = invalid("QueueDirectory %s: give the site a folder of its own, by mb set SMTPSVC/%d QueueDirectory %s",
					f.beside(first), f.site, FolderIn(Mailroot(f.site), QueueDirectory))
			}
		}
	}
	return shared
}

// beside describes where f lies relative to o.
func (f folder) beside(o folder) string {
	whose := o.String()
	if o.id == QueueDirectory {
		whose = fmt.Sprintf("that of site %d", o.site)
		if f.id != QueueDirectory {
			whose = fmt.Sprintf("the queue folder of site %d", o.site)
		}
	}
	switch {
	case f.at == o.at:
		return f.text + " is " + whose
	case in(f.at, o.at):
		return fmt.Sprintf("%s lies in %s, %s", f.text, o.text, whose)
	}
	return fmt.Sprintf("%s lies above %s, %s", f.text, o.text, whose)
}
