// SPDX-License-Identifier: Apache-2.0

// Attack runs hostile input against a restante binary: recipients that ask for
// relay, messages that hide others, sign-ins that cheat, random conversations, which
// are compared with Postfix's answers, random calls of the local socket, and floods. It starts a service of its own in
// a temporary folder, on loopback addresses.
//
//	go run ./internal/attack [-restante bin/restante] [-time 10m] [-seed N] [-only relay,calls]
//
// What must hold, whatever is sent: nothing goes to a host that nobody may send to;
// no message comes out of another; a message that was answered 250 arrives, once; a
// user without a right changes nothing and learns no secret; the service stays up,
// answers status and keeps its memory. The exit code is 1 if something did not hold.
package main

import (
	"context"
	"flag"
	"fmt"
	"math/rand/v2"
	"os"
	"os/signal"
	"slices"
	"strings"
	"time"
)

type options struct {
	restante string
	time     time.Duration
	seed     uint64
	only     []string
	memory   int // MiB
	keep     bool
}

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt)
	defer stop()
	var o options
	flag.StringVar(&o.restante, "restante", "bin/restante", "the binary to attack")
	flag.DurationVar(&o.time, "time", 10*time.Minute, "how long the whole lasts, about")
	flag.Uint64Var(&o.seed, "seed", rand.Uint64N(1e9), "what the random input is made of")
	flag.IntVar(&o.memory, "memory", 1024, "the most resident memory of the service, in MiB")
	flag.BoolVar(&o.keep, "keep", false, "keep the service's folder")
	only := flag.String("only", strings.Join(names(), ","), "which tables to run")
	calls := flag.String("calls", "", "call this data folder's socket as the own user, and print the figures; for the program's own use")
	flag.Parse()
	o.only = strings.Split(*only, ",")
	var err error
	if *calls != "" {
		err = callAtRandom(ctx, *calls, o)
	} else {
		err = run(ctx, o)
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, "attack:", err)
		os.Exit(1)
	}
}

// A table is one kind of attack.
type table struct {
	name  string
	about string
	share int // of the time, in percent of what the others leave; 0: it ends by itself
	run   func(context.Context, *attack) error
}

var tables = []table{
	{"relay", "forms of recipients that lead elsewhere", 0, relay},
	{"smuggle", "messages that hide another", 0, smuggle},
	{"sasl", "sign-ins without the password", 0, signIns},
	{"sessions", "random conversations, and mail among them", 35, sessions},
	{"compare", "random conversations, as Postfix answers them", 10, compare},
	{"calls", "random calls of the local socket", 30, calls},
	{"floods", "connections, commands, recipients, unfinished bodies, guesses", 35, floods},
	{"turnaway", "a host over its limit that connects a thousand times a second", 10, turnAway},
}

func names() (out []string) {
	for _, t := range tables {
		out = append(out, t.name)
	}
	return out
}

func run(ctx context.Context, o options) error {
	for _, name := range o.only {
		if !slices.Contains(names(), name) {
			return fmt.Errorf("-only %s: the tables are %s", name, strings.Join(names(), ", "))
		}
	}
	fmt.Printf("seed %d\n", o.seed)
	a, err := start(ctx, o)
	if err != nil {
		return err
	}
	defer a.close()
	end := time.Now().Add(o.time)
	for i, t := range tables {
		if !slices.Contains(o.only, t.name) {
			continue
		}
		left, shares := time.Until(end), 0
		for _, later := range tables[i:] {
			if slices.Contains(o.only, later.name) {
				shares += later.share
			}
		}
		a.until = time.Now().Add(max(time.Second, left*time.Duration(t.share)/time.Duration(max(shares, 1))))
		a.table, a.counts = t.name, map[string]int{}
		begin := time.Now()
		if err := t.run(ctx, a); err != nil {
			return fmt.Errorf("%s: %w", t.name, err)
		}
		fmt.Printf("%-9s %s: %s (%.0f s)\n", t.name, t.about, a.figures(), time.Since(begin).Seconds())
		if err := a.alive(ctx); err != nil {
			return fmt.Errorf("after %s: %w", t.name, err)
		}
	}
	if err := a.settle(ctx); err != nil {
		return err
	}
	return a.verdict()
}
