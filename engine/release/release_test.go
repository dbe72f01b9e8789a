// SPDX-License-Identifier: Apache-2.0

package release

import (
	"fmt"
	"net/netip"
	"slices"
	"strings"
	"testing"
	"time"

	"restante/engine/mail"
	"restante/engine/release/calls"
	"restante/internal/deptest"
)

var site = rules{
	"a.test":         {Accounts: []string{"anna", "both"}},
	"b.test":         {Accounts: []string{"Bert", "both"}},
	"open.test":      {Etrn: true},
	"both.test":      {Etrn: true, Accounts: []string{"anna"}},
	"never.test":     {},
	"*.wide.test":    {Accounts: []string{"wilma"}},
	"own.wide.test":  {Accounts: []string{"anna"}},
	"none.wide.test": {},
	"*.sub.own.test": {Accounts: []string{"anna"}},
}

func policy() Policy {
	return Policy{ETRN: true, TURN: true, ATRN: true, Subdomains: true, Hello: "hub.test", Rules: site}
}

func TestEtrnReplies(t *testing.T) {
	auth := func(p *Policy) { p.RequireAuth = true }
	counts := func(p *Policy) { p.Counts = true }
	tests := []struct {
		node    string
		account string
		change  func(*Policy)
		want    string
		started []mail.Domain
	}{
		{"a.test", "anna", nil, "250 2.0.0", []mail.Domain{"a.test"}},
		{"A.Test.", "ANNA", nil, "250 2.0.0", []mail.Domain{"a.test"}},
		{"a.test", "", nil, "459 4.7.1", nil},     // a stranger
		{"a.test", "bert", nil, "459 4.7.1", nil}, // another's
		{"b.test", "bert", nil, "250 2.0.0", nil}, // nothing waits, and nobody is told
		{"b.test", "bert", counts, "251 2.0.0", nil},
		{"a.test", "anna", counts, "253 2.0.0 2 pending", []mail.Domain{"a.test"}},
		{"open.test", "", counts, "250 2.0.0", []mail.Domain{"open.test"}}, // strangers learn nothing
		{"open.test", "bert", auth, "250 2.0.0", []mail.Domain{"open.test"}},
		{"both.test", "", nil, "250 2.0.0", []mail.Domain{"both.test"}},
		{"both.test", "anna", nil, "250 2.0.0", []mail.Domain{"both.test"}},
		{"x.wide.test", "wilma", nil, "250 2.0.0", []mail.Domain{"x.wide.test"}},
		{"@a.test", "anna", nil, "250 2.0.0", []mail.Domain{"a.test"}},          // sub.a.test is not held
		{"@wide.test", "wilma", nil, "250 2.0.0", []mail.Domain{"x.wide.test"}}, // by the wildcard, but not what is another's or nobody's
		{"@wide.test", "anna", nil, "459 4.7.1", nil},
		{"a.test", "anna", func(p *Policy) { p.ETRN = false }, "502 5.5.1", nil},        // disabled
		{"@a.test", "anna", func(p *Policy) { p.Subdomains = false }, "459 4.7.1", nil}, // the form is off
		{"a.test", "", auth, "530 5.7.0", nil},                                          // sign-in demanded
		{"", "", nil, "500 5.5.4", nil},                                                 // no argument
		{"nodot", "", nil, "501 5.5.4", nil},                                            // RFC 1985 §5.2
		{"a..test", "", nil, "501 5.5.4", nil},                                          // not a name
		{"@", "", nil, "501 5.5.4", nil},                                                // no name
		{"#", "", nil, "501 5.5.4", nil},                                                // no name
		{"#a.test", "", nil, "459 4.7.1", nil},                                          // we have no such queues
		{"unknown.test", "", nil, "459 4.7.1", nil},                                     // unknown
		{"never.test", "", nil, "459 4.7.1", nil},                                       // not by ETRN: same words
		{"@com.test", "", nil, "459 4.7.1", nil},                                        // above what is held
		{"*.wide.test", "", nil, "501 5.5.4", nil},                                      // not a name either
		{"wide.test", "", nil, "459 4.7.1", nil},                                        // the wildcard is below it
	}
	for _, tt := range tests {
		q := newQueue()
		q.hold("a.test", "1", "2")
		q.hold("sub.a.test", "1")
		q.hold("x.wide.test", "1")
		q.hold("own.wide.test", "1")
		q.hold("none.wide.test", "1")
		q.hold("open.test", "1")
		q.hold("both.test", "1")
		q.hold("unknown.test", "1")
		q.hold("never.test", "1")
		p := policy()
		if tt.change != nil {
			tt.change(&p)
		}
		got := New(q, Options{}).Etrn(t.Context(), p, Caller{Account: tt.account}, tt.node)
		owner := tt.account != "" && tt.node != "open.test" && tt.started != nil
		if !strings.HasPrefix(got.String(), tt.want) || !slices.Equal(q.triggered, tt.started) || owner != slices.Equal(q.byOwner, tt.started) && tt.started != nil {
			t.Errorf("ETRN %s by %q: %q starting %v; want %q starting %v", tt.node, tt.account, got, q.triggered, tt.want, tt.started)
		}
	}
}

