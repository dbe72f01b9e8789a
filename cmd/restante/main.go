// SPDX-License-Identifier: Apache-2.0

// Restante is the one binary: the service, and the commands that look at it
// and change it. This package reads arguments, prints answers, and puts the
// house together by name and in order; nothing else touches signals or ends
// the process.
package main

import (
	"context"
	"io"
	"os"
	"os/signal"
	"syscall"
)

func main() { os.Exit(run(os.Args[1:], os.Stdin, os.Stdout, os.Stderr)) }

// run does what args say and gives the exit code: 0 done, 1 it
// failed, 2 the call is wrong, 3 there is no such thing, 4 refused, 5 the
// service is needed.
func run(args []string, stdin io.Reader, stdout, stderr io.Writer) int {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	// A second signal ends the process at once, as it would without us.
	context.AfterFunc(ctx, stop)
	s := &shell{in: stdin, out: stdout, err: stderr}
	return s.report(s.run(ctx, args))
}
