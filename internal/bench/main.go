// SPDX-License-Identifier: Apache-2.0

// Bench measures a whole restante from outside, and Postfix beside it in the
// same run when it is installed, with both queues on the same disk. Figures of
// a shared machine move; the ratios of paired runs hold.
//
//	go run ./internal/bench -restante bin/restante [-dir DIR] [-rounds 3] [-only accept,release,memory,tree]
package main

import (
	"context"
	"flag"
	"fmt"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"restante/internal/testpeer"
)

type options struct {
	restante string
	dir      string
	rounds   int
	window   time.Duration
	held     int
	full     int
}

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt)
	defer stop()
	var o options
	flag.StringVar(&o.restante, "restante", "bin/restante", "the binary to measure")
	flag.StringVar(&o.dir, "dir", "", "where the queues are put; default: a folder below the working one")
	flag.IntVar(&o.rounds, "rounds", 3, "paired runs a figure; the median is printed")
	flag.DurationVar(&o.window, "window", 3*time.Second, "how long one accept run lasts")
	flag.IntVar(&o.held, "held", 10000, "messages that are held for one release")
	flag.IntVar(&o.full, "full", 100000, "messages that are held for the memory figure")
	only := flag.String("only", "accept,release,memory,tree", "what to measure")
	flag.Parse()
	if err := run(ctx, o, strings.Split(*only, ",")); err != nil {
		fmt.Fprintln(os.Stderr, "bench:", err)
		os.Exit(1)
	}
}

func run(ctx context.Context, o options, only []string) error {
	if o.dir == "" {
		dir, err := os.MkdirTemp(".", "bench-")
		if err != nil {
			return err
		}
		defer os.RemoveAll(dir)
		o.dir = dir
	}
	if err := testpeer.PostfixMissing(); err != nil && slices.ContainsFunc(only, func(s string) bool { return s != "tree" && s != "commits" }) {
		fmt.Printf("Postfix is left out: %v\n", err)
	}
	if err := build(ctx, &o); err != nil {
		return err
	}
	parts := []struct {
		name    string
		measure func(context.Context, options) error
	}{
		{"accept", measureAccept},
		{"release", measureRelease},
		{"memory", measureMemory},
		{"tree", measureTree},
		{"commits", measureCommits}, // the last of tree alone
	}
	for _, p := range parts {
		if !slices.Contains(only, p.name) {
			continue
		}
		if err := p.measure(ctx, o); err != nil {
			return fmt.Errorf("%s: %w", p.name, err)
		}
	}
	return nil
}

// build makes the binary where there is none yet.
func build(ctx context.Context, o *options) error {
	if _, err := os.Stat(o.restante); err == nil {
		return nil
	}
	o.restante = filepath.Join(o.dir, "restante")
	out, err := exec.CommandContext(ctx, "go", "build", "-trimpath", "-o", o.restante, "restante/cmd/restante").CombinedOutput()
	if err != nil {
		return fmt.Errorf("build: %w: %s", err, out)
	}
	return nil
}

// median of xs, which it sorts; 0 of none.
func median(xs []float64) float64 {
	if len(xs) == 0 {
		return 0
	}
	slices.Sort(xs)
	return xs[len(xs)/2]
}

// ratio writes how many times b goes into a, or a dash where b was not measured.
func ratio(a, b float64) string {
	if b == 0 {
		return "-"
	}
	return fmt.Sprintf("%.1f", a/b)
}
