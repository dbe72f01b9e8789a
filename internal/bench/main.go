// SPDX-License-Identifier: Apache-2.0

// Bench measures a restante binary from outside and the metabase in its own
// process. Whatever a figure is compared with runs in turns with it, in the same
// run and on the same disk: a bare map, a bare loop over Badger, Postfix where
// it is installed, and another build of restante.
//
//	go run ./internal/bench [-restante bin/restante] [-only accept,pickup,release,far,memory,sites,idle,tree,scripts,trace] [-rounds 3] [-json]
//
// Two builds are compared by the binaries of both and, for the figures of the
// metabase, the other build of this program:
//
//	go run ./internal/bench -against ../old/restante -against-bench ../old/bench
//
// Figures of a shared machine vary; the ratios of paired turns do so less.
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

	"restante/internal/testpeer/postfix"
)

type options struct {
	restante     string
	against      string // another restante binary, or ""
	againstBench string // another build of this program, or ""
	dir          string
	rounds       int
	window       time.Duration
	held         int
	full         int
	sites        int
	domains      int
	idle         int
	events       int
	only         []string
	json         bool
}

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt)
	defer stop()
	var o options
	flag.StringVar(&o.restante, "restante", "bin/restante", "the binary to measure; it is built where there is none")
	flag.StringVar(&o.against, "against", "", "another restante binary, measured in turns with the first")
	flag.StringVar(&o.againstBench, "against-bench", "", "the other binary's build of this program, for the figures of tree and commits")
	flag.StringVar(&o.dir, "dir", "", "where queues and stores are put; default: a new folder in the working one")
	flag.IntVar(&o.rounds, "rounds", 3, "turns of each side; medians are printed")
	flag.DurationVar(&o.window, "window", 3*time.Second, "how long one turn of accept lasts")
	flag.IntVar(&o.held, "held", 10000, "messages held for one release")
	flag.IntVar(&o.full, "full", 100000, "messages held for the memory figure")
	flag.IntVar(&o.events, "events", 10_000_000, "events that the trace has when it is searched")
	flag.IntVar(&o.sites, "sites", 50, "sites of the figures of sites")
	flag.IntVar(&o.domains, "domains", 200, "domains of each of these sites")
	flag.IntVar(&o.idle, "idle", 10000, "connections of the figure of idle")
	flag.BoolVar(&o.json, "json", false, "print each figure as one line of JSON")
	only := flag.String("only", "accept,pickup,release,far,memory,sites,idle,tree,scripts,trace", "what to measure; commits is the last part of tree alone")
	flag.Parse()
	o.only = strings.Split(*only, ",")
	if err := run(ctx, o); err != nil {
		fmt.Fprintln(os.Stderr, "bench:", err)
		os.Exit(1)
	}
}

// A part is one measurement.
type part struct {
	name      string
	about     string
	inProcess bool // measures code of this program's own build
	measure   func(context.Context, options, *report) error
}

var parts = []part{
	{"accept", "messages accepted durably; sessions stay open and wait for each reply", false, measureAccept},
	{"pickup", "files taken from the Pickup folder, from the move of the first one until all are stored", false, measurePickup},
	{"release", "held messages handed over, from the call to the last one: restante by TURN, Postfix by ETRN", false, measureRelease},
	{"far", "held messages handed over by TURN on one connection over a long line", false, measureFar},
	{"memory", "start of the service and its resident memory", false, measureMemory},
	{"sites", "start of a service of many sites and its resident memory", false, measureSites},
	{"idle", "resident memory with many connections that have said EHLO and are silent", false, measureIdle},
	{"tree", fmt.Sprintf("a metabase with %d domains", domainCount), true, measureTree},
	{"commits", "durable batches, each of one property", true, measureCommits},
	{"scripts", "Lua scripts that the command runs, with the service", false, measureScripts},
	{"trace", "what happened to messages: what it costs to keep, and how long a search takes", false, measureTrace},
}

func run(ctx context.Context, o options) error {
	chosen, err := choose(o.only)
	if err != nil {
		return err
	}
	if o.dir == "" {
		dir, err := os.MkdirTemp(".", "bench-")
		if err != nil {
			return err
		}
		defer os.RemoveAll(dir)
		o.dir = dir
	}
	if err := build(ctx, &o); err != nil {
		return err
	}
	r := &report{out: os.Stdout, json: o.json}
	r.heading("Ratios compare restante with the other side; above 1, restante is ahead.")
	for _, p := range chosen {
		r.heading("\n%s: %s", p.name, p.about)
		switch {
		case p.inProcess && o.againstBench != "":
			err = pairProcesses(ctx, o, p.name, r)
		case p.inProcess && o.against != "":
			r.heading("  measured alone: -against-bench names the build to compare it with")
			err = p.measure(ctx, o, r)
		default:
			err = p.measure(ctx, o, r)
		}
		if err != nil {
			return fmt.Errorf("%s: %w", p.name, err)
		}
	}
	if err := postfix.Missing(); err != nil {
		r.heading("\nNot compared with Postfix: %v", err)
	}
	return nil
}

// choose gives the parts with those names, in the order they run in.
func choose(names []string) (chosen []part, err error) {
	for _, p := range parts {
		if slices.Contains(names, p.name) {
			chosen = append(chosen, p)
		}
	}
	if len(chosen) != len(names) {
		return nil, fmt.Errorf("-only %s: the measurements are accept, pickup, release, far, memory, sites, idle, tree, commits, scripts and trace, each named once", strings.Join(names, ","))
	}
	return chosen, nil
}

// build makes the binary where there is none yet.
func build(ctx context.Context, o *options) error {
	if _, err := os.Stat(o.restante); err == nil {
		return nil
	}
	o.restante = filepath.Join(o.dir, "restante")
	out, err := exec.CommandContext(ctx, "go", "build", "-trimpath", "-tags", "urfave_cli_no_docs", "-o", o.restante, "restante/cmd/restante").CombinedOutput()
	if err != nil {
		return fmt.Errorf("build: %w: %s", err, out)
	}
	return nil
}
