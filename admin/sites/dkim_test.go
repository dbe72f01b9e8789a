// SPDX-License-Identifier: Apache-2.0

package sites

import (
	"encoding/json"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"restante/admin"
	"restante/admin/admintest"
	"restante/admin/api"
	"restante/engine/auth"
	"restante/engine/resolver/dnstest"
	"restante/metabase"
)

// TestDkimKeys follows the keys of a domain: the first one signs at once, one of a
// rotation when it is published and the rotation is asked for again, and the old one goes
// then. A call that only shows changes nothing.
func TestDkimKeys(t *testing.T) {
	d, store := admintest.New(t, nil)
	Register(d)
	c := d.Direct(admintest.Admin())
	dns := dnstest.Serve(t, "")
	apply := func(line ...any) {
		t.Helper()
		b := metabase.Batch{Actor: "user:boss"}
		for _, one := range line {
			b.Ops = append(b.Ops, one.(metabase.Op))
		}
		if _, err := store.Apply(t.Context(), b); err != nil {
			t.Fatal(err)
		}
	}
	servers, _ := d.Schema.Property("DnsServers")
	who, _ := d.Schema.Property("DkimFor")
	apply(metabase.Set{Path: "/LM/SMTPSVC/1", Property: servers.Item(metabase.MultiSZ(dns.Addr))})
	ask := func(q api.DkimRequest) (api.Dkim, error) {
		q.Site, q.Name = 1, "hub.example"
		a, _, err := api.DomainDkim.Call(t.Context(), c, q)
		return a, err
	}
	must := func(q api.DkimRequest, want string) api.Dkim {
		t.Helper()
		a, err := ask(q)
		if err != nil {
			t.Fatalf("%+v: %v", q, err)
		}
		if got := told(a); got != want {
			t.Errorf("%+v: %s, want %s", q, got, want)
		}
		return a
	}
	publish := func(keys ...api.DkimKey) {
		t.Helper()
		var zone strings.Builder
		for _, k := range keys {
			fmt.Fprintf(&zone, "%s. 60 IN TXT \"%s\" \"%s\"\n", k.Record, k.Text[:100], k.Text[100:])
		}
		dns.Zone(t, zone.String())
	}

	if _, err := ask(api.DkimRequest{Rotate: true}); api.AsError(err).Kind != api.KindRefused {
		t.Errorf("a rotation without a key = %v", err)
	}
	apply(metabase.Set{Path: "/LM/SMTPSVC/1/Domain/hub.example", Property: who.Item(metabase.MultiSZ("joe"))})
	first := must(api.DkimRequest{Selector: "one"}, "made one; one rsa signs missing")
	if !slices.Equal(first.For, []string{"joe"}) {
		t.Errorf("it is signed for %q", first.For)
	}
	must(api.DkimRequest{}, "one rsa signs missing")
	must(api.DkimRequest{Selector: "ONE"}, "one rsa signs missing")
	publish(first.Keys[0])
	must(api.DkimRequest{}, "one rsa signs published")
	must(api.DkimRequest{Type: "ed25519", Selector: "ed"}, "made ed; one rsa signs published, ed ed25519 signs missing")
	must(api.DkimRequest{Type: "ed25519"}, "one rsa signs published, ed ed25519 signs missing")

	if _, err := ask(api.DkimRequest{Rotate: true, Selector: "two"}); api.AsError(err).Kind != api.KindRefused {
		t.Errorf("one selector for two types = %v", err)
	}
	second := must(api.DkimRequest{Rotate: true, Selector: "two", Type: "rsa"}, "made two; one rsa signs published, ed ed25519 signs missing, two rsa waits missing")
	must(api.DkimRequest{}, "one rsa signs published, ed ed25519 signs missing, two rsa waits missing")
	if _, err := ask(api.DkimRequest{Rotate: true}); api.AsError(err).Kind != api.KindRefused || !strings.Contains(err.Error(), "two") || api.AsError(err).Hint != "domain dkim 1 hub.example" {
		t.Errorf("a second rotation before the first is published = %v", err)
	}
	other := second.Keys[2]
	other.Text = first.Keys[0].Text
	publish(first.Keys[0], other)
	if a := must(api.DkimRequest{}, "one rsa signs published, ed ed25519 signs missing, two rsa waits different"); a.Keys[2].Found != other.Text {
		t.Errorf("another record is shown as %q", a.Keys[2].Found)
	}
	publish(first.Keys[0], second.Keys[2])
	reader := d.Direct(api.Caller{Who: []metabase.Principal{"user:reader"}, Origin: metabase.FromCLI})
	shown, raw, err := api.DomainDkim.Call(t.Context(), reader, api.DkimRequest{Site: 1, Name: "hub.example"})
	if err != nil || told(shown) != "one rsa signs published, ed ed25519 signs missing, two rsa waits published" {
		t.Errorf("a reader is shown %s, %v", told(shown), err)
	}
	for _, key := range stored(d, "DkimKeys") {
		_, secret, _ := strings.Cut(key, " ")
		if strings.Contains(string(raw), secret[60:]) {
			t.Error("a reader gets a private key")
		}
	}
	for _, q := range []api.DkimRequest{{Selector: "three"}, {Rotate: true}, {Type: "ed25519", Rotate: true}} {
		q.Site, q.Name = 1, "hub.example"
		if got := admintest.Kind(t, reader, api.DomainDkim, q); got != api.KindRefused {
			t.Errorf("%+v of a reader: %q", q, got)
		}
	}
	must(api.DkimRequest{}, "one rsa signs published, ed ed25519 signs missing, two rsa waits published")
	must(api.DkimRequest{Rotate: true, Type: "rsa"}, "retired one; ed ed25519 signs missing, two rsa signs published")
	if got := stored(d, "DkimSelectors"); !slices.Equal(got, []string{"ed", "two"}) {
		t.Errorf("DkimSelectors is %q", got)
	}
	if got := stored(d, "DkimKeys"); len(got) != 2 || !strings.HasPrefix(got[0], "ed ") || !strings.HasPrefix(got[1], "two ") {
		t.Errorf("there are %d keys", len(got))
	}

	dns.Fail("two._domainkey.hub.example.")
	if a, err := ask(api.DkimRequest{}); err != nil || a.Keys[1].Published != "unknown" || a.Keys[1].Found == "" {
		t.Errorf("while DNS does not answer: %+v, %v", a.Keys, err)
	}
	selectors, _ := d.Schema.Property("DkimSelectors")
	apply(metabase.Unset{Path: "/LM/SMTPSVC/1/Domain/hub.example", ID: selectors.ID})
	if a, err := ask(api.DkimRequest{}); err != nil || strings.Contains(told(a), "signs") {
		t.Errorf("what was switched off signs again: %s, %v", told(a), err)
	}
}

