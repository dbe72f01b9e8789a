// SPDX-License-Identifier: Apache-2.0

package testpeer_test

import (
	"bufio"

	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"strings"
	"sync"
	"testing"
	"time"

	"restante/internal/testpeer"
)

// Beginnings of most rows. No message from evil@x.test may be accepted.
const (
	ehlo             = "EHLO c.test\r\n"
	transaction      = ehlo + "MAIL FROM:<evil@x.test>\r\nRCPT TO:<someone@held.test>\r\n"
	data             = transaction + "DATA\r\n"
	smuggledCommands = "MAIL FROM:<evil@x.test>\r\nRCPT TO:<someone@held.test>\r\nDATA\r\nSubject: smuggled\r\n\r\nx\r\n.\r\n"
	quit             = "QUIT\r\n"

	messageLimit = 20_000 // octets of a message, in these tests
)

// A wireRow sends octets on a new connection and compares the replies by their
// beginnings; "closed" stands for the end of the connection.
type wireRow struct {
	name    string
	steps   []string // octets to send and wanted replies, in turns
	account string   // signs in first; "": nobody
}

// A _ stands for the blank behind the code.
var wireRows = []wireRow{
	// Verbs.
	{name: "an unknown verb", steps: []string{ehlo + "MAKE COFFEE\r\n" + quit, "250 500_5.5.2 221"}},
	{name: "an empty line", steps: []string{ehlo + "\r\n" + quit, "250 500_5.5.2 221"}},
	{name: "blanks alone", steps: []string{ehlo + "   \r\n" + quit, "250 500_5.5.2 221"}},
	{name: "an HTTP request", steps: []string{"POST / HTTP/1.1\r\nHost: x\r\n\r\n" + smuggledCommands, "500 500 500 503 503 503 500 500 500 500"}},
	{name: "a verb without a space before its argument", steps: []string{ehlo + "MAILFROM:<evil@x.test>\r\n" + quit, "250 500 221"}},
	{name: "Unicode letters that resemble a verb", steps: []string{ehlo + "MA\u0131L FROM:<evil@x.test>\r\n\u017fTARTTLS\r\n" + quit, "250 500 500 221"}},
	{name: "verbs that are not implemented", steps: []string{ehlo + "EXPN list\r\nSEND FROM:<a@b.test>\r\nSAML FROM:<a@b.test>\r\nSOML FROM:<a@b.test>\r\n" + quit, "250 502 502 502 502 221"}},
	{name: "VRFY tells nothing", steps: []string{ehlo + "VRFY someone\r\nVRFY nobody\r\n" + quit, "250 252 252 221"}},

	// Order.
	{name: "MAIL before EHLO", steps: []string{"MAIL FROM:<evil@x.test>\r\n" + quit, "503_5.5.1 221"}},
	{name: "RCPT before MAIL", steps: []string{ehlo + "RCPT TO:<someone@held.test>\r\n" + quit, "250 503_5.5.1 221"}},
	{name: "DATA before MAIL", steps: []string{ehlo + "DATA\r\n" + quit, "250 503_5.5.1 221"}},
	{name: "DATA before RCPT", steps: []string{ehlo + "MAIL FROM:<evil@x.test>\r\nDATA\r\n" + quit, "250 250 503 221"}},
	{name: "DATA when no RCPT was good", steps: []string{ehlo + "MAIL FROM:<evil@x.test>\r\nRCPT TO:<@>\r\nDATA\r\n" + quit, "250 250 501 554_5.5.1 221"}},
	{name: "MAIL twice", steps: []string{ehlo + "MAIL FROM:<evil@x.test>\r\nMAIL FROM:<evil@x.test>\r\n" + quit, "250 250 503_5.5.1 221"}},
	{name: "EHLO ends a transaction", steps: []string{transaction + ehlo + "DATA\r\n" + quit, "250 250 250 250 503 221"}},
	{name: "RSET ends a transaction", steps: []string{transaction + "RSET\r\nDATA\r\n" + quit, "250 250 250 250 503 221"}},
	{name: "AUTH within a transaction", steps: []string{transaction + "AUTH PLAIN\r\n" + quit, "250 250 250 503_5.5.1 221"}},
	{name: "STARTTLS within a transaction", steps: []string{transaction + "STARTTLS\r\n" + quit, "250 250 250 503_5.5.1 221"}},
	{name: "commands behind QUIT", steps: []string{ehlo + quit + smuggledCommands, "250 221 closed"}},

	// Arguments.
	{name: "MAIL without argument", steps: []string{ehlo + "MAIL\r\nMAIL FROM\r\nMAIL FROM:\r\n" + quit, "250 501_5.5.4 501 501 221"}},
	{name: "RCPT without argument", steps: []string{ehlo + "MAIL FROM:<evil@x.test>\r\nRCPT\r\nRCPT TO:\r\nRCPT TO:<>\r\n" + quit, "250 250 501 501 501 221"}},
	{name: "paths that have no end, or two", steps: []string{ehlo + "MAIL FROM:<evil@x.test\r\nMAIL FROM:evil@x.test>\r\nMAIL FROM:<evil@x.test>>\r\nMAIL FROM:<<evil@x.test>>\r\nMAIL FROM:<evil@x.test>SIZE=1\r\n" + quit, "250 501 501 501 501 501 221"}},
	{name: "arguments to verbs without arguments", steps: []string{transaction + "RSET now\r\nDATA now\r\nQUIT now\r\n" + quit, "250 250 250 501 501 501 221"}},
	{name: "STARTTLS with an argument", steps: []string{ehlo + "STARTTLS now\r\n" + quit, "250 501_5.5.4 221"}},
	{name: "unknown parameters", steps: []string{ehlo + "MAIL FROM:<evil@x.test> FOO=BAR\r\nMAIL FROM:<evil@x.test>\r\nRCPT TO:<someone@held.test> FOO\r\n" + quit, "250 555_5.5.4 250 555 221"}},
	{name: "a parameter twice", steps: []string{ehlo + "MAIL FROM:<evil@x.test> SIZE=1 SIZE=2\r\n" + quit, "250 501 221"}},
	{name: "parameters with nonsense", steps: []string{ehlo + "MAIL FROM:<evil@x.test> SIZE=-1\r\nMAIL FROM:<evil@x.test> SIZE=x\r\nMAIL FROM:<evil@x.test> BODY=9BIT\r\nMAIL FROM:<evil@x.test> BODY=BINARYMIME\r\nMAIL FROM:<evil@x.test> RET=ALL\r\nMAIL FROM:<evil@x.test> SMTPUTF8=1\r\n" + quit, "250 501 501 501 504 501 501 221"}},
	{name: "tracking data with nonsense", steps: []string{ehlo + "MAIL FROM:<evil@x.test> ENVID=a=b AUTH=+\r\nRCPT TO:<someone@held.test> ORCPT=x\r\nRSET\r\nMAIL FROM:<evil@x.test> ENVID=a+2fb\r\n" + quit, "250 250 250 250 250 221"}},
	{name: "EHLO with two names", steps: []string{"EHLO Lab PC\r\nEHLO [127.0.0.1] printer on floor 2\r\nEHLO " + strings.Repeat("a", 300) + "\r\nMAIL FROM:<evil@x.test>\r\n" + quit, "250 250 250 250 221"}},

	// Lines.
	{name: "a long line", steps: []string{ehlo + "NOOP " + strings.Repeat("x", 3000) + "\r\n" + quit, "250 500_5.5.2 221"}},
	{name: "a long MAIL does not run its tail", steps: []string{ehlo + "MAIL FROM:<" + strings.Repeat("x", 4000) + smuggledCommands + quit, "250 500 503 503 500 500 500 500 221"}},
	{name: "a line without end", steps: []string{strings.Repeat("x", 100_000), "421_4.7.0 closed"}},
	{name: "a NUL in a command", steps: []string{ehlo + "NOOP\x00\r\nMAIL FROM:<evil\x00@x.test>\r\n\x00\r\n" + quit, "250 500 500 500 221"}},
	{name: "control octets in a command", steps: []string{ehlo + "MAIL FROM:<evil@x.test>\x1b[2J\r\nNOOP \x7f\r\nNOOP \x08\r\n" + quit, "250 500 500 500 221"}},
	{name: "a CR within a command", steps: []string{ehlo + "NOOP\rMAIL FROM:<evil@x.test>\r\n" + smuggledCommands + quit, "250 500_5.5.2 421_4.7.0 closed"}},
	{name: "a CR at the end of a command", steps: []string{ehlo + "NOOP\r\r\n" + smuggledCommands + quit, "250 500_5.5.2 421_4.7.0 closed"}},
	{name: "an LF within a command", steps: []string{ehlo + "NOOP\nMAIL FROM:<evil@x.test>\r\n" + smuggledCommands + quit, "250 500_5.5.2 421_4.7.0 closed"}},
	{name: "an LF in a long command", steps: []string{ehlo + "NOOP " + strings.Repeat("x", 3000) + "\n" + smuggledCommands + quit, "250 500_5.5.2 421_4.7.0 closed"}},
	{name: "an LF in an AUTH response", steps: []string{ehlo + "AUTH LOGIN\r\nYQ==\n" + smuggledCommands + quit, "250 334 500_5.5.2 421_4.7.0 closed"}},

	// Addresses.
	{name: "8-bit addresses", steps: []string{ehlo + "MAIL FROM:<\xe9vil@x.test>\r\nMAIL FROM:<evil@\xc3\xa9.test>\r\nMAIL FROM:<\xff\xfe@x.test>\r\nMAIL FROM:<evil@x.test>\r\nRCPT TO:<\u017fomeone@held.test>\r\nRCPT TO:<someone@he\u212ad.test>\r\n" + quit, "250 553_5.6.7 553 553 250 553 553 221"}},
	{name: "ETRN with a Unicode letter that stands for ASCII", steps: []string{ehlo + "ETRN \u212aeld.test\r\n" + quit, "250 459 221"}},
	{name: "malformed addresses", steps: []string{ehlo + "MAIL FROM:<ev il>\r\nMAIL FROM:<evil@>\r\nMAIL FROM:<@x.test>\r\nMAIL FROM:<a@b@x.test>\r\nMAIL FROM:<evil@x..test>\r\nMAIL FROM:<evil@-x.test>\r\nMAIL FROM:<evil@[1.2.3]>\r\nMAIL FROM:<evil@[IPv6:::1%lo]>\r\nMAIL FROM:<evil@x_\x80.test>\r\n" + quit, "250 501 501 501 501 501 501 501 501 553 221"}},
	{name: "local parts that the final host judges", steps: []string{ehlo + "MAIL FROM:<" + strings.Repeat("a", 200) + "@x.test>\r\nRCPT TO:<user..name@held.test>\r\nRCPT TO:<user.@held.test>\r\nRCPT TO:<.user@held.test>\r\n" + quit, "250 250 250 250 250 221"}},
	{name: "long domains", steps: []string{ehlo + "MAIL FROM:<a@" + strings.Repeat("a.", 130) + "test>\r\nMAIL FROM:<a@" + strings.Repeat("a", 64) + ".test>\r\n" + quit, "250 501 501 221"}},
	{name: "a quoted local part that would end the path", steps: []string{ehlo + "MAIL FROM:<\"evil> SIZE=1 <\"@x.test>\r\nRSET\r\nMAIL FROM:<\"evil\"x@x.test>\r\nMAIL FROM:<\"evil\\\"@x.test>\r\nMAIL FROM:<\"evil@x.test>\r\n" + quit, "250 250 250 501 501 501 221"}},
	{name: "a quoted local part with a line end", steps: []string{ehlo + "MAIL FROM:<\"evil\r\nNOOP\r\n\"@x.test>\r\n" + quit, "250 501 250 500 221"}},
	{name: "101 recipients", steps: []string{ehlo + "MAIL FROM:<evil@x.test>\r\n" + manyRcpts(101) + quit, "250 250" + strings.Repeat(" 250", 100) + " 452_4.5.3 221"}},

	// Messages: every known way to end one early (SMTP smuggling).
	{name: "a bare LF", steps: []string{data + "a\nb\r\n.\r\n" + quit, rejectedMessage}},
	{name: "a bare CR", steps: []string{data + "a\rb\r\n.\r\n" + quit, rejectedMessage}},
	{name: "LF . LF", steps: []string{data + "a\n.\n" + smuggledCommands + quit, rejectedMessage}},
	{name: "LF . CR LF", steps: []string{data + "a\n.\r\n" + smuggledCommands + quit, rejectedMessage}},
	{name: "CR LF . LF", steps: []string{data + "a\r\n.\n" + smuggledCommands + quit, rejectedMessage}},
	{name: "CR . CR", steps: []string{data + "a\r.\r" + smuggledCommands + quit, rejectedMessage}},
	{name: "CR . LF", steps: []string{data + "a\r.\n" + smuggledCommands + quit, rejectedMessage}},
	{name: "LF . CR", steps: []string{data + "a\n.\r" + smuggledCommands + quit, rejectedMessage}},
	{name: "CR LF . CR", steps: []string{data + "a\r\n.\r" + smuggledCommands + quit, rejectedMessage}},
	{name: "CR . CR LF", steps: []string{data + "a\r.\r\n" + smuggledCommands + quit, rejectedMessage}},
	{name: "CR CR LF . CR LF", steps: []string{data + "a\r\r\n.\r\n" + quit, rejectedMessage}},
	{name: "CR LF . CR CR LF", steps: []string{data + "a\r\n.\r\r\n" + smuggledCommands + quit, rejectedMessage}},
	{name: "CR LF . NUL CR LF", steps: []string{data + "a\nb\r\n.\x00\r\n" + smuggledCommands + quit, rejectedMessage}},
	{name: "LF LF . LF LF", steps: []string{data + "a\n\n.\n\n" + smuggledCommands + quit, rejectedMessage}},
	{name: "LF CR . LF CR", steps: []string{data + "a\n\r.\n\r" + smuggledCommands + quit, rejectedMessage}},
	{name: "a bare LF in a message that is too large", steps: []string{data + strings.Repeat("0123456\r\n", messageLimit/8) + "a\n.\nx\r\n.\r\n" + smuggledCommands + quit, "250 250 250 354 552 421_4.7.0 closed"}},
	{name: "a CR, a NUL and an LF", steps: []string{data + "a\r\x00\n.\r\x00\n" + smuggledCommands + quit, rejectedMessage}},
	{name: "a long message without a line end", steps: []string{data + strings.Repeat("x", messageLimit+1) + "\r\n.\r\n" + quit, "250 250 250 354 552_5.3.4 221"}},
	{name: "too large by SIZE", steps: []string{ehlo + fmt.Sprintf("MAIL FROM:<evil@x.test> SIZE=%d\r\nMAIL FROM:<evil@x.test> SIZE=99999999999999999999\r\n", messageLimit+1) + quit, "250 552_5.3.4 552_5.3.4 221"}},
	{name: "SIZE smaller than the message", steps: []string{ehlo + "MAIL FROM:<evil@x.test> SIZE=1\r\nRCPT TO:<someone@held.test>\r\nDATA\r\n" + strings.Repeat("0123456\r\n", messageLimit/8) + ".\r\n" + quit, "250 250 250 354 552_5.3.4 221"}},
	{name: "commands in a message that is too large", steps: []string{data + strings.Repeat("0123456\r\n", messageLimit/8) + strings.Replace(smuggledCommands, "\r\n.\r\n", "", 1) + "\r\n.\r\n" + quit, "250 250 250 354 552 221"}},

	// BDAT.
	{name: "BDAT without MAIL", steps: []string{ehlo + "BDAT 5 LAST\r\nQUIT\n" + quit, "250 503_5.5.1 221"}},
	{name: "BDAT without a size", steps: []string{transaction + "BDAT\r\n" + smuggledCommands, "250 250 250 501_5.5.4 421_4.7.0 closed"}},
	{name: "BDAT with a negative size", steps: []string{transaction + "BDAT -1 LAST\r\n" + smuggledCommands, "250 250 250 501 421_4.7.0 closed"}},
	{name: "BDAT with a huge size", steps: []string{transaction + "BDAT 99999999999999999999 LAST\r\n" + smuggledCommands, "250 250 250 501 421_4.7.0 closed"}},
	{name: "BDAT with a large size and a disconnect", steps: []string{transaction + "BDAT 4611686018427387903 LAST\r\nx", "250 250 250"}},
	{name: "BDAT with a malformed LAST", steps: []string{transaction + "BDAT 13 LASTX\r\n" + smuggledCommands, "250 250 250 501 421_4.7.0 closed"}},
	{name: "BDAT in hex", steps: []string{transaction + "BDAT 0x10 LAST\r\n" + smuggledCommands, "250 250 250 501 421_4.7.0 closed"}},
	{name: "BDAT over the limit", steps: []string{transaction + fmt.Sprintf("BDAT %d LAST\r\n", messageLimit+1) + strings.Repeat("x", messageLimit+1) + quit, "250 250 250 552_5.3.4 221"}},
	{name: "a bare LF by BDAT", steps: []string{transaction + "BDAT 5 LAST\r\na\nb\r\n" + smuggledCommands + quit, "250 250 250 550_5.6.0 421_4.7.0 closed"}},
	{name: "a bare CR that ends the last chunk", steps: []string{transaction + "BDAT 5\r\nabcd\rBDAT 0 LAST\r\n" + smuggledCommands + quit, "250 250 250 250 550_5.6.0 421_4.7.0 closed"}},
	{name: "a bare LF in the first of many chunks", steps: []string{transaction + "BDAT 2\r\na\nBDAT 1\r\nxBDAT 1 LAST\r\nx" + smuggledCommands + quit, "250 250 250 550_5.6.0 421_4.7.0 closed"}},
	{name: "DATA between two BDAT", steps: []string{transaction + "BDAT 3\r\na\r\nDATA\r\nRSET\r\n" + quit, "250 250 250 250 503 250 221"}},
	{name: "MAIL between two BDAT", steps: []string{transaction + "BDAT 3\r\na\r\nMAIL FROM:<evil@x.test>\r\nRSET\r\n" + quit, "250 250 250 250 503 250 221"}},
	{name: "BDAT broken off by RSET", steps: []string{transaction + "BDAT 3\r\na\r\nRSET\r\nBDAT 3 LAST\r\na\r\n" + quit, "250 250 250 250 250 503 221"}},
	{name: "commands within a chunk", steps: []string{transaction + fmt.Sprintf("BDAT %d\r\n", len(smuggledCommands)) + smuggledCommands + "RSET\r\n" + quit, "250 250 250 250 250 221"}},

	// AUTH.
	{name: "AUTH without a mechanism", steps: []string{ehlo + "AUTH\r\nAUTH FOO\r\nAUTH PLAIN a b\r\n" + quit, "250 501_5.5.4 504_5.5.4 501 221"}},
	{name: "AUTH with invalid base64", steps: []string{ehlo + "AUTH PLAIN !!!\r\nAUTH LOGIN\r\n!!!\r\n" + quit, "250 501_5.5.2 334 501 221"}},
	{name: "AUTH cancelled", steps: []string{ehlo + "AUTH LOGIN\r\n*\r\nAUTH PLAIN\r\n*\r\nAUTH CRAM-MD5\r\n*\r\nAUTH SCRAM-SHA-256\r\n*\r\n" + quit, "250 334 501 334 501 334 501 334 501 221"}},
	{name: "AUTH with a line that is too long", steps: []string{ehlo + "AUTH PLAIN\r\n" + strings.Repeat("A", 20_000) + "\r\n" + quit, "250 334 500_5.5.6 221"}},
	{name: "AUTH with an initial response where there is none", steps: []string{ehlo + "AUTH CRAM-MD5 AAAA\r\n" + quit, "250 501 221"}},
	{name: "AUTH PLAIN with garbage", steps: []string{ehlo + "AUTH PLAIN AAAA\r\n" + quit, "250 501_5.5.2 221"}},
	{name: "AUTH guessed four times", steps: []string{ehlo + strings.Repeat("AUTH PLAIN AGEAYg==\r\n", 4), "250 535 535 421_4.7.0 closed"}},
	{name: "a command in place of an AUTH response", steps: []string{ehlo + "AUTH LOGIN\r\nMAIL FROM:<evil@x.test>\r\n" + quit, "250 334 501_5.5.2 221"}},
	{name: "AUTH twice", account: account, steps: []string{"AUTH PLAIN AAAA\r\n" + quit, "503_5.5.1 221"}},

	// ETRN, TURN, ATRN.
	{name: "TURN by an anonymous client", steps: []string{ehlo + "TURN\r\nATRN held.test\r\n" + quit, "250 530_5.7.0 530_5.7.0 221"}},
	{name: "TURN before EHLO", steps: []string{"TURN\r\nATRN\r\nETRN held.test\r\n" + quit, "503 503 503 221"}},
	{name: "TURN by an account without domains", account: "other", steps: []string{"TURN\r\n", "550_5.7.1", "ATRN held.test\r\n", "450_4.7.1", quit, "221"}},
	{name: "TURN with an argument", account: account, steps: []string{"TURN held.test\r\n", "501_5.5.4", quit, "221"}},
	{name: "ATRN with a malformed list", account: account, steps: []string{"ATRN held.test,,\r\n", "501", "ATRN held\r\n", "501", "ATRN \xff.test\r\n", "501", quit, "221"}},
	{name: "ATRN for a domain of another account", account: account, steps: []string{"ATRN held.test,foreign.test\r\n", "450_4.7.1", quit, "221"}},
	{name: "TURN within a transaction", account: account, steps: []string{"MAIL FROM:<evil@x.test>\r\n", "250", "TURN\r\n", "503_5.5.1", "ATRN\r\n", "503", "ETRN held.test\r\n", "503", quit, "221"}},
	{name: "TURN with input behind it", account: account, steps: []string{"TURN\r\n220 x\r\n250 x\r\n250 x\r\n250 x\r\n354 x\r\n250 x\r\n", "503_5.5.0 500 500 500 500 500 500", quit, "221"}},
	{name: "ATRN with input behind it", account: account, steps: []string{"ATRN held.test\r\nMAIL FROM:<evil@x.test>\r\n", "503_5.5.0 250", quit, "221"}},
	{name: "TURN answered by no greeting", account: account, steps: []string{"TURN\r\n", "250", "554 go away\r\n", "closed"}},
	{name: "TURN answered by garbage", account: account, steps: []string{"TURN\r\n", "250", "\x00\xff\r\n", "closed"}},
	{name: "TURN answered by a command", account: account, steps: []string{"TURN\r\n", "250", "EHLO c.test\r\n", "closed"}},
	{name: "TURN answered by a server that wants no EHLO", account: account, steps: []string{"TURN\r\n", "250", "220 c\r\n", "EHLO", "500 what\r\n", "HELO", "500 what\r\n", "closed"}},
	{name: "TURN and an endless greeting", account: account, steps: []string{"TURN\r\n", "250", "220-" + strings.Repeat("x", 200_000), "closed"}},
	{name: "ETRN by an anonymous client for a foreign name", steps: []string{ehlo + "ETRN foreign.test\r\nETRN @foreign.test\r\nETRN #held.test\r\n" + quit, "250 459_4.7.1 459 459 221"}},
	{name: "ETRN with a malformed name", steps: []string{ehlo + "ETRN\r\nETRN held\r\nETRN held.test; rm -rf\r\nETRN @\r\nETRN #\r\nETRN <held.test>\r\n" + quit, "250 500 501 501 501 501 501 221"}},

	// Disconnects: no reply is due, and no message results.
	{name: "a disconnect before the greeting", steps: []string{"", ""}},
	{name: "a disconnect within a verb", steps: []string{"EH", ""}},
	{name: "a disconnect after MAIL", steps: []string{ehlo + "MAIL FROM:<evil@x.test>\r\n", "250 250"}},
	{name: "a disconnect within RCPT", steps: []string{ehlo + "MAIL FROM:<evil@x.test>\r\nRCPT TO:<some", "250 250"}},
	{name: "a disconnect after 354", steps: []string{data, "250 250 250 354"}},
	{name: "a disconnect in the header", steps: []string{data + "Subject: x", "250 250 250 354"}},
	{name: "a disconnect before the dot", steps: []string{data + "Subject: x\r\n\r\nx\r\n", "250 250 250 354"}},
	{name: "a disconnect within the end mark", steps: []string{data + "Subject: x\r\n\r\nx\r\n.\r", "250 250 250 354"}},
	{name: "a disconnect within the last chunk", steps: []string{transaction + "BDAT 1000 LAST\r\nSubject: x\r\n\r\nx\r\n", "250 250 250"}},
	{name: "a disconnect between chunks", steps: []string{transaction + "BDAT 3\r\nx\r\n", "250 250 250 250"}},
	{name: "a disconnect within AUTH", steps: []string{ehlo + "AUTH LOGIN\r\n", "250 334"}},
	{name: "a disconnect after TURN", account: account, steps: []string{"TURN\r\n", "250"}},
	{name: "a disconnect after TURN's greeting", account: account, steps: []string{"TURN\r\n", "250", "220 c\r\n", "EHLO"}},
	{name: "a disconnect when TURN's mail is to come", account: account, steps: []string{"TURN\r\n", "250", "220 c\r\n", "EHLO", "250 c\r\n", "MAIL", "250 c\r\n", "RCPT", "250 c\r\n", "DATA", "354 c\r\n", "Received:"}},
	{name: "a disconnect after STARTTLS", steps: []string{ehlo + "STARTTLS\r\n", "250 220"}},
	{name: "garbage after STARTTLS", steps: []string{ehlo + "STARTTLS\r\n", "250 220", smuggledCommands + strings.Repeat("\x16\x03", 5000), "closed"}},
	{name: "commands pipelined behind STARTTLS", steps: []string{ehlo + "STARTTLS\r\n" + smuggledCommands, "250 220"}},
}

