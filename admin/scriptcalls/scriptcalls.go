// SPDX-License-Identifier: Apache-2.0

// Package scriptcalls gives scripts the calls of the administration API as functions
// in modules, by one table. A function takes the fields of a request by their JSON
// names, or some of them by position, and gives the answer in the same form.
//
// The package knows no language: a request is a JSON object.
package scriptcalls

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"path/filepath"
	"reflect"
	"slices"
	"strings"

	"restante/admin/api"
)

// A Function is a call as a script has it.
type Function struct {
	Module, Name string
	Does         string

	// Args are the fields that arguments fill by position; "name..." takes all
	// that follow as texts.
	Args []string

	// Fields are those of a request, Answer those of the answer; Many says that it
	// is a list of these.
	Fields, Answer []string
	Many           bool

	// Sandbox keeps the function from its caller's folders.
	Sandbox bool

	request, answer reflect.Type

	fixed    map[string]any // fields that the name says
	octets   string         // the field of request or answer that is not text
	folder   string         // the field that names a folder of the caller's
	effect   effect
	exchange func(ctx context.Context, c api.Conn, request []byte) (json.RawMessage, error)
	words    []string // of a line of a batch, before the arguments
}

// An effect is what a function does beyond reading.
type effect int

const (
	reads   effect = iota
	batches        // lines of a batch, which dry runs and transactions take
	tries          // changes, but for a request with dry_run
	changes
)

// A Runner says how the script runs, and applies lines of batches for it.
type Runner interface {
	ApplyLines(ctx context.Context, lines []api.Line) (api.Applied, error)
	DryRun() bool
	OwnChange() error // why a change that is no batch may not be made now
}

// Path is the function's name in a script.
func (f Function) Path() string { return f.Module + "." + f.Name }

// Call makes the call with a request that is a JSON object.
func (f Function) Call(ctx context.Context, c api.Conn, run Runner, request []byte) (json.RawMessage, error) {
	q, err := f.prepare(run, request)
	if err != nil {
		return nil, f.named(err)
	}
	var answer json.RawMessage
	if f.effect == batches {
		answer, err = f.batch(ctx, run, q)
	} else {
		answer, err = f.exchange(ctx, c, q)
	}
	if err == nil && f.octets != "" {
		answer, err = recode(answer, f.octets, func(raw json.RawMessage) (any, error) {
			var octets []byte
			err := json.Unmarshal(raw, &octets)
			return string(octets), err
		})
	}
	return answer, f.named(err)
}

// prepare adds what the name of the function and the run say.
func (f Function) prepare(run Runner, request []byte) ([]byte, error) {
	fields := map[string]json.RawMessage{}
	if err := json.Unmarshal(request, &fields); err != nil {
		return nil, errors.New("the fields of a request have names")
	}
	for name := range fields {
		if !slices.Contains(f.Fields, name) {
			return nil, fmt.Errorf("there is no field %s: there are %s", name, strings.Join(f.Fields, ", "))
		}
	}
	for name, v := range f.fixed {
		fields[name], _ = json.Marshal(v) // a text or a boolean
	}
	dry := run.DryRun() || string(fields["dry_run"]) == "true"
	switch {
	case f.effect == changes && dry:
		return nil, errors.New("cannot be tried: it has no dry run")
	case f.effect == tries && run.DryRun():
		fields["dry_run"] = json.RawMessage("true")
	}
	if f.effect == changes || f.effect == tries && !dry {
		if err := run.OwnChange(); err != nil {
			return nil, err
		}
	}
	if _, named := fields[f.folder]; named && f.Sandbox {
		return nil, fmt.Errorf("%s: --sandbox keeps the script from folders", f.folder)
	}
	raw, err := json.Marshal(fields)
	if err == nil && f.folder != "" {
		raw, err = recode(raw, f.folder, absolute)
	}
	if err != nil || f.octets == "" {
		return raw, err
	}
	return recode(raw, f.octets, func(raw json.RawMessage) (any, error) {
		var text string
		err := json.Unmarshal(raw, &text)
		return []byte(text), err
	})
}

// batch applies the lines of the request.
func (f Function) batch(ctx context.Context, run Runner, request []byte) (json.RawMessage, error) {
	var q struct {
		Words []string   `json:"words"`
		Lines []api.Line `json:"lines"`
	}
	if err := decode(request, &q); err != nil {
		return nil, err
	}
	if f.words != nil {
		q.Lines = []api.Line{{Words: slices.Concat(f.words, q.Words)}}
	}
	a, err := run.ApplyLines(ctx, q.Lines)
	if err != nil {
		return nil, err
	}
	return json.Marshal(a)
}

// absolute makes a name of a folder one that the service understands, too.
func absolute(raw json.RawMessage) (any, error) {
	var dir string
	if err := json.Unmarshal(raw, &dir); err != nil || dir == "" {
		return raw, nil // decode says what is wrong
	}
	return filepath.Abs(dir)
}

