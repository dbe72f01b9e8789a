// SPDX-License-Identifier: Apache-2.0

package schema

import (
	"errors"
	"net/netip"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"restante/metabase"
)

func TestParseAndFormat(t *testing.T) {
	long := strings.Repeat("a", 64)
	tests := []struct {
		prop string
		in   []string
		want []string // nil: refused
		err  string   // a part of the reason
	}{
		{"MaxConnections", []string{"500"}, []string{"500"}, ""},
		{"MaxConnections", []string{"0x1F4"}, []string{"500"}, ""},
		{"MaxSmtpErrors", []string{"-1"}, []string{"4294967295"}, ""}, // IIS's old way to say it
		{"MaxConnections", []string{"2000000001"}, nil, "allowed is 0 to 2000000000"},
		{"MaxConnections", []string{"many"}, nil, `"many" is no number from 0 to 4294967295, decimal or 0x hex; by the schema it is a DWORD`},
		{"HopCount", []string{"-1"}, nil, `"-1" is the DWORD 4294967295: 4294967295 is out of range; allowed is 1 to 1000`},
		{"MaxMessageSize", []string{"1024"}, []string{"1024"}, ""},
		{"MaxMessageSize", []string{"0"}, []string{"0"}, ""}, // no limit
		{"MaxMessageSize", []string{"1023"}, nil, "1023 is out of range; allowed is 1024 to 4294967295 bytes, or 0"},
		{"36865", []string{"2"}, nil, "2 is out of range; allowed is 0 to 1"},

		{"HoldMaxBytes", []string{"4294967295"}, []string{"4294967295"}, ""},
		{"HoldMaxBytes", []string{"0x10"}, []string{"16"}, ""},
		{"HoldMaxBytes", []string{"4294967296"}, []string{"4294967296"}, ""}, // a STRING
		{"HoldMaxBytes", []string{"-1"}, nil, "no number"},
		{"HoldMaxBytes", []string{"9223372036854775807"}, []string{"9223372036854775807"}, ""},
		{"HoldMaxBytes", []string{"9223372036854775808"}, nil, "no number of octets"},
		{"HoldMaxBytes", []string{"10M"}, nil, `"10M" is no number of octets`},
		{"HoldMaxBytes", []string{""}, nil, "no number of octets"},
		{"HoldMaxBytes", []string{"1", "2"}, nil, "takes one value and got 2"},
		{"MaxConnections", []string{"4294967296"}, nil, "no number from 0 to 4294967295"},
		{"MaxConnections", nil, nil, "needs a value"},
		{"MaxConnections", []string{"1", "2"}, nil, "takes one value and got 2"},
		{"SmtpRemoteNDRExpireMinutes", []string{"0"}, nil, "allowed is 1 to 5256000 min"},

		{"DoMasquerade", []string{"TRUE"}, []string{"true"}, ""},
		{"DoMasquerade", []string{"0"}, []string{"false"}, ""},
		{"DoMasquerade", []string{"2"}, nil, "neither true nor false"},
		{"AuthBasic", []string{"true"}, []string{"true"}, ""},

		{"SmartHostType", []string{"always"}, []string{"2"}, ""},
		{"SmartHostType", []string{"3"}, nil, "3 is none of 0 (none), 1 (direct_first), 2 (always)"},
		{"SmartHostType", []string{"allways"}, nil, `did you mean "always"?`},
		{"SmtpEventlogLevel", []string{"4294967295"}, []string{"4294967295"}, ""}, // the default may be outside of the range
		{"RelayForAuth", []string{"-1"}, []string{"-1"}, ""},
		{"RelayForAuth", []string{"true"}, []string{"-1"}, ""},
		{"RelayForAuth", []string{"4294967295"}, []string{"-1"}, ""},
		{"RelayForAuth", []string{"0"}, []string{"0"}, ""},
		{"RelayForAuth", []string{"1"}, nil, "1 is none of 0 (false), -1 (true)"},

		{"RouteAction", []string{"514"}, []string{"514 (etrn_cmd, smarthost)"}, ""},
		{"RouteAction", []string{"0x202"}, []string{"514 (etrn_cmd, smarthost)"}, ""},
		{"RouteAction", []string{"ETRN_cmd,smarthost"}, []string{"514 (etrn_cmd, smarthost)"}, ""},
		{"RouteAction", []string{"etrn_cmd", "smarthost"}, []string{"514 (etrn_cmd, smarthost)"}, ""},
		{"RouteAction", []string{"ETRN_CMD | SMARTHOST"}, []string{"514 (etrn_cmd, smarthost)"}, ""},
		{"RouteAction", []string{"0"}, []string{"0"}, ""},
		{"RouteAction", []string{"0x80000200"}, []string{"2147484160 (etrn_cmd, 0x80000000)"}, ""},
		{"RouteAction", []string{"etrn"}, nil, "no flag"},
		{"RouteAction", []string{"etrn,smarthost,nosuch"}, nil, `there is no flag "nosuch"`},
		{"RouteAction", []string{"smarthots"}, nil, `did you mean "smarthost"?`},
		{"RouteAction", []string{""}, nil, "0 is none of them"},
		{"RouteAction", []string{"4294967296"}, nil, `"4294967296" is no number from 0 to 4294967295, decimal or 0x hex; by the schema it is a DWORD`},
		{"AuthFlags", []string{"0x1FFFFFFFF"}, nil, `"0x1FFFFFFFF" is no number from 0 to 4294967295`},
		{"AuthFlags", []string{"-2"}, nil, `"-2" is no number from 0 to 4294967295`},
		{"AuthFlags", []string{"AuthBasic | AuthAnonymous"}, []string{"3 (auth_basic, auth_anonymous)"}, ""},
		{"SmtpInboundCommandSupportOptions", []string{"7697601"},
			[]string{"7697601 (eight_bit_mime, binary_mime, chunking, enhanced_status_codes, turn, etrn, dsn, 0x56001)"}, ""},

		{"ServerComment", []string{"A site"}, []string{"A site"}, ""},
		{"ServerComment", []string{"A\r\nsite"}, nil, "control character"},
		{"ServerComment", []string{"A", "site"}, nil, "put quotes around"},
		{"ServerComment", []string{"\xff"}, nil, "UTF-8"},
		{"DefaultDomain", []string{"Hub.Example."}, []string{"Hub.Example"}, ""},
		{"DefaultDomain", []string{""}, []string{""}, ""},
		{"DefaultDomain", []string{"-a.test"}, nil, "hyphen"},
		{"DefaultDomain", []string{"a b"}, nil, "only letters, digits"},
		{"DefaultDomain", []string{long + ".test"}, nil, "1 to 63 octets"},
		{"SmartHost", []string{"a.test; b.test:587, 192.0.2.1"}, []string{"a.test,b.test:587,192.0.2.1"}, ""},
		{"SmartHost", []string{"[2001:db8::1]:25"}, []string{"[2001:db8::1]:25"}, ""},
		{"SmartHost", []string{"[nowhere]"}, nil, "no IP address"},
		{"SmartHost", []string{"a.test:0"}, nil, "from 1 to 65535"},

		{"SmtpRemoteProgressiveRetry", []string{"5, 10;20"}, []string{"5,10,20"}, ""},
		{"SmtpRemoteProgressiveRetry", []string{"5", "10"}, []string{"5,10"}, ""},
		{"SmtpRemoteProgressiveRetry", []string{"5,0"}, nil, `"0" is no number of minutes`},
		{"SmtpRemoteProgressiveRetry", []string{","}, []string{""}, ""}, // empty: the package that uses it refuses it

		{"AuthTURNList", []string{"one", "two words"}, []string{"one", "two words"}, ""},
		{"AuthTurnList", nil, []string{}, ""},
		{"AuthTurnList", []string{"one", "ONE"}, nil, "twice"},
		{"AuthTurnList", []string{""}, nil, "is empty"},
		{"AuthTurnList", []string{"joe, sue"}, nil, `"joe, sue" would be one account; give each as an argument of its own: joe sue`},
		{"AuthTurnList", []string{"joe, bob the builder"}, nil, `of its own: joe "bob the builder"`},
		{"AuthTurnList", []string{"a,b", "c", "d,e"}, nil, `"d,e" would be one account`},
		{"AuthTurnList", []string{"a", "A", "b", "B"}, nil, `"A" stands in the list twice; "B" stands in the list twice`},
		{"AccessList", []string{"user:joe read,write"}, []string{"user:joe read,write"}, ""},
		{"LocalDomains", []string{"a", "a"}, []string{"a", "a"}, ""},

		{"ServerBindings", []string{":25:", "192.0.2.1:25", "[::1]:2525", "*:26", "[::ffff:192.0.2.2]:25:host.test"},
			[]string{":25:", "192.0.2.1:25:", "[::1]:2525:", ":26:", "192.0.2.2:25:host.test"}, ""},
		{"ServerBindings", []string{":25", ":25:"}, []string{":25:"}, ""},
		{"ServerBindings", []string{"::1:25"}, nil, `is no port`},
		{"ServerBindings", []string{"25"}, nil, "has no port"},
		{"ServerBindings", []string{"foo", "bar", ":25", "127.0.0.1"}, nil, `"127.0.0.1" has no port`},
		{"ServerBindings", []string{"foo", "bar", ":25", "127.0.0.1"}, nil, `"bar" has no port`},
		{"ServerBindings", []string{":70000"}, nil, `"70000" is no port`},
		{"ServerBindings", []string{"host:25"}, nil, `"host" is no IP address`},
		{"ServerBindings", []string{"[::1]"}, nil, "in brackets"},
		{"ServerBindings", []string{"[fe80::1%eth0]:25"}, nil, "no IP address"},
		{"DnsServers", []string{"127.0.0.1:5353 ::1", "[2001:db8::1]:53"}, []string{"127.0.0.1:5353", "[::1]:53", "[2001:db8::1]:53"}, ""},
		{"DnsServers", []string{"ns.test"}, nil, "is no server"},

		{"RelayIpList", []string{"127.0.0.1 10.0.0.0/8", "192.0.2.1"}, []string{"127.0.0.1", "192.0.2.1", "10.0.0.0/8"}, ""},
		{"RelayIpList", []string{"10.0.0.0, 255.0.0.0"}, []string{"10.0.0.0/8"}, ""},
		{"RelayIpList", []string{"10.0.0.1, 10.0.0.2"}, []string{"10.0.0.1", "10.0.0.2"}, ""},
		{"RelayIpList", []string{"10.0.0.1,0.0.0.0"}, nil, "the mask 0.0.0.0 is everybody"},
		{"RelayIpList", []string{"10.1.2.3, 255.0.255.0"}, nil, "the mask 255.0.255.0 has gaps"},
		{"RelayIpList", []string{"10.1.2.3, 255.255.255.255"}, []string{"10.1.2.3"}, ""},
		{"RelayIpList", []string{"255.0.255.0"}, nil, "is a mask and no address of a client"},
		{"RelayIpList", []string{"10.1.0.0;255.255.0.0"}, nil, "255.255.0.0 is a mask"},
		{"ConnectionLimitExempt", []string{"10.1.0.0", "255.255.0.0"}, nil, "255.255.0.0 is a mask"},
		{"EtrnAllow", []string{"255.255.0.0"}, nil, "255.255.0.0 is a mask"},
		{"RelayIpList", []string{"x y 10.0.0.1", "10.1.2.3, 255.0.255.0"}, nil,
			`"x" is no address and no network; allowed are ADDR and ADDR/BITS; "y" is no address and no network; allowed are ADDR and ADDR/BITS; "10.1.2.3, 255.0.255.0": the mask`},
		{"RelayIpList", []string{"0.0.0.0/0"}, []string{"0.0.0.0/0"}, ""},
		{"RelayIpList", nil, []string{"none"}, ""},
		{"RelayIpList", []string{"10.0.0.5/8"}, nil, "is it 10.0.0.0/8 or 10.0.0.5?"},
		{"RelayIpList", []string{"::1"}, nil, "RelayIpv6List"},
		{"RelayIpList", []string{"localhost"}, nil, "ADDR/BITS"},
		{"RelayIpv6List", []string{"::1 2001:db8::/32"}, []string{"::1", "2001:db8::/32"}, ""},
		{"RelayIpv6List", []string{"10.0.0.1"}, nil, "is for IPv6"},
		{"SSLCertHash", []string{"0xDEADbeef"}, []string{"deadbeef"}, ""},
		{"SSLCertHash", []string{"abc"}, nil, "hexadecimal"},
		{"61537", []string{"anything"}, []string{"anything"}, ""},
		{"61537", []string{"one", ""}, []string{"one", ""}, ""},
		{"KeyType", []string{"iissmtpDOMAIN"}, []string{"IIsSmtpDomain"}, ""},
		{"KeyType", []string{"Nobody"}, []string{"Nobody"}, ""}, // the check refuses it
	}
	for _, tt := range tests {
		p, err := IIS().Lookup(tt.prop)
		if err != nil {
			t.Fatal(err)
		}
		v, err := p.Parse(tt.in)
		if err != nil {
			if tt.want != nil || !strings.Contains(err.Error(), tt.err) || !errors.Is(err, metabase.Invalid) || !v.IsZero() {
				t.Errorf("%s: Parse(%q): %v; want %q, %q", tt.prop, tt.in, err, tt.want, tt.err)
			}
			continue
		}
		if got := p.Plain(v); tt.want == nil || !slices.Equal(got, tt.want) {
			t.Errorf("%s: Parse(%q) reads %q, want %q %q", tt.prop, tt.in, got, tt.want, tt.err)
		}
	}
}

