// SPDX-License-Identifier: Apache-2.0

package mail

import (
	"fmt"
	"strconv"
	"strings"
)

// A Reply is what one end of a conversation answers the other. Its class is
// read off the code.
type Reply struct {
	Code     int    // RFC 5321 §4.2
	Enhanced string // RFC 3463, without the class digit: "7.1"; "" for none
	Text     string // for the peer; says nothing of our files or settings; lines are parted by \n
	Cause    error  // for the log; never sent
}

// Positive says that the code is 2xx.
func (r Reply) Positive() bool { return r.Code/100 == 2 }

// Temporary says that the code is 4xx.
func (r Reply) Temporary() bool { return r.Code/100 == 4 }

// Permanent says that the code is 5xx.
func (r Reply) Permanent() bool { return r.Code/100 == 5 }

// Status is the enhanced status code with its class, such as "5.7.1"; where
// the reply has none, the class with ".0.0" (RFC 3463 §2).
func (r Reply) Status() string {
	class := strconv.Itoa(r.Code / 100)
	if r.Enhanced == "" {
		return class + ".0.0"
	}
	return class + "." + r.Enhanced
}

// String is the reply on one line as it would stand on the wire.
func (r Reply) String() string {
	text := strings.ReplaceAll(r.Text, "\n", " / ")
	if r.Enhanced == "" {
		return strings.TrimSpace(fmt.Sprintf("%d %s", r.Code, text))
	}
	return strings.TrimSpace(fmt.Sprintf("%d %s %s", r.Code, r.Status(), text))
}

// Error lets a Reply travel as an error between a client and its caller. The
// cause is part of it, for the log.
func (r Reply) Error() string {
	if r.Cause != nil {
		return r.String() + ": " + r.Cause.Error()
	}
	return r.String()
}

// Unwrap gives the cause, or nil.
func (r Reply) Unwrap() error { return r.Cause }
