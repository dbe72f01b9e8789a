// SPDX-License-Identifier: Apache-2.0

package adsutil

import (
	"context"
	"errors"
	"fmt"
	"net/netip"
	"os"
	"slices"
	"strings"
	"testing"

	adsi "restante/adsi-compat"
	"restante/internal/deptest"
	"restante/internal/kv"
	"restante/internal/seal"
	"restante/metabase"
	"restante/metabase/schema"
	"restante/metabase/schema/iplist"
)

func TestLayers(t *testing.T) {
	deptest.Forbid(t, map[string]string{
		"/engine":              "a verb sees the tree; the engine follows it",
		"/admin":               "imports go down only",
		"/cmd":                 "imports go down only",
		"/adsi-compat/luahost": "verbs know no language",
	})
}

// A store is a tree as its administrator uses it.
type store struct{ *metabase.Store }

func (s store) view() *metabase.View {
	return s.Snapshot().View([]metabase.Principal{"user:boss"})
}

func (s store) Key(_ context.Context, p metabase.Path) (adsi.Key, error) {
	return adsi.ReadKey(s.view(), p), nil
}

func (s store) Children(_ context.Context, p metabase.Path) ([]adsi.Key, error) {
	return slices.Collect(adsi.ReadChildren(s.view(), p)), nil
}

func (s store) DataPaths(_ context.Context, p metabase.Path, id metabase.ID) ([]metabase.Path, error) {
	return s.view().DataPaths(p, id), nil
}

func (s store) Apply(ctx context.Context, _ metabase.Rev, ops ...metabase.Op) error {
	_, err := s.Store.Apply(ctx, metabase.Batch{Actor: "user:boss", Origin: metabase.FromCLI, Ops: ops})
	return err
}

const serverCommand metabase.ID = 1012

// fixture is a tree with a site, two domains and a record of the acts on sites.
func fixture(t *testing.T) (*adsi.Directory, *[]string) {
	t.Helper()
	db := kv.NewMem()
	t.Cleanup(func() { db.Close() })
	acted := new([]string)
	s, err := metabase.Open(t.Context(), db, seal.New(), metabase.Options{
		Checks: []metabase.Check{schema.IIS().Check}, Admins: []metabase.Principal{"user:boss"},
		Acts: map[metabase.ID]metabase.Act{serverCommand: func(_ context.Context, p metabase.Path, v metabase.Value) error {
			*acted = append(*acted, fmt.Sprint(p, " ", v.DWord()))
			return nil
		}},
	})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { s.Close() })
	at := metabase.Path("/LM/SMTPSVC/1/Domain")
	ops := []metabase.Op{metabase.AddKey{Path: "/LM", Class: "IIsComputer"}, metabase.AddKey{Path: "/LM/SMTPSVC", Class: "IIsSmtpService"},
		metabase.AddKey{Path: "/LM/SMTPSVC/1", Class: "IIsSmtpServer"}, metabase.AddKey{Path: at, Class: "IIsSmtpDomain"}}
	for _, name := range []string{"a.test", "b.test"} {
		ops = append(ops, metabase.AddKey{Path: at.Join(name), Class: "IIsSmtpDomain"}, put(t, at.Join(name), "RouteAction", "514"))
	}
	ops = append(ops, put(t, at.Join("a.test"), "AuthTurnList", "joe", "ann"), put(t, at.Join("a.test"), "RoutePassword", "geheim"),
		put(t, "/LM/SMTPSVC", "HopCount", "12"), put(t, "/LM/SMTPSVC/1", "MaxMessageSize", "100000"))
	relay, err := iplist.List{
		GrantByDefault: true, Deny: []netip.Prefix{netip.MustParsePrefix("10.9.0.0/16")},
		Grant: []netip.Prefix{netip.MustParsePrefix("10.1.1.1/32")}, GrantNames: []string{"host.test"},
	}.Encode()
	if err != nil {
		t.Fatal(err)
	}
	list, err := schema.IIS().Lookup("RelayIpList")
	if err != nil {
		t.Fatal(err)
	}
	ops = append(ops, metabase.Set{Path: "/LM/SMTPSVC", Property: list.Item(metabase.Binary(relay))})
	if _, err := s.Apply(t.Context(), metabase.Batch{Ops: ops, Origin: metabase.FromSystem}); err != nil {
		t.Fatal(err)
	}
	state := put(t, "/LM/SMTPSVC/1", "ServerState", "2").(metabase.Set)
	if err := s.SetVolatile(state.Path, state.Property); err != nil {
		t.Fatal(err)
	}
	return adsi.New(store{s}, schema.IIS()), acted
}