// TestDkimKeysOfTheOperator: what the operator has put into DkimKeys and DkimSelectors stays
// as it is, but for the keys that a rotation began with; a key goes by its name.
func TestDkimKeysOfTheOperator(t *testing.T) {
	d, store := admintest.New(t, nil)
	Register(d)
	c := d.Direct(admintest.Admin())
	dns := dnstest.Serve(t, "")
	set := func(path metabase.Path, name string, values ...string) {
		t.Helper()
		prop, _ := d.Schema.Property(name)
		if _, err := store.Apply(t.Context(), metabase.Batch{Actor: "user:boss", Ops: []metabase.Op{metabase.Set{Path: path, Property: prop.Item(metabase.MultiSZ(values...))}}}); err != nil {
			t.Fatal(err)
		}
	}
	const at = "/LM/SMTPSVC/1/Domain/hub.example"
	set("/LM/SMTPSVC/1", "DnsServers", dns.Addr)
	dkim := func(want string, q api.DkimRequest) api.Dkim {
		t.Helper()
		q.Site, q.Name = 1, "hub.example"
		a, _, err := api.DomainDkim.Call(t.Context(), c, q)
		got := told(a)
		if err != nil {
			got = string(api.AsError(err).Kind) + ": " + err.Error()
		}
		if got != want {
			t.Errorf("%+v:\n%s, want\n%s", q, got, want)
		}
		return a
	}
	own := func(selector string) string {
		k, err := auth.NewKey(selector, auth.Ed25519)
		if err != nil {
			t.Fatal(err)
		}
		return k.Secret()
	}
	publish := func(a api.Dkim) {
		var zone strings.Builder
		for _, k := range a.Keys {
			fmt.Fprintf(&zone, "%s. 60 IN TXT \"%s\"\n", k.Record, k.Text)
		}
		dns.Zone(t, zone.String())
	}
	plain, rotate := api.DkimRequest{}, api.DkimRequest{Rotate: true}

	// The operator makes the switch by hand, and shows the keys.
	dkim("made old1; old1 ed25519 signs missing", api.DkimRequest{Selector: "old1", Type: auth.Ed25519})
	publish(dkim("made new1; old1 ed25519 signs missing, new1 ed25519 waits missing", api.DkimRequest{Rotate: true, Selector: "new1"}))
	set(at, "DkimSelectors", "new1")
	dkim("old1 ed25519 off published, new1 ed25519 signs published", plain)
	dkim("made new2; old1 ed25519 off published, new1 ed25519 signs published, new2 ed25519 waits missing", api.DkimRequest{Rotate: true, Selector: "new2"})
	dkim("refused: site 1: hub.example: the rotation to the key new2 has not ended: end it by --rotate alone, or give it up", api.DkimRequest{Rotate: true, Selector: "new3"})

	// A rotation is given up; a key that is there is rotated to.
	dkim("deleted new2; old1 ed25519 off published, new1 ed25519 signs published", api.DkimRequest{Delete: true, Selector: "NEW2"})
	dkim("not_found: site 1: hub.example: there is no key of selector new2", api.DkimRequest{Delete: true, Selector: "new2"})
	dkim("refused: site 1: hub.example: no other key signs than new1: without it the domain's mail goes unsigned", api.DkimRequest{Delete: true, Selector: "new1"})
	dkim("usage: a key is deleted by its selector alone", api.DkimRequest{Delete: true})
	dkim("old1 ed25519 waits published, new1 ed25519 signs published", api.DkimRequest{Rotate: true, Selector: "old1"})
	dkim("retired new1; old1 ed25519 signs published", rotate)

	// A key that signs since the rotation began is none of it.
	publish(dkim("made next; old1 ed25519 signs published, next ed25519 waits missing", api.DkimRequest{Rotate: true, Selector: "next"}))
	set(at, "DkimKeys", append(stored(d, "DkimKeys"), own("own2"))...)
	set(at, "DkimSelectors", "own2", "old1")
	dkim("retired old1; next ed25519 signs published, own2 ed25519 signs missing", rotate)
	dkim("deleted own2; next ed25519 signs published", api.DkimRequest{Delete: true, Selector: "own2"})
	dkim("deleted next; ", api.DkimRequest{Delete: true, Selector: "next", Force: true})

	// Keys without a mark, of the operator, are no rotation.
	set(at, "DkimKeys", own("a"), own("b"))
	set(at, "DkimSelectors", "a")
	publish(dkim("a ed25519 signs missing, b ed25519 off missing", plain))
	dkim("a ed25519 signs published, b ed25519 off published", api.DkimRequest{Selector: "b"})
}

