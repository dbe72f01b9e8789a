// SPDX-License-Identifier: Apache-2.0

// Package iisimport adapts the MetaBase.xml of another machine to this one. Folders
// are mapped below the data folder. A value that means something else here is
// left out or narrowed, never widened. Each adaptation is a remark in the report.
//
// The package knows neither calls nor callers, and changes no tree.
package iisimport

import (
	"fmt"
	"path"
	"slices"
	"strconv"
	"strings"

	"restante/engine/settings"
	"restante/internal/disk"
	"restante/metabase"
	"restante/metabase/mbxml"
	"restante/metabase/schema"
	"restante/metabase/schema/iplist"
)

// Options are for a foreign file: only the SMTP service is imported, and settings
// that the file does not have stay.
func Options(s *schema.Schema) mbxml.Options {
	return mbxml.Options{
		Part: settings.Service, Merge: true, Class: s.ClassBelow, Rename: rename, Review: review,
		Folder: func(key metabase.Path, property, folder string) string {
			return ourFolder(s, key, property, folder)
		},
	}
}

// place splits the path of a key below the service into the number of its site,
// 0 for the service's own keys, and the names below it.
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

// ourFolder maps a folder of another machine to one below the data folder. Each
// purpose has its own: the queue of a site must not mix with the Drop folder of a
// domain.
func ourFolder(s *schema.Schema, key metabase.Path, property, folder string) string {
	site, below := place(key)
	root := settings.Mailroot(site)
	if len(below) == 2 && strings.EqualFold(below[0], "Domain") {
		return root + "/Domains/" + fileName(below[1])
	}
	p, ok := s.Property(property)
	if name := settings.FolderIn(root, p.ID); name != "" {
		return name
	}
	if p.Name == "LogFileDirectory" {
		return root + "/LogFiles"
	}
	if !ok || p.Syntax != schema.FilePath {
		return folder // a text with slashes in it
	}
	return root + "/Other/" + fileName(path.Base(strings.ReplaceAll(folder, `\`, "/")))
}

// fileName makes a file name that is valid on every system, without path
// elements.
func fileName(s string) string {
	s = strings.Map(func(r rune) rune {
		if r < ' ' || strings.ContainsRune(`<>:"/\|?*`, r) {
			return '_'
		}
		return r
	}, s)
	if s = strings.TrimRight(s, ". "); disk.CheckName(s) != nil {
		return "_" + s // nothing is left, or a device of Windows
	}
	return s
}

// rename returns the place of a key here: the name of a domain ends in no dot.
func rename(key metabase.Path) metabase.Path {
	const at = 4 // /LM/SMTPSVC/1/Domain/NAME
	names := slices.Collect(key.Elements())
	if len(names) <= at || !strings.EqualFold(names[at-1], "Domain") || strings.Trim(names[at], ".") == "" {
		return key
	}
	names[at] = strings.TrimSuffix(names[at], ".")
	return metabase.Root.Join(strings.Join(names, "/"))
}

// binaryMIME is the bit binary_mime of SmtpInboundCommandSupportOptions.
const binaryMIME = 0x200000

// review adapts values that mean something else here than in IIS.
func review(_ metabase.Path, p schema.Prop, v metabase.Value, text string) mbxml.Finding {
	keep := mbxml.Finding{Value: v}
	switch {
	case p.ID == settings.RelayIpList || p.ID == settings.IPSecurity:
		return reviewList(p.ID, v, text)
	case v.IsZero(): // another list of addresses, without effect here
		return mbxml.Finding{LeaveOut: true, Verdict: mbxml.Decision, Text: fmt.Sprintf("is not hexadecimal, and is left out: %.200q", text)}
	case p.ID == settings.AuthFlags && v.Type() == metabase.DWordType && v.DWord()&4 != 0:
		keep.Verdict, keep.Text = mbxml.Decision, "callers signed in by NTLM; here they use SCRAM-SHA-256, or CRAM-MD5, and each needs an account: restante account add"
	case p.ID == settings.AuthTurnList && v.Type() == metabase.MultiSZType:
		return reviewNames(v)
	case p.ID == settings.SmtpInboundCommandSupportOptions && v.DWord()&binaryMIME != 0:
		return mbxml.Finding{Value: metabase.DWord(v.DWord() &^ binaryMIME), Verdict: mbxml.Translated,
			Text: "without binary_mime: IIS converted such mail for hosts that do not take it, and this service would return it"}
	case p.Name == "SSLCertHash":
		return mbxml.Finding{LeaveOut: true, Verdict: mbxml.Decision, Text: "certificates are files here: set TlsCertificateFile and TlsKeyFile"}
	case p.Name == "AdminACL" || p.Name == "AdminACLBin":
		return mbxml.Finding{LeaveOut: true, Verdict: mbxml.Decision, Text: "names accounts of Windows: who may do what is set by AccessList here"}
	}
	if what := p.Unacted(v); keep.Text == "" && what != "" && !v.Equal(p.Default) {
		keep.Verdict, keep.Text = mbxml.NoEffect, what
		if why := p.WhyUnacted(); why != "" && !p.Acted {
			keep.Text += ": " + why
		}
	}
	return keep
}