func put(t *testing.T, p metabase.Path, name string, words ...string) metabase.Op {
	t.Helper()
	prop, err := schema.IIS().Lookup(name)
	if err != nil {
		t.Fatal(err)
	}
	v, err := prop.Parse(words)
	if err != nil {
		t.Fatal(err)
	}
	return metabase.Set{Path: p, Property: prop.Item(v)}
}

// An example is one call and what it prints, or the error it ends in. Several
// follow each other on one tree.
type example struct{ call, want, err string }

// examples are the calls that prove the table: each verb has its own.
func examples() map[string][]example {
	const a = "smtpsvc/1/domain/a.test"
	web := func(verb string) []example {
		return []example{{verb + " w3svc/1", "", verb + " is a verb of the web service"}}
	}
	all := map[string][]example{
		"GET": {
			{"GET smtpsvc/1/MaxMessageSize", "MaxMessageSize                  : (INTEGER) 100000\n", ""},
			{`get /LM\SMTPSVC\1\maxmessagesize`, "MaxMessageSize                  : (INTEGER) 100000\n", ""},
			{"Get IIS://LocalHost/SmtpSvc/1/36899", "", "-"},
			{"GET iis://localhost/" + a + "/AuthTurnList", "AuthTurnList                    : (LIST) (2 Items)\n  \"joe\"\n  \"ann\"\n", ""},
			{"GET " + a + "/RoutePassword", "RoutePassword                   : (STRING) \"**********\"\n", ""},
			{"GET " + a + "/KeyType", "KeyType                         : (STRING) \"IIsSmtpDomain\"\n", ""},
			{"GET smtpsvc/1/HopCount", "", "GET smtpsvc/1/HopCount: the parameter \"HopCount\" is not set at this node\nErrNumber: -2147463162 (0x80005006)"},
			{"GET smtpsvc/9/HopCount", "", "GET smtpsvc/9/HopCount: IIS://LocalHost/smtpsvc/9: not found\nErrNumber: -2147024893 (0x80070003)"},
			{"GET smtpsvc/1/NoSuchThing", "", "(0x80005006)"},
			{"GET -s:elsewhere.invalid smtpsvc/1/HopCount", "", "-s:elsewhere.invalid: "},
			{"GET -S:localhost smtpsvc/HopCount", "HopCount                        : (INTEGER) 12\n", ""},
			{"GET /", "", "names no property"},
			{"GET", "", "GET takes PATH/PROP"},
		},
		"SET": {
			{"SET smtpsvc/1/MaxRecipients 0x20", "MaxRecipients                   : (INTEGER) 32\n", ""},
			{"set smtpsvc/1/EnableReverseDnsLookup 5", "EnableReverseDnsLookup          : (BOOLEAN) True\n", ""},
			{"set smtpsvc/1/EnableReverseDnsLookup FALSE", "EnableReverseDnsLookup          : (BOOLEAN) False\n", ""},
			{"SET " + a + "/AuthTurnList eve", "AuthTurnList                    : (LIST) (1 Items)\n  \"eve\"\n", ""},
			{"SET smtpsvc/1/RelayIpList 10.1.1.1 10.2.0.0/16", "RelayIpList                     : (IPSEC) GrantByDefault False (2 Items)\n" +
				"  \"10.1.1.1\"\n  \"10.2.0.0, 255.255.0.0\"\n", ""},
			{"SET smtpsvc/1/RelayForAuth -1", "RelayForAuth                    : (INTEGER) -1\n", ""},
			{"GET smtpsvc/1/RelayForAuth", "RelayForAuth                    : (INTEGER) -1\n", ""},
			{"SET smtpsvc/1/RelayForAuth 0xFFFFFFFF", "RelayForAuth                    : (INTEGER) -1\n", ""},
			{"GET smtpsvc/RelayIpList", "RelayIpList                     : (IPSEC) GrantByDefault True (1 Items)\n  \"10.9.0.0, 255.255.0.0\"\n" +
				"  kept: \"10.1.1.1\"\n  kept: \"host.test\"\n", ""},
			{"SET smtpsvc/1/Authorization ANONYMOUS basic", "AuthFlags                       : (INTEGER) 3\n", ""},
			{"SET " + a + "/RoutePassword other", "RoutePassword                   : (STRING) \"**********\"\n", ""},
			{"SET smtpsvc/1/ServerCommand 3", "Server smtpsvc/1 Successfully PAUSED\n", ""},
			{"SET smtpsvc/1/MaxRecipients many", "", "(0x80070057)"},
			{"SET smtpsvc/1/MaxRecipients 1 2", "", "takes one value for MaxRecipients"},
			{"SET smtpsvc/1/MaxRecipients", "", "SET takes PATH/PROP VALUE..."},
		},
		"ENUM": {
			{"ENUM smtpsvc/1", "KeyType                         : (STRING) \"IIsSmtpServer\"\n" +
				"MaxMessageSize                  : (INTEGER) 100000\nServerState                     : (INTEGER) 2\n[/SMTPSVC/1/Domain]\n", ""},
			{"enum /p smtpsvc/1/Domain", "[/SMTPSVC/1/Domain/a.test]\n[/SMTPSVC/1/Domain/b.test]\n", ""},
			{"ENUM /P", "[/SMTPSVC]\n", ""},
			{"ENUM smtpsvc smtpsvc/1", "", "ENUM takes [PATH] [/P]"},
		},
		"ENUM_ALL": {{"ENUM_ALL smtpsvc /P", "[/SMTPSVC/1]\n[/SMTPSVC/1/Domain]\n[/SMTPSVC/1/Domain/a.test]\n[/SMTPSVC/1/Domain/b.test]\n", ""}},
		"ENUMALL": {{"EnumAll smtpsvc/1/domain/b.test", "KeyType                         : (STRING) \"IIsSmtpDomain\"\n" +
			"RouteAction                     : (INTEGER) 514\n", ""}},
		"FIND": {
			{"FIND smtpsvc/routeaction", "Property RouteAction found at:\n  SMTPSVC/1/Domain/a.test\n  SMTPSVC/1/Domain/b.test\n", ""},
			{"FIND HopCount", "Property HopCount found at:\n  SMTPSVC\n", ""},
			{"FIND smtpsvc/1/HopCount", "Property HopCount was not found beneath /smtpsvc/1\n", ""},
		},
		"CREATE": {
			{"CREATE smtpsvc/1/Domain/c.test IIsSmtpDomain", "created \"smtpsvc/1/Domain/c.test\"\n", ""},
			{"CREATE smtpsvc/1/Domain/d.test", "created \"smtpsvc/1/Domain/d.test\"\n", ""},
			{"GET smtpsvc/1/Domain/d.test/KeyType", "KeyType                         : (STRING) \"IIsSmtpDomain\"\n", ""},
			{"CREATE smtpsvc/2/Domain/d.test", "created \"smtpsvc/2/Domain/d.test\"\n", ""},
			{"CREATE smtpsvc/odd", "created \"smtpsvc/odd\"\n", "CREATE: smtpsvc/odd has no KeyType"},
			{"CREATE smtpsvc/1/Domain/c.test", "", "(0x800700B7)"},
			{"CREATE smtpsvc/1/Domain/e.test IIsNothing", "", "there is no class"},
		},
		"CREATE_VSERV": {
			{"CREATE_VSERV smtpsvc/2", "created \"smtpsvc/2\"\n", ""},
			{"GET smtpsvc/2/KeyType", "KeyType                         : (STRING) \"IIsSmtpServer\"\n", ""},
			{"START_SERVER smtpsvc/2", "", "the site does not run"},
		},
		"DELETE": {
			{"DELETE " + a + "/AuthTurnList", "deleted property \"AuthTurnList\"\n", ""},
			{"DELETE " + a + "/AuthTurnList", "", "is not set at this node\nErrNumber: -2147463162 (0x80005006)"},
			{"DELETE " + a, "deleted path \"" + a + "\"\n", ""},
			{"DELETE " + a, "", "(0x80070003)"},
			{"CREATE smtpsvc/1/MaxMessageSize", "created \"smtpsvc/1/MaxMessageSize\"\n", "has no KeyType"},
			{"DELETE smtpsvc/1/MaxMessageSize/", "deleted path \"smtpsvc/1/MaxMessageSize\"\n", ""},
			{"GET smtpsvc/1/MaxMessageSize", "MaxMessageSize                  : (INTEGER) 100000\n", ""},
		},
		"COPY": {
			{"COPY " + a + " smtpsvc/1/Domain/c.test", "copied from " + a + " to smtpsvc/1/Domain/c.test\n", ""},
			{"GET smtpsvc/1/Domain/c.test/RouteAction", "RouteAction                     : (INTEGER) 514\n", ""},
			{"COPY " + a + " smtpsvc/1/Domain/b.test", "", "(0x800700B7)"},
		},
		"MOVE": {
			{"MOVE " + a + " smtpsvc/1/Domain/c.test", "moved from " + a + " to smtpsvc/1/Domain/c.test\n", ""},
			{"GET " + a + "/RouteAction", "", "(0x80070003)"},
		},
		"START_SERVER":    {{"start_server smtpsvc/1", "Server smtpsvc/1 Successfully STARTED\n", ""}},
		"STOP_SERVER":     {{"STOP_SERVER smtpsvc/1", "Server smtpsvc/1 Successfully STOPPED\n", ""}, {"STOP_SERVER smtpsvc/9", "", "(0x80070003)"}},
		"PAUSE_SERVER":    {{"PAUSE_SERVER smtpsvc/1", "Server smtpsvc/1 Successfully PAUSED\n", ""}},
		"CONTINUE_SERVER": {{"CONTINUE_SERVER smtpsvc/1", "Server smtpsvc/1 Successfully CONTINUED\n", ""}},
		"HELP":            {{"help", "-", ""}, {"HELP GET", "", "HELP takes no arguments"}},
		"APPEND":          {{"APPEND smtpsvc/1/AuthTurnList x", "", "Command not recognized: APPEND"}}, // no verb of adsutil
	}
	for _, v := range verbs() {
		if strings.HasPrefix(v.name, "APP") || v.name == "CREATE_VDIR" {
			all[v.name] = web(v.name)
		}
	}
	return all
}

