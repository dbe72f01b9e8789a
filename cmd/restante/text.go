// SPDX-License-Identifier: Apache-2.0

package main

import (
	"encoding/binary"
	"fmt"
	"io"
	"os"
	"strings"
	"unicode/utf16"
)

// input reads a text file; "" and "-" are standard input.
func (c *cli) input(name string) (string, error) {
	var b []byte
	var err error
	if name == "" || name == "-" {
		b, err = io.ReadAll(c.in)
		name = "standard input"
	} else {
		b, err = os.ReadFile(name)
	}
	if err != nil {
		return "", err
	}
	text, err := decodeText(string(b))
	if err != nil {
		return "", fmt.Errorf("%s: %w", name, err)
	}
	return text, nil
}

// decodeText gives a text without the byte order mark with which the editors and
// shells of Windows begin it, and as UTF-8 where the mark says UTF-16. Another
// text stays as it is.
func decodeText(text string) (string, error) {
	var order binary.ByteOrder
	switch {
	case strings.HasPrefix(text, "\xff\xfe"):
		order = binary.LittleEndian
	case strings.HasPrefix(text, "\xfe\xff"):
		order = binary.BigEndian
	default:
		return strings.TrimPrefix(text, "\ufeff"), nil
	}
	if len(text)%2 != 0 {
		return "", fmt.Errorf("is UTF-16 that is cut off: it has %d octets", len(text))
	}
	units := make([]uint16, 0, len(text)/2)
	for b := []byte(text[2:]); len(b) > 0; b = b[2:] {
		units = append(units, order.Uint16(b))
	}
	return string(utf16.Decode(units)), nil
}
