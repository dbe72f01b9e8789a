// SPDX-License-Identifier: Apache-2.0

package adsi

import (
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"
)

// The recipe of Microsoft's documents: get the list, change it, put it back.
func TestTheRelayRecipe(t *testing.T) {
	w := newTreeFixture(t)
	ctx := t.Context()
	o := w.bind(t, site1)
	for _, tt := range []struct{ grant, want []string }{
		{[]string{"10.1.1.1"}, []string{"10.1.1.1"}},
		{[]string{"192.0.2.7, 255.255.255.0", "10.1.1.1"}, []string{"10.1.1.1", "192.0.2.0, 255.255.255.0"}},
		{[]string{"10.0.0.0/8"}, []string{"10.0.0.0, 255.0.0.0"}},
		{nil, []string{}},
	} {
		v, err := o.Get(ctx, "RelayIpList")
		o.must(t, err)
		r := v.(IPList)
		r.GrantByDefault, r.IPGrant = false, tt.grant
		o.must(t, errors.Join(o.Put(ctx, "RelayIpList", r), o.SetInfo(ctx)))
		v, err = w.bind(t, site1).Get(ctx, "RelayIpList")
		if got := v.(IPList); err != nil || got.GrantByDefault || !slices.Equal(got.IPGrant, tt.want) {
			t.Errorf("%q reads back as %+v, %v", tt.grant, got, err)
		}
		// What Get gave may be put again, and changes nothing.
		rev := w.Snapshot().Rev()
		if err := errors.Join(o.Put(ctx, "RelayIpList", v), o.SetInfo(ctx)); err != nil || w.Snapshot().Rev() != rev {
			t.Errorf("%q put again: %v", tt.grant, err)
		}
	}
}

func TestWhatAnIPListKeeps(t *testing.T) {
	one := []string{"10.1.1.1"}
	tests := []struct {
		prop string
		list IPList
		want string // of the error, "" for none
	}{
		{"RelayIpList", IPList{}, ""},
		{"RelayIpList", IPList{IPGrant: one}, ""},
		{"IPSecurity", IPList{IPGrant: one}, ""},
		{"IPSecurity", IPList{GrantByDefault: true}, ""},
		{"RelayIpList", IPList{GrantByDefault: true}, ""},
		{"RelayIpList", IPList{GrantByDefault: true, IPDeny: one}, ""},
		{"IPSecurity", IPList{GrantByDefault: true, IPDeny: one}, ""},
		{"IPSecurity", IPList{IPGrant: one, IPDeny: one}, ""},
		{"IPSecurity", IPList{GrantByDefault: true, IPGrant: one}, ""},
		{"IPSecurity", IPList{}, ""},
		{"RelayIpList", IPList{DomainGrant: []string{"x.test", "*.y.test"}}, ""},
		{"RelayIpList", IPList{GrantByDefault: true, DomainDeny: []string{"x.test"}}, ""},
		{"RelayIpList", IPList{DomainGrant: []string{"10.1.1.1"}}, "is no name of a host"},
		{"RelayIpList", IPList{DomainDeny: []string{"x y.test"}}, "is no name of a host"},
		{"RelayIpList", IPList{IPGrant: []string{"host.test"}}, "is no address"},
		{"RelayIpList", IPList{IPGrant: []string{"10.1.1.1, 255.0.255.0"}}, "has gaps"},
		{"RelayIpList", IPList{IPGrant: []string{"10.1.1.1, 10.1.1.2"}}, "is no address"},
		{"RelayIpList", IPList{IPGrant: []string{"::1"}}, "IPv4"},
	}
	for _, tt := range tests {
		w := newTreeFixture(t)
		o := w.bind(t, site1)
		err := errors.Join(o.Put(t.Context(), tt.prop, tt.list), o.SetInfo(t.Context()))
		if (err == nil) != (tt.want == "") || !strings.Contains(fmt.Sprint(err), tt.want) && err != nil {
			t.Errorf("%s %+v: %v, want %q", tt.prop, tt.list, err, tt.want)
		}
		got, gerr := w.bind(t, site1).Get(t.Context(), tt.prop)
		if err == nil && (gerr != nil || !sameList(got.(IPList), tt.list)) {
			t.Errorf("%s %+v reads back as %+v, %v", tt.prop, tt.list, got, gerr)
		}
	}
}

func TestPutExOnAnIPList(t *testing.T) {
	w := newTreeFixture(t)
	ctx := t.Context()
	w.set(t, "/LM/SMTPSVC/1", "IPSecurity", "10.1.1.1", "192.0.2.0/24")
	o := w.bind(t, site1)
	o.must(t, errors.Join(
		o.PutEx(ctx, OpAppend, "IPSecurity", []string{"10.1.1.2"}),
		o.PutEx(ctx, OpDelete, "IPSecurity", []string{"192.0.2.0, 255.255.255.0"}), // the same in IIS's words
		o.SetInfo(ctx)))
	if got, err := o.GetEx(ctx, "IPSecurity"); fmt.Sprint(got) != "[10.1.1.1 10.1.1.2]" || err != nil {
		t.Errorf("GetEx %v, %v", got, err)
	}
	// Without an entry it lets nobody in.
	o.must(t, errors.Join(o.PutEx(ctx, OpDelete, "IPSecurity", []string{"10.1.1.1", "10.1.1.2"}), o.SetInfo(ctx)))
	if got, err := w.bind(t, site1).Get(ctx, "IPSecurity"); err != nil || !sameList(got.(IPList), IPList{}) {
		t.Errorf("without its last entry: %+v, %v", got, err)
	}
	w.set(t, "/LM/SMTPSVC/1", "IPSecurity", "all", "deny:10.1.1.1")
	if err := w.bind(t, site1).PutEx(ctx, OpAppend, "IPSecurity", []string{"10.1.1.3"}); code(err) != CodeInvalid || !strings.Contains(err.Error(), "IPDeny") {
		t.Errorf("who is granted, in a list of who is denied: %v", err)
	}
}

