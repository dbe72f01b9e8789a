// SPDX-License-Identifier: Apache-2.0

package main

import (
	"context"
	"fmt"
	"io"
	"strings"
)

// hidden is a second message, for a peer that takes what stands before it for the end
// of the first.
const hidden = "MAIL FROM:<smuggled@evil.test>\r\nRCPT TO:<x@hub.test>\r\nDATA\r\nSubject: smuggled\r\n\r\nx\r\n.\r\nQUIT\r\n"

// ends look like the end of a message and are none.
func ends() (out []string) {
	breaks := []string{"\n", "\r", "\r\n", "\r\r\n", "\r\n\r", "\n\r", "\x00\r\n", "\r\x00\n", "\v", "\f", "\u0085", "\u2028", "\r\n ", "\n\n", "\r\r"}
	for _, before := range breaks {
		for _, dot := range []string{".", "..", ". ", ".\x00", " .", "\uff0e", "=2E"} {
			for _, after := range breaks {
				end := before + dot + after
				if at := strings.Index(end, "\r\n.\r\n"); at < 0 || strings.ContainsAny(end[:at], "\r\n") { // else it is one
					out = append(out, end)
				}
			}
		}
	}
	return out
}

// others hide a message in commands instead of the body.
func others() (out []string) {
	const begin = "EHLO caller.test\r\nMAIL FROM:<a@hub.test>\r\nRCPT TO:<x@hub.test>\r\n"
	chunk := func(s string, last bool) string {
		word := ""
		if last {
			word = " LAST"
		}
		return fmt.Sprintf("BDAT %d%s\r\n%s", len(s), word, s)
	}
	n := len(hidden)
	return []string{
		begin + chunk("a\r\n.\r\n"+hidden, true),
		begin + chunk("a\r\n", false) + chunk(".\r\n"+hidden, true),
		begin + chunk("a\r\n", false) + "DATA\r\n" + strings.Replace(hidden, "\r\nDATA", "\r\nNOOP", 1),
		begin + "DATA\r\na\r\n" + chunk(hidden, true) + "..\r\n",
		begin + fmt.Sprintf("BDAT %d LAST\r\n", n+3) + "a\r\n" + hidden,
		begin + fmt.Sprintf("BDAT %d LAST extra\r\n%s", n, hidden),
		begin + "BDAT -1 LAST\r\n" + hidden, begin + "BDAT 99999999999999999999 LAST\r\n" + hidden, begin + "BDAT 0x10 LAST\r\n" + hidden,
		begin + "BDAT\r\n" + hidden, begin + "BDAT 10 LASTS\r\n" + hidden, begin + "BDAT\t10\tLAST\r\n0123456789",
		"EHLO caller.test\r\nMAIL FROM:<a@hub.test>\r\nRCPT TO:<x@evil.test>\r\n" + chunk(hidden, true),
		"EHLO caller.test\r\nMAIL FROM:<a@hub.test>\r\nRCPT TO:<x@evil.test>\r\n" + chunk(hidden, false) + chunk(hidden, true),
		"EHLO caller.test\r\nMAIL FROM:<a@hub.test> SIZE=99999999999\r\nRCPT TO:<x@hub.test>\r\n" + chunk(hidden, true),
		"EHLO caller.test\r\nNOOP \n" + hidden, "EHLO caller.test\r\nNOOP \r" + hidden, "EHLO caller.test\rMAIL\r\n" + hidden,
		"EHLO caller.test\r\nNOOP " + strings.Repeat("x", 5000) + "\n" + hidden, "EHLO caller.test\r\nMAIL FROM:<\"\n" + hidden,
		"EHLO caller.test\r\nAUTH LOGIN\r\nYQ==\n" + hidden, "EHLO caller.test\r\nAUTH PLAIN\r\n" + strings.Repeat("A", 20000) + "\n" + hidden,
		"POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 500\r\n\r\nEHLO caller.test\n" + hidden,
	}
}

// smuggle sends each in one piece and looks for the hidden message at the end of
// the run. The first message may be taken or refused.
func smuggle(_ context.Context, a *attack) error {
	n := 0
	try := func(text string) error {
		n++
		c, err := a.dial(fmt.Sprintf("127.20.%d.%d", n/250%250, 1+n%250))
		if err != nil {
			return err
		}
		defer c.Close()
		a.count("messages")
		if _, err := io.WriteString(c, text+"\r\n.\r\nQUIT\r\n"); err != nil {
			a.count("disconnected")
			return nil
		}
		_ = closeWrite(c.Conn)
		replies, _ := io.ReadAll(c.R)
		switch out := string(replies); {
		case strings.Contains(out, "\r\n421 ") || strings.HasPrefix(out, "421 "):
			a.count("ended by 421")
		case strings.Contains(out, "queued"):
			a.count("taken as one message")
		default:
			a.count("refused")
		}
		return nil
	}
	for _, end := range ends() {
		if err := try("EHLO caller.test\r\nMAIL FROM:<a@hub.test>\r\nRCPT TO:<x@hub.test>\r\nDATA\r\nSubject: outer\r\n\r\na" + end + hidden); err != nil {
			return err
		}
	}
	for _, text := range others() {
		if err := try(text); err != nil {
			return err
		}
	}
	return nil
}