func TestEtrnSaysTheSameOfUnknownAndForeignDomains(t *testing.T) {
	p := policy()
	p.RequireAuth = true
	d := New(newQueue(), Options{})
	c := Caller{Account: "bert"}
	if a, b := d.Etrn(t.Context(), p, c, "a.test"), d.Etrn(t.Context(), p, c, "unknown.test"); a.String() != b.String() {
		t.Errorf("%q and %q", a, b)
	}
}

func TestEtrnWhenTheQueueSaysNo(t *testing.T) {
	tests := []struct {
		method string
		err    error
		want   string
	}{
		{"Waiting", errStore, "458 4.3.0"},
		{"Trigger", errStore, "458 4.3.0"},
		{"Trigger", ErrBusy, "458 4.3.2"},
	}
	for _, tt := range tests {
		q := newQueue()
		q.hold("a.test", "1")
		q.fail[tt.method] = tt.err
		if got := New(q, Options{}).Etrn(t.Context(), policy(), Caller{Account: "both"}, "a.test"); !strings.HasPrefix(got.String(), tt.want) {
			t.Errorf("%s %v: %q, want %q", tt.method, tt.err, got, tt.want)
		}
	}
}

func TestAskedAgainTooSoon(t *testing.T) {
	now := time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC)
	q := newQueue()
	d := New(q, Options{Now: func() time.Time { return now }})
	p := policy()
	p.Interval = time.Minute
	etrn := func(node, want string) {
		t.Helper()
		if got := d.Etrn(t.Context(), p, Caller{Account: "both"}, node); !strings.HasPrefix(got.String(), want) {
			t.Errorf("ETRN %s: %q, want %q", node, got, want)
		}
	}
	turn := func(account, want string) {
		t.Helper()
		got, h := d.Turn(t.Context(), p, Caller{Account: account}, false, nil)
		if !strings.HasPrefix(got.String(), want) || (h != nil) != got.Positive() {
			t.Errorf("TURN by %s: %q, want %q", account, got, want)
		}
	}
	etrn("a.test", "250")
	etrn("A.test", "458 4.3.2")
	etrn("b.test", "250")
	turn("anna", "250")
	turn("Anna", "450 4.3.2")
	turn("bert", "250")
	now = now.Add(time.Minute)
	etrn("a.test", "250")
	turn("anna", "250")

	// What was our fault does not count.
	now = now.Add(time.Minute)
	q.fail["Waiting"] = errStore
	etrn("a.test", "458 4.3.0")
	turn("anna", "451 4.3.0")
	delete(q.fail, "Waiting")
	etrn("a.test", "250")
	turn("anna", "250")
}

