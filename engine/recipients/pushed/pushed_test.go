// SPDX-License-Identifier: Apache-2.0

package pushed

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"testing"

	"restante/engine/mail"
	"restante/engine/recipients/hashed"
	"restante/internal/deptest"
	"restante/internal/kv"
)

func TestLayers(t *testing.T) {
	deptest.Forbid(t, map[string]string{"/metabase": "rules are asked of the caller", "/engine/wire": "a verb is answered, not spoken", "/engine/release": "a list is no release"})
}

// sickDB refuses commits while it is broken.
type sickDB struct {
	kv.DB
	broken bool
}

func (s *sickDB) Commit(ctx context.Context, ops ...kv.Op) error {
	if s.broken {
		return errors.New("broken")
	}
	return s.DB.Commit(ctx, ops...)
}

func rules(db kv.DB) Rules {
	return Rules{Store: &Store{DB: db}, Site: 1, May: func(account string, d mail.Domain) int {
		if account == "ann" && (d == "a.test" || d == "b.test") {
			return 3
		}
		return 0
	}}
}

func names(salt string, locals ...string) (words []string, digest string) {
	var hashes []hashed.Hash
	for _, l := range locals {
		hashes = append(hashes, hashed.Of(salt, l))
	}
	set := hashed.New(salt, hashes)
	for _, h := range set.Hashes() {
		words = append(words, h.String())
	}
	return words, set.Digest()
}

// A list takes the place of the stored one as a whole or not at all.
func TestUpload(t *testing.T) {
	db := &sickDB{DB: kv.NewMem()}
	r, u := rules(db), &Upload{}
	salt := hashed.NewSalt()
	two, digest := names(salt, "joe", "eve")
	other, otherDigest := names(salt, "max")
	four, _ := names(salt, "a", "b", "c", "d")
	check := func(when string, locals ...string) {
		t.Helper()
		l, err := r.Store.Find(1, "a.test")
		if err != nil || (l == nil) != (len(locals) == 0) {
			t.Fatalf("%s: %v, %v", when, l, err)
		}
		for _, one := range locals {
			if !l.Has(strings.ToUpper(one)) {
				t.Errorf("%s: %s is missing", when, one)
			}
		}
		if l != nil && (len(l.Hashes()) != len(locals) || l.By != "ann" || l.At.IsZero()) {
			t.Errorf("%s: %+v", when, l)
		}
	}
	for _, step := range []struct{ account, say, want string }{
		{"", "a.test", "530 5.7.0"},
		{"ann", "", "501 5.5.4"},
		{"ann", "..", "501 5.5.4"},
		{"ann", "c.test", "550 5.7.1"},
		{"bob", "a.test", "550 5.7.1"},
		{"ann", "a.test", "250 2.0.0 - - 0"},
		{"ann", "a.test REMOVE", "501 5.5.4"},
		{"ann", "a.test SET " + salt + " " + digest, "554 5.6.0"}, // nothing was collected
		{"ann", "a.test ADD x", "501 5.5.4"},
		{"ann", "a.test add " + strings.Join(two, " "), "250 2.0.0 2 collected"},
		{"ann", "a.test SET x " + digest, "501 5.5.4"},
		{"ann", "A.TEST set " + salt + " " + digest, "250 2.0.0 2 recipients of a.test"},
		{"ann", "a.test", "250 2.0.0 " + salt + " " + digest + " 2"},
		{"ann", "a.test ADD " + other[0], "250 2.0.0 1 collected"},
		{"ann", "a.test SET " + salt + " " + digest, "554 5.6.0"},      // part of it is missing
		{"ann", "a.test SET " + salt + " " + otherDigest, "554 5.6.0"}, // and it is dropped
		{"ann", "a.test ADD " + other[0], "250 2.0.0 1 collected"},
		{"ann", "b.test ADD " + two[0], "250 2.0.0 1 collected"}, // another list
		{"ann", "a.test SET " + salt + " " + otherDigest, "554 5.6.0"},
		{"ann", "a.test ADD " + strings.Join(four, " "), "552 5.3.4"},
		{"ann", "a.test ADD " + other[0], "250 2.0.0 1 collected"},
	} {
		if got := u.Say(t.Context(), r, step.account, step.say).String(); !strings.HasPrefix(got, step.want) {
			t.Errorf("XRECIPIENTS %.60s: %q, want %q", step.say, got, step.want)
		}
	}
	check("before", "joe", "eve")
	db.broken = true
	if got := u.Say(t.Context(), r, "ann", "a.test SET "+salt+" "+otherDigest); got.Code != 451 {
		t.Errorf("a broken store: %s", got)
	}
	check("not stored", "joe", "eve")
	db.broken = false
	u.Say(t.Context(), r, "ann", "a.test ADD "+other[0])
	u.Say(t.Context(), r, "ann", "a.test SET "+salt+" "+otherDigest)
	check("replaced", "max")
	r = rules(db)
	check("after a restart", "max")
	if err := r.Store.Keep(t.Context(), 2, func(mail.Domain) bool { return false }); err != nil {
		t.Fatal(err)
	}
	check("another site's are removed", "max")
	if err := r.Store.Keep(t.Context(), 1, func(d mail.Domain) bool { return d != "a.test" }); err != nil {
		t.Fatal(err)
	}
	check("removed")
}

