// SPDX-License-Identifier: Apache-2.0

package filter

import (
	"context"
	"crypto/tls"
	"errors"
	"io"
	"net"
	"net/netip"
	"strconv"
	"strings"
	"time"

	"github.com/d--j/go-milter"

	"restante/engine/mail"
	"restante/engine/session"
)

func init() { milter.LogWarning = func(string, ...any) {} } // what is wrong with a filter is in our own log

// A link is the connection to one filter for one message.
type link struct {
	Filter
	conn   *conn
	peer   *milter.ClientSession
	macros *milter.MacroBag
	free   func() // gives the open file back; nil: none is taken
	ended  bool   // it has accepted the message, or is down and need not be asked
}

// dialed is a connection that there is already.
type dialed struct{ net.Conn }

func (d dialed) Dial(string, string) (net.Conn, error) { return d.Conn, nil }

// connect opens the connection and negotiates. Filters that do not say which macros they
// want get those that Postfix sends.
func (l *link) connect(ctx context.Context, config Config) error {
	ctx, cancel := context.WithTimeout(ctx, config.Command)
	defer cancel()
	if files := config.Health.Files; files != nil {
		if !files.Take() {
			return errors.New("callers and filters have all open files that the process may have, but for its reserve: raise its limit (ulimit -n, LimitNOFILE)")
		}
		l.free = files.Release
	}
	dial := config.Dial
	if dial == nil {
		dial = (&net.Dialer{}).DialContext
	}
	c, err := dial(ctx, l.Network, l.Address)
	if err != nil {
		return err
	}
	l.conn = &conn{Conn: c}
	l.conn.phase(config.Command)
	defer context.AfterFunc(ctx, func() { _ = c.Close() })()
	id := []milter.MacroName{milter.MacroQueueId}
	l.peer, err = milter.NewClient(l.Network, l.Address,
		milter.WithDialer(dialed{l.conn}),
		milter.WithMacroRequest(milter.StageConnect, []milter.MacroName{
			milter.MacroMTAFQDN, milter.MacroMTAVersion, milter.MacroDaemonName, milter.MacroDaemonAddr, milter.MacroDaemonPort, milter.MacroIfAddr,
			milter.MacroClientAddr, milter.MacroClientName, milter.MacroClientPort, milter.MacroClientPTR,
		}),
		milter.WithMacroRequest(milter.StageHelo, []milter.MacroName{milter.MacroTlsVersion, milter.MacroCipher, milter.MacroCipherBits}),
		milter.WithMacroRequest(milter.StageMail, []milter.MacroName{
			milter.MacroQueueId, milter.MacroAuthType, milter.MacroAuthAuthen, milter.MacroMailMailer, milter.MacroMailHost, milter.MacroMailAddr,
		}),
		milter.WithMacroRequest(milter.StageRcpt, []milter.MacroName{milter.MacroQueueId, milter.MacroRcptMailer, milter.MacroRcptHost, milter.MacroRcptAddr}),
		milter.WithMacroRequest(milter.StageData, id), milter.WithMacroRequest(milter.StageEOH, id), milter.WithMacroRequest(milter.StageEOM, id),
	).Session(l.macros)
	return err
}

func (l *link) close() {
	if l.conn != nil {
		l.conn.phase(time.Second)
		if l.peer != nil {
			_ = l.peer.Close()
		}
		_ = l.conn.Close()
		l.conn, l.peer = nil, nil
	}
	if l.free != nil {
		l.free()
		l.free = nil
	}
	l.ended = true
}

// send shows the message up to its end, and gives the filter's first answer that is not
// to go on.
func (l *link) send(m *message) (*milter.Action, error) {
	a, err := l.peer.DataStart()
	for i := 0; err == nil && goesOn(a) && i < len(m.fields); i++ {
		value := m.fields[i].value()
		if !l.peer.ProtocolOption(milter.OptHeaderLeadingSpace) {
			value = strings.TrimPrefix(value, " ")
		}
		a, err = l.peer.HeaderField(m.fields[i].name, value, nil)
	}
	if err == nil && goesOn(a) {
		a, err = l.peer.HeaderEnd()
	}
	body, chunk := m.body(), make([]byte, milter.DataSize64K)
	for first := true; err == nil && goesOn(a); first = false {
		n, end := io.ReadFull(body, chunk)
		if end != nil && !errors.Is(end, io.EOF) && !errors.Is(end, io.ErrUnexpectedEOF) {
			return nil, storeError{end}
		}
		if n == 0 && !first {
			break
		}
		if a, err = l.peer.BodyChunk(chunk[:n]); l.peer.Skip() || l.peer.ProtocolOption(milter.OptNoBody) || end != nil {
			break
		}
	}
	return a, err
}

