// SPDX-License-Identifier: Apache-2.0

package admin_test

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"

	"restante/admin"
	"restante/admin/admintest"
	"restante/admin/api"
	"restante/admin/explain"
	"restante/admin/queues"
	"restante/admin/sites"
	"restante/admin/traces"
	"restante/admin/tree"
	"restante/internal/kv"
	"restante/internal/testpeer"
	"restante/metabase"
)

// TestNoCallNamesAHiddenKey makes random calls of every method over a random
// tree with random access lists, as a caller with few rights. The name of each
// hidden key, and each value below one, is unique: no answer and no error may
// contain one that the request did not.
func TestNoCallNamesAHiddenKey(t *testing.T) {
	seed := rand.Uint64()
	t.Logf("seed %d", seed)
	requests["as-if"] = (*forest).asIf // which makes those of others
	trees, calls := testpeer.Rounds(1, 2, 40), testpeer.Rounds(500, 1000, 1500)
	for n := range trees {
		f := newForest(t, rand.New(rand.NewPCG(seed, uint64(n))))
		methods, streams := f.Methods()
		methods = append(methods, streams...)
		for range calls {
			method := methods[f.rnd.IntN(len(methods))]
			if f.rnd.IntN(3) == 0 { // changes are what brings the others about
				method = []string{"mb/apply", "mb/revert", "mb/read", "as-if"}[f.rnd.IntN(4)]
			}
			f.check(t, method, slices.Contains(streams, method))
		}
		if t.Failed() {
			return
		}
	}
}

type fields = map[string]any

// A forest is an API over a random tree. Joe may read some of it, and change
// some of that.
type forest struct {
	*admin.API
	store  *metabase.Store
	rnd    *rand.Rand
	joe    api.Caller
	paths  []string // of keys, hidden or not
	hidden []string // names and values
	locks  []lockChange
	files  [][]byte // exported, for imports
	next   int
}

// A lockChange is a revision that locked or unlocked a property at a key.
type lockChange struct {
	path string
	rev  metabase.Rev
}

const freeProp = "61600" // no schema knows it: any key may store it

func newForest(t *testing.T, rnd *rand.Rand) *forest {
	t.Helper()
	f := &forest{rnd: rnd, joe: api.Caller{Who: []metabase.Principal{"user:joe", "group:ops"}, Origin: metabase.FromCLI}}
	db := kv.NewMem()
	t.Cleanup(func() { db.Close() })
	f.API, f.store = admintest.Over(t, db, nil, metabase.Options{Admins: []metabase.Principal{"user:boss"}})
	tree.Register(f.API)
	sites.Register(f.API)
	queues.Register(f.API)
	traces.Register(f.API)
	explain.Register(f.API, noHosts{})
	for n := range 2 {
		q := map[string]any{"name": f.name(), "bind": []string{fmt.Sprintf("127.0.0.1:%d", 1000+n)}, "domain": f.name() + ".example"}
		f.boss(t, "site/create", q)
	}
	f.boss(t, "mb/apply", batch([]string{"set", "/", "AccessList", "user:boss all"}))
	f.grow(t)
	f.API.Engine = sharedAddress{}
	return f
}

func (f *forest) name() string {
	f.next++
	return fmt.Sprintf("n%xx%d", f.rnd.Uint32(), f.next)
}

