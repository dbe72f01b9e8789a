// SPDX-License-Identifier: Apache-2.0

package recipients

import (
	"errors"
	"slices"
	"strings"

	"restante/engine/mail"
)

// A source is who uses a file or a directory, and how the last look at it ended.
type source struct {
	users map[int]mail.Domain // by site; the last one that asked
	err   error               // of the last look
}

func newSource() source { return source{users: map[int]mail.Domain{}} }

func (s *source) base() *source { return s }

type sourced interface{ base() *source }

// keep forgets the sources of a site that uses says are no longer those of the domain.
func keep[X sourced](all map[string]X, site int, uses func(name string, d mail.Domain) bool) {
	for name, x := range all {
		users := x.base().users
		if d, ok := users[site]; ok && !uses(name, d) {
			delete(users, site)
		}
		if len(users) == 0 {
			delete(all, name)
		}
	}
}

// failures joins what fault says of the sources of a site, in order.
func failures[X sourced](all map[string]X, site int, fault func(name string, x X) error) error {
	var list []error
	for name, x := range all {
		if _, ok := x.base().users[site]; !ok {
			continue
		}
		if err := fault(name, x); err != nil {
			list = append(list, err)
		}
	}
	slices.SortFunc(list, func(a, b error) int { return strings.Compare(a.Error(), b.Error()) })
	return errors.Join(list...)
}
