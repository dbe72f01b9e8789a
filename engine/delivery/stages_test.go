// SPDX-License-Identifier: Apache-2.0

package delivery

import (
	"context"
	"fmt"
	"strings"
	"testing"

	"restante/engine/account"
	"restante/engine/mail"
	"restante/engine/resolver"
	"restante/engine/wire"
)

// onlyFirst is a policy of each domain that has mx1.test alone take its mail.
type onlyFirst struct{}

func (onlyFirst) Policy(context.Context, mail.Domain, resolver.Query) func(host string) bool {
	return func(host string) bool { return host == "mx1.test" }
}

// TestStages: the hosts that are told are those of an attempt, with what each conversation
// is to be.
func TestStages(t *testing.T) {
	two := names{"to.test": {host(1), host(2)}, "smart.test": {host(3)}, "null.test": {}, "lost.test": {{Name: "lost.test"}}}
	in := wire.SignIn(account.SignIn{Name: "anna"})
	smart := func(c ClientSettings, name string, port uint16) Route {
		return Route{Kind: SmartHost, Smart: []Hop{{Host: name, Port: port}}, Client: c}
	}
	for _, tt := range []struct {
		dest  mail.Domain
		route Route
		want  string
	}{
		{"to.test", Route{}, "dns [mx1.test 192.0.2.1:25 opportunistic, mx2.test 192.0.2.2:25 opportunistic]"},
		{"to.test", Route{Client: ClientSettings{Port: 465, SecurePort: 465, Auth: in}}, "dns [mx1.test 192.0.2.1:465 implicit, mx2.test 192.0.2.2:465 implicit]"},
		{"to.test", Route{Client: ClientSettings{RequireTLS: true, SecurePort: 25}}, "dns [mx1.test 192.0.2.1:25 required, mx2.test 192.0.2.2:25 required]"},
		{"to.test", smart(ClientSettings{Auth: in}, "smart.test", 587), "smart, signs in [mx3.test 192.0.2.3:587 offered]"},
		{"to.test", Route{Kind: SmartHost, Smart: []Hop{{Host: "smart.test"}}, DirectFirst: true, Client: ClientSettings{Auth: in}},
			"dns [mx1.test 192.0.2.1:25 opportunistic, mx2.test 192.0.2.2:25 opportunistic]; smart, signs in [mx3.test 192.0.2.3:25 offered]"},
		{"to.test", Route{Client: ClientSettings{HELO: true}}, "dns [mx1.test 192.0.2.1:25 none, mx2.test 192.0.2.2:25 none]"},
		{"to.test", Route{Client: ClientSettings{STS: true}}, "dns [mx1.test 192.0.2.1:25 required sts, mx2.test 192.0.2.2:25 opportunistic sts 451 4.7.5 mx2.test is none of the hosts in the MTA-STS policy of to.test]"},
		{"null.test", Route{}, "dns failed 556 5.1.10 the domain takes no mail"},
		{"null.test", Route{Held: true}, "dns deferred 451 4.4.4 the domain takes no mail"},
		{"none.test", Route{}, "dns failed 550 5.1.2 no such domain"},
		{"lost.test", Route{}, "dns deferred 451 4.4.3 no answer from the name servers"},
		{"to.test", smart(ClientSettings{}, "none.test", 0), "smart deferred 451 4.4.3 none.test: no such domain"},
		{"to.test", Route{Kind: Drop, Dir: "d"}, ""},
		{"to.test", Route{Kind: Archive, Dir: "d"}, ""},
	} {
		got := ""
		for i, s := range New(fixed(tt.route), two, Options{STS: onlyFirst{}}).Stages(t.Context(), tt.dest) {
			if i > 0 {
				got += "; "
			}
			if got += "dns"; s.Smart {
				got = got[:len(got)-3] + "smart"
			}
			if s.SignIn {
				got += ", signs in"
			}
			if len(s.Hosts) == 0 {
				got += fmt.Sprintf(" %v %v", s.Status, s.Reply.String())
				continue
			}
			list := ""
			for _, h := range s.Hosts {
				list += strings.TrimRight(fmt.Sprintf(", %s %s %s %s", h.Name, h.Addr, h.TLS, h.Rule), " ")
				if h.Reply.Code != 0 {
					list += " " + h.Reply.String()
				}
			}
			got += " [" + list[2:] + "]"
		}
		if got != tt.want {
			t.Errorf("%+v: %s, want %s", tt.route, got, tt.want)
		}
	}
}
