// SPDX-License-Identifier: Apache-2.0

package schema

import (
	"errors"
	"slices"
	"strings"
	"testing"

	"restante/internal/deptest"
	"restante/metabase"
)

func TestLayers(t *testing.T) {
	deptest.Forbid(t, map[string]string{
		"/engine":         "the metabase knows nothing of mail",
		"/internal/kv":    "the schema keeps nothing",
		"/internal/disk":  "the schema keeps nothing",
		"/metabase/mbxml": "mbxml reads the schema",
		"/cmd":            "imports go down",
		"github.com/":     "the schema is a table and what reads it",
	})
}

func TestTable(t *testing.T) {
	s := IIS()
	for p := range s.Props() {
		if p.Sentence == "" && p.Syntax != Flag || !strings.HasSuffix(p.Sentence, ".") && p.Sentence != "" {
			t.Errorf("%s: the sentence is %q", p.Label(), p.Sentence)
		}
		if len(p.Classes) == 0 || p.UserType == 0 || p.Type == metabase.AnyType {
			t.Errorf("%s: the row is not whole: %+v", p.Label(), p)
		}
		if p.HasDefault() {
			if err := p.Valid(p.Default); err != nil {
				t.Errorf("%s: its default: %v", p.Label(), err)
			}
		}
		if (p.Syntax == Flags || p.Syntax == Enum) == (len(p.Flags) == 0) {
			t.Errorf("%s: a %s with %d names", p.Label(), p.Syntax, len(p.Flags))
		}
		if back, ok := s.Property(strings.ToUpper(p.Name)); p.Name != "" && (!ok || back.Name != p.Name) {
			t.Errorf("%s is not found without regard to case", p.Name)
		}
	}
}

// The numbers, types and defaults that scripts and documents of IIS rely on.
func TestRowsOfIIS(t *testing.T) {
	tests := []struct {
		name  string
		id    metabase.ID
		typ   metabase.Type
		attr  metabase.Attr
		deflt string
	}{
		{"RouteAction", 36946, metabase.DWordType, metabase.Inherit, "0"},
		{"AuthTURNList", 36966, metabase.MultiSZType, metabase.Inherit, ""},
		{"SmtpServiceVersion", 36931, metabase.DWordType, metabase.Inherit, "0"},
		{"HopCount", 36886, metabase.DWordType, metabase.Inherit, "100"},
		{"RoutePassword", 36949, metabase.StringType, metabase.Inherit | metabase.Secure, ""},
		{"RelayIpList", 36970, metabase.BinaryType, metabase.Inherit | metabase.Reference, ""},
		{"RelayForAuth", 36973, metabase.DWordType, metabase.Inherit, "0"},
		{"SmtpRemoteProgressiveRetry", 36996, metabase.StringType, metabase.Inherit, "15,30,60,240"},
		{"SmtpRemoteDelayExpireMinutes", 37019, metabase.DWordType, metabase.Inherit, "60"},
		{"MaxMessageSize", 36891, metabase.DWordType, metabase.Inherit, "33554432"},
		{"KeyType", 1002, metabase.StringType, 0, ""},
		{"ServerState", 1016, metabase.DWordType, metabase.Volatile, "4"},
		{"ServerBindings", 1023, metabase.MultiSZType, 0, ":25:"},
		{"AuthBasic", 6000, metabase.DWordType, metabase.Inherit, "true"},
		{"AccessList", metabase.AccessList, metabase.MultiSZType, metabase.Inherit, ""},
	}
	for _, tt := range tests {
		p, err := IIS().Lookup(tt.name)
		if err != nil {
			t.Error(err)
			continue
		}
		if got := strings.Join(p.Plain(p.Default), " "); p.ID != tt.id || p.Type != tt.typ || p.Attr != tt.attr || got != tt.deflt {
			t.Errorf("%s: %d %s %s %q, want %d %s %s %q", tt.name, p.ID, p.Type, p.Attr, got, tt.id, tt.typ, tt.attr, tt.deflt)
		}
	}
}

// The ranges that IIS's documents give. An upper bound of 0 there is no limit.
func TestRangesOfIIS(t *testing.T) {
	for name, want := range map[string]string{
		"36865": "0 to 1", "DisablePickupDotStuff": "0 to 1", "MaxMessageSize": "1024 to 4294967295, or 0",
		"MaxBatchedMessages": "0 to 2000000000", "MaxConnections": "0 to 2000000000", "MaxOutConnections": "0 to 2000000000",
		"RemoteSmtpPort": "1 to 65535", "RemoteSmtpSecurePort": "1 to 65535",
		"SmtpServiceVersion": "0 to 2", "MaxSmtpErrors": "", // printed as 1..0 and 0..0 there
		"SmartHostType": "", "ServerState": "", "RelayForAuth": "", // these have names
	} {
		p, err := IIS().Lookup(name)
		if got := p.limits(); got != want || err != nil {
			t.Errorf("%s: %q, %v; want %q", name, got, err, want)
		}
	}
}