// grow adds keys, each in one batch with its access list if it gets one, and
// lists which of them are hidden for good.
func (f *forest) grow(t *testing.T) {
	t.Helper()
	places := []string{"/LM/SMTPSVC/1", "/LM/SMTPSVC/2", "/LM/SMTPSVC/3", "/LM/SMTPSVC/1/Domain", "/LM/SMTPSVC/2/Domain", "/LM/SMTPSVC/3/Domain"}
	f.boss(t, "mb/apply", batch([]string{"set", "/LM/SMTPSVC/1", "AccessList", "user:joe " + f.rights()}))
	f.boss(t, "mb/apply", batch([]string{"set", "/LM/SMTPSVC/2", "AccessList", "group:ops read"}))
	values := map[string]string{}
	for range 40 {
		at := places[f.rnd.IntN(len(places))]
		name := f.name()
		if strings.HasSuffix(at, "/Domain") {
			name += ".example"
		}
		p := at + "/" + name
		lines := [][]string{{"add", p}}
		values[p] = f.name()
		if strings.HasSuffix(at, "/Domain") {
			lines = append(lines, []string{"set", p, "RouteActionString", values[p] + ".example"})
		}
		if f.rnd.IntN(2) == 0 {
			lines = append(lines, []string{"set", p, freeProp, "--type", "DWORD", "--attributes", "INHERIT", "7"})
		}
		switch f.rnd.IntN(4) {
		case 0:
			lines = append(lines, []string{"set", p, "AccessList", "user:boss all"})
		case 1:
			lines = append(lines, []string{"set", p, "AccessList", "user:joe " + f.rights(), "user:x all"})
		}
		f.boss(t, "mb/apply", batch(lines...))
		if places, f.paths = append(places, p), append(f.paths, p); strings.HasSuffix(at, "/Domain") {
			places = places[:len(places)-1] // a domain has no keys below it
		}
	}
	v := f.store.Snapshot().View(f.joe.Who)
	for _, p := range f.paths {
		if !v.Leads(metabase.Path(p)) {
			f.hidden = append(f.hidden, metabase.Path(p).Base())
			if values[p] != "" {
				f.hidden = append(f.hidden, values[p])
			}
		}
	}
	f.paths = append(f.paths, "/", "/LM", "/LM/SMTPSVC", "/LM/SMTPSVC/1", "/LM/SMTPSVC/2", "/LM/SMTPSVC/3",
		"/LM/SMTPSVC/1/Domain", "/LM/SMTPSVC/2/Domain", "/LM/SMTPSVC/1/User", "/LM/SMTPSVC/9")
	f.past(t)
	f.lockAbove(t)
}

// lockAbove adds a key that is Joe's, where something was locked and unlocked
// before a hidden key below stored it.
func (f *forest) lockAbove(t *testing.T) {
	t.Helper()
	p := "/LM/SMTPSVC/1/" + f.name()
	below := p + "/" + f.name()
	item := []string{"--type", "DWORD", "--attributes", "INHERIT", "7"}
	f.boss(t, "mb/apply", batch([]string{"add", p}, []string{"set", p, "AccessList", "user:joe all"}, append([]string{"set", p, freeProp}, item...)))
	for _, op := range []string{"lock", "unlock"} {
		f.boss(t, "mb/apply", batch([]string{op, p, freeProp}))
		f.locks = append(f.locks, lockChange{p, f.store.Snapshot().Rev()})
	}
	f.boss(t, "mb/apply", batch([]string{"add", below}, []string{"set", below, "AccessList", "user:boss all"}, append([]string{"set", below, freeProp}, item...)))
	f.paths, f.hidden = append(f.paths, p, below), append(f.hidden, metabase.Path(below).Base())
}

// past makes some history, above hidden keys, too.
func (f *forest) past(t *testing.T) {
	t.Helper()
	for _, p := range f.paths {
		item := []string{"set", p, freeProp, "--type", "DWORD", "--attributes", "INHERIT", "3"}
		switch f.rnd.IntN(5) {
		case 0:
			f.try("mb/apply", batch(item, []string{"lock", p, freeProp}))
			f.try("mb/apply", batch([]string{"unlock", p, freeProp}))
		case 1:
			f.try("mb/apply", batch(item))
			f.try("mb/revert", map[string]any{"rev": f.store.Snapshot().Rev(), "path": "/"})
		case 2:
			if strings.Count(p, "/") > 4 {
				f.try("mb/apply", batch([]string{"mv", p, p + "m"}))
				f.try("mb/apply", batch([]string{"mv", p + "m", p}))
			}
		case 3:
			f.try("mb/apply", batch(item))
		}
		var out api.Exported
		if json.Unmarshal([]byte(f.try("mb/export", map[string]any{"path": p, "node_only": true})), &out) == nil && !f.names(string(out.XML)) {
			f.files = append(f.files, out.XML)
		}
	}
	// What hidden keys store stands in the way of locks above them.
	for _, p := range f.paths {
		if f.rnd.IntN(2) == 0 {
			f.try("mb/apply", batch([]string{"set", p, freeProp, "--type", "DWORD", "--attributes", "INHERIT", "5"}))
		}
	}
}

// names reports whether a text has a hidden name.
func (f *forest) names(text string) bool {
	return slices.ContainsFunc(f.hidden, func(name string) bool { return strings.Contains(strings.ToLower(text), name) })
}

