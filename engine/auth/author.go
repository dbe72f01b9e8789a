// SPDX-License-Identifier: Apache-2.0

package auth

import (
	"bufio"
	"io"
	"mime"
	netmail "net/mail"
	"slices"
	"strings"
	"unicode/utf8"

	"restante/engine/mail"
)

// maxAuthors bounds the domains of authors that are asked about.
const maxAuthors = 10

// authors are the domains that the From fields name.
type authors struct {
	domains []mail.Domain
	strict  bool // it is one, of the one field, read by RFC 5322
}

// authorsOf reads the From fields. Programs show a malformed one, or one of several,
// to people all the same, so every domain that can be found in them counts then (RFC
// 7489 §6.6.1). Of more than maxAuthors, it gives none.
func authorsOf(message io.Reader) (authors, error) {
	head, err := readHeader(bufio.NewReaderSize(message, 32<<10))
	if err != nil {
		return authors{}, err
	}
	fields := fromFields(head)
	if len(fields) == 1 {
		if d, ok := domainOf(fields[0]); ok {
			return authors{[]mail.Domain{d}, true}, nil
		}
	}
	found := domainsIn(strings.Join(fields, "\n"))
	if len(found) > maxAuthors {
		found = nil
	}
	return authors{domains: found}, nil
}

func fromFields(head []byte) (fields []string) {
	in := false // the present field is one
	for line := range strings.Lines(string(head)) {
		name, value, _ := strings.Cut(line, ":")
		switch {
		case line[0] != ' ' && line[0] != '\t':
			if in = strings.EqualFold(strings.TrimRight(name, " \t"), "From"); in {
				fields = append(fields, strings.TrimRight(value, "\r\n"))
			}
		case in:
			fields[len(fields)-1] += strings.TrimRight(line, "\r\n")
		}
	}
	return fields
}

// domainOf gives the one domain of the addresses of a From field.
func domainOf(field string) (found mail.Domain, ok bool) {
	parser := netmail.AddressParser{WordDecoder: &mime.WordDecoder{
		CharsetReader: func(_ string, in io.Reader) (io.Reader, error) { return in, nil }, // names for display say nothing
	}}
	list, err := parser.ParseList(field)
	if err != nil {
		return "", false
	}
	for _, one := range list {
		at := strings.LastIndexByte(one.Address, '@')
		d, err := mail.ParseDomain(one.Address[at+1:])
		if err != nil || found != "" && found != d {
			return "", false
		}
		found = d
	}
	return found, found != ""
}

// domainsIn gives what may be meant as a domain behind each @ of a text: as it stands,
// and without the comments and spaces that RFC 5322 §4.4 allows around each dot.
func domainsIn(text string) (found []mail.Domain) {
	bare := withoutComments(text)
	for _, form := range []string{text, bare, strings.Join(strings.Fields(bare), "")} {
		for i, part := range strings.Split(form, "@") {
			if i == 0 {
				continue
			}
			part = strings.TrimLeft(part, " \t")
			if end := strings.IndexFunc(part, notInDomain); end >= 0 {
				if part[end] >= utf8.RuneSelf { // the domain goes on
					continue
				}
				part = part[:end]
			}
			d, err := mail.ParseDomain(strings.Trim(part, "."))
			if err == nil && !slices.Contains(found, d) {
				found = append(found, d)
			}
			if len(found) > maxAuthors {
				return found
			}
		}
	}
	return found
}

func notInDomain(r rune) bool {
	letter := r >= 'a' && r <= 'z' || r >= 'A' && r <= 'Z'
	return !letter && (r < '0' || r > '9') && r != '-' && r != '_' && r != '.'
}
