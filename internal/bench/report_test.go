// SPDX-License-Identifier: Apache-2.0

package main

import (
	"bytes"
	"encoding/json"
	"errors"
	"reflect"
	"strings"
	"testing"
)

func TestMedian(t *testing.T) {
	for _, tt := range []struct {
		values []float64
		want   float64
	}{
		{nil, 0}, {[]float64{7}, 7}, {[]float64{9, 1, 5}, 5}, {[]float64{4, 1, 3, 2}, 3},
	} {
		before := append([]float64(nil), tt.values...)
		if got := median(tt.values); got != tt.want || !reflect.DeepEqual(tt.values, before) {
			t.Errorf("median(%v) = %v, want %v; the values are now %v", before, got, tt.want, tt.values)
		}
	}
}

func TestRatioIsThatOfPairedTurns(t *testing.T) {
	for _, tt := range []struct {
		name         string
		more         bool
		ours, theirs []float64
		want         float64
	}{
		{"twice as many", true, []float64{20, 200, 2}, []float64{10, 100, 1}, 2},
		{"twice as long", false, []float64{20, 200, 2}, []float64{10, 100, 1}, 0.5},
		{"the machine slows down between turns", true, []float64{10, 20, 30}, []float64{10, 20, 30}, 1},
		{"the other side was not measured", true, []float64{10}, nil, 0},
		{"nothing was reached", false, []float64{0}, []float64{3}, 0},
		{"both are next to nothing", false, []float64{0.00002}, []float64{0.001}, 0},
	} {
		f := figure{More: tt.more, Sides: []side{{"restante", tt.ours}, {"other", tt.theirs}}}
		if got := f.ratio(f.Sides[1]); got != tt.want {
			t.Errorf("%s: ratio %v, want %v", tt.name, got, tt.want)
		}
	}
}

func TestFigureNamesItsUnitAndEachSide(t *testing.T) {
	f := &figure{Name: "accept 1 KiB, 10 sessions", Unit: "messages/s", More: true}
	f.add("restante", 3000)
	f.add("against", 2000)
	var b bytes.Buffer
	if err := (&report{out: &b}).figure(f); err != nil {
		t.Fatal(err)
	}
	for _, want := range []string{"accept 1 KiB, 10 sessions", "3000 messages/s", "against 2000 (ratio 1.50)"} {
		if !strings.Contains(b.String(), want) {
			t.Errorf("%q does not contain %q", b.String(), want)
		}
	}
	b.Reset()
	r := &report{out: &b, json: true}
	r.heading("only for people")
	if err := r.figure(f); err != nil {
		t.Fatal(err)
	}
	var back figure
	if err := json.Unmarshal(b.Bytes(), &back); err != nil || !reflect.DeepEqual(&back, f) {
		t.Errorf("JSON reads back as %+v, %v; want %+v", back, err, f)
	}
}

func TestInTurnsBeginsEachRoundWithTheNextSide(t *testing.T) {
	var order []int
	f := &figure{}
	names := []string{"a", "b", "c"}
	err := inTurns(3, f, names, func(i int) (float64, error) {
		order = append(order, i)
		return float64(10*i + len(order)), nil
	})
	if err != nil || !reflect.DeepEqual(order, []int{0, 1, 2, 1, 2, 0, 2, 0, 1}) {
		t.Errorf("order %v, %v", order, err)
	}
	if want := []side{{"a", []float64{1, 6, 8}}, {"b", []float64{12, 14, 19}}, {"c", []float64{23, 25, 27}}}; !reflect.DeepEqual(f.Sides, want) {
		t.Errorf("sides %v, want %v", f.Sides, want)
	}
	broken := errors.New("broken")
	if err := inTurns(1, f, names, func(int) (float64, error) { return 0, broken }); !errors.Is(err, broken) {
		t.Errorf("got %v, want the error of the side", err)
	}
}

func TestMergePairsRowsOfTwoBuildsByName(t *testing.T) {
	row := func(name string, values ...float64) figure {
		return figure{Name: name, Unit: "ns", Sides: []side{{"restante", values}, {"map", []float64{2}}}}
	}
	paired := merge(nil, []figure{row("read", 3, 5, 4), row("new row", 1)}, []figure{row("read", 8, 6, 7), row("old row", 1)})
	paired = merge(paired, []figure{row("read", 6), row("new row", 1)}, []figure{row("read", 9)})
	want := []*figure{
		{Name: "read", Unit: "ns", Sides: []side{{"restante", []float64{4, 6}}, {"against", []float64{7, 9}}, {"map", []float64{2, 2}}}},
		{Name: "new row", Unit: "ns", Sides: []side{{"restante", []float64{1, 1}}, {"map", []float64{2, 2}}}},
	}
	if !reflect.DeepEqual(paired, want) {
		got, _ := json.Marshal(paired)
		t.Errorf("merged to %s", got)
	}
}

func TestChooseRefusesUnknownParts(t *testing.T) {
	if chosen, err := choose([]string{"tree", "accept"}); err != nil || len(chosen) != 2 || chosen[0].name != "accept" {
		t.Errorf("chose %v, %v", chosen, err)
	}
	if _, err := choose([]string{"accept", "trees"}); err == nil || !strings.Contains(err.Error(), "accept, pickup, release, far, memory, sites, idle, tree, commits, scripts and trace") {
		t.Errorf("an unknown part: %v", err)
	}
}
