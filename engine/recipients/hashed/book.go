// SPDX-License-Identifier: Apache-2.0

package hashed

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"maps"
	"slices"
	"strings"

	"restante/engine/mail"
)

// Verb is the verb by which lists are pushed, and the keyword of EHLO.
const Verb = "XRECIPIENTS"

// A Book has the local parts of each domain.
type Book map[mail.Domain][]string

// ReadBook reads a list of recipients, one a line: an address, or a local part, which
// stands for it in each of these domains. Empty lines and those that begin with # do not
// count.
func ReadBook(r io.Reader, domains []mail.Domain) (Book, error) {
	book, in := Book{}, bufio.NewScanner(r)
	for n := 1; in.Scan(); n++ {
		text := strings.TrimSpace(strings.TrimPrefix(in.Text(), "\ufeff"))
		if text == "" || text[0] == '#' {
			continue
		}
		a, err := mail.ParseListed(text)
		switch {
		case err != nil:
			return nil, fmt.Errorf("line %d is no address: %w", n, err)
		case !a.NoDomain():
			book[a.Domain] = append(book[a.Domain], a.Local)
			continue
		case len(domains) == 0:
			return nil, fmt.Errorf("line %d has no domain: give the address, or name the domains behind --atrn or --etrn", n)
		}
		for _, d := range domains {
			book[d] = append(book[d], a.Local)
		}
	}
	if err := in.Err(); err != nil {
		return nil, err
	}
	if len(book) == 0 {
		return nil, errors.New("has no address")
	}
	return book, nil
}

// hashesPerLine keeps a command within the 2,048 octets of a line.
const hashesPerLine = 38

// Push has the holder store the list of each domain, unless it has it already. Ask says a
// command and gives the reply. Told are the domains whose list was sent.
func (b Book) Push(ctx context.Context, ask func(ctx context.Context, line string) (mail.Reply, error)) (told []mail.Domain, err error) {
	for _, d := range slices.Sorted(maps.Keys(b)) {
		sent, err := push(ctx, d, b[d], ask)
		if err != nil {
			return told, fmt.Errorf("recipients of %s: %w", d, err)
		}
		if sent {
			told = append(told, d)
		}
	}
	return told, nil
}

func push(ctx context.Context, d mail.Domain, locals []string, ask func(context.Context, string) (mail.Reply, error)) (sent bool, err error) {
	say := func(words ...string) (mail.Reply, error) {
		r, err := ask(ctx, strings.Join(append([]string{Verb, string(d)}, words...), " "))
		if err == nil && !r.Positive() {
			err = r
		}
		return r, err
	}
	r, err := say()
	if err != nil {
		return false, err
	}
	words := append(strings.Fields(r.Text), "-", "-")
	salt, digest := words[0], words[1]
	if !IsSalt(salt) {
		salt = NewSalt()
	}
	var hashes []Hash
	for _, local := range locals {
		hashes = append(hashes, Of(salt, local))
	}
	set := New(salt, hashes)
	if set.Digest() == digest {
		return false, nil
	}
	for some := range slices.Chunk(set.Hashes(), hashesPerLine) {
		line := []string{"ADD"}
		for _, h := range some {
			line = append(line, h.String())
		}
		if _, err := say(line...); err != nil {
			return false, err
		}
	}
	_, err = say("SET", salt, set.Digest())
	return err == nil, err
}
