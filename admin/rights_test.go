// SPDX-License-Identifier: Apache-2.0

package admin_test

import (
	"context"
	"encoding/json"
	"fmt"
	"slices"
	"strings"
	"sync"
	"testing"

	"restante/admin"
	"restante/admin/admintest"
	"restante/admin/api"
	"restante/admin/explain"
	"restante/admin/queues"
	"restante/admin/sites"
	"restante/admin/traces"
	"restante/admin/tree"
	"restante/engine/account"
	"restante/engine/policy"
	"restante/engine/release/calls"
	"restante/engine/site"
	"restante/engine/trace"
	"restante/internal/kv"
	"restante/metabase"
)

// An apiFixture is an API over two sites. The first is Olga's, but for a domain;
// Rita has all that is not theirs.
type apiFixture struct {
	*admin.API
	store *metabase.Store

	mu   sync.Mutex // guards what follows
	told []metabase.Refusal
}

const arranged = `add SMTPSVC/1/Domain/mine.example
set SMTPSVC/1/Domain/mine.example RouteAction etrn_cmd
set SMTPSVC/1/Domain/mine.example AuthTurnList anna carla
add SMTPSVC/1/Domain/hidden.example
set SMTPSVC/1/Domain/hidden.example RouteAction etrn_cmd
set SMTPSVC/1/Domain/hidden.example AuthTurnList anna
add SMTPSVC/1/User/anna
add SMTPSVC/User/carla
add SMTPSVC/2/Domain/theirs.example
set SMTPSVC/2/Domain/theirs.example RouteActionString relay.theirs.example
add SMTPSVC/2/User/bob
set SMTPSVC HopCount 20
set SMTPSVC/2 HopCount 5`

// Until then everybody could read all of it.
const locked = `set / AccessList 'user:rita all'
set SMTPSVC/1 AccessList 'user:olga read,write,create,delete'
set SMTPSVC/1/Domain/hidden.example AccessList 'user:boss all'
set SMTPSVC/2 AccessList 'user:boss all'`

// sharedAddress is an engine in which site 2 has the address of site 1.
type sharedAddress struct{ admin.Engine }

func (sharedAddress) Trace() *trace.Store { return nil }

func (sharedAddress) Sources() policy.Sources { return policy.Sources{} }

func (sharedAddress) Await(context.Context, metabase.Rev) ([]site.Status, error) { return nil, nil }

func (sharedAddress) Sites() []site.Status {
	return []site.Status{{Number: 1, State: site.Stopped, Why: "listen on :25: site 2 has it"}}
}

func (sharedAddress) Sessions(int) ([]site.Session, error) { return nil, nil }

func (sharedAddress) EndVoidSessions() int { return 0 }

func (sharedAddress) LockOuts() []account.LockOut { return nil }

func (sharedAddress) Queue(int) (admin.Queue, bool) { return nil, false }

func (sharedAddress) Calls(int) (*calls.Log, bool) { return nil, false }

// hidden lists the names that only the boss may read.
var hidden = []string{"hidden.example", "theirs.example", "/LM/SMTPSVC/2", "site 2", "Two", "two.example", "bob"}

func newAPIFixture(t *testing.T) *apiFixture {
	t.Helper()
	o := &apiFixture{}
	audit := func(_ context.Context, r metabase.Refusal) {
		o.mu.Lock()
		defer o.mu.Unlock()
		o.told = append(o.told, r)
	}
	db := kv.NewMem()
	t.Cleanup(func() { db.Close() })
	o.API, o.store = admintest.Over(t, db, sharedAddress{}, metabase.Options{Admins: []metabase.Principal{"user:boss"}, Audit: audit})
	o.Audit = audit
	tree.Register(o.API)
	sites.Register(o.API)
	queues.Register(o.API)
	traces.Register(o.API)
	explain.Register(o.API, noHosts{})
	two, err := json.Marshal(api.SiteCreateRequest{Name: "Two", Bind: []string{"127.0.0.1:1"}, Domain: "two.example"})
	if err != nil {
		t.Fatal(err)
	}
	o.API.Engine = nil // or the wizard waits for the site
	o.must(t, "boss", "site/create", string(two))
	o.API.Engine = sharedAddress{}
	o.apply(t, "boss", arranged)
	o.apply(t, "boss", locked)
	return o
}

