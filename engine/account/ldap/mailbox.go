// SPDX-License-Identifier: Apache-2.0

package ldap

import (
	"context"
	"errors"
	"fmt"
	"strings"

	"github.com/go-ldap/ldap/v3"

	"restante/engine/mail"
)

// MailFilter finds the entry of a mailbox as Active Directory, Exchange 5.5 and Site
// Server have it. An attribute that the directory does not know matches nothing
// (RFC 4511 §4.5.1.7).
const MailFilter = "(|(mail=%s)(proxyAddresses=smtp:%s)(rfc822Mailbox=%s)(otherMailbox=smtp$%s))"

// Has reports whether the directory has an entry for a mailbox: one that Filter finds,
// where %s is the address, %u its local part and %d its domain. An error means that no
// server gave an answer.
func (d *Directory) Has(ctx context.Context, a mail.Address) (there bool, err error) {
	if d.cfg.Void != "" {
		return false, errors.New(d.cfg.Void)
	}
	err = d.each(ctx, func(c *ldap.Conn) (err error) {
		there, err = query{Config: d.cfg, conn: c}.has(a)
		return err
	})
	return there, err
}

func (q query) has(a mail.Address) (bool, error) {
	if err := q.bindToSearch(); err != nil {
		return false, err
	}
	base, err := q.base()
	if err != nil {
		return false, err
	}
	filter := strings.NewReplacer("%s", ldap.EscapeFilter(a.String()), "%u", ldap.EscapeFilter(a.Local), "%d", ldap.EscapeFilter(string(a.Domain))).Replace(q.Filter)
	found, err := q.search(base, ldap.ScopeWholeSubtree, filter, "1.1")
	switch {
	case ldap.IsErrorWithCode(err, ldap.LDAPResultSizeLimitExceeded):
		return true, nil // by several entries
	case err != nil:
		return false, fmt.Errorf("search below %q: %w", base, err)
	}
	return len(found) > 0, nil
}

// base is BaseDN or, without one, what the server names as its own (RFC 4512 §5.1).
func (q query) base() (string, error) {
	if q.BaseDN != "" {
		return q.BaseDN, nil
	}
	const preferred, all = "defaultNamingContext", "namingContexts"
	root, err := q.search("", ldap.ScopeBaseObject, "(objectClass=*)", preferred, all)
	if err != nil || len(root) == 0 {
		return "", fmt.Errorf("ask for the naming context: %w", errors.Join(err, errNoContext))
	}
	for _, name := range []string{preferred, all} {
		if base := root[0].GetEqualFoldAttributeValue(name); base != "" {
			return base, nil
		}
	}
	return "", errNoContext
}

var errNoContext = errors.New("the server names none: set where the search begins")

// CheckMailFilter returns an error for what is no filter that finds mailboxes.
func CheckMailFilter(text string) error {
	if !strings.Contains(text, "%s") && !strings.Contains(text, "%u") {
		return fmt.Errorf("%q has neither %%s, which stands for the address, nor %%u, for its local part", text)
	}
	if _, err := ldap.CompileFilter(strings.NewReplacer("%s", "x", "%u", "x", "%d", "x").Replace(text)); err != nil {
		return fmt.Errorf("%q is no filter of LDAP, such as (mail=%%s): %w", text, err)
	}
	return nil
}
