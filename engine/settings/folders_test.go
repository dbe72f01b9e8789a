// SPDX-License-Identifier: Apache-2.0

package settings

import (
	"context"
	"errors"
	"runtime"
	"slices"
	"strings"
	"testing"

	"restante/internal/kv"
	"restante/internal/seal"
	"restante/metabase"
	"restante/metabase/schema"
)

// joe has rights at site 2, and none above it.
const joe metabase.Principal = "user:joe"

// newTwoSites is a tree with site 1 and site 2, in the data folder /data; boss has
// control over all.
func newTwoSites(t *testing.T) *tree {
	t.Helper()
	ground := Layout{Data: "/data", Reserved: []string{"metabase", "queue"}}
	store, err := metabase.Open(t.Context(), kv.NewMem(), seal.New(), metabase.Options{
		Checks: []metabase.Check{schema.IIS().Check, ground.Check}, Admins: []metabase.Principal{"user:root"},
		Acts: map[metabase.ID]metabase.Act{ServerCommand: func(context.Context, metabase.Path, metabase.Value) error { return nil }},
	})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { store.Close() })
	tr := &tree{t: t, store: store}
	ops, err := Setup(store.Snapshot(), NewSite{Bindings: []string{"127.0.0.1:2525"}, Domain: "hub.example"})
	if err != nil {
		t.Fatal(err)
	}
	tr.must(ops...)
	_, ops, err = CreateSite(store.Snapshot(), NewSite{Bindings: []string{"127.0.0.1:2526"}, Domain: "two.example"})
	if err != nil {
		t.Fatal(err)
	}
	tr.must(ops...)
	tr.set(metabase.Root, "AccessList", "user:boss all", "user:joe read")
	tr.set(SitePath(2), "AccessList", "user:boss all", "user:joe all")
	return tr
}

func (tr *tree) problems(actor metabase.Principal, ops ...metabase.Op) []string {
	tr.t.Helper()
	_, err := tr.store.Try(tr.t.Context(), metabase.Batch{Ops: ops, Actor: actor})
	var refused *metabase.Refused
	if err != nil && !errors.As(err, &refused) {
		tr.t.Fatal(err)
	}
	var out []string
	if refused != nil {
		for _, p := range refused.Problems {
			out = append(out, p.Error())
		}
	}
	slices.Sort(out)
	return out
}

func bind(t *testing.T, n int, at ...string) metabase.Op {
	return set(t, SitePath(n), "ServerBindings", at...)
}

