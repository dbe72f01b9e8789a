// SPDX-License-Identifier: Apache-2.0

package main

import (
	"context"
	"fmt"
	"io"
	"strings"
)

// elsewhere are recipients at evil.test, each NAME a name, that a server may take
// for one of its own or hand on. What comes of them is seen at the trap.
var elsewhere = []string{
	"NAME@evil.test", "NAME@EVIL.TEST.", "NAME%evil.test@hub.test", "NAME%evil.test%hub.test@hub.test", "NAME%40evil.test@hub.test",
	"NAME@evil.test@hub.test", `"NAME@evil.test"@hub.test`, `"NAME\@evil.test"@hub.test`, `"NAME%evil.test"@hub.test`, `"NAME@evil.test"`,
	"@hub.test:NAME@evil.test", "@hub.test,@held.test:NAME@evil.test", "@evil.test:NAME@hub.test", "@[127.0.0.1]:NAME@evil.test", "hub.test:NAME@evil.test",
	"evil.test!NAME", "evil.test!NAME@hub.test", "hub.test!evil.test!NAME", "NAME@hub.test!evil.test", `"evil.test!NAME"@hub.test`, "NAME%evil.test",
	"NAME@evil.test%00@hub.test", "NAME@evil.test\x00@hub.test", "NAME@evil.test%0d%0a@hub.test", "NAME@evil.test\r@hub.test", "NAME@evil.test\t@hub.test",
	"NAME@[192.0.2.1]", "NAME@[127.0.0.1]", "NAME@[IPv6:::1]", "NAME@[IPv6:::ffff:127.0.0.1]", "NAME@[ipv6:2001:db8::1]", "NAME@[0.0.0.0]", "NAME@[x:evil.test]",
	"NAME@127.0.0.1", "NAME@2130706433", "NAME@0x7f000001", "NAME@localhost", "NAME@localhost.localdomain", "NAME@hub.test.evil.test", "NAME@evil-hub.test", "NAME@evilhub.test",
	"NAME@sub.hub.test", "NAME@sub.held.test", "NAME@.hub.test", "NAME@hub..test", "NAME@hub.test..", "NAME@-hub.test", "NAME@hub.test,evil.test", "NAME@hub.test;evil.test",
	"NAME@hub.test/evil.test", "NAME@hub.test:25", "NAME@evil.test:25", "NAME@hub.test#evil.test", "NAME@hub.test?evil.test", "NAME@hub\\.test", "NAME@(hub.test)evil.test",
	"NAME@evil.test(hub.test)", "(x)NAME@evil.test", "NAME@\u24d7ub.test", "NAME@he\u212ad.test", "NAME@xn--hub-.test", "NAME@hub.test\u3002evil.test", "NAME@hub\uff0etest",
	"<NAME@evil.test>", "NAME@hub.test> <NAME@evil.test", "NAME@hub.test>,<NAME@evil.test", "NAME@hub.test,NAME@evil.test", "NAME@hub.test NAME@evil.test", "NAME@hub.test;NAME@evil.test",
	`"NAME"@evil.test`, `"NAME" @evil.test`, `NAME."x"@evil.test`, `"\"NAME"@evil.test`, `""@evil.test`, `NAME@"evil.test"`, `NAME@evil.test"@hub.test"`, `"NAME>"@evil.test`,
	"mailto:NAME@evil.test", "smtp:NAME@evil.test", "IMCEASMTP-NAME+40evil+2Etest@hub.test", "IMCEAEX-NAME@hub.test", "/o=x/cn=NAME@hub.test", "|NAME@hub.test", "/etc/NAME@hub.test",
	":include:/etc/passwd@hub.test", "postmaster@evil.test", "postmaster%evil.test", `"postmaster"@evil.test`, "@evil.test", "NAME@", "NAME", "", "@", "NAME@*", "NAME@*.test", "NAME@%s.test",
}

// relay gives each form as the recipient, from several senders, in every letter case,
// with and without brackets. What is taken is sent.
func relay(_ context.Context, a *attack) error {
	n := 0
	for _, from := range []string{"<smuggler@hub.test>", "<>", "<x@evil.test>", "<x@held.test>", "<postmaster>"} {
		for _, form := range elsewhere {
			name := strings.ReplaceAll(form, "NAME", "x")
			for _, to := range []string{"<" + name + ">", name, "< " + name + " >", "<" + strings.ToUpper(name) + ">", "<" + name + "> ORCPT=rfc822;x@evil.test NOTIFY=FAILURE"} {
				n++
				if err := a.tryRelay(n, from, to); err != nil {
					return err
				}
			}
		}
	}
	return nil
}

// tryRelay sends one message; whatever the reply is, the trap decides.
func (a *attack) tryRelay(n int, from, to string) error {
	c, err := a.dial(fmt.Sprintf("127.10.%d.%d", n/250%250, 1+n%250))
	if err != nil {
		return err
	}
	defer c.Close()
	a.count("recipients")
	say(c, "EHLO caller.test\r\n")
	if r := say(c, "MAIL FROM:"+from+"\r\n"); !strings.HasPrefix(r, "250") {
		a.count("senders refused")
		return nil
	}
	switch r := say(c, "RCPT TO:"+to+"\r\n"); {
	case r == "" || strings.HasPrefix(r, "421"):
		a.count("disconnected")
		return nil
	case !strings.HasPrefix(r, "25"):
		a.count("refused")
		return nil
	}
	a.count("taken as our own")
	if r := say(c, "DATA\r\n"); !strings.HasPrefix(r, "354") {
		return nil
	}
	_, _ = io.WriteString(c, "Subject: relay\r\n\r\nto "+strings.ToValidUTF8(strings.Map(printable, to), "")+"\r\n")
	say(c, ".\r\n")
	return nil
}

func printable(r rune) rune {
	if r < ' ' || r > '~' {
		return '?'
	}
	return r
}