func (f *forest) rights() string {
	return []string{"all", "read,write,create,delete,control", "read,write", "read", "write,create,delete"}[f.rnd.IntN(5)]
}

func batch(lines ...[]string) map[string]any {
	var out []map[string]any
	for n, words := range lines {
		out = append(out, map[string]any{"words": words, "number": n + 1})
	}
	return map[string]any{"lines": out}
}

func (f *forest) boss(t *testing.T, method string, q map[string]any) {
	t.Helper()
	raw, _ := json.Marshal(q)
	if _, err := f.Direct(as("user:boss")).Call(t.Context(), method, raw); err != nil {
		t.Fatalf("%s %s: %v", method, raw, err)
	}
}

// try is boss for what may be refused.
func (f *forest) try(method string, q map[string]any) string {
	raw, _ := json.Marshal(q)
	answer, _ := f.Direct(as("user:boss")).Call(context.Background(), method, raw)
	return string(answer)
}

func pick[T any](f *forest, list ...T) T { return list[f.rnd.IntN(len(list))] }

// path is that of a key, perhaps of one that does not exist, in some spelling.
func (f *forest) path() string {
	p := pick(f, f.paths...)
	switch f.rnd.IntN(8) {
	case 0:
		p = strings.ToLower(p)
	case 1:
		p = strings.TrimPrefix(p, "/LM/")
	case 2:
		p += "/none"
	case 3:
		p = string(metabase.Path(p).Parent())
	}
	return p
}

func (f *forest) rev() metabase.Rev {
	return metabase.Rev(f.rnd.Uint64N(uint64(f.store.Snapshot().Rev() + 2)))
}
func (f *forest) flip() bool { return f.rnd.IntN(2) == 0 }
func (f *forest) site() int  { return 1 + f.rnd.IntN(4) }

func (f *forest) domain() string {
	return metabase.Path(pick(f, f.paths...)).Base()
}

// line is a random operation in words.
func (f *forest) line() []string {
	prop := pick(f, freeProp, freeProp, freeProp, "HopCount", "RouteAction", "RouteActionString", "AccessList", "ServerBindings", "QueueDirectory", "AccessSSL", "nosuch")
	value := map[string][]string{
		freeProp: {"--type", "DWORD", "--attributes", "INHERIT", "4"}, "HopCount": {"20"}, "RouteAction": {"2"}, "RouteActionString": {"relay.example"},
		"AccessList": {"user:joe all"}, "ServerBindings": {pick(f, ":1000", "127.0.0.1:1001")}, "QueueDirectory": {pick(f, "Mailroot-2/Queue", "Mailroot-3")}, "AccessSSL": {"true"},
	}[prop]
	switch pick(f, "set", "set", "unset", "lock", "lock", "unlock", "add", "rm", "cp", "mv", "clear", "cpdata", "touch") {
	case "set":
		return append([]string{"set", f.path(), prop}, value...)
	case "unset":
		return []string{"unset", f.path(), prop}
	case "lock":
		return []string{"lock", f.path(), prop}
	case "unlock":
		return []string{"unlock", f.path() + "/" + prop}
	case "add":
		return []string{"add", f.path() + pick(f, "", "/new")}
	case "rm":
		return []string{"rm", f.path(), pick(f, "--recursive", "--children")}
	case "cp":
		return append([]string{"cp", f.path(), f.path()}, pick(f, nil, []string{"--overwrite"})...)
	case "mv":
		return append([]string{"mv", f.path(), f.path() + pick(f, "", "/x")}, pick(f, nil, []string{"--overwrite"})...)
	case "clear":
		return []string{"clear", f.path()}
	case "cpdata":
		return append([]string{"cpdata", f.path(), f.path()}, pick(f, nil, []string{"--move"}, []string{"--attributes", "INHERIT"})...)
	}
	return []string{"touch", f.path()}
}

func (f *forest) apply() any {
	var lines [][]string
	for range 1 + f.rnd.IntN(3) {
		lines = append(lines, f.line())
	}
	q := batch(lines...)
	q["dry_run"] = f.flip()
	return q
}

// read asks for a key as it is or, half of the time, as it would be after a batch.
func (f *forest) read() any {
	q := fields{"path": f.path(), "children": f.flip(), "storing": pick(f, 0, 0, 61600, int(metabase.AccessList))}
	if f.flip() {
		q["after"] = batch(f.line(), f.line())["lines"]
	}
	return q
}

