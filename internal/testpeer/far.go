// SPDX-License-Identifier: Apache-2.0

package testpeer

import (
	"bytes"
	"net"
	"time"
)

// Far puts a long line behind near: what is written on either end arrives at the other
// after delay. It gives the far end. Each end can write without waiting for its reader. The
// line ends when one of its ends is closed.
func Far(near net.Conn, delay time.Duration) net.Conn {
	far, inner := net.Pipe()
	Carry(near, inner, delay)
	return far
}

// Carry has what comes from a arrive at b after delay, and the other way round. It goes on
// in the background, until one of them is closed.
func Carry(a, b net.Conn, delay time.Duration) {
	go carry(a, b, delay)
	go carry(b, a, delay)
}

// A parcel is what was read at once, and when it is due.
type parcel struct {
	b  []byte
	at time.Time
}

func carry(to, from net.Conn, delay time.Duration) {
	defer to.Close()
	way := make(chan parcel, 4096) // more than anybody leaves unread
	go func() {
		defer close(way)
		b := make([]byte, 32<<10)
		for {
			n, err := from.Read(b)
			if n > 0 {
				way <- parcel{bytes.Clone(b[:n]), time.Now().Add(delay)}
			}
			if err != nil {
				return
			}
		}
	}()
	for p := range way {
		time.Sleep(time.Until(p.at))
		if _, err := to.Write(p.b); err != nil {
			from.Close()
		}
	}
}
