// SPDX-License-Identifier: Apache-2.0

package batch

import (
	"encoding/binary"
	"fmt"
	"strings"
	"unicode/utf16"
)

// DecodeText gives a text without the byte order mark with which the editors and
// shells of Windows begin it, and as UTF-8 where the mark says UTF-16. Another
// text stays as it is.
func DecodeText(text string) (string, error) {
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
