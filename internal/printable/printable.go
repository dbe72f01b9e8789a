// SPDX-License-Identifier: Apache-2.0

// Package printable tells the characters that show from those that a reader would not
// see.
package printable

import (
	"strconv"
	"unicode"
)

// Shows reports whether r shows: it is printable, and neither a character that Unicode
// has programs ignore, such as a filler or a variation selector, nor one whose glyph is
// blank, but for the ordinary blank.
func Shows(r rune) bool {
	return strconv.IsPrint(r) && !unicode.In(r, unicode.Other_Default_Ignorable_Code_Point, unicode.Variation_Selector, blank)
}

// blank has the printable characters whose glyph is blank by their name.
var blank = &unicode.RangeTable{
	R16: []unicode.Range16{{Lo: 0x2800, Hi: 0x2800, Stride: 1}}, // braille pattern blank
	R32: []unicode.Range32{
		{Lo: 0x13441, Hi: 0x13442, Stride: 1}, // Egyptian hieroglyph full blank, half blank
		{Lo: 0x16fe4, Hi: 0x16fe4, Stride: 1}, // Khitan small script filler
		{Lo: 0x1d159, Hi: 0x1d159, Stride: 1}, // musical symbol null notehead
	},
}