func TestVerbs(t *testing.T) {
	for name, list := range examples() {
		t.Run(name, func(t *testing.T) {
			dir, acted := fixture(t)
			for _, tt := range list {
				var out strings.Builder
				err := Run(t.Context(), dir, &out, strings.Fields(tt.call))
				if tt.want != "-" && out.String() != tt.want {
					t.Errorf("%s prints %q, want %q", tt.call, out.String(), tt.want)
				}
				if tt.err == "" && err != nil || tt.err != "" && tt.err != "-" && (err == nil || !strings.Contains(err.Error(), tt.err)) {
					t.Errorf("%s: %v, want %q", tt.call, err, tt.err)
				}
			}
			if n := slices.IndexFunc(acts, func(a act) bool { return a.verb == name }); n >= 0 && !slices.Equal(*acted, []string{fmt.Sprint("/LM/SMTPSVC/1 ", n+1)}) {
				t.Errorf("the site was told %q", *acted)
			}
		})
	}
}

// TestKinds checks that a caller can tell a wrong call from one that failed.
func TestKinds(t *testing.T) {
	dir, _ := fixture(t)
	var usage *Usage
	var warned *Warning
	var no *Error
	run := func(call string) error { return Run(t.Context(), dir, &strings.Builder{}, strings.Fields(call)) }
	if err := run(""); !errors.As(err, &usage) {
		t.Errorf("without a verb: %v", err)
	}
	if err := run("CREATE smtpsvc/odd"); !errors.As(err, &warned) {
		t.Errorf("an untyped key: %v", err)
	}
	if err := run("GET smtpsvc/1/HopCount"); !errors.As(err, &no) || no.Hint != "mb get SMTPSVC/1 HopCount --from" {
		t.Errorf("an inherited property: %v, hint %q", err, no.Hint)
	}
	if err := run("SET smtpsvc/1/domain/a.test/HopCount geheim"); err == nil || strings.Contains(err.Error(), "geheim") {
		t.Errorf("the error repeats a value: %v", err)
	}
}