func TestSecretsAreNotFormatted(t *testing.T) {
	p, _ := IIS().Property("RoutePassword")
	v, err := p.Parse([]string{"geheim"})
	if err != nil || v.Str() != "geheim" {
		t.Fatalf("%q, %v", v.Str(), err)
	}
	if got := p.Format(v); !slices.Equal(got, []string{"**********"}) {
		t.Errorf("Format = %q", got)
	}
}

func TestFormatOfAnotherType(t *testing.T) {
	p, _ := IIS().Property("MaxConnections")
	for _, tt := range []struct {
		v    metabase.Value
		want []string
	}{
		{metabase.String("x"), []string{"x"}}, {metabase.MultiSZ("a", "b"), []string{"a", "b"}},
		{metabase.Binary([]byte{1}), []string{"01"}}, {metabase.ExpandSZ("%x%"), []string{"%x%"}}, {metabase.Value{}, nil},
	} {
		if got := p.Format(tt.v); !slices.Equal(got, tt.want) {
			t.Errorf("Format(%v) = %q, want %q", tt.v, got, tt.want)
		}
		if p.Valid(tt.v) == nil {
			t.Errorf("Valid(%v) is nil", tt.v)
		}
	}
	if path, _ := IIS().Property("DropDirectory"); path.Valid(metabase.ExpandSZ("%ProgramData%/Drop")) != nil {
		t.Error("a path may not be EXPANDSZ")
	}
}