// reviewList accepts a list of addresses that has the known form. Any other
// grants nothing.
func reviewList(id metabase.ID, v metabase.Value, text string) mbxml.Finding {
	bad := func(why, shown string) mbxml.Finding {
		if id == settings.IPSecurity {
			why += " and grants nothing here: nobody but this machine may connect"
		} else {
			why += " and grants nothing here"
		}
		return mbxml.Finding{Value: noClients(id), Verdict: mbxml.Decision, Text: why + shown}
	}
	if v.IsZero() {
		return bad("the list of addresses is not hexadecimal", fmt.Sprintf("; its text: %.200q", text))
	}
	if len(v.Bytes()) == 0 && id == settings.IPSecurity {
		return mbxml.Finding{Value: v}
	}
	var l iplist.List
	var err error
	if len(v.Bytes()) == 0 {
		l.GrantByDefault = true // so IIS reads it
	} else if l, err = iplist.Decode(v.Bytes()); err != nil {
		return bad(fmt.Sprintf("the list of addresses does not have the known form (%v)", err), fmt.Sprintf("; its bytes: %x", v.Bytes()))
	}
	if l.GrantByDefault && id == settings.RelayIpList {
		return mbxml.Finding{Value: noClients(id), Verdict: mbxml.Decision, Text: fmt.Sprintf("lets everybody relay in IIS but who is denied, "+
			"and grants nothing here: nobody may relay by address until the list is set; as IIS read it, it is: %s", strings.Join(l.Format(), " "))}
	}
	return mbxml.Finding{Value: v}
}

// reviewNames splits several accounts in one string, separated by commas,
// semicolons or blanks, which IIS accepts. It removes the Windows domain before a backslash: accounts here
// have none.
func reviewNames(v metabase.Value) mbxml.Finding {
	var names []string
	for _, one := range v.Strings() {
		for _, name := range schema.SplitAccounts(one) {
			if !slices.ContainsFunc(names, func(had string) bool { return strings.EqualFold(had, name) }) {
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

// noClients is a list that grants nothing. Without an IPSecurity every client could
// connect.
func noClients(id metabase.ID) metabase.Value {
	if id != settings.IPSecurity {
		return metabase.Binary(nil)
	}
	b, _ := iplist.List{}.Encode() // an empty list has the form
	return metabase.Binary(b)
}

// All returns the operations: Ops and, of a merge, those that remove what hides
// a value of the file. What hides one and stays is for TellShadows to report.
func (b *Batch) All() []metabase.Op {
	if b.chosen == nil {
		return b.Ops
	}
	b.shadows = b.report.Shadows(b.snap, b.Ops)
	ops := slices.Clip(b.Ops)
	for _, s := range b.shadows {
		at := itemAt(s.Path, s.Stored.ID)
		b.stays[at] = b.stays[at] || b.chosen(s.Path, s.Stored) || b.ownFolder(s.Path, s.Stored.ID)
		if !b.stays[at] {
			ops = append(ops, metabase.Unset{Path: s.Path, ID: s.Stored.ID})
		}
	}
	return ops
}

// ownFolder reports whether a property is a folder of a site: no two sites may
// share one, and so none is inherited.
func (b *Batch) ownFolder(p metabase.Path, id metabase.ID) bool {
	prop, _ := b.schema.ByID(id)
	return prop.Syntax == schema.FilePath && strings.EqualFold(b.snap.Class(p), schema.Server)
}

// keepShadows keeps the values whose removal a check refuses, and reports
// whether there was one.
func (b *Batch) keepShadows(w culprits) (some bool) {
	for _, s := range b.shadows {
		at := itemAt(s.Path, s.Stored.ID)
		if _, refused := w[at]; refused && !b.stays[at] {
			b.stays[at], some = true, true
		}
	}
	return some
}

// TellShadows reports each value that hid what the file says by inheritance,
// whether it was removed or stays. It leaves out keys that the caller may not
// read.
func (b *Batch) TellShadows(sees func(metabase.Path) bool) {
	for _, s := range b.shadows {
		if !sees(s.Path) || !sees(s.From) {
			continue
		}
		prop, _ := b.schema.ByID(s.Stored.ID)
		prop = prop.As(s.Stored.Value.Type())
		here, there := text(prop, s.Stored.Value), text(prop, s.Says)
		r := mbxml.Remark{Verdict: mbxml.Decision, Path: s.Path, Property: prop.Label()}
		r.Line, _ = b.report.Line(s.From, s.Stored.ID)
		switch {
		case !b.stays[itemAt(s.Path, s.Stored.ID)]:
			r.Verdict = mbxml.Translated
			r.Text = fmt.Sprintf("%s was the value of setup, and is removed: the file has %s at %s", here, there, s.From)
		case b.ownFolder(s.Path, s.Stored.ID):
			r.Verdict = mbxml.Translated
			r.Text = fmt.Sprintf("stays %s: a site has folders of its own; the file has %s at %s", here, there, s.From)
		default:
			r.Text = fmt.Sprintf("stays %s, which is set here; the file has %s at %s: restante mb unset %s %s", here, there, s.From, s.Path, prop.Label())
		}
		b.report.Remarks = append(b.report.Remarks, r)
	}
}

func text(p schema.Prop, v metabase.Value) string {
	return fmt.Sprintf("%.200q", strings.Join(p.Format(v), " "))
}