// rejectedMessage are the replies where nothing behind a false end is run.
const rejectedMessage = "250 250 250 354 550_5.6.0 421_4.7.0 closed"

func manyRcpts(n int) string {
	var b strings.Builder
	for i := range n {
		fmt.Fprintf(&b, "RCPT TO:<r%d@held.test>\r\n", i)
	}
	return b.String()
}

// run sends the steps of a row and compares the replies. At the end it closes its
// half of the connection, and waits until the service has closed the other.
func (row wireRow) run(t *testing.T, addr string) {
	t.Helper()
	conn, err := net.Dial("tcp", addr)
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	_ = conn.SetDeadline(time.Now().Add(30 * time.Second))
	l := &testpeer.Client{Conn: conn, R: bufio.NewReader(conn)}
	if err := l.Expect("220"); err != nil {
		t.Fatal(err)
	}
	if row.account != "" {
		if err := errors.Join(l.Say("EHLO c.test", "250"), l.SignIn(row.account, password)); err != nil {
			t.Fatal(err)
		}
	}
	for i := 0; i < len(row.steps); i += 2 {
		var said sync.WaitGroup
		said.Go(func() { _, _ = io.WriteString(conn, row.steps[i]) }) // the service may close before it has read everything
		for n, want := range strings.Fields(row.steps[i+1]) {
			want = strings.ReplaceAll(want, "_", " ")
			got, err := l.Reply()
			if err != nil {
				got = "closed"
			}
			if !strings.HasPrefix(got, want) {
				t.Fatalf("step %d, reply %d: %q, %v; want %s", i/2+1, n+1, got, err, want)
			}
		}
		said.Wait()
	}
	_ = conn.(*net.TCPConn).CloseWrite()
	if _, err := io.Copy(io.Discard, l.R); errors.Is(err, os.ErrDeadlineExceeded) {
		t.Error("the service keeps the connection after the client has disconnected")
	}
}