func TestTurnReplies(t *testing.T) {
	type domains = []mail.Domain
	tests := []struct {
		verb    string // TURN or ATRN
		account string
		named   domains
		change  func(*Policy)
		want    string
		leased  domains
	}{
		{"TURN", "anna", nil, nil, "250 2.0.0", domains{"a.test", "own.wide.test"}},
		{"TURN", "ANNA", nil, nil, "250 2.0.0", domains{"a.test", "own.wide.test"}},
		{"TURN", "wilma", nil, nil, "250 2.0.0", domains{"deep.x.wide.test", "x.wide.test"}}, // but not own.wide.test
		{"TURN", "bert", nil, nil, "250 2.0.0", nil},                                         // no mail: EHLO and QUIT
		{"TURN", "nobody", nil, nil, "550 5.7.1", nil},
		{"TURN", "", nil, nil, "530 5.7.0", nil},
		{"TURN", "anna", nil, func(p *Policy) { p.TURN = false }, "502 5.5.1", nil},
		{"TURN", "anna", nil, func(p *Policy) { p.RequireTLS = true }, "530 5.7.0", nil},

		{"ATRN", "anna", nil, nil, "250 2.0.0", domains{"a.test", "own.wide.test"}},
		{"ATRN", "anna", domains{"a.test"}, nil, "250 2.0.0", domains{"a.test"}},
		{"ATRN", "both", domains{"b.test", "a.test"}, nil, "250 2.0.0", domains{"a.test"}},
		{"ATRN", "wilma", domains{"x.wide.test"}, nil, "250 2.0.0", domains{"x.wide.test"}},
		{"ATRN", "wilma", domains{"own.wide.test"}, nil, "450 4.7.1", nil},
		{"ATRN", "wilma", domains{"wide.test"}, nil, "450 4.7.1", nil},
		{"ATRN", "anna", domains{"a.test", "b.test"}, nil, "450 4.7.1", nil}, // one foreign: none
		{"ATRN", "anna", domains{"unknown.test"}, nil, "450 4.7.1", nil},
		{"ATRN", "bert", nil, nil, "453 4.3.0", nil},
		{"ATRN", "nobody", nil, nil, "450 4.7.1", nil},
		{"ATRN", "", nil, nil, "530 5.7.0", nil},
		{"ATRN", "anna", domains{"nodot"}, nil, "501 5.5.4", nil},
		{"ATRN", "anna", nil, func(p *Policy) { p.ATRN = false }, "502 5.5.1", nil},
		{"ATRN", "anna", nil, func(p *Policy) { p.RequireTLS = true }, "530 5.7.0", nil},
	}
	for _, tt := range tests {
		q := newQueue()
		q.hold("a.test", "1")
		q.hold("x.wide.test", "1")
		q.hold("deep.x.wide.test", "1")
		q.hold("own.wide.test", "1")
		q.hold("unknown.test", "1")
		p := policy()
		if tt.change != nil {
			tt.change(&p)
		}
		c := Caller{Account: tt.account, Remote: netip.MustParseAddr("192.0.2.1")}
		got, h := New(q, Options{}).Turn(t.Context(), p, c, tt.verb == "ATRN", tt.named)
		if !strings.HasPrefix(got.String(), tt.want) || (h != nil) != got.Positive() {
			t.Errorf("%s %v by %q: %q, handover %v; want %q", tt.verb, tt.named, tt.account, got, h != nil, tt.want)
		}
		var leased domains
		for d := range q.leased {
			leased = append(leased, d)
		}
		if slices.Sort(leased); !slices.Equal(leased, tt.leased) {
			t.Errorf("%s %v by %q: leased %v, want %v", tt.verb, tt.named, tt.account, leased, tt.leased)
		}
	}
}

