// SPDX-License-Identifier: Apache-2.0

// Package ldap asks an LDAP directory or Active Directory: whether a password is that
// of a user, as whom it binds, and whether there is a mailbox. It is the only importer
// of go-ldap.
package ldap

import (
	"context"
	"crypto/sha256"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"io"
	"net"
	"net/url"
	"strings"
	"sync/atomic"
	"time"

	"github.com/go-ldap/ldap/v3"

	"restante/engine/account"
)

// A Config says where a directory is and how names are found in it.
type Config struct {
	URLs     []string // ldap or ldaps, tried in order
	StartTLS bool     // on ldap connections, before anything is sent
	CAFile   string   // that Roots reads; "" for the system's

	BindDN       string // for the search; "" for none
	BindPassword account.Secret
	Template     string // for the bind as the user, in place of a search: %s is the name
	BaseDN       string
	Filter       string // finds the user or mailbox; %s is the name or address
	Attribute    string // of the user's entry, which names the account; "" for the name as it came
	Group        string // DN of the group that a user must be in; "" for none

	Timeout time.Duration // for one server
	Cache   time.Duration // for a right password, or a mailbox; 0: it is asked each time

	Roots func() (*x509.CertPool, error) // nil: the system's

	Void string // why no server can be asked; "": they can
}

// A Directory is one that passwords are checked against. Its methods may be called
// from anywhere.
type Directory struct {
	cfg   Config
	id    string
	slots chan struct{} // conversations at once
	first atomic.Int32  // the server that answered last
}

// maxConversations bounds what many sign-ins at once cost the directory.
const maxConversations = 8

// maxReplies bounds the octets that one conversation reads.
const maxReplies = 1 << 20

// New makes a Directory. It connects to nothing.
func New(cfg Config) *Directory {
	named := cfg
	named.Roots = nil
	sum := sha256.Sum256(fmt.Appendf(nil, "%q\x00%q", string(cfg.BindPassword), fmt.Sprintf("%+v", named)))
	return &Directory{cfg: cfg, id: "ldap " + string(sum[:]), slots: make(chan struct{}, maxConversations)}
}

// ID differs from that of a directory with other settings.
func (d *Directory) ID() string { return d.id }

// CacheTime is how long an answer need not be asked for again.
func (d *Directory) CacheTime() time.Duration { return d.cfg.Cache }

// Check asks the directory whether a password is that of a name, and gives the name
// of the account. An error that is an [account.Refused] is the directory's refusal;
// any other one means that no server gave an answer.
func (d *Directory) Check(ctx context.Context, name, password string) (string, error) {
	if password == "" { // it would be an unauthenticated bind, which succeeds (RFC 4513 §5.1.2)
		return "", &account.Refused{Name: name, Reason: "empty password"}
	}
	account := name
	err := d.each(ctx, func(c *ldap.Conn) (err error) {
		q := query{Config: d.cfg, conn: c, name: name}
		if d.cfg.Template != "" {
			account, err = q.bindFirst(password)
		} else {
			account, err = q.searchFirst(password)
		}
		return err
	})
	return account, err
}

// each has one server after the other asked, until one gives an answer: no error, or
// its refusal.
func (d *Directory) each(ctx context.Context, ask func(*ldap.Conn) error) error {
	select {
	case d.slots <- struct{}{}:
		defer func() { <-d.slots }()
	case <-ctx.Done():
		return fmt.Errorf("the %d conversations with the directory do not end: %w", maxConversations, context.Cause(ctx))
	}
	if len(d.cfg.URLs) == 0 {
		return errors.New("no server of the directory is named")
	}
	var errs []error
	first := int(d.first.Load())
	for i := range d.cfg.URLs {
		i = (i + first) % len(d.cfg.URLs)
		err := d.ask(ctx, d.cfg.URLs[i], ask)
		if refused := (*account.Refused)(nil); err == nil || errors.As(err, &refused) {
			d.first.Store(int32(i))
			return err
		}
		errs = append(errs, fmt.Errorf("%s: %w", d.cfg.URLs[i], err))
	}
	return errors.Join(errs...)
}

