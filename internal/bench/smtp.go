// SPDX-License-Identifier: Apache-2.0

package main

import (
	"bytes"
	"fmt"
	"strings"

	"restante/internal/testpeer"
)

const (
	heldDomain = "held.test"
	account    = "caller"
	password   = "correct horse"
)

// A conn is a kept session that sends the same message again and again.
type conn struct {
	*testpeer.Client
	body []byte
}

func dial(addr string) (*conn, error) {
	l, err := testpeer.Dial(addr)
	return &conn{Client: l}, err
}

// send hands over one message of size octets for the held domain.
func (c *conn) send(size, session int) error {
	if len(c.body) == 0 {
		c.body = message(size, session)
	}
	return c.Send("bench@sender.test", "someone@"+heldDomain, c.body)
}

// message makes the octets of a message with its end marker.
func message(size, session int) []byte {
	head := fmt.Sprintf("From: <bench@sender.test>\r\nTo: <someone@%s>\r\nSubject: session %d\r\n\r\n", heldDomain, session)
	line := strings.Repeat("x", 70) + "\r\n"
	var b bytes.Buffer
	b.WriteString(head)
	for b.Len()+len(line) <= size {
		b.WriteString(line)
	}
	b.WriteString(".\r\n")
	return b.Bytes()
}