// asIf asks for something as it would be after a batch, or for what is not asked so.
func (f *forest) asIf() any {
	method := pick(f, append(slices.Clone(api.TreeReads), "mb/apply", "nosuch")...)
	q := fields{"method": method, "after": batch(f.line(), f.line())["lines"], "request": fields{}}
	if request := requests[method]; request != nil {
		q["request"] = request(f)
	}
	return q
}

// requests makes a random request for each method.
var requests = map[string]func(f *forest) any{
	"mb/apply":   (*forest).apply,
	"mb/read":    (*forest).read,
	"mb/confirm": func(f *forest) any { return fields{"rev": f.rev()} },
	"mb/get": func(f *forest) any {
		return fields{"words": []string{f.path(), pick(f, freeProp, "HopCount", "RouteActionString")}, "rev": pick(f, 0, f.rev()), "stored": f.flip(), "partial": f.flip()}
	},
	"mb/show": func(f *forest) any { return fields{"path": f.path(), "all": f.flip()} },
	"mb/ls":   func(f *forest) any { return fields{"path": f.path(), "deep": f.flip(), "data": f.flip()} },
	"mb/find": func(f *forest) any {
		return fields{"path": f.path(), "property": pick(f, freeProp, "AccessList", "KeyType")}
	},
	"mb/schema": func(f *forest) any { return fields{"name": pick(f, "HopCount", "IIsSmtpDomain", "nosuch")} },
	"mb/log":    func(f *forest) any { return fields{"path": f.path(), "count": f.rnd.IntN(50)} },
	"mb/diff":   func(f *forest) any { return fields{"from": f.rev(), "to": f.rev()} },
	"mb/revert": func(f *forest) any {
		if l := pick(f, f.locks...); f.flip() {
			return fields{"rev": l.rev, "path": pick(f, l.path, "/"), "dry_run": f.flip()}
		}
		return fields{"rev": f.rev(), "path": f.path(), "dry_run": f.flip()}
	},
	"mb/watch":  func(f *forest) any { return fields{"path": f.path(), "since": f.rev()} },
	"mb/export": func(f *forest) any { return fields{"path": f.path(), "inherited": f.flip(), "node_only": f.flip()} },
	"mb/import": func(f *forest) any {
		return fields{"xml": pick(f, f.files...), "at": pick(f, "", f.path()), "merge": f.flip(), "dry_run": f.flip(), "brief": f.flip()}
	},
	"mb/backup":         func(f *forest) any { return fields{"name": "b"} },
	"mb/backups":        func(f *forest) any { return fields{} },
	"mb/backups/delete": func(f *forest) any { return fields{"name": "b", "version": -1} },
	"mb/restore":        func(f *forest) any { return fields{"name": "b", "version": -1, "dry_run": f.flip()} },
	"mb/verify":         func(f *forest) any { return fields{} },
	"site/list":         func(f *forest) any { return fields{} },
	"site/show":         func(f *forest) any { return fields{"site": f.site()} },
	"site/create": func(f *forest) any {
		return fields{"name": "x", "bind": []string{pick(f, ":1000", ":1001", ":7777")}, "domain": "new.example"}
	},
	"site/set": func(f *forest) any {
		return fields{"site": f.site(), "name": "x", "bind": []string{pick(f, ":1000", ":1001")}}
	},
	"site/command":     func(f *forest) any { return fields{"site": f.site(), "command": pick(f, "start", "stop", "fly")} },
	"site/delete":      func(f *forest) any { return fields{"site": pick(f, 1, 9), "discard": true} },
	"site/sessions":    func(f *forest) any { return fields{"site": 9} },
	"site/end-session": func(f *forest) any { return fields{"site": 9, "id": "1"} },
	"domain/list":      func(f *forest) any { return fields{"site": f.site()} },
	"domain/show":      func(f *forest) any { return fields{"site": f.site(), "name": f.domain()} },
	"domain/create": func(f *forest) any {
		return fields{"site": f.site(), "name": "new.example", "turn": pick(f, nil, []string{"a"})}
	},
	"domain/delete": func(f *forest) any { return fields{"site": f.site(), "name": f.domain()} },
	"turn/list":     func(f *forest) any { return fields{"site": pick(f, 0, f.site())} },
	"turn/set": func(f *forest) any {
		return fields{"site": f.site(), "domain": f.domain(), "account": "a", "revoke": f.flip()}
	},
	"domain/dkim":       func(f *forest) any { return fields{"site": f.site(), "name": f.domain()} },
	"domain/oauth":      func(f *forest) any { return fields{"site": f.site(), "name": f.domain()} },
	"domain/oauth_wait": func(f *forest) any { return fields{"site": f.site(), "name": f.domain(), "code": fields{}} },
	"account/list":      func(f *forest) any { return fields{"site": pick(f, 0, f.site())} },
	"account/put": func(f *forest) any {
		return fields{"name": pick(f, "1/", "2/", "3/", "") + "anna", "password": "x", "change": f.flip()}
	},
	"account/delete":  func(f *forest) any { return fields{"name": pick(f, "1/", "2/", "3/", "") + f.domain()} },
	"queue/list":      func(f *forest) any { return fields{"site": pick(f, 0, f.site())} },
	"queue/messages":  func(f *forest) any { return fields{"site": pick(f, 0, f.site()), "domain": f.domain()} },
	"queue/show":      func(f *forest) any { return fields{"id": "x"} },
	"queue/trace":     func(f *forest) any { return fields{"what": "a@" + f.domain()} },
	"turn/history":    func(f *forest) any { return fields{"site": pick(f, 0, f.site())} },
	"queue/catalogue": func(f *forest) any { return fields{"site": pick(f, 0, f.site()), "domain": f.domain()} },
	"queue/follow":    func(f *forest) any { return fields{"what": "a@" + f.domain(), "site": pick(f, 0, f.site())} },
	"queue/act":       func(f *forest) any { return fields{"site": pick(f, 0, f.site()), "act": "retry", "domain": f.domain()} },
	"queue/release":   func(f *forest) any { return fields{"site": pick(f, 0, f.site()), "domain": f.domain()} },
	"queue/export":    func(f *forest) any { return fields{"site": pick(f, 0, f.site()), "dir": "/etc"} },
	"queue/import":    func(f *forest) any { return fields{"site": pick(f, 0, f.site()), "dir": "/etc"} },
	"status":          func(f *forest) any { return fields{} },
	"explain": func(f *forest) any {
		q := fields{"site": f.site(), "recipient": "a@" + f.domain(), "account": pick(f, "", "a")}
		if f.flip() {
			q["rev"] = f.rev()
		}
		return q
	},
	"explain/message": func(f *forest) any { return fields{"id": "00000000000000000000"} },
	"complete": func(f *forest) any {
		return fields{"kind": pick(f, "path", "path", "property", "site", "domain", "account"), "prefix": pick(f, "", f.path()+"/")}
	},
}

