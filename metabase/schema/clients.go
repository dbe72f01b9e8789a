// SPDX-License-Identifier: Apache-2.0

package schema

import (
	"strings"

	"restante/metabase/schema/iplist"
)

// parseIPList reads the words of a list of clients into its octets.
func parseIPList(args []string) ([]byte, error) {
	l, err := iplist.Parse(args)
	if err == nil {
		var b []byte
		if b, err = l.Encode(); err == nil {
			return b, nil
		}
	}
	bad := []error{err}
	if many, ok := err.(interface{ Unwrap() []error }); ok {
		bad = many.Unwrap()
	}
	for i := range bad {
		bad[i] = asInvalid(bad[i])
	}
	return nil, joined(bad)
}

func asInvalid(err error) error {
	if err == nil {
		return nil
	}
	return invalid("%v", err)
}

// validIPList holds that octets are a list, or none.
func validIPList(b []byte) error {
	if len(b) == 0 {
		return nil
	}
	_, err := iplist.Decode(b)
	return asInvalid(err)
}

// parsePrefix6 is iplist.ParsePrefix for IPv6 alone.
func parsePrefix6(s string) (string, error) {
	n, err := iplist.ParsePrefix(s)
	if err == nil && !n.Addr().Is6() {
		err = invalid("%q: this list is for IPv6; IPv4 has a list of its own, such as RelayIpList", clip(s))
	}
	return iplist.PrefixText(n), asInvalid(err)
}

// parseNetwork is iplist.ParsePrefix for both families.
func parseNetwork(s string) (string, error) {
	n, err := iplist.ParsePrefix(s)
	if err == nil {
		err = iplist.CheckHost(n)
	}
	return iplist.PrefixText(n), asInvalid(err)
}

// The words of a list of callers.
const (
	CallerAccounts = "accounts" // the accounts of AuthTurnList
	CallerAny      = "any"      // everybody
)

// parseCaller is iplist.ParsePrefix with the words of a list of callers.
func parseCaller(s string) (string, error) {
	for _, word := range []string{CallerAccounts, CallerAny} {
		if strings.EqualFold(s, word) {
			return word, nil
		}
	}
	n, err := iplist.ParsePrefix(s)
	if err == nil {
		err = iplist.CheckHost(n)
	}
	if err != nil && !strings.ContainsAny(s, "./:") {
		err = invalid("%q: allowed are accounts, any, ADDR and ADDR/BITS", clip(s))
	}
	return iplist.PrefixText(n), asInvalid(err)
}