// call makes a call and returns its answer or the text of its error.
func (o *apiFixture) call(t *testing.T, who, method, request string) (string, api.Kind) {
	t.Helper()
	raw, err := o.Direct(as(metabase.Principal("user:"+who))).Call(t.Context(), method, []byte(request))
	if err == nil {
		return string(raw), ""
	}
	e := api.AsError(err)
	return e.Error() + " " + e.Hint, e.Kind
}

func (o *apiFixture) must(t *testing.T, who, method, request string) string {
	t.Helper()
	text, kind := o.call(t, who, method, request)
	if kind != "" {
		t.Fatalf("%s: %s %s: %s", who, method, request, text)
	}
	return text
}

// lines is a batch as a request; a word in quotes has blanks.
func lines(text string) api.ApplyRequest {
	var q api.ApplyRequest
	for n, line := range strings.Split(text, "\n") {
		words := strings.Fields(line)
		if i := strings.Index(line, "'"); i >= 0 {
			words = append(strings.Fields(line[:i]), strings.Split(strings.Trim(line[i:], "'"), "' '")...)
		}
		q.Lines = append(q.Lines, api.Line{Number: n + 1, Words: words})
	}
	return q
}

// apply makes a batch of lines and gives its revision.
func (o *apiFixture) apply(t *testing.T, who, text string) metabase.Rev {
	t.Helper()
	a, _, err := api.MbApply.Call(t.Context(), o.Direct(as(metabase.Principal("user:"+who))), lines(text))
	if err != nil {
		t.Fatalf("%s: %s: %v", who, text, err)
	}
	return a.Rev
}

// refusals returns the audited refusals since the last call.
func (o *apiFixture) refusals() []metabase.Refusal {
	o.mu.Lock()
	defer o.mu.Unlock()
	out := o.told
	o.told = nil
	return out
}

