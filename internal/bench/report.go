// SPDX-License-Identifier: Apache-2.0

package main

import (
	"encoding/json"
	"fmt"
	"io"
	"slices"
	"strconv"
)

// A figure is one row: what each side reached in each of its turns. The first
// side is restante.
type figure struct {
	Name  string `json:"name"`
	Unit  string `json:"unit"`
	More  bool   `json:"more_is_better"`
	Sides []side `json:"sides"`
}

// A side is one program or structure that is measured.
type side struct {
	Name   string    `json:"name"`
	Values []float64 `json:"values"` // by turn
}

// one is a figure of restante alone, measured once; less is better.
func one(name, unit string, value float64) *figure {
	return &figure{Name: name, Unit: unit, Sides: []side{{"restante", []float64{value}}}}
}

// add appends what a side reached in its next turn.
func (f *figure) add(name string, value float64) {
	for i := range f.Sides {
		if f.Sides[i].Name == name {
			f.Sides[i].Values = append(f.Sides[i].Values, value)
			return
		}
	}
	f.Sides = append(f.Sides, side{name, []float64{value}})
}

// negligible is what no ratio is printed for: it prints as 0.00.
const negligible = 0.005

// ratio is how far the first side is ahead of the other: the median of the
// ratios of paired turns, or 0 where one of them has a negligible median.
func (f *figure) ratio(other side) float64 {
	ours := f.Sides[0].Values
	if median(ours) < negligible || median(other.Values) < negligible {
		return 0
	}
	var ratios []float64
	for i := range min(len(ours), len(other.Values)) {
		if f.More {
			ratios = append(ratios, ours[i]/other.Values[i])
		} else {
			ratios = append(ratios, other.Values[i]/ours[i])
		}
	}
	return median(ratios)
}

// line writes the figure for people: medians, and a ratio for each other side.
func (f *figure) line() string {
	if len(f.Sides) == 0 {
		return "  " + f.Name + ": not measured"
	}
	text := fmt.Sprintf("  %-66s %8s %s", f.Name, plain(median(f.Sides[0].Values)), f.Unit)
	for _, s := range f.Sides[1:] {
		text += fmt.Sprintf("; %s %s", s.Name, plain(median(s.Values)))
		if r := f.ratio(s); r != 0 {
			text += fmt.Sprintf(" (ratio %.2f)", r)
		}
	}
	return text
}

// plain writes a figure with three digits that count.
func plain(v float64) string {
	switch {
	case v >= 100:
		return strconv.FormatFloat(v, 'f', 0, 64)
	case v >= 10:
		return strconv.FormatFloat(v, 'f', 1, 64)
	}
	return strconv.FormatFloat(v, 'f', 2, 64)
}

// A report prints figures as they are measured.
type report struct {
	out  io.Writer
	json bool
}

// heading prints a line for people; JSON has none.
func (r *report) heading(format string, args ...any) {
	if !r.json {
		fmt.Fprintf(r.out, format+"\n", args...)
	}
}

func (r *report) figure(f *figure) error {
	if r.json {
		return json.NewEncoder(r.out).Encode(f)
	}
	_, err := fmt.Fprintln(r.out, f.line())
	return err
}

// median of xs; 0 of none.
func median(xs []float64) float64 {
	if len(xs) == 0 {
		return 0
	}
	return slices.Sorted(slices.Values(xs))[len(xs)/2]
}
