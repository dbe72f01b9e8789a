// SPDX-License-Identifier: Apache-2.0

package settings

import (
	"net/netip"
	"slices"
	"strings"
	"testing"

	"restante/engine/auth"
	"restante/engine/mail"
)

// TestDkim: which keys sign the mail of a domain, and what is refused; no refusal shows a
// key.
func TestDkim(t *testing.T) {
	key := func(selector string) string {
		k, err := auth.NewKey(selector, auth.Ed25519)
		if err != nil {
			t.Fatal(err)
		}
		return k.Secret()
	}
	one, two := key("one"), key("two")
	tr := newTree(t)
	tr.domain("signs.example")
	path := DomainPath(1, "signs.example")
	tr.set(path, "DkimKeys", one)
	if s := tr.site(1); s.HasDkim() || s.DkimKeys("signs.example", "", netip.Addr{}) != nil {
		t.Error("a key that DkimSelectors does not name signs")
	}
	if err := tr.apply(set(t, path, "DkimKeys", one, two), set(t, path, "DkimSelectors", "two", "ONE")); err != nil {
		t.Fatal(err)
	}
	s := tr.site(1)
	if got := s.DkimKeys("signs.example", "", netip.Addr{}); !slices.Equal(got, []string{two, one}) || !s.HasDkim() {
		t.Errorf("%d keys sign", len(got))
	}
	for _, other := range []string{"hub.example", "sub.signs.example", "none.example", ""} {
		if got := s.DkimKeys(mail.Domain(other), "", netip.Addr{}); got != nil {
			t.Errorf("%q has %d keys", other, len(got))
		}
	}
	_, secret, _ := strings.Cut(one, " ")
	for name, tt := range map[string]struct {
		property string
		values   []string
		want     string
	}{
		"a selector without a key":    {"DkimSelectors", []string{"one", "three"}, `DkimSelectors: DkimKeys has no key of selector "three"`},
		"a key that is in use":        {"DkimKeys", []string{one}, `DkimSelectors: DkimKeys has no key of selector "two"`},
		"two keys of a selector":      {"DkimKeys", []string{one, two, key("ONE")}, "DkimKeys: two keys have the selector ONE"},
		"a key without its selector":  {"DkimKeys", []string{one, two, secret}, "DkimKeys: the key does not begin with a selector and a blank"},
		"the same without selectors":  {"DkimKeys", []string{one, two, secret, secret}, "DkimKeys: the key does not begin with a selector and a blank"},
		"neither account nor network": {"DkimFor", []string{"joe", "10.0.0.0/99"}, `DkimFor: "10.0.0.0/99" is neither the name of an account nor an address or a network`},
		"an address for a network":    {"DkimFor", []string{"10.0.0.1/8"}, `DkimFor: "10.0.0.1/8" is neither`},
		"an account of Windows":       {"DkimFor", []string{"CORP\\joe"}, `is neither the name of an account`},
		"half a key":                  {"DkimKeys", []string{one, two, "x " + secret[:40]}, "DkimKeys: selector x: no private key"},
	} {
		err := tr.apply(set(t, path, tt.property, tt.values...))
		if err == nil || !strings.Contains(err.Error(), tt.want) || strings.Contains(err.Error(), secret[:30]) {
			t.Errorf("%s: %v, want %s", name, err, tt.want)
		}
	}
	tr.domain("imported.example")
	tr.set(DomainPath(1, "imported.example"), "DkimSelectors", "lost") // the file had no secrets
	if got := tr.site(1).DkimKeys("imported.example", "", netip.Addr{}); got != nil {
		t.Errorf("%d keys of a selector alone", len(got))
	}
}