// ask holds one conversation with one server. All of it ends within the time-out,
// because the connection does.
func (d *Directory) ask(ctx context.Context, server string, ask func(*ldap.Conn) error) error {
	begin := time.Now()
	ctx, cancel := context.WithTimeout(ctx, d.cfg.Timeout)
	defer cancel()
	c, err := d.dial(ctx, server)
	if err == nil {
		defer c.Close()
		err = ask(c)
	}
	if end, _ := ctx.Deadline(); err != nil && !time.Now().Before(end) {
		return fmt.Errorf("no answer within %.3g s", end.Sub(begin).Seconds())
	}
	return err
}

// A boundedConn reads no more than it may.
type boundedConn struct {
	net.Conn
	left int64
}

func (c *boundedConn) Read(p []byte) (int, error) {
	if c.left <= 0 {
		return 0, errors.New("the directory says too much")
	}
	n, err := io.LimitReader(c.Conn, c.left).Read(p)
	c.left -= int64(n)
	return n, err
}

func (d *Directory) dial(ctx context.Context, server string) (*ldap.Conn, error) {
	u, err := parse(server)
	if err != nil {
		return nil, err
	}
	secure := u.Scheme == "ldaps"
	port := u.Port()
	if port == "" {
		port = map[bool]string{false: "389", true: "636"}[secure]
	}
	set, err := d.tlsConfig(u.Hostname(), secure)
	if err != nil {
		return nil, err
	}
	raw, err := new(net.Dialer).DialContext(ctx, "tcp", net.JoinHostPort(u.Hostname(), port))
	if err != nil {
		return nil, err
	}
	end, _ := ctx.Deadline()
	_ = raw.SetDeadline(end)
	stop := context.AfterFunc(ctx, func() { _ = raw.Close() })
	nc := net.Conn(&boundedConn{raw, maxReplies})
	if secure {
		tc := tls.Client(nc, set)
		if err := tc.HandshakeContext(ctx); err != nil {
			stop()
			_ = raw.Close()
			return nil, err
		}
		nc = tc
	}
	c := ldap.NewConn(nc, secure)
	c.SetTimeout(d.cfg.Timeout)
	c.Start()
	if secure || !d.cfg.StartTLS {
		return c, nil
	}
	if err := c.StartTLS(set); err != nil {
		_ = c.Close()
		return nil, fmt.Errorf("StartTLS: %w", err)
	}
	return c, nil
}

// tlsConfig is nil where nothing is encrypted.
func (d *Directory) tlsConfig(host string, secure bool) (*tls.Config, error) {
	if !secure && !d.cfg.StartTLS {
		return nil, nil
	}
	set := &tls.Config{MinVersion: tls.VersionTLS12, ServerName: host}
	if d.cfg.Roots == nil {
		return set, nil
	}
	roots, err := d.cfg.Roots()
	set.RootCAs = roots
	return set, err
}

// A query is one check of a name over one connection.
type query struct {
	Config
	conn *ldap.Conn
	name string
}

func (q query) refused(format string, args ...any) error {
	return &account.Refused{Name: q.name, Reason: "directory: " + fmt.Sprintf(format, args...)}
}

// bindFirst binds as the user by the template, and looks for the entry only where
// something of it is asked for.
func (q query) bindFirst(password string) (string, error) {
	dn, name := q.Template, q.name
	if strings.Contains(dn, "=") {
		name = ldap.EscapeDN(name)
	}
	if err := q.bindUser(strings.ReplaceAll(dn, "%s", name), password); err != nil {
		return "", err
	}
	if q.Group == "" && q.Attribute == "" {
		return q.name, nil
	}
	return q.entry(nil)
}

// searchFirst finds the user's entry, with the rights of BindDN, and binds as it.
func (q query) searchFirst(password string) (string, error) {
	if err := q.bindToSearch(); err != nil {
		return "", err
	}
	return q.entry(func(dn string) error { return q.bindUser(dn, password) })
}

func (q query) bindToSearch() error {
	if q.BindDN == "" {
		return nil
	}
	if err := q.conn.Bind(q.BindDN, string(q.BindPassword)); err != nil {
		return fmt.Errorf("bind as %s: %w", q.BindDN, err)
	}
	return nil
}