// recode changes one field of a JSON object, where it is there.
func recode(object json.RawMessage, name string, change func(json.RawMessage) (any, error)) (json.RawMessage, error) {
	fields := map[string]json.RawMessage{}
	if err := json.Unmarshal(object, &fields); err != nil || fields[name] == nil {
		return object, err
	}
	v, err := change(fields[name])
	if err != nil {
		return nil, fmt.Errorf("%s: %w", name, err)
	}
	if fields[name], err = json.Marshal(v); err != nil {
		return nil, err
	}
	return json.Marshal(fields)
}

// decode reads a request, and says of a wrong field what it must be.
func decode(request []byte, into any) error {
	d := json.NewDecoder(bytes.NewReader(request))
	d.DisallowUnknownFields()
	err := d.Decode(into)
	if wrong := (*json.UnmarshalTypeError)(nil); errors.As(err, &wrong) {
		return fmt.Errorf("%s: %s is wanted, not a %s", wrong.Field, kindOf(wrong.Type), wrong.Value)
	}
	return err
}

func kindOf(t reflect.Type) string {
	switch t.Kind() {
	case reflect.String:
		return "a text"
	case reflect.Bool:
		return "true or false"
	case reflect.Slice:
		return "a list"
	case reflect.Struct, reflect.Map:
		return "a table with names"
	}
	return "a number"
}

// named begins an error as the command line does, and ends it with its kind.
func (f Function) named(err error) error {
	if err == nil {
		return nil
	}
	e := api.AsError(err)
	text := f.Module + " " + f.Name + ": " + e.Error()
	if e.Hint != "" {
		text += "\nhint: restante " + e.Hint
	}
	return fmt.Errorf("%s (%s)", text, e.Kind)
}

// fieldsOf lists the JSON names of a struct's fields.
func fieldsOf(t reflect.Type) (names []string) {
	for t.Kind() == reflect.Slice || t.Kind() == reflect.Pointer {
		t = t.Elem()
	}
	if t.Kind() == reflect.Struct {
		eachField(t, func(name string, _ reflect.StructField) { names = append(names, name) })
	}
	return names
}

// eachField calls do for the fields of a struct, with their JSON names.
func eachField(t reflect.Type, do func(name string, f reflect.StructField)) {
	for i := range t.NumField() {
		field := t.Field(i)
		name, _, _ := strings.Cut(field.Tag.Get("json"), ",")
		switch {
		case name == "-" || !field.IsExported() && !field.Anonymous:
		case field.Anonymous && name == "" && field.Type.Kind() == reflect.Struct:
			eachField(field.Type, do)
		case name == "":
			do(field.Name, field)
		default:
			do(name, field)
		}
	}
}

// of makes a function of a method.
func of[Q, A any](path string, m api.Method[Q, A], args, does string, options ...func(*Function)) Function {
	module, name, _ := strings.Cut(path, ".")
	answer := reflect.TypeFor[A]()
	f := Function{
		Module: module, Name: name, Does: does, Args: strings.Fields(args), effect: changes,
		Fields: fieldsOf(reflect.TypeFor[Q]()), Answer: fieldsOf(answer), Many: answer.Kind() == reflect.Slice,
		request: reflect.TypeFor[Q](), answer: answer,
		exchange: func(ctx context.Context, c api.Conn, request []byte) (json.RawMessage, error) {
			var q Q
			if err := decode(request, &q); err != nil {
				return nil, err
			}
			_, raw, err := m.Call(ctx, c, q)
			return raw, err
		},
	}
	switch {
	case api.Reads(string(m)):
		f.effect = reads
	case slices.Contains(f.Fields, "dry_run"):
		f.effect = tries
	}
	for _, set := range options {
		set(&f)
	}
	f.Fields = slices.DeleteFunc(f.Fields, func(name string) bool { _, fixed := f.fixed[name]; return fixed })
	return f
}

// line makes a function of a verb of mb apply.
func line(verb, does string) Function {
	return Function{
		Module: "metabase", Name: verb, Does: does, Args: []string{"words..."}, Fields: []string{"words"},
		Answer: fieldsOf(reflect.TypeFor[api.Applied]()), effect: batches, words: []string{verb},
		request: reflect.TypeFor[api.Line](), answer: reflect.TypeFor[api.Applied](),
	}
}

// with fixes a field of the request.
func with(name string, v any) func(*Function) {
	return func(f *Function) {
		f.fixed = maps.Clone(f.fixed)
		if f.fixed == nil {
			f.fixed = map[string]any{}
		}
		f.fixed[name] = v
	}
}

// without leaves out fields of the request that another function has.
func without(names ...string) func(*Function) {
	return func(f *Function) {
		f.Fields = slices.DeleteFunc(f.Fields, func(name string) bool { return slices.Contains(names, name) })
	}
}

func octets(name string) func(*Function) { return func(f *Function) { f.octets = name } }

func folder(name string) func(*Function) { return func(f *Function) { f.folder = name } }