// goesOn reports whether the filter wants what follows.
func goesOn(a *milter.Action) bool {
	return a.Type == milter.ActionContinue || a.Type == milter.ActionSkip
}

// A storeError is an error of our own side.
type storeError struct{ error }

func (e storeError) Unwrap() error { return e.error }

// family gives an address as the protocol has it. Without a connection it is that of this
// machine, as from Postfix.
func family(a netip.AddrPort) (milter.ProtoFamily, uint16, string) {
	ip := a.Addr().Unmap().WithZone("")
	switch {
	case !ip.IsValid():
		return milter.FamilyInet, 0, "127.0.0.1"
	case ip.Is4():
		return milter.FamilyInet, a.Port(), ip.String()
	}
	return milter.FamilyInet6, a.Port(), ip.String()
}

const unknown = "unknown" // as Postfix says it

// nameOf is the client's name by DNS.
func nameOf(t session.Transaction) string {
	switch {
	case !t.Envelope.Client.IsValid():
		return "localhost"
	case t.Names != nil:
		if names, err := t.Names(); err == nil && len(names) > 0 {
			return strings.TrimSuffix(names[0], ".")
		}
	}
	return unknown
}

// helloOf is the name that the client greeted with, or what stands for one.
func helloOf(t session.Transaction) string {
	switch {
	case t.Envelope.Helo != "":
		return t.Envelope.Helo
	case t.Envelope.Client.IsValid():
		return mail.AddressLiteral(t.Envelope.Client)
	}
	return "localhost"
}

// macrosOf are those that are known before the recipients. None is empty.
func macrosOf(t session.Transaction, name string) *milter.MacroBag {
	m := milter.NewMacroBag()
	_, port, address := family(netip.AddrPortFrom(t.Envelope.Client, t.Remote.Port()))
	_, own, local := family(t.Local)
	for macro, value := range map[milter.MacroName]string{
		milter.MacroMTAFQDN: t.Hostname, milter.MacroMTAVersion: "Restante", milter.MacroDaemonName: t.Hostname,
		milter.MacroDaemonAddr: local, milter.MacroDaemonPort: strconv.Itoa(int(own)), milter.MacroIfAddr: local,
		milter.MacroClientAddr: address, milter.MacroClientPort: strconv.Itoa(int(port)), milter.MacroClientName: name, milter.MacroClientPTR: name,
		milter.MacroQueueId: string(t.Envelope.ID), milter.MacroAuthAuthen: t.Envelope.Account, milter.MacroAuthType: t.Mechanism,
		milter.MacroMailMailer: "esmtp",
	} {
		if value != "" {
			m.Set(macro, value)
		}
	}
	if from := t.Envelope.From; !from.IsNull() {
		m.Set(milter.MacroMailHost, string(from.Domain))
		m.Set(milter.MacroMailAddr, from.String())
	} else {
		m.Set(milter.MacroMailAddr, "<>")
	}
	if t.TLS != nil {
		suite := tls.CipherSuiteName(t.TLS.CipherSuite)
		m.Set(milter.MacroTlsVersion, strings.Replace(tls.VersionName(t.TLS.Version), "TLS ", "TLSv", 1))
		m.Set(milter.MacroCipher, suite)
		m.Set(milter.MacroCipherBits, cipherBits(suite))
	}
	return m
}

func cipherBits(suite string) string {
	switch {
	case strings.Contains(suite, "AES_256"), strings.Contains(suite, "CHACHA20"):
		return "256"
	case strings.Contains(suite, "3DES"):
		return "112"
	}
	return "128"
}