// newLimitedService starts a service with a small MaxMessageSize, a held
// domain and two accounts; one of them may collect its mail.
func newLimitedService(t *testing.T) *testpeer.Service {
	t.Helper()
	return limited(t, startService(t))
}

// limited gives the service what newLimitedService has.
func limited(t *testing.T, s *testpeer.Service) *testpeer.Service {
	t.Helper()
	addAccount(t, s, "other")
	createHeldDomain(t, s, "held.test", account)
	set(t, s, "MaxMessageSize", fmt.Sprint(messageLimit))
	return s
}

// An acknowledged is a service with the messages for its held domain that got
// their 250 and were not collected yet.
type acknowledged struct {
	service  *testpeer.Service
	messages [][]byte
	numbered int // of all messages so far, acknowledged or not
}

// send sends n small messages, no two of them alike.
func (mail *acknowledged) send(t *testing.T, n int) {
	t.Helper()
	l, err := testpeer.Dial(mail.service.Addr(1))
	if err != nil {
		t.Fatal(err)
	}
	defer l.Quit()
	for range n {
		m := fmt.Appendf(nil, "Subject: number %d\r\n\r\n.dot\r\nTURN\r\n", mail.numbered)
		if err := l.Send("good@x.test", "someone@held.test", testpeer.DotStuff(m)); err != nil {
			t.Fatal(err)
		}
		mail.messages, mail.numbered = append(mail.messages, m), mail.numbered+1
	}
}