// entry finds the user's entry, has bind check its DN, and gives the account's name.
func (q query) entry(bind func(dn string) error) (string, error) {
	attribute := q.Attribute
	if attribute == "" {
		attribute = "1.1" // none (RFC 4511 §4.5.1.8)
	}
	found, err := q.search(q.BaseDN, ldap.ScopeWholeSubtree, strings.ReplaceAll(q.Filter, "%s", ldap.EscapeFilter(q.name)), attribute)
	switch {
	case ldap.IsErrorWithCode(err, ldap.LDAPResultSizeLimitExceeded):
		return "", q.refused("more than one entry matches")
	case err != nil:
		return "", fmt.Errorf("search below %s: %w", q.BaseDN, err)
	case len(found) == 0:
		return "", q.refused("no entry matches")
	case len(found) > 1:
		return "", q.refused("more than one entry matches")
	}
	one, name := found[0], q.name
	if err := q.member(one.DN); err != nil {
		return "", err
	}
	if q.Attribute != "" {
		if name = one.GetEqualFoldAttributeValue(q.Attribute); name == "" {
			return "", q.refused("%s has no %s", one.DN, q.Attribute)
		}
	}
	if bind == nil {
		return name, nil
	}
	return name, bind(one.DN)
}

// member refuses a user who is not in the group. The group's entry is asked, which
// every directory has, and no attribute of the user's that a module keeps.
func (q query) member(dn string) error {
	if q.Group == "" {
		return nil
	}
	of, uid := ldap.EscapeFilter(dn), ldap.EscapeFilter(q.name)
	found, err := q.search(q.Group, ldap.ScopeBaseObject, fmt.Sprintf("(|(member=%s)(uniqueMember=%s)(memberUid=%s))", of, of, uid), "1.1")
	switch {
	case err != nil:
		return fmt.Errorf("look for the group %s: %w", q.Group, err)
	case len(found) == 0:
		return q.refused("%s is not in %s", dn, q.Group)
	}
	return nil
}

func (q query) search(base string, scope int, filter string, attributes ...string) ([]*ldap.Entry, error) {
	seconds := max(1, int(q.Timeout/time.Second))
	r, err := q.conn.Search(ldap.NewSearchRequest(base, scope, ldap.NeverDerefAliases, 2, seconds, false, filter, attributes, nil))
	if err != nil {
		return nil, err
	}
	return r.Entries, nil
}

// bindUser has the directory check the password. Answers that are about this user are
// refusals; all others mean that the directory cannot tell.
func (q query) bindUser(dn, password string) error {
	err := q.conn.Bind(dn, password)
	if ldap.IsErrorAnyOf(err, ldap.LDAPResultInvalidCredentials, ldap.LDAPResultInappropriateAuthentication, ldap.LDAPResultNoSuchObject,
		ldap.LDAPResultInvalidDNSyntax, ldap.LDAPResultConstraintViolation, ldap.LDAPResultInsufficientAccessRights, ldap.LDAPResultUnwillingToPerform) {
		return q.refused("%v", err)
	}
	if err != nil {
		return fmt.Errorf("bind as the user: %w", err)
	}
	return nil
}

func parse(server string) (*url.URL, error) {
	u, err := url.Parse(server)
	if err != nil || u.Scheme != "ldap" && u.Scheme != "ldaps" || u.Hostname() == "" || u.User != nil || strings.Trim(u.Path, "/") != "" || u.RawQuery != "" || u.Fragment != "" {
		return nil, fmt.Errorf("%q is no URL of a directory, such as ldaps://dc1.corp.example", server)
	}
	return u, nil
}

// CheckURL returns an error for what is no URL of a server.
func CheckURL(text string) error {
	_, err := parse(text)
	return err
}

// CheckFilter returns an error for what is no filter with a %s.
func CheckFilter(text string) error {
	if !strings.Contains(text, "%s") {
		return fmt.Errorf("%q has no %%s, which stands for the name", text)
	}
	if _, err := ldap.CompileFilter(strings.ReplaceAll(text, "%s", "x")); err != nil {
		return fmt.Errorf("%q is no filter of LDAP, such as (uid=%%s): %w", text, err)
	}
	return nil
}

// CheckTemplate returns an error for what is no name to bind by.
func CheckTemplate(text string) error {
	if !strings.Contains(text, "%s") {
		return fmt.Errorf("%q has no %%s, which stands for the name", text)
	}
	if !strings.Contains(text, "=") {
		return nil
	}
	return CheckDN(strings.ReplaceAll(text, "%s", "x"))
}

// CheckDN returns an error for what is no distinguished name.
func CheckDN(text string) error {
	if _, err := ldap.ParseDN(text); err != nil {
		return fmt.Errorf("%q is no distinguished name, such as ou=people,dc=corp,dc=example: %w", text, err)
	}
	return nil
}