// TestSameDenialWhetherThereOrNot asks of site 2, which is not Olga's, and of
// site 99, which is not there.
func TestSameDenialWhetherThereOrNot(t *testing.T) {
	o := newAPIFixture(t)
	tests := []struct {
		method, request string
		missing         bool // and who may read everything is told that there is none
	}{
		{"mb/get", `{"words":["SMTPSVC/@","MaxRecipients"]}`, true},
		{"mb/get", `{"words":["smtpsvc/@","MaxRecipients"]}`, true},
		{"mb/get", `{"words":["SMTPSVC/@/MaxRecipients"]}`, true},
		{"mb/get", `{"words":["SMTPSVC/@"]}`, true},
		{"mb/get", `{"words":["SMTPSVC/@","NoSuch"]}`, true},
		{"mb/get", `{"words":["SMTPSVC/@","MaxRecipients","5"]}`, true},
		{"mb/get", `{"words":["SMTPSVC/@","MaxRecipients"],"rev":1}`, true},
		{"mb/get", `{"words":["SMTPSVC/@","MaxRecipients"],"rev":999}`, true},
		{"mb/show", `{"path":"SMTPSVC/@"}`, true},
		{"mb/ls", `{"path":"SMTPSVC/@"}`, true},
		{"mb/ls", `{"path":"SMTPSVC/@/Domain","deep":true}`, true},
		{"mb/find", `{"path":"SMTPSVC/@","property":"MaxRecipients"}`, true},
		{"mb/find", `{"path":"SMTPSVC/@","property":"NoSuch"}`, true},
		{"mb/log", `{"path":"SMTPSVC/@"}`, false},
		{"mb/export", `{"path":"SMTPSVC/@"}`, true},
		{"mb/revert", `{"path":"SMTPSVC/@","rev":1}`, false},
		{"mb/revert", `{"path":"SMTPSVC/@","rev":999}`, false},
		{"mb/apply", `{"lines":[{"words":["set","SMTPSVC/@","MaxRecipients","5"]}]}`, true},
		{"mb/apply", `{"lines":[{"words":["set","SMTPSVC/@","MaxMessageSize","xx"]}]}`, true},
		{"mb/apply", `{"lines":[{"words":["set","SMTPSVC/@","NoSuch","xx"]}]}`, true},
		{"mb/apply", `{"lines":[{"number":7,"words":["set","SMTPSVC/@","MaxMessageSize","xx"]}],"dry_run":true}`, true},
		{"mb/apply", `{"lines":[{"words":["unset","SMTPSVC/@","MaxRecipients"]}]}`, true},
		{"mb/apply", `{"lines":[{"words":["lock","SMTPSVC/@","MaxRecipients"]}]}`, true},
		{"mb/apply", `{"lines":[{"words":["unlock","SMTPSVC/@","MaxRecipients"]}]}`, true},
		{"mb/apply", `{"lines":[{"words":["add","SMTPSVC/@"]}]}`, false},
		{"mb/apply", `{"lines":[{"words":["add","SMTPSVC/@/x","NoSuch"]}]}`, true},
		{"mb/apply", `{"lines":[{"words":["rm","SMTPSVC/@"]}]}`, true},
		{"mb/apply", `{"lines":[{"words":["rm","SMTPSVC/@","-r"]}]}`, true},
		{"mb/apply", `{"lines":[{"words":["cp","SMTPSVC/@","SMTPSVC/1/x"]}]}`, true},
		{"mb/apply", `{"lines":[{"words":["cp","SMTPSVC/1/User","SMTPSVC/@"]}]}`, false},
		{"mb/apply", `{"lines":[{"words":["mv","SMTPSVC/1/NoSuch","SMTPSVC/@"]}]}`, false},
		{"site/show", `{"site":@}`, true},
		{"site/set", `{"site":@,"name":"x"}`, true},
		{"site/command", `{"site":@,"command":"stop"}`, true},
		{"site/command", `{"site":@,"command":"fly"}`, true},
		{"site/delete", `{"site":@,"discard":true}`, true},
		{"site/sessions", `{"site":@}`, true},
		{"site/end-session", `{"site":@,"id":"7"}`, true},
		{"domain/list", `{"site":@}`, true},
		{"domain/show", `{"site":@,"name":"theirs.example"}`, true},
		{"domain/create", `{"site":@,"name":"theirs.example"}`, true},
		{"domain/create", `{"site":@,"name":"no domain"}`, true},
		{"domain/delete", `{"site":@,"name":"theirs.example"}`, true},
		{"turn/list", `{"site":@}`, true},
		{"turn/set", `{"site":@,"domain":"theirs.example","account":"x"}`, true},
		{"account/list", `{"site":@}`, true},
		{"account/put", `{"name":"@/bob","password":"x"}`, true},
		{"account/put", `{"name":"@/bob","password":"x","change":true}`, true},
		{"account/delete", `{"name":"@/bob"}`, true},
		{"explain", `{"site":@,"recipient":"x@theirs.example"}`, true},
		{"explain", `{"site":@,"recipient":"nobody at all"}`, true},
		{"queue/list", `{"site":@}`, true},
		{"queue/act", `{"site":@,"act":"retry","all":true}`, true},
		{"queue/act", `{"site":@,"act":"fly"}`, true},
		{"queue/export", `{"site":@,"dir":"/etc"}`, true},
		{"queue/import", `{"site":@,"dir":"/etc"}`, true},
	}
	for _, tt := range tests {
		at := func(n string) string { return strings.ReplaceAll(tt.request, "@", n) }
		o.refusals()
		there, kind := o.call(t, "olga", tt.method, at("2"))
		if kind != api.KindRefused || len(o.refusals()) == 0 {
			t.Errorf("%s %s: %q %s, or nobody is told", tt.method, at("2"), kind, there)
		}
		not, kind := o.call(t, "olga", tt.method, at("99"))
		if kind != api.KindRefused || strings.ReplaceAll(not, "99", "2") != there || len(o.refusals()) == 0 {
			t.Errorf("%s %s: %q %s, but of one that is there: %s", tt.method, at("99"), kind, not, there)
		}
		if !tt.missing {
			continue
		}
		if text, kind := o.call(t, "boss", tt.method, at("99")); kind != api.KindNotFound {
			t.Errorf("%s %s: who may read everything gets %q %s", tt.method, at("99"), kind, text)
		}
	}
}