// Each call is told of: without mail, while another one has it, and by ETRN, of which the
// queue is told.
func TestCallsAreNoted(t *testing.T) {
	at := time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC)
	tests := []struct {
		verb string
		hold bool
		want []string
	}{
		{"TURN", false, []string{"a.test 0 nothing waits"}},
		{"ATRN", false, []string{"a.test 0 nothing waits"}},
		{"TURN", true, []string{"a.test 1 its mail is being handed over already"}},
		{"ETRN", false, []string{"a.test 0 nothing waits"}},
	}
	for _, tt := range tests {
		q := newQueue()
		if tt.hold {
			q.hold("a.test", "1")
			q.leased["a.test"] = true
		}
		var got []string
		svc := New(q, Options{Now: func() time.Time { return at }, Called: func(c calls.Call) {
			if c.Verb != tt.verb || c.Account != "anna" || !c.TLS || !c.Begin.Equal(at) || !c.End.Equal(at) {
				t.Errorf("%s: %+v", tt.verb, c)
			}
			if c.Domain == "a.test" {
				got = append(got, fmt.Sprintf("%s %d %s", c.Domain, c.Left, c.Outcome))
			}
		}})
		c := Caller{Account: "anna", TLS: "TLS 1.3"}
		if tt.verb == "ETRN" {
			svc.Etrn(t.Context(), policy(), c, "a.test")
		} else {
			svc.Turn(t.Context(), policy(), c, tt.verb == "ATRN", nil)
		}
		if !slices.Equal(got, tt.want) {
			t.Errorf("%s, mail %v: noted %q, want %q", tt.verb, tt.hold, got, tt.want)
		}
	}
}

func TestTurnWhenTheQueueSaysNo(t *testing.T) {
	for _, method := range []string{"Waiting", "Lease"} {
		q := newQueue()
		q.hold("a.test", "1")
		q.hold("own.wide.test", "1")
		q.fail[method] = errStore
		got, h := New(q, Options{}).Turn(t.Context(), policy(), Caller{Account: "anna"}, false, nil)
		if !strings.HasPrefix(got.String(), "451 4.3.0") || h != nil || q.busy() {
			t.Errorf("%s: %q, leases %v", method, got, q.leased)
		}
	}
}

func TestSecondCallerIsToldToWait(t *testing.T) {
	q := newQueue()
	q.hold("a.test", "1")
	q.hold("b.test", "1")
	d := New(q, Options{})
	if r, _ := d.Turn(t.Context(), policy(), Caller{Account: "anna"}, false, nil); r.Code != 250 {
		t.Fatal(r)
	}
	for _, atrn := range []bool{false, true} {
		if r, h := d.Turn(t.Context(), policy(), Caller{Account: "anna"}, atrn, nil); !strings.HasPrefix(r.String(), "450 4.3.2") || h != nil {
			t.Errorf("atrn %v: %q", atrn, r)
		}
	}
	// Who may have more than is taken gets the rest.
	if r, h := d.Turn(t.Context(), policy(), Caller{Account: "both"}, false, nil); r.Code != 250 || h == nil {
		t.Errorf("%q", r)
	}
	// ETRN does not get between.
	if r := d.Etrn(t.Context(), policy(), Caller{Account: "both"}, "a.test"); !strings.HasPrefix(r.String(), "458 4.3.2") {
		t.Errorf("%q", r)
	}
}

// What strangers send as ETRN's argument is taken for a name of two labels or
// more in canonical form, or refused, and never starts what is not held.
func FuzzEtrn(f *testing.F) {
	for _, s := range []string{"a.test", "@a.test", "#q", "@", "[192.0.2.1]", "@[IPv6:::1]", "*.wide.test", "a.test extra", "a\x00.test"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, node string) {
		name, form, reply := parseNode(node)
		if reply.Code == 0 && form != '#' {
			if again, err := mail.ParseDomain(string(name)); err != nil || again != name || !twoLabels(name) {
				t.Errorf("%q is taken for %q", node, name)
			}
		}
		q := newQueue()
		q.hold("secret.test", "x")
		q.hold("a.test", "x")
		got := New(q, Options{}).Etrn(t.Context(), policy(), Caller{}, node)
		if got.Code != 250 && got.Code != 459 && got.Code != 500 && got.Code != 501 {
			t.Errorf("ETRN %q: %q", node, got)
		}
		if slices.Contains(q.triggered, "secret.test") {
			t.Errorf("ETRN %q started another domain", node)
		}
	})
}

func TestLayers(t *testing.T) {
	deptest.Forbid(t, map[string]string{
		"/metabase":        "the SMTP packages know nothing of paths",
		"/engine/settings": "the rules are asked of the caller",
		"/engine/queue":    "it asks for mail by an interface of its own",
		"go-smtp":          "only engine/wire speaks SMTP",
	})
}
