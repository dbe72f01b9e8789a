// SPDX-License-Identifier: Apache-2.0

package stdlib

import (
	"fmt"
	"strings"
	"time"

	lua "github.com/yuin/gopher-lua"
)

// date is os.date, in the locale C.
func date(vm *lua.LState) int {
	layout, t := vm.OptString(1, "%c"), time.Now()
	if vm.GetTop() >= 2 && vm.Get(2) != lua.LNil {
		t = time.Unix(integer(vm.CheckNumber(2)), 0)
	}
	layout, utc := strings.CutPrefix(layout, "!")
	if utc {
		t = t.In(time.FixedZone("GMT", 0))
	}
	if strings.HasPrefix(layout, "*t") {
		vm.Push(dateTable(vm, t))
		return 1
	}
	var b strings.Builder
	for i := 0; i < len(layout); i++ {
		if layout[i] != '%' || i+1 == len(layout) {
			b.WriteByte(layout[i])
			continue
		}
		i++
		b.WriteString(datePart(t, layout[i]))
	}
	vm.Push(lua.LString(b.String()))
	return 1
}

func dateTable(vm *lua.LState, t time.Time) *lua.LTable {
	out := vm.NewTable()
	for name, n := range map[string]int{
		"year": t.Year(), "month": int(t.Month()), "day": t.Day(), "hour": t.Hour(), "min": t.Minute(), "sec": t.Second(),
		"wday": int(t.Weekday()) + 1, "yday": t.YearDay(),
	} {
		out.RawSetString(name, lua.LNumber(n))
	}
	out.RawSetString("isdst", lua.LBool(t.IsDST()))
	return out
}

// layouts are the conversions of strftime that Go's layouts have.
var layouts = map[byte]string{
	'a': "Mon", 'A': "Monday", 'b': "Jan", 'B': "January", 'c': "Mon Jan _2 15:04:05 2006", 'd': "02", 'D': "01/02/06", 'e': "_2",
	'F': "2006-01-02", 'h': "Jan", 'H': "15", 'I': "03", 'm': "01", 'M': "04", 'p': "PM", 'r': "03:04:05 PM", 'R': "15:04", 'S': "05",
	'T': "15:04:05", 'x': "01/02/06", 'X': "15:04:05", 'y': "06", 'Y': "2006", 'z': "-0700", 'Z': "MST",
}

func datePart(t time.Time, c byte) string {
	if layout, ok := layouts[c]; ok {
		return t.Format(layout)
	}
	isoYear, isoWeek := t.ISOWeek()
	weekday := int(t.Weekday())
	switch c {
	case 'C':
		return fmt.Sprintf("%02d", t.Year()/100)
	case 'g':
		return fmt.Sprintf("%02d", isoYear%100)
	case 'G':
		return fmt.Sprint(isoYear)
	case 'j':
		return fmt.Sprintf("%03d", t.YearDay())
	case 'n':
		return "\n"
	case 't':
		return "\t"
	case 's':
		return fmt.Sprint(t.Unix())
	case 'u':
		return fmt.Sprint((weekday+6)%7 + 1)
	case 'U':
		return fmt.Sprintf("%02d", (t.YearDay()+6-weekday)/7)
	case 'V':
		return fmt.Sprintf("%02d", isoWeek)
	case 'w':
		return fmt.Sprint(weekday)
	case 'W':
		return fmt.Sprintf("%02d", (t.YearDay()+6-(weekday+6)%7)/7)
	case '%':
		return "%"
	}
	return "%" + string(c)
}

// clock is os.time. A table has the date in the machine's zone.
func clock(vm *lua.LState) int {
	if vm.GetTop() == 0 || vm.Get(1) == lua.LNil {
		vm.Push(lua.LNumber(time.Now().Unix()))
		return 1
	}
	table := vm.CheckTable(1)
	field := func(name string, otherwise int) int {
		switch v := vm.GetField(table, name).(type) {
		case lua.LNumber:
			return int(integer(v))
		case lua.LString:
			if n, ok := parseNumber(string(v)); ok {
				return int(integer(lua.LNumber(n)))
			}
		}
		if otherwise < 0 {
			vm.RaiseError("field '%s' missing in date table", name)
		}
		return otherwise
	}
	t := time.Date(field("year", -1), time.Month(field("month", -1)), field("day", -1),
		field("hour", 12), field("min", 0), field("sec", 0), 0, time.Local)
	vm.Push(lua.LNumber(t.Unix()))
	return 1
}

// difference is os.difftime.
func difference(vm *lua.LState) int {
	vm.Push(lua.LNumber(integer(vm.CheckNumber(1)) - integer(vm.OptNumber(2, 0))))
	return 1
}