// TestSameAnswerWhetherConcealedOrNot asks of a domain and an account that have
// lists of their own below keys that the caller may read, and of some that are not
// there. Olga may change their siblings, Ada may only read them.
func TestSameAnswerWhetherConcealedOrNot(t *testing.T) {
	o := newAPIFixture(t)
	o.apply(t, "boss", `add SMTPSVC/1/User/secret
set SMTPSVC/1/User/secret AccessList 'user:boss all'
set SMTPSVC/1/Domain/hidden.example AccessList 'user:boss all'`)
	requests := []struct{ method, request string }{
		{"mb/get", `{"words":["SMTPSVC/1/Domain/@","MaxRecipients"]}`},
		{"mb/get", `{"words":["SMTPSVC/1/Domain/@/MaxRecipients"]}`},
		{"mb/get", `{"words":["SMTPSVC/1/Domain/@/below","MaxRecipients"]}`},
		{"mb/get", `{"words":["SMTPSVC/1/Domain/@"]}`},
		{"mb/get", `{"words":["SMTPSVC/1/Domain/@","NoSuch"]}`},
		{"mb/get", `{"words":["SMTPSVC/1/Domain/@","MaxRecipients"],"rev":1}`},
		{"mb/get", `{"words":["SMTPSVC/1/Domain/@","MaxRecipients"],"rev":999}`},
		{"mb/show", `{"path":"SMTPSVC/1/Domain/@"}`},
		{"mb/show", `{"path":"SMTPSVC/1/Domain/@/below"}`},
		{"mb/ls", `{"path":"SMTPSVC/1/Domain/@"}`},
		{"mb/ls", `{"path":"SMTPSVC/1/Domain/@","deep":true}`},
		{"mb/find", `{"path":"SMTPSVC/1/Domain/@","property":"RouteAction"}`},
		{"mb/log", `{"path":"SMTPSVC/1/Domain/@"}`},
		{"mb/export", `{"path":"SMTPSVC/1/Domain/@"}`},
		{"mb/apply", `{"lines":[{"words":["set","SMTPSVC/1/Domain/@","RouteAction","2"]}]}`},
		{"mb/apply", `{"lines":[{"words":["set","SMTPSVC/1/Domain/@/RouteAction","2"]}]}`},
		{"mb/apply", `{"lines":[{"words":["set","SMTPSVC/1/Domain/@","RouteAction","xx"]}]}`},
		{"mb/apply", `{"lines":[{"number":3,"words":["set","SMTPSVC/1/Domain/@","NoSuch","xx"]}],"dry_run":true}`},
		{"mb/apply", `{"lines":[{"number":1,"words":["rm","SMTPSVC/1/Domain/@"]},{"number":2,"words":["set","SMTPSVC/1","MaxMessageSize","xx"]}]}`},
		{"mb/apply", `{"lines":[{"number":1,"words":["rm","SMTPSVC/1/Domain/@"]},{"number":2,"words":["set","SMTPSVC/1","ServerBindings","xx"]}]}`},
		{"mb/apply", `{"lines":[{"words":["unset","SMTPSVC/1/Domain/@","RouteAction"]}]}`},
		{"mb/apply", `{"lines":[{"words":["lock","SMTPSVC/1/Domain/@","RouteAction"]}]}`},
		{"mb/apply", `{"lines":[{"words":["rm","SMTPSVC/1/Domain/@"]}]}`},
		{"mb/apply", `{"lines":[{"words":["rm","SMTPSVC/1/Domain/@","-r"]}]}`},
		{"mb/apply", `{"lines":[{"words":["clear","SMTPSVC/1/Domain/@"]}]}`},
		{"mb/apply", `{"lines":[{"words":["touch","SMTPSVC/1/Domain/@"]}]}`},
		{"mb/apply", `{"lines":[{"words":["cp","SMTPSVC/1/Domain/@","SMTPSVC/1/Domain/copy.example"]}]}`},
		{"mb/apply", `{"lines":[{"words":["mv","SMTPSVC/1/Domain/@","SMTPSVC/1/Domain/copy.example"]}]}`},
		{"mb/apply", `{"lines":[{"words":["cpdata","SMTPSVC/1/Domain/@","SMTPSVC/1/Domain/mine.example"]}]}`},
		{"mb/apply", `{"lines":[{"words":["cpdata","SMTPSVC/1/Domain/mine.example","SMTPSVC/1/Domain/@"]}]}`},
		{"domain/show", `{"site":1,"name":"@"}`},
		{"domain/delete", `{"site":1,"name":"@"}`},
		{"turn/set", `{"site":1,"domain":"@","account":"anna"}`},
		{"account/put", `{"name":"1/#","password":"x","change":true}`},
		{"account/delete", `{"name":"1/#"}`},
	}
	o.apply(t, "boss", `set SMTPSVC/1 AccessList 'user:olga read,write,create,delete' 'user:ada read'`)
	for _, who := range []string{"olga", "ada"} {
		for _, tt := range requests {
			at := func(domain, account string) string {
				return strings.NewReplacer("@", domain, "#", account).Replace(tt.request)
			}
			o.refusals()
			there, one := o.call(t, who, tt.method, at("hidden.example", "secret"))
			if one == "" || len(o.refusals()) == 0 {
				t.Errorf("%s: %s %s: %q %s, or nobody is told", who, tt.method, tt.request, one, there)
			}
			not, two := o.call(t, who, tt.method, at("nosuch.example", "nosuch"))
			if not = strings.NewReplacer("nosuch.example", "hidden.example", "nosuch", "secret").Replace(not); one != two || there != not {
				t.Errorf("%s: %s %s: %q %s\nbut of one that is not there: %q %s", who, tt.method, tt.request, one, there, two, not)
			}
		}
	}
}

