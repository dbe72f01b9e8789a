// SPDX-License-Identifier: Apache-2.0

// Restante is the one binary: the service, and the commands that read and
// change it. This package reads arguments, prints answers and wires the service
// together. Only this package handles signals and ends the process.
package main

import (
	"context"
	"io"
	"os"
	"os/signal"
	"syscall"
)

func main() { os.Exit(run(os.Args[1:], os.Stdin, os.Stdout, os.Stderr)) }

// run executes args and returns the exit code; exitCodes lists the codes.
func run(args []string, stdin io.Reader, stdout, stderr io.Writer) int {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	// A second signal ends the process at once, as it would without us.
	context.AfterFunc(ctx, stop)
	c := &cli{in: stdin, out: stdout, err: stderr}
	return c.report(c.run(ctx, args))
}