// verify collects the held mail by TURN. It wants exactly the acknowledged
// messages, and no panic or internal fault in the log.
func (mail *acknowledged) verify(t *testing.T) {
	t.Helper()
	l, err := testpeer.Dial(mail.service.Addr(1))
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	var got []testpeer.Received
	keep := func(m testpeer.Received) error { got = append(got, m); return nil }
	if err := errors.Join(l.SignIn(account, password), l.Say("TURN", "250"), l.Receive(keep)); err != nil {
		t.Fatal(err)
	}
	checkSameMail(t, mail.messages, got)
	for _, m := range got {
		if m.From != "good@x.test" {
			t.Errorf("mail from %s was taken:\n%s", m.From, m.Data)
		}
	}
	mail.messages = nil
	checkLog(t, mail.service)
}

func checkLog(t *testing.T, s *testpeer.Service) {
	t.Helper()
	for _, word := range []string{"panic", "goroutine ", "a verb went unanswered", "gave no reply"} {
		if strings.Contains(s.Log(), word) {
			t.Errorf("the log has %q", word)
		}
	}
}

func TestHostileInput(t *testing.T) {
	t.Parallel()
	mail := acknowledged{service: newLimitedService(t)}
	mail.send(t, 3)
	for _, row := range wireRows {
		t.Run(row.name, func(t *testing.T) {
			row.run(t, mail.service.Addr(1))
			mail.send(t, 1)
		})
	}
	mail.verify(t)
}