// TestDocs checks the table of verbs in docs, and that each has its examples.
func TestDocs(t *testing.T) {
	const file = "../../docs/lua/adsutil.md"
	var b strings.Builder
	b.WriteString(intro)
	all := examples()
	for _, v := range verbs() {
		if len(all[v.name]) == 0 {
			t.Errorf("%s has no example", v.name)
		}
		fmt.Fprintf(&b, "| `%s` | %s | `TestVerbs/%s` |\n", strings.TrimSpace(v.name+" "+v.args), v.does, v.name)
	}
	if os.Getenv("RESTANTE_WRITE_DOCS") != "" {
		if err := os.WriteFile(file, []byte(b.String()), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	got, err := os.ReadFile(file)
	if err != nil || strings.ReplaceAll(string(got), "\r\n", "\n") != b.String() {
		t.Errorf("%s does not match the table (%v): run make docs", file, err)
	}
}

const intro = `# adsutil

` + "`restante adsutil VERB [PATH[/PROP]] [VALUE]...`" + ` carries out the verbs of IIS's adsutil.vbs, with its form of output, with and without the
running service. Made from the table of the verbs by ` + "`make docs`" + `.

Verbs, paths and properties are taken in any case. A path is written as ` + "`smtpsvc/1`, `/LM/SMTPSVC/1`, `IIS://LocalHost/smtpsvc/1` or `smtpsvc\\1`" + `.
The old names AccessPerm, VrPath and Authorization stand for AccessFlags, Path and AuthFlags, and AuthFlags takes the words ANONYMOUS, BASIC
and NT. ` + "`-s:SERVER`" + ` may stand anywhere; another machine than this one is an error that says what to run there.

An error goes to standard error, with a line ` + "`ErrNumber: -2147024893 (0x80070003)`" + ` that has adsutil's number, as in [objects.md](objects.md).
Exit codes are those of every command, as a number of that size is no exit code everywhere: 0 done, 1 a warning or a failure, 2 a wrong call
(as in adsutil.vbs), 3 no such path or property or none stored there, 4 refused, 5 the service is needed.

| verb | here | test |
|---|---|---|
`