// TestDkimSelectorsAreFree: a key that is made gets a selector that neither another site's
// key of the domain has nor a record in DNS.
func TestDkimSelectorsAreFree(t *testing.T) {
	d, store := admintest.New(t, nil)
	Register(d)
	c := d.Direct(admintest.Admin())
	dns := dnstest.Serve(t, "")
	base := "e" + time.Now().UTC().Format("20060102")
	dns.Zone(t, base+"._domainkey.hub.example. 60 IN TXT \"v=DKIM1; p=\"\n")
	servers, _ := d.Schema.Property("DnsServers")
	if _, err := store.Apply(t.Context(), metabase.Batch{Actor: "user:boss", Ops: []metabase.Op{metabase.Set{Path: "/LM/SMTPSVC", Property: servers.Item(metabase.MultiSZ(dns.Addr))}}}); err != nil {
		t.Fatal(err)
	}
	two, _, err := api.SiteCreate.Call(t.Context(), c, api.SiteCreateRequest{Name: "two", Bind: []string{"127.0.0.1:2526"}, Domain: "two.example"})
	if err != nil {
		t.Fatal(err)
	}
	if _, _, err := api.DomainCreate.Call(t.Context(), c, api.DomainCreateRequest{Site: two.Number, Name: "HUB.example", Alias: true}); err != nil {
		t.Fatal(err)
	}
	for site, want := range map[int]string{1: "hub.example", two.Number: "HUB.example"} {
		a, _, err := api.DomainDkim.Call(t.Context(), c, api.DkimRequest{Site: site, Name: want, Type: auth.Ed25519})
		if err != nil || len(a.Made) != 1 || a.Made[0] == base || a.Keys[0].Published != "missing" {
			t.Errorf("site %d: %+v, %v", site, a, err)
		}
	}
	one, _, err := api.DomainDkim.Call(t.Context(), c, api.DkimRequest{Site: 1, Name: "hub.example"})
	other, _, err2 := api.DomainDkim.Call(t.Context(), c, api.DkimRequest{Site: two.Number, Name: "hub.example"})
	if err != nil || err2 != nil || one.Keys[0].Record == other.Keys[0].Record {
		t.Errorf("both sites have %s, %v, %v", one.Keys[0].Record, err, err2)
	}
}

