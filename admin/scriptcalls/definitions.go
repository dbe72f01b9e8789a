// SPDX-License-Identifier: Apache-2.0

package scriptcalls

import (
	"encoding"
	"encoding/json"
	"fmt"
	"maps"
	"reflect"
	"slices"
	"strings"
)

// A definer writes the types of requests and answers as the Lua language server has
// them.
type definer struct{ classes map[string]string }

// Definitions describes all functions for the Lua language server.
func Definitions() string {
	d := definer{classes: map[string]string{}}
	var b strings.Builder
	module := ""
	for _, f := range Functions() {
		if f.Module != module {
			module = f.Module
			fmt.Fprintf(&b, "\n%s = {}\n", module)
		}
		d.function(&b, f)
	}
	for _, name := range slices.Sorted(maps.Keys(d.classes)) {
		fmt.Fprintf(&b, "\n---@class %s\n%s", name, d.classes[name])
	}
	return b.String()
}

func (d definer) function(b *strings.Builder, f Function) {
	fields := map[string]string{}
	d.fields(f.request, func(name, kind string, optional bool) { fields[name] = kind })
	kindOf := func(name string) string {
		if name == f.octets {
			return "string"
		}
		return fields[name]
	}
	var request, params []string
	for _, name := range f.Fields {
		request = append(request, name+"?: "+kindOf(name))
	}
	answer := d.kind(f.answer)
	fmt.Fprintf(b, "\n---%s\n---@overload fun(request: {%s}): %s\n", f.Does, strings.Join(request, ", "), answer)
	for _, name := range f.Args {
		if list, many := strings.CutSuffix(name, "..."); many {
			fmt.Fprintf(b, "---@param ... %s\n", strings.TrimSuffix(kindOf(list), "[]"))
			params = append(params, "...")
			continue
		}
		fmt.Fprintf(b, "---@param %s? %s\n", name, kindOf(name))
		params = append(params, name)
	}
	fmt.Fprintf(b, "---@return %s\nfunction %s(%s) end\n", answer, f.Path(), strings.Join(params, ", "))
}

// kind names a type. A struct becomes a class.
func (d definer) kind(t reflect.Type) string {
	for t.Kind() == reflect.Pointer {
		t = t.Elem()
	}
	switch {
	case t == reflect.TypeFor[json.RawMessage](), t.Kind() == reflect.Interface, t.Implements(reflect.TypeFor[json.Marshaler]()) && t.Kind() == reflect.Struct && t.NumField() == 0:
		return "any"
	case t.Implements(reflect.TypeFor[encoding.TextMarshaler]()), t.Kind() == reflect.String, t == reflect.TypeFor[[]byte]():
		return "string"
	}
	switch t.Kind() {
	case reflect.Bool:
		return "boolean"
	case reflect.Float32, reflect.Float64:
		return "number"
	case reflect.Slice, reflect.Array:
		return d.kind(t.Elem()) + "[]"
	case reflect.Map:
		return "table<string, " + d.kind(t.Elem()) + ">"
	case reflect.Struct:
		return d.class(t)
	}
	return "integer"
}

func (d definer) class(t reflect.Type) string {
	name := "restante." + t.Name()
	if t.Name() == "" || t.NumField() == 0 {
		return "table"
	}
	if _, ok := d.classes[name]; !ok {
		d.classes[name] = "" // it may contain itself
		text := ""
		d.fields(t, func(field, kind string, optional bool) {
			if optional {
				field += "?"
			}
			text += fmt.Sprintf("---@field %s %s\n", field, kind)
		})
		d.classes[name] = text
	}
	return name
}

// fields gives the fields of a struct by their JSON names.
func (d definer) fields(t reflect.Type, do func(name, kind string, optional bool)) {
	for t.Kind() == reflect.Slice || t.Kind() == reflect.Pointer {
		t = t.Elem()
	}
	if t.Kind() != reflect.Struct {
		return
	}
	eachField(t, func(name string, f reflect.StructField) {
		_, options, _ := strings.Cut(f.Tag.Get("json"), ",")
		do(name, d.kind(f.Type), strings.Contains(options, "omit"))
	})
}