// check makes one call.
func (f *forest) check(t *testing.T, method string, stream bool) {
	t.Helper()
	request := requests[method]
	if request == nil {
		t.Fatalf("%s is registered, and has no random request here", method)
	}
	raw, err := json.Marshal(request(f))
	if err != nil {
		t.Fatal(err)
	}
	asked := strings.ToLower(string(raw))
	var told bytes.Buffer
	say := func(answer json.RawMessage, err error) {
		if err != nil {
			e := api.AsError(err)
			fmt.Fprintln(&told, e.Error(), e.Hint)
		}
		var file api.Exported
		if json.Unmarshal(answer, &file) == nil {
			told.Write(file.XML)
		}
		told.Write(answer)
	}
	conn := f.Direct(f.joe)
	if stream {
		ctx := t.Context()
		if method == string(api.MbWatch) {
			ctx = endedStream{ctx}
		}
		for answer, err := range conn.Stream(ctx, method, raw) {
			say(answer, err)
		}
	} else {
		say(conn.Call(t.Context(), method, raw))
	}
	text := strings.ToLower(told.String())
	for _, name := range f.hidden {
		if strings.Contains(text, name) && !strings.Contains(asked, name) {
			t.Errorf("%s %s names %s: %s", method, raw, name, told.String())
			return
		}
	}
}

// An endedStream lets a watch give what there is and end. Every other call goes
// on: the context has no error.
type endedStream struct{ context.Context }

func (endedStream) Done() <-chan struct{} { return ended }

var ended = func() chan struct{} {
	c := make(chan struct{})
	close(c)
	return c
}()
