// SPDX-License-Identifier: Apache-2.0

// Restante-pull is the command restante pull in a binary of its own, for hosts that need
// nothing else of restante.
package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/signal"
	"strings"
	"syscall"
	"text/tabwriter"

	"restante/cmd/internal/pullcmd"
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	context.AfterFunc(ctx, stop) // a second signal ends the process at once
	os.Exit(run(ctx, os.Args[1:], os.Stdin, os.Stdout, os.Stderr))
}

// own are the options that restante has for every command.
var own = []pullcmd.Option{
	{Name: "json", Usage: "answer as JSON"},
	{Name: "quiet", Usage: "print nothing but errors"},
	{Name: "help", Usage: "print this help"},
}

// run executes args and returns the exit code.
func run(ctx context.Context, args []string, in io.Reader, out, stderr io.Writer) int {
	given, rest, err := parse(args)
	if _, help := given["help"]; help {
		printHelp(out)
		return 0
	}
	if err == nil {
		value := func(name string) (string, bool) {
			v, ok := given[name]
			return v, ok
		}
		_, asJSON := given["json"]
		_, quiet := given["quiet"]
		err = pullcmd.Run(ctx, pullcmd.Call{
			Program: "restante-pull", Args: rest, Value: value, JSON: asJSON, Quiet: quiet, Out: out, Err: stderr,
			Password: func() (string, error) { return password(in) },
		})
	}
	if err == nil {
		return 0
	}
	if errors.Is(err, context.Canceled) {
		err = errors.New("interrupted")
	}
	fmt.Fprintf(stderr, "restante-pull: %v\n", err)
	if errors.Is(err, pullcmd.ErrUsage) {
		fmt.Fprintln(stderr, "hint: restante-pull --help")
	}
	return pullcmd.ExitCode(err)
}

// password reads it from standard input, but not from a terminal: there it would show.
func password(in io.Reader) (string, error) {
	if f, ok := in.(*os.File); ok {
		null, _ := os.Stat(os.DevNull)
		if st, err := f.Stat(); err == nil && st.Mode()&os.ModeCharDevice != 0 && !os.SameFile(st, null) {
			return "", errors.New("standard input is a terminal, which shows what is typed: the password is read from a pipe, or from --password-file")
		}
	}
	return pullcmd.FirstLine(in)
}

// parse reads options, which may stand anywhere.
func parse(args []string) (given map[string]string, rest []string, err error) {
	given = map[string]string{}
	for len(args) > 0 {
		word := args[0]
		args = args[1:]
		if word == "-h" {
			word = "--help"
		}
		name, value, inOne := strings.Cut(strings.TrimLeft(word, "-"), "=")
		if !strings.HasPrefix(word, "-") {
			rest = append(rest, word)
			continue
		}
		o, ok := option(name)
		switch {
		case !ok:
			return given, rest, fmt.Errorf("%w: there is no option %s", pullcmd.ErrUsage, word)
		case o.Value() == "" && !inOne:
			value = "true"
		case !inOne && len(args) > 0 && !(o.Optional() && strings.HasPrefix(args[0], "-")):
			value, args = args[0], args[1:]
		case !inOne && !o.Optional():
			return given, rest, fmt.Errorf("%w: %s needs a value", pullcmd.ErrUsage, word)
		}
		given[name] = value
	}
	return given, rest, nil
}

func option(name string) (pullcmd.Option, bool) {
	for _, o := range append(own, pullcmd.Options...) {
		if o.Name == name {
			return o, true
		}
	}
	return pullcmd.Option{}, false
}

func printHelp(out io.Writer) {
	w := tabwriter.NewWriter(out, 0, 4, 2, ' ', 0)
	fmt.Fprintf(w, "restante-pull: %s\n\nusage: restante-pull %s [OPTION]...\n\noptions:\n", pullcmd.Usage, pullcmd.ArgsUsage)
	for _, o := range append(pullcmd.Options, own...) {
		usage := strings.ReplaceAll(o.Usage, "`", "")
		if o.Default != "" {
			usage += " (default " + o.Default + ")"
		}
		fmt.Fprintf(w, "  %s\t%s\n", strings.TrimSpace("--"+o.Name+" "+o.Value()), usage)
	}
	_ = w.Flush()
}