func TestValidAsksForCanonicalForm(t *testing.T) {
	p, _ := IIS().Property("ServerBindings")
	if err := p.Valid(metabase.MultiSZ("127.0.0.1:25")); err == nil || !strings.Contains(err.Error(), `which is "127.0.0.1:25:"`) {
		t.Errorf("Valid = %v", err)
	}
}

func TestBits(t *testing.T) {
	p, _ := IIS().Property("AuthBasic")
	v := metabase.DWord(5)
	if p.Bit(v).DWord() != 0 || p.WithBit(v, true).DWord() != 7 || p.WithBit(metabase.DWord(7), false).DWord() != 5 {
		t.Error("the bit is not read or written right")
	}
	if p.ID != 6000 || p.Syntax != Flag || p.Mask != 2 {
		t.Errorf("%+v", p)
	}
}

func TestParseHosts(t *testing.T) {
	for in, want := range map[string]string{
		"":                                "",
		"a.test:587, 192.0.2.1":           "a.test:587 [192.0.2.1]",
		"a.test;[2001:db8::1]:26,b.test.": "a.test [2001:db8::1]:26 b.test",
		"a*3|b:26*1|c, d":                 "a/3 +b:26/1 +c d",
		"[IPv6:2001:db8::1]":              "[2001:db8::1]",
	} {
		hosts, err := ParseHosts(in)
		var got []string
		for _, h := range hosts {
			s := h.String()
			if h.Shares {
				s = "+" + s
			}
			if h.Weight != 1 || strings.Contains(in, h.String()+"*") {
				s += "/" + strconv.Itoa(h.Weight)
			}
			got = append(got, s)
		}
		if strings.Join(got, " ") != want || err != nil {
			t.Errorf("%q: %q, %v; want %q", in, got, err, want)
		}
	}
	const allowed = "; allowed are NAME, NAME:PORT, [ADDR] and [ADDR]:PORT, several parted by commas"
	for in, want := range map[string]string{
		"h o":           `"h o": "h o" is no domain name: only letters, digits and hyphens` + allowed,
		"a.test b.test": "only letters", "a..b": "each label", "-a": "hyphen", "[a.test]": "no IP address", "[192.0.2.1]26": "only a colon",
		"a:0": "from 1 to 65535", "a:smtp": "from 1 to 65535", "a:": "from 1 to 65535", "a:25:26": "from 1 to 65535", "300.1.2.3": "neither a name nor", "192.0.2": "neither a name nor",
		"0.0.0.0": "no host", "[::]": "no host", "224.0.0.1": "no host", "a*3": "no weight", "a*0|b": "no weight", "a*x|b": "no weight", "a*101|b": "no weight", "a|": "domain name", "http://a": "from 1 to 65535",
	} {
		if hosts, err := ParseHosts(in); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%q: %v, %v; want %q", in, hosts, err, want)
		}
	}
}