func sameList(a, b IPList) bool {
	return a.GrantByDefault == b.GrantByDefault && slices.Equal(a.IPGrant, b.IPGrant) && slices.Equal(a.IPDeny, b.IPDeny) &&
		slices.Equal(a.DomainGrant, b.DomainGrant) && slices.Equal(a.DomainDeny, b.DomainDeny)
}

func TestDescribe(t *testing.T) {
	d := newTreeFixture(t).as("user:joe")
	tests := []struct {
		path, fact string
		want       any // nil: there is no such object
	}{
		{"IIS://LocalHost/Schema/RouteAction", "Class", "Property"},
		{"iis://localhost/schema/routeaction", "Name", "RouteAction"},
		{"IIS://LocalHost/Schema/Properties/RouteAction", "MetaId", uint32(36946)},
		{"IIS://LocalHost/Schema/RouteAction", "Syntax", "Integer"},
		{"IIS://LocalHost/Schema/RouteAction", "MultiValued", false},
		{"IIS://LocalHost/Schema/AuthTurnList", "Syntax", "List"},
		{"IIS://LocalHost/Schema/AuthTurnList", "MultiValued", true},
		{"IIS://LocalHost/Schema/AuthBasic", "Syntax", "Boolean"},
		{"IIS://LocalHost/Schema/RelayIpList", "Syntax", "IPSec"},
		{"IIS://LocalHost/Schema/RouteUserName", "Syntax", "String"},
		{"IIS://LocalHost/Schema/RoutePassword", "Secure", true},
		{"IIS://LocalHost/Schema/MaxRecipients", "Default", uint32(100)},
		{"IIS://LocalHost/Schema/MaxRecipients", "Inherit", true},
		{"IIS://LocalHost/Schema/IIsSmtpServer", "Class", "Class"},
		{"IIS://LocalHost/Schema/Classes/IIsSmtpServer", "Container", true},
		{"IIS://LocalHost/Schema/IIsSmtpServer", "ADsPath", "IIS://LocalHost/Schema/IIsSmtpServer"},
		{"IIS://LocalHost/Schema/Classes/RouteAction", "", nil},
		{"IIS://LocalHost/Schema/Properties/IIsSmtpServer", "", nil},
		{"IIS://LocalHost/Schema/36946x", "", nil},
		{"IIS://LocalHost/Schema/a/b/c", "", nil},
		{"IIS://LocalHost/Schema", "", nil},
		{site1, "", nil},
	}
	for _, tt := range tests {
		f, ok := d.Describe(t.Context(), tt.path)
		if ok != (tt.want != nil) || f[tt.fact] != tt.want {
			t.Errorf("%s: %s is %v, %v; want %v", tt.path, tt.fact, f[tt.fact], ok, tt.want)
		}
	}
	f, _ := d.Describe(t.Context(), "IIS://LocalHost/Schema/IIsSmtpServer")
	if !slices.Contains(f["Containment"].([]string), "IIsSmtpDomain") || !slices.Contains(f["OptionalProperties"].([]string), "MaxRecipients") {
		t.Errorf("IIsSmtpServer: %v", f)
	}
	o := newTreeFixture(t).bind(t, site1)
	if _, ok := d.Describe(t.Context(), o.Schema()); !ok {
		t.Errorf("%s leads nowhere", o.Schema())
	}
}

func TestGetPropertyAttribObj(t *testing.T) {
	w := newTreeFixture(t)
	ctx := t.Context()
	w.set(t, "/LM/SMTPSVC", "MaxRecipients", "7")
	for path, inherited := range map[string]bool{"IIS://LocalHost/SMTPSVC": false, site1: true} {
		f, err := w.bind(t, path).GetPropertyAttribObj(ctx, "maxrecipients")
		if err != nil || f["PropName"] != "MaxRecipients" || f["Isinherit"] != inherited || f["Inherit"] != true || f["Default"] != uint32(100) {
			t.Errorf("%s: %v, %v", path, f, err)
		}
	}
	f, err := w.bind(t, held1).GetPropertyAttribObj(ctx, "RoutePassword")
	if err != nil || f["Secure"] != true || strings.Contains(fmt.Sprint(f), "secret") {
		t.Errorf("RoutePassword: %v, %v", f, err)
	}
	if _, err := w.bind(t, held1).GetPropertyAttribObj(ctx, "61600"); code(err) != CodeNotSet {
		t.Errorf("what is not set: %v", err)
	}
}