// TestNothingHiddenIsTold searches all answers to Olga and Rita for names of keys
// that they may not read.
func TestNothingHiddenIsTold(t *testing.T) {
	o := newAPIFixture(t)
	tests := []struct {
		who, method, request string
		want                 string // in it; "" for a refusal
	}{
		{"olga", "complete", `{"kind":"site","prefix":""}`, `["1"]`},
		{"olga", "complete", `{"kind":"domain","prefix":""}`, "mine.example"},
		{"olga", "complete", `{"kind":"account","prefix":""}`, `["1/anna"]`},
		{"olga", "complete", `{"kind":"path","prefix":"SMTPSVC/"}`, `["SMTPSVC/1"]`},
		{"olga", "complete", `{"kind":"path","prefix":"SMTPSVC/1/Domain/"}`, "mine.example"},
		{"olga", "complete", `{"kind":"path","prefix":"SMTPSVC/2/"}`, `[]`},
		{"olga", "mb/ls", `{"path":"/"}`, `[{"name":"LM","path":"/LM","class":"","children":1}]`},
		{"olga", "mb/ls", `{"path":"SMTPSVC"}`, `"path":"/LM/SMTPSVC/1"`},
		{"olga", "mb/ls", `{"path":"/","deep":true}`, "mine.example"},
		{"olga", "mb/ls", `{"path":"SMTPSVC/1","deep":true}`, `"path":"/LM/SMTPSVC/1/Domain","class":"IIsSmtpDomain","children":2`},
		{"olga", "mb/find", `{"path":"/","property":"RouteAction"}`, "mine.example"},
		{"rita", "mb/ls", `{"path":"/","deep":true}`, `"path":"/LM/SMTPSVC"`},
		{"rita", "mb/find", `{"path":"SMTPSVC","property":"KeyType"}`, "/LM/SMTPSVC"},
		{"carl", "mb/ls", `{"path":"/"}`, ""},
		{"carl", "mb/find", `{"path":"/","property":"RouteAction"}`, ""},
		{"olga", "mb/log", `{"path":"SMTPSVC/1"}`, "mine.example"},
		{"olga", "mb/diff", `{"from":1}`, "mine.example"},
		{"olga", "site/list", `{}`, `"domains":2`},
		{"olga", "site/show", `{"site":1}`, "another site has it"},
		{"olga", "domain/list", `{"site":1}`, "mine.example"},
		{"olga", "account/list", `{}`, `"domains":["1/mine.example"]`},
		{"olga", "account/delete", `{"name":"1/anna"}`, `"named_by":["1/mine.example"]`},
		{"olga", "mb/export", `{"path":"SMTPSVC/1"}`, ""},
		{"olga", "mb/apply", `{"lines":[{"words":["rm","SMTPSVC/1/Domain"]}]}`, ""},
		{"olga", "mb/apply", `{"lines":[{"words":["rm","SMTPSVC/1/Domain","-r"]}]}`, ""},
		{"olga", "mb/apply", `{"lines":[{"words":["rm","SMTPSVC/1/Domain","-r"]}],"dry_run":true}`, ""},
		{"olga", "mb/apply", `{"lines":[{"words":["mv","SMTPSVC/1/Domain","SMTPSVC/1/x"]}]}`, ""},
		{"olga", "mb/apply", `{"lines":[{"words":["cp","SMTPSVC/1/Domain","SMTPSVC/1/x"]}]}`, ""},
		{"rita", "mb/apply", `{"lines":[{"words":["rm","SMTPSVC","-r"]}]}`, ""},
		{"rita", "mb/apply", `{"lines":[{"words":["lock","SMTPSVC","HopCount"]}]}`, ""},
		{"rita", "mb/apply", `{"lines":[{"words":["set","SMTPSVC","HopCount","21"]}],"dry_run":true}`, `"inherited_by":[],"sites":[],"rerouted":0`},
		{"olga", "queue/list", `{"site":1}`, ""}, // it has none open here
		{"olga", "turn/history", `{"site":1}`, ""},
		{"rita", "turn/history", `{}`, ""},
		{"rita", "queue/list", `{}`, ""},
		{"carl", "queue/list", `{}`, ""},
		{"olga", "status", `{}`, `"number":1`},
		{"carl", "status", `{}`, ""},
	}
	for _, tt := range tests {
		text, kind := o.call(t, tt.who, tt.method, tt.request)
		if (kind != "") != (tt.want == "") || !strings.Contains(text, tt.want) {
			t.Errorf("%s: %s %s: %q %s, want %q", tt.who, tt.method, tt.request, kind, text, tt.want)
		}
		for _, name := range hidden {
			if strings.Contains(text, name) && !strings.Contains(tt.request, name) {
				t.Errorf("%s: %s %s tells of %s: %s", tt.who, tt.method, tt.request, name, text)
			}
		}
	}
}