func TestSmallParsers(t *testing.T) {
	b, err := ParseBinding(":25:")
	if err != nil || b.AddrPort() != netip.MustParseAddrPort("[::]:25") {
		t.Errorf("AddrPort = %v, %v", b.AddrPort(), err)
	}
	if m, err := Minutes("15,240"); err != nil || !slices.Equal(m, []time.Duration{15 * time.Minute, 4 * time.Hour}) {
		t.Errorf("minutes %v, %v", m, err)
	}
	for name, want := range map[string]bool{
		"1": true, "2147483647": true, "0": false, "01": false, "+1": false, "-1": false, "2147483648": false, "x": false, "": false,
	} {
		if isSiteNumber(name) != want {
			t.Errorf("isSiteNumber(%q) = %v", name, !want)
		}
	}
	for name, want := range map[string]bool{
		"a.test": true, "*.a.test": true, "a": true, "*": false, "*.": false, "*.*.a": false, "a.": false, "a..b": false, "[192.0.2.1]": false, "": false,
	} {
		if isDomainKey(name) != want {
			t.Errorf("isDomainKey(%q) = %v", name, !want)
		}
	}
	for name, want := range map[string]bool{
		"bob": true, "bob@a.test": true, "Bob B": true, "": false, " bob": false, "bob\n": false, strings.Repeat("x", 65): false,
	} {
		if IsAccountName(name) != want {
			t.Errorf("IsAccountName(%q) = %v", name, !want)
		}
	}
}

