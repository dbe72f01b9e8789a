// SPDX-License-Identifier: Apache-2.0

package filter

import (
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"net"
	"time"
)

const (
	maxPacket  = 1 << 20 // octets of one answer; a new body comes in pieces of 64 KiB
	maxAnswers = 4 << 20 // octets of all answers to one message, but for a new body
)

// A conn is a connection to a filter, which it keeps from using more time and memory
// than it may. It knows where the packets of the protocol begin and end.
type conn struct {
	net.Conn
	begin []byte // of a packet, that is read already
	left  int64  // of it, that is not
	total int64  // octets of answers

	// body takes a new body, at the end of the message; nil: none may come.
	body io.Writer
}

// The deadline of the phase holds for each of its packets.
func (c *conn) SetReadDeadline(time.Time) error  { return nil }
func (c *conn) SetWriteDeadline(time.Time) error { return nil }

// phase gives the filter that long for all that follows.
func (c *conn) phase(d time.Duration) { _ = c.Conn.SetDeadline(time.Now().Add(d)) }

// newBody is the kind of a packet with a piece of a new body (SMFIR_REPLBODY).
const newBody = 'b'

// Read gives packets on, but those with a new body, which go to c.body.
func (c *conn) Read(p []byte) (int, error) {
	for len(c.begin) == 0 && c.left == 0 {
		if err := c.next(); err != nil {
			return 0, err
		}
	}
	if len(c.begin) > 0 {
		n := copy(p, c.begin)
		c.begin = c.begin[n:]
		return n, nil
	}
	n, err := c.Conn.Read(p[:min(int64(len(p)), c.left)])
	c.left -= int64(n)
	return n, err
}

// next reads the beginning of the next packet: the octets that follow, and its kind.
func (c *conn) next() error {
	var head [5]byte
	if _, err := io.ReadFull(c.Conn, head[:4]); err != nil {
		return err
	}
	size := int64(binary.BigEndian.Uint32(head[:4]))
	if size < 1 || size > maxPacket {
		return fmt.Errorf("answers with a packet of %d octets", size)
	}
	if _, err := io.ReadFull(c.Conn, head[4:]); err != nil {
		return err
	}
	if head[4] == newBody {
		if c.body == nil {
			return errors.New("answers with a new body before the end of the message")
		}
		if _, err := c.body.Write(nil); err != nil { // it may be empty
			return err
		}
		_, err := io.CopyN(c.body, c.Conn, size-1)
		return err
	}
	if c.total += size; c.total > maxAnswers {
		return fmt.Errorf("answers one message with more than %d octets", maxAnswers)
	}
	c.begin, c.left = head[:], size-1
	return nil
}