// TestWhatOnlyStandsNearbyIsNotTold makes Olga's calls about keys that she may not
// read, below keys that she may read.
func TestWhatOnlyStandsNearbyIsNotTold(t *testing.T) {
	o := newAPIFixture(t)
	o.apply(t, "boss", "add SMTPSVC/1/Domain/*.wild.example\nset SMTPSVC/1/Domain/*.wild.example AccessList 'user:boss all'")
	for _, pair := range [][3]string{
		// An account of all sites is not hers to know, and decides where her own is not.
		{"explain", `{"site":1,"recipient":"x@y.example","account":"carla"}`, `{"site":1,"recipient":"x@y.example","account":"carlo"}`},
		{"account/delete", `{"name":"carla"}`, `{"name":"carlo"}`},
		{"account/put", `{"name":"carla","password":"x"}`, `{"name":"carlo","password":"x"}`},
		{"account/put", `{"name":"carla","password":"x","change":true}`, `{"name":"carlo","password":"x","change":true}`},
	} {
		one, kind := o.call(t, "olga", pair[0], pair[1])
		two, other := o.call(t, "olga", pair[0], pair[2])
		two = strings.NewReplacer("carlo", "carla", "a.wild.example", "hidden.example").Replace(two)
		if kind != api.KindRefused || other != kind || one != two {
			t.Errorf("%s: %q %s, but %q %s", pair[0], kind, one, other, two)
		}
	}
	// A key that is hidden from her is answered as one that does not exist.
	rev := o.store.Snapshot().Rev() // gave hidden.example its list, or another key its own
	for _, pair := range [][3]string{
		{"explain", `{"site":1,"recipient":"x@hidden.example"}`, `{"site":1,"recipient":"x@no.example"}`},
		{"explain", `{"site":1,"recipient":"x@a.wild.example"}`, `{"site":1,"recipient":"x@no.example"}`},
		{"mb/revert", fmt.Sprintf(`{"path":"SMTPSVC/1/Domain/hidden.example","rev":%d}`, rev), fmt.Sprintf(`{"path":"SMTPSVC/1/Domain/no.example","rev":%d}`, rev)},
		{"mb/revert", fmt.Sprintf(`{"path":"SMTPSVC/1/Domain/*.wild.example","rev":%d}`, rev), fmt.Sprintf(`{"path":"SMTPSVC/1/Domain/no.example","rev":%d}`, rev)},
		{"mb/revert", `{"path":"SMTPSVC/1/Domain/hidden.example","rev":2}`, `{"path":"SMTPSVC/1/Domain/no.example","rev":2}`},
		{"mb/revert", `{"path":"SMTPSVC/1/Domain/hidden.example","rev":3,"dry_run":true}`, `{"path":"SMTPSVC/1/Domain/no.example","rev":3,"dry_run":true}`},
	} {
		one, kind := o.call(t, "olga", pair[0], pair[1])
		two, other := o.call(t, "olga", pair[0], pair[2])
		one = strings.NewReplacer("hidden.example", "no.example", "a.wild.example", "no.example", "*.wild.example", "no.example").Replace(one)
		if other != kind || one != two {
			t.Errorf("%s %s: %q %s, but %q %s", pair[0], pair[1], kind, one, other, two)
		}
	}
	for _, request := range []string{`{"site":1,"name":"hidden.example"}`, `{"site":1,"name":"hidden.example","alias":true,"hold":true}`} {
		text, kind := o.call(t, "olga", "domain/create", request)
		if kind != api.KindUsage && (kind == "" || !strings.HasSuffix(strings.TrimSpace(text), "denied")) {
			t.Errorf("domain/create: %q %s", kind, text)
		}
	}
	if text := o.must(t, "olga", "explain", `{"site":1,"recipient":"x@mine.example","account":"anna"}`); !strings.Contains(text, "mine.example") {
		t.Errorf("explain of her own: %s", text)
	}
	// Carla has an account, which is not Olga's to know.
	for who, told := range map[string]bool{"olga": false, "boss": false} {
		if text := o.must(t, who, "domain/show", `{"site":1,"name":"mine.example"}`); strings.Contains(text, "unknown_accounts") != told {
			t.Errorf("%s is told: %s", who, text)
		}
	}
	o.apply(t, "boss", "rm SMTPSVC/User/carla")
	for who, told := range map[string]bool{"olga": false, "boss": true} {
		if text := o.must(t, who, "domain/show", `{"site":1,"name":"mine.example"}`); strings.Contains(text, "unknown_accounts") != told {
			t.Errorf("%s is told: %s", who, text)
		}
	}
}

