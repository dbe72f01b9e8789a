// SPDX-License-Identifier: Apache-2.0

package main

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
)

// inTurns measures each name once a round, and begins each round with the next
// one, so that no side always follows the same other.
func inTurns(rounds int, f *figure, names []string, measure func(i int) (float64, error)) error {
	values := make([]float64, len(names))
	for round := range rounds {
		for n := range names {
			i := (round + n) % len(names)
			v, err := measure(i)
			if err != nil {
				return fmt.Errorf("%s: %s: %w", f.Name, names[i], err)
			}
			values[i] = v
		}
		for i, name := range names {
			f.add(name, values[i])
		}
	}
	return nil
}

// pairProcesses runs a part in this build of the program and in another, in
// turns, each with its own restante binary.
func pairProcesses(ctx context.Context, o options, part string, r *report) error {
	own, err := os.Executable()
	if err != nil {
		return err
	}
	if o.against == "" {
		return errors.New("-against-bench needs the binary of the same build: -against PATH")
	}
	var paired []*figure
	builds := []struct{ name, bench, restante string }{{"restante", own, o.restante}, {"against", o.againstBench, o.against}}
	for round := range o.rounds {
		measured := make([][]figure, len(builds))
		for n := range builds {
			i := (round + n) % len(builds)
			b := builds[i]
			if measured[i], err = runBench(ctx, o, b.bench, b.restante, part); err != nil {
				return fmt.Errorf("%s: %w", b.name, err)
			}
		}
		paired = merge(paired, measured[0], measured[1])
	}
	for _, f := range paired {
		if err := r.figure(f); err != nil {
			return err
		}
	}
	return nil
}

// merge adds one round of both builds: the medians of our sides, and as the
// side "against" that of the other build's restante.
func merge(paired []*figure, ours, theirs []figure) []*figure {
	others := map[string]figure{}
	for _, f := range theirs {
		others[f.Name] = f
	}
	known := map[string]*figure{}
	for _, f := range paired {
		known[f.Name] = f
	}
	for _, f := range ours {
		sum := known[f.Name]
		if sum == nil {
			sum = &figure{Name: f.Name, Unit: f.Unit, More: f.More}
			paired = append(paired, sum)
		}
		for i, s := range f.Sides {
			sum.add(s.Name, median(s.Values))
			if other := others[f.Name]; i == 0 && len(other.Sides) > 0 {
				sum.add("against", median(other.Sides[0].Values))
			}
		}
	}
	return paired
}

// runBench runs one build of this program in a folder of its own.
func runBench(ctx context.Context, o options, bench, restante, part string) ([]figure, error) {
	dir, err := os.MkdirTemp(o.dir, "turn-")
	if err != nil {
		return nil, err
	}
	defer os.RemoveAll(dir)
	if restante, err = filepath.Abs(restante); err != nil {
		return nil, err
	}
	cmd := exec.CommandContext(ctx, bench, "-only", part, "-json", "-restante", restante, "-dir", dir,
		"-rounds", fmt.Sprint(o.rounds), "-window", o.window.String())
	var problems bytes.Buffer
	cmd.Stderr = &problems
	out, err := cmd.Output()
	if err != nil {
		return nil, fmt.Errorf("%s: %w: %s", bench, err, bytes.TrimSpace(problems.Bytes()))
	}
	var figures []figure
	for lines := json.NewDecoder(bytes.NewReader(out)); ; {
		var f figure
		if err := lines.Decode(&f); errors.Is(err, io.EOF) {
			return figures, nil
		} else if err != nil {
			return nil, fmt.Errorf("%s -json: %w", bench, err)
		}
		figures = append(figures, f)
	}
}
