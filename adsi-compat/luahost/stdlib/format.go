// SPDX-License-Identifier: Apache-2.0

package stdlib

import (
	"fmt"
	"math"
	"regexp"
	"strconv"
	"strings"

	lua "github.com/yuin/gopher-lua"
)

var (
	wide = regexp.MustCompile(`%[^%a-zA-Z]*([0-9]{3}|\*|\[)`)
	verb = regexp.MustCompile(`^%([-+ #0]*)([0-9]*)(\.[0-9]*)?`)
)

// format is string.format, as that of C. Unlike in Lua 5.1, %s takes any value.
func format(vm *lua.LState) int {
	s, arg := vm.CheckString(1), 1
	if wide.MatchString(strings.ReplaceAll(s, "%%", "")) {
		vm.RaiseError("a width or precision in a format has at most two digits")
	}
	var b strings.Builder
	for s != "" && b.Len() <= MaxText {
		before, _, found := strings.Cut(s, "%")
		b.WriteString(before)
		if s = s[len(before):]; !found {
			break
		}
		if strings.HasPrefix(s, "%%") {
			b.WriteByte('%')
			s = s[2:]
			continue
		}
		m := verb.FindStringSubmatch(s)
		if len(s) == len(m[0]) {
			vm.RaiseError("invalid option '%s' to 'format'", s)
		}
		kind := s[len(m[0])]
		s = s[len(m[0])+1:]
		arg++
		b.WriteString(spec{m[1], m[2], m[3], kind}.format(vm, arg))
	}
	if b.Len() > MaxText {
		tooLong(vm)
	}
	vm.Push(lua.LString(b.String()))
	return 1
}

// A spec is one conversion of a format.
type spec struct {
	flags, width, precision string
	kind                    byte
}

func (f spec) format(vm *lua.LState, arg int) string {
	switch f.kind {
	case 'c':
		return f.pad(string([]byte{byte(integer(vm.CheckNumber(arg)))}))
	case 'd', 'i':
		return f.number("d", integer(vm.CheckNumber(arg)))
	case 'u':
		f.flags = strings.NewReplacer("+", "", " ", "").Replace(f.flags)
		return f.number("d", unsigned(vm.CheckNumber(arg)))
	case 'o', 'x', 'X':
		f.flags = strings.NewReplacer("+", "", " ", "").Replace(f.flags)
		n := unsigned(vm.CheckNumber(arg))
		if n == 0 {
			f.flags = strings.ReplaceAll(f.flags, "#", "")
		}
		return f.number(string(f.kind), n)
	case 'e', 'E', 'f', 'g', 'G':
		return f.float(float64(vm.CheckNumber(arg)))
	case 'q':
		return quoted(vm.CheckString(arg))
	case 's':
		text := vm.ToStringMeta(vm.CheckAny(arg)).String()
		if most, err := strconv.Atoi(strings.TrimPrefix(f.precision, ".")); f.precision != "" && most < len(text) {
			if err != nil {
				most = 0
			}
			text = text[:most]
		}
		return f.pad(text)
	}
	vm.RaiseError("invalid option '%%%c' to 'format'", f.kind)
	return ""
}

// unsigned is a number as C's conversion to an unsigned long gives it.
func unsigned(n lua.LNumber) uint64 {
	if n >= 1<<63 && n < 1<<64 {
		return uint64(n)
	}
	return uint64(integer(n))
}

// number writes an integer. C ignores the flag 0 beside a precision.
func (f spec) number(kind string, n any) string {
	if f.precision != "" {
		f.flags = strings.ReplaceAll(f.flags, "0", "")
	}
	return fmt.Sprintf("%"+f.flags+f.width+f.precision+kind, n)
}

func (f spec) float(n float64) string {
	if math.IsNaN(n) || math.IsInf(n, 0) {
		text := strings.ToLower(strings.TrimPrefix(strconv.FormatFloat(math.Abs(n), 'g', -1, 64), "+"))
		switch {
		case n < 0 || math.IsNaN(n) && math.Signbit(n):
			text = "-" + text
		case strings.Contains(f.flags, "+"):
			text = "+" + text
		case strings.Contains(f.flags, " "):
			text = " " + text
		}
		if f.kind < 'a' {
			text = strings.ToUpper(text)
		}
		return f.pad(text)
	}
	if f.precision == "" {
		f.precision = ".6" // of C
	}
	return fmt.Sprintf("%"+f.flags+f.width+f.precision+string(f.kind), n)
}

// pad fills up to the width in octets; Go counts characters.
func (f spec) pad(text string) string {
	width, _ := strconv.Atoi(f.width) // "" is 0
	fill := strings.Repeat(" ", max(width-len(text), 0))
	if strings.Contains(f.flags, "-") {
		return text + fill
	}
	return fill + text
}

// quoted is a text as Lua reads it.
func quoted(text string) string {
	return `"` + strings.NewReplacer(`\`, `\\`, `"`, `\"`, "\n", "\\\n", "\r", `\r`, "\x00", `\000`).Replace(text) + `"`
}