// TestCopiedKeysAreNoOracle checks that a later line of a batch does not tell what
// an earlier one would have copied.
func TestCopiedKeysAreNoOracle(t *testing.T) {
	o := newAPIFixture(t)
	answer := func(name string) string {
		raw, err := json.Marshal(lines("cp SMTPSVC/1/Domain SMTPSVC/1/x\nset SMTPSVC/1/x/" + name + " RouteAction 2"))
		if err != nil {
			t.Fatal(err)
		}
		text, kind := o.call(t, "olga", "mb/apply", string(raw))
		if kind != api.KindRefused {
			t.Errorf("%s: %q %s", name, kind, text)
		}
		return strings.ReplaceAll(text, name, "NAME")
	}
	if there, not := answer("hidden.example"), answer("no.example"); there != not {
		t.Errorf("one that is there: %s\none that is not: %s", there, not)
	}
}

// TestImportIsNoOracle has Olga compare values by a file.
func TestImportIsNoOracle(t *testing.T) {
	o := newAPIFixture(t)
	var file api.Exported
	if err := json.Unmarshal([]byte(o.must(t, "boss", "mb/export", `{"path":"SMTPSVC/2"}`)), &file); err != nil {
		t.Fatal(err)
	}
	right := string(file.XML)
	guess := strings.Replace(right, "relay.theirs.example", "guess.example", 1)
	elsewhere := strings.ReplaceAll(right, `/LM/SMTPSVC/2`, `/LM/SMTPSVC/99`)
	if guess == right || elsewhere == right {
		t.Fatal(right)
	}
	answer := func(xml, at string, merge, dry bool) string {
		raw, err := json.Marshal(api.ImportRequest{XML: []byte(xml), At: at, Merge: merge, DryRun: dry})
		if err != nil {
			t.Fatal(err)
		}
		o.refusals()
		text, kind := o.call(t, "olga", "mb/import", string(raw))
		told := o.refusals()
		if kind != api.KindRefused || !slices.ContainsFunc(told, func(r metabase.Refusal) bool { return r.Origin == metabase.FromImport }) {
			t.Errorf("%q %s; told of %v", kind, text, told)
		}
		return text
	}
	for _, merge := range []bool{true, false} {
		for _, dry := range []bool{true, false} {
			same, other, none := answer(right, "", merge, dry), answer(guess, "", merge, dry), answer(elsewhere, "", merge, dry)
			if same != other || strings.ReplaceAll(none, "99", "2") != same {
				t.Errorf("what is stored: %s\na guess: %s\nelsewhere: %s", same, other, none)
			}
		}
	}
	// By another place.
	if one := strings.ReplaceAll(right, `/LM/SMTPSVC/2`, `/LM/SMTPSVC/1`); !strings.Contains(answer(one, "SMTPSVC/2", true, true), "/LM/SMTPSVC/2: denied") {
		t.Error("by --at it is compared")
	}
	// The keys that the file would remove are not named.
	mine := strings.ReplaceAll(right, `/LM/SMTPSVC/2`, `/LM/SMTPSVC/1`)
	if text := answer(mine, "", false, true); strings.Contains(text, "hidden.example") {
		t.Error(text)
	}
}

// TestCommentsAreLookedAt checks that every call refuses a comment of two lines.
func TestCommentsAreLookedAt(t *testing.T) {
	d, store := full(t, sharedAddress{})
	who := admintest.Admin()
	who.Comment = "one\ntwo"
	before := store.Snapshot().Rev()
	if k := admintest.Kind(t, d.Direct(who), api.MbApply, set("SMTPSVC/1", "MaxRecipients", "7")); k != api.KindRefused || store.Snapshot().Rev() != before {
		t.Errorf("kind %q, revision %d", k, store.Snapshot().Rev())
	}
	for _, err := range api.MbRead.Open(t.Context(), d.Direct(who), api.ReadRequest{Path: "/"}) {
		if err == nil || !strings.Contains(err.Error(), "comment") {
			t.Errorf("a stream: %v", err)
		}
	}
}