// stored gives the texts of a property of the domain.
func stored(d *admin.API, name string) []string {
	prop, _ := d.Schema.Property(name)
	item, _ := d.Tree.Snapshot().Stored("/LM/SMTPSVC/1/Domain/hub.example", prop.ID)
	return item.Value.Strings()
}

// told words an answer.
func told(a api.Dkim) string {
	var out, keys []string
	if len(a.Made) > 0 {
		out = append(out, "made "+strings.Join(a.Made, " "))
	}
	if a.Deleted != "" {
		out = append(out, "deleted "+a.Deleted)
	}
	if len(a.Retired) > 0 {
		out = append(out, "retired "+strings.Join(a.Retired, " "))
	}
	for _, k := range a.Keys {
		state := "off"
		switch {
		case k.Signs:
			state = "signs"
		case k.Waits:
			state = "waits"
		}
		keys = append(keys, strings.Join([]string{k.Selector, k.Type, state, k.Published}, " "))
	}
	return strings.Join(append(out, strings.Join(keys, ", ")), "; ")
}

func TestDkimRequestsThatAreRefused(t *testing.T) {
	d, _ := admintest.New(t, nil)
	Register(d)
	c := d.Direct(admintest.Admin())
	if _, _, err := api.DomainCreate.Call(t.Context(), c, api.DomainCreateRequest{Site: 1, Name: "*.wild.example", Relay: true}); err != nil {
		t.Fatal(err)
	}
	for _, tt := range []struct {
		q    api.DkimRequest
		want api.Kind
	}{
		{api.DkimRequest{Site: 1, Name: "none.example"}, api.KindNotFound},
		{api.DkimRequest{Site: 9, Name: "hub.example"}, api.KindNotFound},
		{api.DkimRequest{Site: 1, Name: "*.wild.example"}, api.KindRefused},
		{api.DkimRequest{Site: 1, Name: "hub.example", Type: "dsa"}, api.KindUsage},
		{api.DkimRequest{Site: 1, Name: "hub.example", Selector: "a b"}, api.KindUsage},
		{api.DkimRequest{Site: 1, Name: "hub.example", Selector: "ü"}, api.KindUsage},
		{api.DkimRequest{Site: 1, Name: "hub.example", Selector: strings.Repeat("a", 64)}, api.KindUsage},
	} {
		if got := admintest.Kind(t, c, api.DomainDkim, tt.q); got != tt.want {
			t.Errorf("%+v: %q, want %q", tt.q, got, tt.want)
		}
	}
	if text, _ := json.Marshal(api.Dkim{Keys: []api.DkimKey{}}); !strings.Contains(string(text), `"keys":[]`) {
		t.Errorf("without keys the answer is %s", text)
	}
}
