// SPDX-License-Identifier: Apache-2.0

package w3clog

import (
	"net/netip"
	"strconv"
	"strings"
	"time"
)

// An Entry is one line: a command of a caller with our reply, or a command of
// ours or a host's reply in a conversation that we began. Its texts may be what
// strangers sent: they are escaped.
type Entry struct {
	Client   netip.Addr     // the other end
	User     string         // the name that the caller greeted with
	Outbound Outbound       // of a conversation that we began, in place of User
	Server   netip.AddrPort // our end; of an outgoing connection only the port of the other one
	Method   string         // the verb
	Query    string         // what follows the verb, or a host's reply
	Status   int            // the code of our reply; 0 in outgoing connections
	Sent     int64          // octets from server to client
	Received int64          // octets from client to server
	Taken    time.Duration
}

// An Outbound is the user of a line about an outgoing connection, as IIS has it;
// "" in a caller's.
type Outbound string

// The users of lines about outgoing connections.
const (
	OutboundCommand  Outbound = "OutboundConnectionCommand"
	OutboundResponse Outbound = "OutboundConnectionResponse"
)

// Fields says which fields a line has, by the bits of LogExtFileFlags.
type Fields uint32

// A column is one field: its bit and its name, and how it is written.
type column struct {
	bit    Fields
	name   string
	append func(dst []byte, l *line) []byte
}

// A line is an Entry with what its log adds.
type line struct {
	*Entry
	at   time.Time
	site string
	host string
}

// columns lists the fields in the order of IIS. What a web server alone knows is
// a dash.
var columns = []column{
	{0x1, "date", func(b []byte, l *line) []byte { return l.at.AppendFormat(b, time.DateOnly) }},
	{0x2, "time", func(b []byte, l *line) []byte { return l.at.AppendFormat(b, time.TimeOnly) }},
	{0x4, "c-ip", func(b []byte, l *line) []byte { return appendAddr(b, l.Client) }},
	{0x8, "cs-username", appendUser},
	{0x10, "s-sitename", func(b []byte, l *line) []byte { return appendText(b, l.site) }},
	{0x20, "s-computername", func(b []byte, l *line) []byte { return appendText(b, l.host) }},
	{0x40, "s-ip", func(b []byte, l *line) []byte { return appendAddr(b, l.Server.Addr()) }},
	{0x8000, "s-port", func(b []byte, l *line) []byte { return strconv.AppendUint(b, uint64(l.Server.Port()), 10) }},
	{0x80, "cs-method", func(b []byte, l *line) []byte { return appendText(b, l.Method) }},
	{0x100, "cs-uri-stem", dash},
	{0x200, "cs-uri-query", func(b []byte, l *line) []byte { return appendText(b, l.Query) }},
	{0x400, "sc-status", func(b []byte, l *line) []byte { return strconv.AppendInt(b, int64(l.Status), 10) }},
	{0x200000, "sc-substatus", zero},
	{0x800, "sc-win32-status", zero},
	{0x1000, "sc-bytes", func(b []byte, l *line) []byte { return strconv.AppendInt(b, l.Sent, 10) }},
	{0x2000, "cs-bytes", func(b []byte, l *line) []byte { return strconv.AppendInt(b, l.Received, 10) }},
	{0x4000, "time-taken", func(b []byte, l *line) []byte { return strconv.AppendInt(b, l.Taken.Milliseconds(), 10) }},
	{0x80000, "cs-version", func(b []byte, _ *line) []byte { return append(b, "SMTP"...) }},
	{0x100000, "cs-host", dash},
	{0x10000, "cs(User-Agent)", dash},
	{0x20000, "cs(Cookie)", dash},
	{0x40000, "cs(Referer)", dash},
}

func dash(b []byte, _ *line) []byte { return append(b, '-') }
func zero(b []byte, _ *line) []byte { return append(b, '0') }

// header is the block of directives above the lines of these fields.
func (f Fields) header(at time.Time) []byte {
	b := append([]byte(nil), "#Software: Restante\r\n#Version: 1.0\r\n#Date: "...)
	b = at.AppendFormat(b, time.DateTime)
	b = append(b, "\r\n#Fields:"...)
	for _, c := range columns {
		if f&c.bit != 0 {
			b = append(append(b, ' '), c.name...)
		}
	}
	return append(b, '\r', '\n')
}

// appendLine writes one line of these fields.
func (f Fields) appendLine(dst []byte, l *line) []byte {
	begin := len(dst)
	for i := range columns {
		if c := &columns[i]; f&c.bit != 0 {
			if len(dst) > begin {
				dst = append(dst, ' ')
			}
			dst = c.append(dst, l)
		}
	}
	return append(dst, '\r', '\n')
}

func appendAddr(dst []byte, a netip.Addr) []byte {
	if !a.IsValid() {
		return append(dst, '-')
	}
	return a.Unmap().WithZone("").AppendTo(dst)
}

// appendUser writes a caller that greets as an Outbound with an escape.
func appendUser(dst []byte, l *line) []byte {
	if l.Outbound != "" {
		return append(dst, l.Outbound...)
	}
	name := l.User
	if strings.EqualFold(name, string(OutboundCommand)) || strings.EqualFold(name, string(OutboundResponse)) {
		dst, name = appendEscaped(dst, name[0]), name[1:]
	}
	return appendText(dst, name)
}

// maxText bounds one field, in octets of what it is made from.
const maxText = 1024

// appendText writes a text as one field: a blank or tab is a plus sign, as in
// IIS. An octet that a reader of the file could take for something else than a
// part of this text is escaped: controls, what is not ASCII, quotes, plus and
// percent signs, a number sign at the beginning, which begins a directive, and a
// dash alone, which stands for nothing at all.
func appendText(dst []byte, text string) []byte {
	switch text {
	case "":
		return append(dst, '-')
	case "-":
		return appendEscaped(dst, '-')
	}
	cut := len(text) > maxText
	if cut {
		text = text[:maxText]
	}
	for i := range len(text) {
		switch c := text[i]; {
		case c == ' ' || c == '\t':
			dst = append(dst, '+')
		case c < ' ' || c > '~' || c == '"' || c == '+' || c == '%' || c == '#' && i == 0:
			dst = appendEscaped(dst, c)
		default:
			dst = append(dst, c)
		}
	}
	if cut {
		dst = append(dst, "..."...)
	}
	return dst
}

// appendEscaped writes an octet as a percent sign and its number.
func appendEscaped(dst []byte, c byte) []byte {
	const hex = "0123456789ABCDEF"
	return append(dst, '%', hex[c>>4], hex[c&15])
}