// No other folder is a queue's, in it or above it, however the change is made.
func TestFoldersApart(t *testing.T) {
	tr := newTwoSites(t)
	set := func(n int, name, folder string) []metabase.Op {
		return []metabase.Op{set(t, SitePath(n), name, folder)}
	}
	domain := func(folder string) []metabase.Op {
		p := DomainPath(2, "drop.test")
		_, ops := p, []metabase.Op{metabase.AddKey{Path: p, Class: schema.Domain}}
		prop, _ := schema.IIS().Lookup("RouteActionString")
		action, _ := schema.IIS().Lookup("RouteAction")
		return append(ops, metabase.Set{Path: p, Property: action.Item(metabase.DWord(uint32(Drop)))},
			metabase.Set{Path: p, Property: prop.Item(metabase.String(folder))})
	}
	another := append([]metabase.Op{metabase.Copy{From: SitePath(1), To: SitePath(8)}}, bind(t, 8, "127.0.0.1:2599"))
	copied := []string{
		"/LM/SMTPSVC/8: QueueDirectory: Mailroot/Queue is that of site 1; give site 8 a folder of its own, such as Mailroot-8/Queue",
	}
	const copiedPickup = "/LM/SMTPSVC/8: PickupDirectory: Mailroot/Pickup is the PickupDirectory of site 1; name another folder"
	ownPickup := set(8, "PickupDirectory", "Mailroot-8/Pickup")
	tests := []struct {
		name string
		ops  []metabase.Op
		want []string
	}{
		{"a copy of a site", another, append([]string{copiedPickup}, copied...)},
		{"a copy with folders of its own", slices.Concat(another, set(8, "QueueDirectory", "Mailroot-8/Queue"), ownPickup), nil},
		{"pickup from another's", set(2, "PickupDirectory", "mailroot/x/../PICKUP"), []string{
			"/LM/SMTPSVC/2: PickupDirectory: mailroot/x/../PICKUP is the PickupDirectory of site 1; name another folder"}},
		{"pickup from its own Drop", set(2, "PickupDirectory", "Mailroot-2/Drop"), []string{
			"/LM/SMTPSVC/2: PickupDirectory: Mailroot-2/Drop is the DropDirectory of site 2; name another folder"}},
		{"badmail into a pickup", set(2, "BadMailDirectory", "Mailroot/Pickup"), []string{
			"/LM/SMTPSVC/2: BadMailDirectory: Mailroot/Pickup is the PickupDirectory of site 1; name another folder"}},
		{"a domain's folder is a pickup", domain("mailroot-2/pickup"), []string{
			"/LM/SMTPSVC/2/Domain/drop.test: RouteActionString: mailroot-2/pickup is the PickupDirectory of site 2; name another folder"}},
		{"a pickup where a domain drops", slices.Concat(domain("boxes/a"), set(1, "PickupDirectory", "Boxes/a")), []string{
			"/LM/SMTPSVC/1: PickupDirectory: Boxes/a is the folder of the domain drop.test of site 2; name another folder",
			"/LM/SMTPSVC/2/Domain/drop.test: RouteActionString: boxes/a is the PickupDirectory of site 1; name another folder"}},
		{"an inherited pickup is the first site's", []metabase.Op{metabase.Unset{Path: SitePath(2), ID: PickupDirectory}}, nil},
		{"badmail below a pickup", set(2, "BadMailDirectory", "Mailroot-2/Pickup/Badmail"), nil},
		{"a new site without folders", []metabase.Op{metabase.AddKey{Path: SitePath(8), Class: schema.Server}}, nil},
		{"a new site that names another's", append([]metabase.Op{metabase.AddKey{Path: SitePath(8), Class: schema.Server}}, set(8, "QueueDirectory", "Mailroot/Queue")...), copied},
		{"the same", set(2, "QueueDirectory", "Mailroot/Queue"), []string{
			"/LM/SMTPSVC/2: QueueDirectory: Mailroot/Queue is that of site 1; give site 2 a folder of its own, such as Mailroot-2/Queue"}},
		{"the same in other words", set(2, "QueueDirectory", `.\mailroot\x\..//QUEUE\`), []string{
			`/LM/SMTPSVC/2: QueueDirectory: .\mailroot\x\..//QUEUE\ is that of site 1; give site 2 a folder of its own, such as Mailroot-2/Queue`}},
		{"the same, absolute", set(2, "QueueDirectory", "/data/Mailroot/Queue"), []string{
			"/LM/SMTPSVC/2: QueueDirectory: /data/Mailroot/Queue is that of site 1; give site 2 a folder of its own, such as Mailroot-2/Queue"}},
		{"within", set(2, "QueueDirectory", "Mailroot/Queue/2"), []string{
			"/LM/SMTPSVC/2: QueueDirectory: Mailroot/Queue/2 lies in Mailroot/Queue, that of site 1; give site 2 a folder of its own, such as Mailroot-2/Queue"}},
		{"above, and above other folders", set(2, "QueueDirectory", "Mailroot"), []string{
			"/LM/SMTPSVC/2: QueueDirectory: Mailroot lies above Mailroot/Archive, the HoldArchiveDirectory of site 1; name another folder",
			"/LM/SMTPSVC/2: QueueDirectory: Mailroot lies above Mailroot/Badmail, the BadMailDirectory of site 1; name another folder",
			"/LM/SMTPSVC/2: QueueDirectory: Mailroot lies above Mailroot/Drop, the DropDirectory of site 1; name another folder",
			"/LM/SMTPSVC/2: QueueDirectory: Mailroot lies above Mailroot/Pickup, the PickupDirectory of site 1; name another folder",
			"/LM/SMTPSVC/2: QueueDirectory: Mailroot lies above Mailroot/Queue, that of site 1; give site 2 a folder of its own, such as Mailroot-2/Queue"}},
		{"what it inherits now", []metabase.Op{metabase.Unset{Path: SitePath(2), ID: QueueDirectory}}, []string{
			"/LM/SMTPSVC/2: QueueDirectory: Mailroot/Queue is that of site 1; give site 2 a folder of its own, such as Mailroot-2/Queue"}},
		{"drop into a queue", set(2, "DropDirectory", "Mailroot/Queue"), []string{
			"/LM/SMTPSVC/2: DropDirectory: Mailroot/Queue is the queue folder of site 1; name another folder"}},
		{"pickup from above its own queue", set(2, "PickupDirectory", "Mailroot-2"), []string{
			"/LM/SMTPSVC/2: PickupDirectory: Mailroot-2 lies above Mailroot-2/Queue, the queue folder of site 2; name another folder"}},
		{"badmail within a queue", set(2, "BadMailDirectory", "Mailroot/Queue/bad"), []string{
			"/LM/SMTPSVC/2: BadMailDirectory: Mailroot/Queue/bad lies in Mailroot/Queue, the queue folder of site 1; name another folder"}},
		{"two sites may log into one folder", slices.Concat(set(1, "LogFileDirectory", "logs"), set(2, "LogFileDirectory", "logs")), nil},
		{"a log within a queue", set(2, "LogFileDirectory", "Mailroot/Queue"), []string{
			"/LM/SMTPSVC/2: LogFileDirectory: Mailroot/Queue/SMTPSVC2 lies in Mailroot/Queue, the queue folder of site 1; name another folder"}},
		{"a log in a pickup", set(2, "LogFileDirectory", "Mailroot/Pickup"), []string{
			"/LM/SMTPSVC/2: LogFileDirectory: Mailroot/Pickup/SMTPSVC2 lies in Mailroot/Pickup, the PickupDirectory of site 1; name another folder"}},
		{"a log in its own Drop", set(2, "LogFileDirectory", "Mailroot-2/Drop/logs"), []string{
			"/LM/SMTPSVC/2: LogFileDirectory: Mailroot-2/Drop/logs/SMTPSVC2 lies in Mailroot-2/Drop, the DropDirectory of site 2; name another folder"}},
		{"a log in a Badmail", set(2, "LogFileDirectory", "Mailroot/Badmail"), []string{
			"/LM/SMTPSVC/2: LogFileDirectory: Mailroot/Badmail/SMTPSVC2 lies in Mailroot/Badmail, the BadMailDirectory of site 1; name another folder"}},
		{"a Drop that is a log", set(2, "DropDirectory", "LogFiles/SMTPSVC1"), []string{
			"/LM/SMTPSVC/2: DropDirectory: LogFiles/SMTPSVC1 is the LogFileDirectory of site 1; name another folder"}},
		{"a Drop above its own log", set(2, "DropDirectory", "LogFiles"), []string{
			"/LM/SMTPSVC/2: DropDirectory: LogFiles lies above LogFiles/SMTPSVC1, the LogFileDirectory of site 1; name another folder"}},
		{"a domain's folder above a log", domain("LogFiles"), []string{
			"/LM/SMTPSVC/2/Domain/drop.test: RouteActionString: LogFiles lies above LogFiles/SMTPSVC1, the LogFileDirectory of site 1; name another folder"}},
		{"a log beside a queue", set(2, "LogFileDirectory", "Mailroot"), nil},
		{"a queue where a site logs", set(2, "QueueDirectory", "LogFiles"), []string{
			"/LM/SMTPSVC/2: QueueDirectory: LogFiles lies above LogFiles/SMTPSVC1, the LogFileDirectory of site 1; name another folder",
			"/LM/SMTPSVC/2: QueueDirectory: LogFiles lies above LogFiles/SMTPSVC2, the LogFileDirectory of site 2; name another folder"}},
		{"a log where the service has its own", set(2, "LogFileDirectory", "metabase"), []string{
			"/LM/SMTPSVC/2: LogFileDirectory: metabase/SMTPSVC2: the service itself has metabase in the data folder; name another folder"}},
		{"a domain's folder", domain("mailroot-2/queue"), []string{
			"/LM/SMTPSVC/2/Domain/drop.test: RouteActionString: mailroot-2/queue is the queue folder of site 2; name another folder"}},
		{"a queue where a domain drops", slices.Concat(domain("boxes/a"), set(1, "QueueDirectory", "boxes")), []string{
			"/LM/SMTPSVC/2/Domain/drop.test: RouteActionString: boxes/a lies in boxes, the queue folder of site 1; name another folder"}},
		{"two sites may drop into one folder", set(2, "DropDirectory", "Mailroot/Drop"), nil},
		{"the name that would be suggested is taken", slices.Concat(set(2, "QueueDirectory", "Mailroot-8/Queue"), another,
			set(8, "QueueDirectory", "Mailroot-8/Queue"), ownPickup), []string{
			"/LM/SMTPSVC/2: QueueDirectory: Mailroot-8/Queue is that of site 8; give site 2 a folder of its own, such as Mailroot-2/Queue",
			"/LM/SMTPSVC/8: QueueDirectory: Mailroot-8/Queue is that of site 2; give site 8 a folder of its own"}},
		{"a name that only begins like it", set(2, "QueueDirectory", "Mailroot/Queue2"), nil},
		{"where the service has its own", set(2, "QueueDirectory", "metabase/x"), []string{
			"/LM/SMTPSVC/2: QueueDirectory: metabase/x: the service itself has metabase in the data folder; name another folder"}},
		{"sites that change folders at once", slices.Concat(set(1, "QueueDirectory", "Mailroot-2/Queue"), set(2, "QueueDirectory", "Mailroot/Queue")), nil},
		{"another name for a site", []metabase.Op{metabase.Move{From: SitePath(2), To: SitePath(9)}}, nil},
	}
	for _, tt := range tests {
		for _, actor := range []metabase.Principal{"", "user:root"} {
			if got := tr.problems(actor, tt.ops...); !slices.EqualFunc(got, tt.want, strings.EqualFold) {
				t.Errorf("%s, by %q:\n%s\nwant\n%s", tt.name, actor, strings.Join(got, "\n"), strings.Join(tt.want, "\n"))
			}
		}
	}
	tr.must(domain("boxes/a")...)
	if got := tr.problems("", set(1, "QueueDirectory", "boxes")...); len(got) != 1 || !strings.Contains(got[0], "boxes lies above boxes/a, the folder of the domain drop.test of site 2") {
		t.Errorf("a queue where a domain drops already: %q", got)
	}
}

// A site that shares a queue folder must not run. The site that stores the folder
// comes before those that inherit it, and of these the one with the lowest
// number.
func TestShared(t *testing.T) {
	tr := newTwoSites(t)
	add := func(n int) metabase.Op { return metabase.AddKey{Path: SitePath(n), Class: schema.Server} }
	tr.must(add(5), add(6))
	shared := func() string {
		var out []string
		for n, err := range (Layout{Data: "/data"}).Shared(tr.store.Snapshot()) {
			out = append(out, SitePath(n).Base()+": "+err.Error())
		}
		slices.Sort(out)
		return strings.Join(out, "\n")
	}
	steps := []struct {
		name string
		op   metabase.Op
		want string
	}{
		{"as they are", nil, "5: QueueDirectory Mailroot/Queue is that of site 1: give the site a folder of its own, by mb set SMTPSVC/5 QueueDirectory Mailroot-5/Queue\n" +
			"6: QueueDirectory Mailroot/Queue is that of site 1: give the site a folder of its own, by mb set SMTPSVC/6 QueueDirectory Mailroot-6/Queue"},
		{"they inherit another", set(t, Service, "QueueDirectory", "all/q"), "6: QueueDirectory all/q is that of site 5: give the site a folder of its own, by mb set SMTPSVC/6 QueueDirectory Mailroot-6/Queue"},
		{"the first has its own", set(t, SitePath(5), "QueueDirectory", "q5"), ""},
	}
	for _, step := range steps {
		if step.op != nil {
			tr.must(step.op)
		}
		if got := shared(); got != step.want && !strings.HasPrefix(got, step.want+"\n") {
			t.Errorf("%s:\n%s\nwant\n%s", step.name, got, step.want)
		}
	}
	// What one that inherits has is no longer to be had by naming it.
	if got := tr.problems("", set(t, SitePath(2), "QueueDirectory", "all/q")); len(got) != 1 {
		t.Errorf("site 2 may take the folder of site 6: %q", got)
	}
	if got := tr.problems("", set(t, SitePath(5), "QueueDirectory", "all/q")); len(got) != 1 {
		t.Errorf("site 5 may take the folder of site 6: %q", got)
	}
}

// The service may write where its callers may not: a folder elsewhere takes
// control over the whole tree.
// Each file of a list of certificates is held to what a single file is.
func TestCertificatesElsewhere(t *testing.T) {
	tr := newTwoSites(t)
	for _, tt := range []struct {
		files     []string
		boss, joe string // why not, "" for taken
	}{
		{[]string{"certs/a.pem", "certs/a.key"}, "", ""},
		{[]string{"certs/a.pem", "../a.key"}, "../a.key leads out of the data folder", "../a.key leads out of the data folder"},
		{[]string{"certs/a.pem", "/etc/shadow"}, "", "/etc/shadow lies outside of the data folder: that takes the right control at /"},
		{[]string{"certs/a.pem", "Mailroot/Drop/x"}, "", "Mailroot/Drop/x lies in Mailroot/Drop, the DropDirectory of site 1; name another file"},
	} {
		for who, want := range map[metabase.Principal]string{"user:boss": tt.boss, joe: tt.joe} {
			got := strings.Join(tr.problems(who, set(t, SitePath(2), "TlsMoreCertificates", tt.files...)), "\n")
			if (want == "") != (got == "") || !strings.Contains(got, want) {
				t.Errorf("%q by %q: %q, want %q", tt.files, who, got, want)
			}
		}
	}
}

func TestFoldersElsewhere(t *testing.T) {
	tr := newTwoSites(t)
	const out, far = "leads out of the data folder", "lies outside of the data folder: that takes the right control at /"
	const variable = "begins with the variable %SystemRoot%, which nothing replaces: write a path without it"
	const elsewhere = "is on a drive or a share of Windows: write a path of this machine"
	tests := []struct {
		folder string
		boss   string // why not, "" for taken
		joe    string
	}{
		{"own/q", "", ""},
		{"own/../q", "", ""},
		{"/data/q", "", ""},
		{"/DATA/q", "", ""},
		{"/etc/cron.d", "", far},
		{"/database", "", far},
		{"/data/../etc", "", far},
		{"own%a%/q", "", ""},
		{"%SystemRoot%/q", variable, variable},
		{`%SystemRoot%\q`, variable, variable},
		{`\\server\share`, elsewhere, elsewhere},
		{"//server", elsewhere, elsewhere},
		{`C:\q`, elsewhere, elsewhere},
		{"c:/q", elsewhere, elsewhere},
		{"../../etc", out, out},
		{"..", out, out},
		{`own\..\..\etc`, out, out},
	}
	for _, tt := range tests {
		if tt.boss == elsewhere && runtime.GOOS == "windows" {
			continue
		}
		for _, name := range []string{"QueueDirectory", "DropDirectory", "PickupDirectory", "BadMailDirectory", "LogFileDirectory", "RouteActionString"} {
			path := SitePath(2)
			if name == "RouteActionString" {
				path = DomainPath(2, "two.example")
			}
			prop, _ := schema.IIS().Lookup(name)
			op := metabase.Set{Path: path, Property: prop.Item(metabase.String(tt.folder))}
			for who, want := range map[metabase.Principal]string{"user:boss": tt.boss, joe: tt.joe, "": tt.boss} {
				got := strings.Join(tr.problems(who, op), "\n")
				if want == "" && got != "" || want != "" && !strings.HasSuffix(got, want) {
					t.Errorf("%s %s by %q: %q, want %q", name, tt.folder, who, got, want)
				}
			}
		}
	}
	tr.set(metabase.Root, "AccessList", "user:boss all")
	if got := tr.problems(joe, set(t, SitePath(2), "QueueDirectory", "Mailroot/Queue")); len(got) != 1 ||
		!strings.Contains(got[0], "Mailroot/Queue is not free; give site 2 a folder of its own") {
		t.Errorf("who may not see site 1 hears of it: %q", got)
	}
	tr.set(SitePath(2), "DropDirectory", "/var/drop")
	if got := tr.problems(joe, set(t, SitePath(2), "HopCount", "7")); len(got) != 0 {
		t.Errorf("what is there already stands in the way: %q", got)
	}
}

// The folders that a site has without naming them are its own, too.
func TestFoldersThatAreNotNamed(t *testing.T) {
	tr := newTwoSites(t)
	for _, tt := range []struct{ name, folder, whose string }{
		{"DropDirectory", "Mailroot/Archive", "Mailroot/Archive is the HoldArchiveDirectory of site 1; name another folder"},
		{"HoldArchiveDirectory", "mailroot/archive/x", "lies in Mailroot/Archive, the HoldArchiveDirectory of site 1; name another folder"},
		{"HoldArchiveDirectory", "Mailroot-2/Archive", ""},
	} {
		got := strings.Join(tr.problems(joe, set(t, SitePath(2), tt.name, tt.folder)), "\n")
		if (tt.whose == "") != (got == "") || !strings.HasSuffix(got, tt.whose) {
			t.Errorf("%s %s: %q, want %q", tt.name, tt.folder, got, tt.whose)
		}
	}
	const above = "Mailroot-2 lies above Mailroot-2/Archive, the HoldArchiveDirectory of site 2; name another folder"
	if got := strings.Join(tr.problems("user:boss", set(t, SitePath(2), "QueueDirectory", "Mailroot-2")), "\n"); !strings.Contains(got, above) {
		t.Errorf("a queue above the archive: %q, want %q", got, above)
	}
}

// Only one of the sites that listen or start by themselves has an address.
func TestAddressesApart(t *testing.T) {
	tr := newTwoSites(t)
	const no = ": 127.0.0.1:2525 is an address of site 1; name another, or set ServerAutoStart false at one of the two and have them take turns"
	excludes := func(one, other string) string {
		return strings.Replace(no, "127.0.0.1:2525", one+" excludes "+other+", which", 1)
	}
	copied := []metabase.Op{metabase.Copy{From: SitePath(2), To: SitePath(3)}, set(t, SitePath(3), "QueueDirectory", "q3"),
		set(t, SitePath(3), "PickupDirectory", "p3")}
	tests := []struct {
		name string
		ops  []metabase.Op
		want []string
	}{
		{"bound to another's", []metabase.Op{bind(t, 2, "127.0.0.1:2526", "127.0.0.1:2525")}, []string{"/LM/SMTPSVC/2: ServerBindings" + no}},
		{"the first to the second's", []metabase.Op{bind(t, 1, ":2527", "127.0.0.1:2526")}, []string{
			"/LM/SMTPSVC/1: ServerBindings" + strings.NewReplacer("2525", "2526", "site 1", "site 2").Replace(no)}},
		{"for ATRN", []metabase.Op{set(t, SitePath(2), "AtrnBindings", "127.0.0.1:2525")}, []string{"/LM/SMTPSVC/2: AtrnBindings" + no}},
		{"all of a port of which another has one", []metabase.Op{bind(t, 2, ":2525")}, []string{"/LM/SMTPSVC/2: ServerBindings" + excludes("[::]:2525", "127.0.0.1:2525")}},
		{"all of IPv4", []metabase.Op{bind(t, 1, "0.0.0.0:2526")}, []string{
			"/LM/SMTPSVC/1: ServerBindings" + strings.Replace(excludes("0.0.0.0:2526", "127.0.0.1:2526"), "site 1", "site 2", 1)}},
		{"one of a port of which another has all", []metabase.Op{bind(t, 1, ":2530"), set(t, SitePath(2), "SecureBindings", "[::1]:2530"), set(t, SitePath(2), "TlsCertificateFile", "tls/cert.pem")},
			[]string{"/LM/SMTPSVC/2: SecureBindings" + excludes("[::1]:2530", "[::]:2530")}},
		{"all of a port at one site", []metabase.Op{bind(t, 2, "127.0.0.9:2540", ":2540")}, []string{
			"/LM/SMTPSVC/2: ServerBindings: [::]:2540 excludes 127.0.0.9:2540, which is an address of this site, too; keep one of the two"}},
		{"all of IPv4 beside one of IPv6", []metabase.Op{bind(t, 1, "0.0.0.0:2530"), bind(t, 2, "[::1]:2530")}, nil},
		{"two of a port", []metabase.Op{bind(t, 1, "127.0.0.1:2530"), bind(t, 2, "127.0.0.2:2530", "[::1]:2530")}, nil},
		{"they change places", []metabase.Op{bind(t, 1, "127.0.0.1:2526"), bind(t, 2, "127.0.0.1:2525")}, nil},
		{"one that does not start by itself", []metabase.Op{set(t, SitePath(2), "ServerAutoStart", "false"), bind(t, 2, "127.0.0.1:2525")}, nil},
		{"any port", []metabase.Op{bind(t, 1, "127.0.0.1:0"), bind(t, 2, "127.0.0.1:0")}, nil},
		{"a copy", copied, []string{"/LM/SMTPSVC/3: ServerBindings" + strings.NewReplacer("2525", "2526", "site 1", "site 2").Replace(no)}},
		{"a copy that does not start", append(copied[:3:3], set(t, SitePath(3), "ServerAutoStart", "false")), nil},
		{"a new site that says nothing", []metabase.Op{bind(t, 1, ":25"), metabase.AddKey{Path: SitePath(4), Class: schema.Server}}, nil},
	}
	for _, tt := range tests {
		if got := tr.problems("user:root", tt.ops...); !slices.Equal(got, tt.want) {
			t.Errorf("%s:\n%s\nwant\n%s", tt.name, strings.Join(got, "\n"), strings.Join(tt.want, "\n"))
		}
	}
	for _, b := range []metabase.Batch{{Actor: "user:root", Origin: metabase.FromImport}, {Origin: metabase.FromSystem}} {
		b.Ops = tests[0].ops
		if _, err := tr.store.Try(t.Context(), b); err != nil {
			t.Errorf("by %s: %v", b.Origin, err)
		}
	}
	tr.must(set(t, SitePath(2), "ServerAutoStart", "false"), bind(t, 2, "127.0.0.1:2525"))
	start := set(t, SitePath(2), "ServerAutoStart", "true")
	if got := tr.problems("user:root", start); !slices.Equal(got, []string{"/LM/SMTPSVC/2: ServerBindings" + no}) {
		t.Errorf("started by itself from now on: %q", got)
	}
	if err := tr.store.SetVolatile(SitePath(2), metabase.Property{ID: ServerState, UserType: metabase.UTServer, Value: metabase.DWord(stateStarted)}); err != nil {
		t.Fatal(err)
	}
	tr.must(bind(t, 1, "127.0.0.1:2530")) // 2 runs there now
	if got := tr.problems("user:root", bind(t, 1, "127.0.0.1:2525")); len(got) != 1 {
		t.Errorf("one that runs has it: %q", got)
	}
	if got := tr.problems("user:root", set(t, SitePath(1), "HopCount", "7")); len(got) != 0 {
		t.Errorf("another change: %q", got)
	}
}