func TestSuggest(t *testing.T) {
	for _, tt := range []struct{ in, want string }{
		{"smarthots", `; did you mean "smarthost"?`}, {"samrthost", `; did you mean "smarthost"?`}, {"x", ""}, {"", ""}, {"colour", ""},
	} {
		if got := Suggest(tt.in, []string{"", "smarthost", "alias"}); got != tt.want {
			t.Errorf("Suggest(%q) = %q, want %q", tt.in, got, tt.want)
		}
	}
}

// Whatever is read is written so that it reads back as the same value.
func FuzzParse(f *testing.F) {
	s := IIS()
	var props []Prop
	for p := range s.Props() {
		props = append(props, p)
	}
	custom, _ := s.Property("61537")
	props = append(props, custom)
	for i, p := range props {
		for _, in := range []string{"514", "true", "a.test", "127.0.0.1:25", "10.0.0.0/8", "::1/128", "deadbeef", "15,30", "etrn_cmd", ""} {
			f.Add(uint16(i), in, "x", true)
		}
		for _, fl := range p.Flags {
			f.Add(uint16(i), fl.Name, fl.IIS, false)
		}
	}
	f.Fuzz(func(t *testing.T, n uint16, one, two string, single bool) {
		p := props[int(n)%len(props)]
		args := []string{one, two}
		if single {
			args = args[:1]
		}
		v, err := p.Parse(args)
		if err != nil {
			if !errors.Is(err, metabase.Invalid) || !v.IsZero() {
				t.Errorf("%s: Parse(%q) = %v, %v", p.Label(), args, v, err)
			}
			return
		}
		lines := p.Plain(v)
		again, err := p.Parse(lines)
		if err != nil || !again.Equal(v) {
			t.Errorf("%s: Parse(%q) is written %q, which reads back as %v, %v", p.Label(), args, lines, again, err)
		}
	})
}

