// SPDX-License-Identifier: Apache-2.0

package stdlib

import (
	"errors"
	"math"
	"strconv"
	"strings"

	lua "github.com/yuin/gopher-lua"
)

// blanks are those of C.
const blanks = " \t\n\v\f\r"

// parseNumber reads a number as strtod of C, which Lua 5.1 uses, does.
func parseNumber(s string) (float64, bool) {
	s, _, _ = strings.Cut(s, "\x00")
	s = strings.ToLower(strings.Trim(s, blanks))
	if strings.Contains(s, "_") {
		return 0, false
	}
	if digits := strings.TrimLeft(s, "+-"); strings.HasPrefix(digits, "0x") && !strings.Contains(s, "p") {
		s += "p0" // Go wants an exponent
	}
	v, err := strconv.ParseFloat(s, 64)
	return v, err == nil || errors.Is(err, strconv.ErrRange)
}

// parseInteger reads a number as strtoul of C does.
func parseInteger(s string, base int) (float64, bool) {
	s = strings.ToLower(strings.Trim(s, blanks))
	digits, negative := strings.CutPrefix(s, "-")
	if !negative {
		digits = strings.TrimPrefix(s, "+")
	}
	if base == 16 {
		digits = strings.TrimPrefix(digits, "0x")
	}
	v, err := strconv.ParseUint(digits, base, 64)
	if err != nil && !errors.Is(err, strconv.ErrRange) {
		return 0, false
	}
	if negative && err == nil {
		v = -v
	}
	return float64(v), true
}

// toNumber is tonumber.
func toNumber(vm *lua.LState) int {
	v, base := vm.CheckAny(1), vm.OptInt(2, 10)
	if base < 2 || base > 36 {
		vm.ArgError(2, "base out of range")
	}
	var n float64
	ok := false
	switch text := v.(type) {
	case lua.LNumber:
		if n, ok = float64(text), true; base != 10 {
			n, ok = parseInteger(text.String(), base)
		}
	case lua.LString:
		if n, ok = parseNumber(string(text)); base != 10 {
			n, ok = parseInteger(string(text), base)
		}
	default:
		if base != 10 {
			vm.CheckString(1)
		}
	}
	if !ok {
		vm.Push(lua.LNil)
		return 1
	}
	vm.Push(lua.LNumber(n))
	return 1
}

// literal is a number of a source as gopher-lua reads it rightly: it takes 010 for an
// octal number.
func literal(s string) string {
	v, ok := parseNumber(s)
	if !ok {
		return s
	}
	return strconv.FormatFloat(v, 'g', -1, 64)
}

// integer is a number as C's conversion to a long long gives it.
func integer(n lua.LNumber) int64 {
	if f := float64(n); f != f || f >= math.MaxInt64 || f <= math.MinInt64 {
		return math.MinInt64
	}
	return int64(n)
}