func TestListsAreBounded(t *testing.T) {
	r := rules(kv.NewMem())
	r.May = func(string, mail.Domain) int { return 1 }
	salt := hashed.NewSalt()
	one, digest := names(salt, "joe")
	for i := range maxLists + 1 {
		u := &Upload{}
		d := fmt.Sprintf("d%d.test", i)
		u.Say(t.Context(), r, "ann", d+" ADD "+one[0])
		if got := u.Say(t.Context(), r, "ann", d+" SET "+salt+" "+digest); got.Positive() != (i < maxLists) {
			t.Fatalf("list %d: %s", i, got)
		}
	}
}

// What the client pushes is what the holder has. A list that is there is not sent again.
func TestPush(t *testing.T) {
	r, u := rules(kv.NewMem()), &Upload{}
	said := 0
	ask := func(ctx context.Context, line string) (mail.Reply, error) {
		said++
		arg, ok := strings.CutPrefix(line, hashed.Verb+" ")
		if !ok || len(line) > 2046 {
			t.Errorf("said %q", line)
		}
		return u.Say(ctx, r, "ann", arg), nil
	}
	push := func(text string, domains ...mail.Domain) string {
		t.Helper()
		book, err := hashed.ReadBook(strings.NewReader(text), domains)
		if err != nil {
			t.Fatal(err)
		}
		told, err := book.Push(t.Context(), ask)
		return fmt.Sprint(told, err)
	}
	text := "# ours\n\nJoe\r\neve@a.test\n"
	if got := push(text, "a.test", "b.test"); got != "[a.test b.test] <nil>" {
		t.Errorf("first: %s", got)
	}
	l, _ := r.Store.Find(1, "a.test")
	if m, _ := r.Store.Find(1, "b.test"); !l.Has("joe") || !l.Has("eve") || !m.Has("joe") || m.Has("eve") {
		t.Errorf("stored are %v and %v", l, m)
	}
	said = 0
	if got := push("joe\nEVE\nmax@b.test\n", "a.test"); got != "[b.test] <nil>" || said != 4 {
		t.Errorf("again: %s by %d commands", got, said)
	}
	if got := push("joe@c.test"); got != "[] recipients of c.test: 550 5.7.1 not allowed for this name" {
		t.Errorf("not allowed: %s", got)
	}
	r.May = func(string, mail.Domain) int { return 1000 }
	var long strings.Builder
	for i := range 200 {
		fmt.Fprintf(&long, "u%d\n", i)
	}
	if got := push(long.String(), mail.Domain(strings.Repeat("d.", 120)+"a.test")); !strings.HasSuffix(got, "<nil>") {
		t.Errorf("a long list of a long name: %s", got)
	}
}