func TestAs(t *testing.T) {
	tests := []struct {
		prop string
		typ  metabase.Type
		in   []string
		want metabase.Value // none: refused
	}{
		{"61537", metabase.DWordType, []string{"0x8"}, metabase.DWord(8)},
		{"61537", metabase.DWordType, []string{"eight"}, metabase.Value{}},
		{"61537", metabase.StringType, []string{"8"}, metabase.String("8")},
		{"61537", metabase.ExpandSZType, []string{"%A%"}, metabase.ExpandSZ("%A%")},
		{"61537", metabase.MultiSZType, []string{"8"}, metabase.MultiSZ("8")},
		{"61537", metabase.MultiSZType, nil, metabase.MultiSZ()},
		{"61537", metabase.MultiSZType, []string{"a", "", "a"}, metabase.MultiSZ("a", "", "a")},
		{"61537", metabase.BinaryType, []string{"00ff"}, metabase.Binary([]byte{0, 255})},
		{"61537", metabase.BinaryType, []string{"xyz"}, metabase.Value{}},
		{"QueueDirectory", metabase.ExpandSZType, []string{"%TEMP%"}, metabase.ExpandSZ("%TEMP%")},
		{"QueueDirectory", metabase.DWordType, []string{"8"}, metabase.String("8")}, // the table knows better
		{"HopCount", metabase.StringType, []string{"8"}, metabase.DWord(8)},
	}
	for _, tt := range tests {
		p, _ := IIS().Property(tt.prop)
		got, err := p.As(tt.typ).Parse(tt.in)
		if !got.Equal(tt.want) || (err != nil) != tt.want.IsZero() {
			t.Errorf("%s as %s of %q = %s %v, %v; want %s %v", tt.prop, tt.typ, tt.in, got.Type(), got, err, tt.want.Type(), tt.want)
		}
	}
}

func TestWordsOfAnItem(t *testing.T) {
	for in, want := range map[string]metabase.Attr{
		"INHERIT": metabase.Inherit, "inherit|secure": metabase.Inherit | metabase.Secure, "INHERIT | LOCAL_MACHINE_ONLY": 0x81,
		"no_attributes": 0, "0x41": metabase.Inherit | metabase.InsertPath, "Inherit, 2": 3,
	} {
		if got, err := ParseAttr(in); got != want || err != nil {
			t.Errorf("ParseAttr(%q) = %s, %v; want %s", in, got, err, want)
		}
		if again, err := ParseAttr(want.String()); again != want && want&2 == 0 || err != nil && want&2 == 0 {
			t.Errorf("ParseAttr(%q) = %s, %v", want.String(), again, err)
		}
	}
	for in, why := range map[string]string{"": "needs attributes", "INHERTI": `did you mean "INHERIT"?`, "|": "needs", "-2": "no attribute"} {
		if _, err := ParseAttr(in); err == nil || !strings.Contains(err.Error(), why) {
			t.Errorf("ParseAttr(%q): %v, want %q", in, err, why)
		}
	}
	for in, want := range map[string]metabase.Type{"dword": 1, "MULTISZ": 5, "4": 4} {
		if got, err := ParseType(in); got != want || err != nil {
			t.Errorf("ParseType(%q) = %s, %v", in, got, err)
		}
	}
	for in, want := range map[string]metabase.UserType{"1": 1, "0": 0, "iis_md_ut_file": 2, "0x64": 100} {
		if got, err := ParseUserType(in); got != want || err != nil {
			t.Errorf("ParseUserType(%q) = %d, %v", in, got, err)
		}
	}
	_, typeErr := ParseType("ANY")
	if _, err := ParseUserType("SERVER"); err == nil || typeErr == nil {
		t.Error("what is no type and no user type is read as one")
	}
}
