// SPDX-License-Identifier: Apache-2.0

// Package foreign makes what the MetaBase.xml of another machine says fit here:
// its folders become ours, what it means differently is left out or narrowed and
// never widened, and each such thing is remarked in the report.
//
// It knows neither calls nor callers, and changes no tree.
package iisimport

import (
	"fmt"
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

// Options says how a foreign file is read: of the other machine's services only
// this one is ours, and what is set here and not there is not to go.
func Options(s *schema.Schema) mbxml.Options {
	return mbxml.Options{
		Part: settings.Service, Merge: true, Class: s.ClassBelow, Rename: rename, Review: review,
		Folder: func(key metabase.Path, property, folder string) string {
			return ourFolder(s, key, property, folder)
		},
	}
}

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
	if !key.Within(settings.Service) || key.Equal(settings.Service) {
		return 0, nil
	}
	words := strings.Split(string(key[len(settings.Service)+1:]), "/")
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
	return "Mailroot-" + strconv.Itoa(site)
}

// ourFolder maps a folder of another machine to one below the data folder. No two
// purposes get the same one: what a site queues must not mix with what a
// domain drops.
func ourFolder(s *schema.Schema, key metabase.Path, property, folder string) string {
	site, below := place(key)
	root := mailroot(site)
	if len(below) == 2 && strings.EqualFold(below[0], "Domain") {
		return root + "/Domains/" + fileName(below[1])
	}
	if name, ok := siteFolders[strings.ToLower(property)]; ok {
		return root + "/" + name
	}
	if p, ok := s.Property(property); !ok || p.Syntax != schema.FilePath {
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

// rename gives a key its place here: the name of a domain ends in no dot.
func rename(key metabase.Path) metabase.Path {
	const at = 4 // /LM/SMTPSVC/1/Domain/NAME
	names := slices.Collect(key.Elements())
	if len(names) <= at || !strings.EqualFold(names[at-1], "Domain") || strings.Trim(names[at], ".") == "" {
		return key
	}
	names[at] = strings.TrimSuffix(names[at], ".")
	return metabase.Root.Join(strings.Join(names, "/"))
}

// review looks at what means something else here than it did there.
func review(_ metabase.Path, p mbxml.Prop, v metabase.Value, text string) mbxml.Finding {
	keep := mbxml.Finding{Value: v}
	switch {
	case p.ID == settings.RelayIpList || p.ID == settings.IPSecurity:
		return reviewList(p.ID, v, text)
	case v.IsZero(): // another list of addresses, which decides nothing here
		return mbxml.Finding{LeaveOut: true, Verdict: mbxml.Decision, Text: fmt.Sprintf("is not hexadecimal, and is left out: %.200q", text)}
	case p.ID == settings.AuthFlags && v.Type() == metabase.DWordType && v.DWord()&4 != 0:
		keep.Verdict, keep.Text = mbxml.Decision, "callers signed in by NTLM; here they use SCRAM-SHA-256, or CRAM-MD5, and each needs an account: restante account add"
	case p.ID == settings.AuthTurnList && v.Type() == metabase.MultiSZType:
		return reviewNames(v)
	case p.Name == "SSLCertHash":
		return mbxml.Finding{LeaveOut: true, Verdict: mbxml.Decision, Text: "certificates are files here: set TlsCertificateFile and TlsKeyFile"}
	case p.Name == "AdminACL" || p.Name == "AdminACLBin":
		return mbxml.Finding{LeaveOut: true, Verdict: mbxml.Decision, Text: "names accounts of Windows: who may do what is set by AccessList here"}
	}
	return keep
}

// reviewList takes a list of addresses that has the known form. Any other
// grants nothing.
func reviewList(id metabase.ID, v metabase.Value, text string) mbxml.Finding {
	bad := func(why, shown string) mbxml.Finding {
		if id == settings.IPSecurity {
			why += " and grants nothing here: nobody but this machine may connect"
		} else {
			why += " and grants nothing here"
		}
		return mbxml.Finding{Value: nobody(id), Verdict: mbxml.Decision, Text: why + shown}
	}
	if v.IsZero() {
		return bad("the list of addresses is not hexadecimal", fmt.Sprintf("; its text: %.200q", text))
	}
	if _, err := schema.DecodeIPList(v.Bytes()); err != nil {
		return bad(fmt.Sprintf("the list of addresses does not have the known form (%v)", err), fmt.Sprintf("; its bytes: %x", v.Bytes()))
	}
	return mbxml.Finding{Value: v}
}

// reviewNames parts what IIS takes too: several accounts in one string, with
// commas between them. What stands before a backslash is a domain of Windows,
// of which accounts here have none.
func reviewNames(v metabase.Value) mbxml.Finding {
	var names []string
	for _, one := range v.Strings() {
		for name := range strings.SplitSeq(one, ",") {
			name = strings.TrimSpace(name[strings.LastIndexByte(name, '\\')+1:])
			if name != "" && !slices.ContainsFunc(names, func(had string) bool { return strings.EqualFold(had, name) }) {
				names = append(names, name)
			}
		}
	}
	if slices.Equal(names, v.Strings()) {
		return mbxml.Finding{Value: v}
	}
	return mbxml.Finding{
		Value: metabase.MultiSZ(names...), Verdict: mbxml.Translated,
		Text: fmt.Sprintf("accounts are named one by one here, without a domain of Windows: %s is %s",
			strings.Join(v.Strings(), " | "), strings.Join(names, " | ")),
	}
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