func TestLookup(t *testing.T) {
	tests := []struct{ in, name, err string }{
		{"routeaction", "RouteAction", ""},
		{"36946", "RouteAction", ""},
		{"0x9052", "RouteAction", ""},
		{"36930", "", ""}, // known by number only
		{"61537", "", ""}, // not in the table: somebody's own
		{"AuthBasic", "AuthBasic", ""},
		{"6000", "AuthFlags", ""}, // not one of its bits

		{"RouteActoin", "", `no property is called "RouteActoin"; did you mean "RouteAction"?`},
		{"AuthTurnLis", "", `no property is called "AuthTurnLis"; did you mean "AuthTurnList"?`},
		{"Colour", "", `no property is called "Colour"`},
		{"0", "", `no property is called "0"`},
		{"", "", `no property is called ""`},
		{strings.Repeat("x", 5000), "", `no property is called "` + strings.Repeat("x", 5000) + `"`},
	}
	for _, tt := range tests {
		p, err := IIS().Lookup(tt.in)
		text := ""
		if err != nil {
			text = err.Error()
		}
		if p.Name != tt.name || text != tt.err || (err != nil) != errors.Is(err, metabase.NotFound) {
			t.Errorf("Lookup(%.20q) = %q, %q; want %q, %q", tt.in, p.Name, text, tt.name, tt.err)
		}
	}
	if p, _ := IIS().Lookup("61537"); p.ID != 61537 || !p.In("IIsSmtpDomain") {
		t.Errorf("a number that nobody knows gives %+v", p)
	}
}

func TestClasses(t *testing.T) {
	s := IIS()
	d, ok := s.Class("iissmtpdomain")
	if !ok || !slices.Contains(d.Optional, "AuthTurnList") || slices.Contains(d.Optional, "MaxMessageSize") {
		t.Errorf("IIsSmtpDomain: %+v", d)
	}
	if !slices.Equal(d.Contains, []string{Domain}) || !slices.Equal(d.Mandatory, []string{"KeyType"}) {
		t.Errorf("IIsSmtpDomain contains %q, must hold %q", d.Contains, d.Mandatory)
	}
	if c, _ := s.Class(Info); c.Container() {
		t.Error("IIsSmtpInfo is a container")
	}
	for p := range s.Props() {
		if p.Name == "" && !slices.Contains(p.Classes, Service) {
			t.Errorf("the nameless %d is in %q", p.ID, p.Classes)
		}
	}
}

// A path ends in no property's name as a rule: the text of an error is made for
// those only that ask for the error.
func TestPropertyMakesNoErrorText(t *testing.T) {
	if n := testing.AllocsPerRun(100, func() { IIS().Property("a-domain.example") }); n > 2 { // strconv's error
		t.Errorf("a name that no property has costs %v allocations", n)
	}
}

// The column says whether a name has an effect, and its sentence the same.
// What nothing acts on says so in its sentence. Keys of the schema describe themselves.
func TestSentencesSayWhatHasNoEffect(t *testing.T) {
	for p := range IIS().Props() {
		if p.Syntax == Flag || slices.ContainsFunc(p.Classes, func(c string) bool { return strings.HasPrefix(c, "IIsSchema") }) {
			continue
		}
		if !p.Acted && p.WhyUnacted() == "" {
			t.Errorf("%s: the sentence gives no reason: %q", p.Label(), p.Sentence)
		}
		if says := strings.Contains(p.Sentence, "kept, without effect"); says == p.Acted {
			t.Errorf("%s: acted is %v, and the sentence is %q", p.Name, p.Acted, p.Sentence)
		}
	}
}

func TestNamesSayWhetherTheyAct(t *testing.T) {
	for p := range IIS().Props() {
		for _, f := range p.Flags {
			if says := strings.Contains(strings.ToLower(f.Sentence), "kept, without effect"); says == f.Acted {
				t.Errorf("%s: %s: acted is %v, and the sentence is %q", p.Label(), f.Name, f.Acted, f.Sentence)
			}
		}
	}
}
