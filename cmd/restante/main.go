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
	"path/filepath"
	"runtime"
	"runtime/debug"
	"syscall"

	urfave "github.com/urfave/cli/v2"

	"restante/internal/disk"
)

func main() {
	disk.MakePrivate() // of a process for all of its life, not of each call of run
	os.Exit(run(os.Args[1:], os.Stdin, os.Stdout, os.Stderr))
}

// run executes args and returns the exit code; docs/commands.md lists the codes.
func run(args []string, stdin io.Reader, stdout, stderr io.Writer) int {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	// A second signal ends the process at once, as it would without us.
	context.AfterFunc(ctx, stop)
	c := &cli{in: stdin, out: stdout, err: stderr}
	return c.report(c.run(ctx, args))
}

// defaultData is the data folder without --data: the machine's for root, else
// the user's own.
func defaultData() string {
	if runtime.GOOS == "windows" {
		return filepath.Join(os.Getenv("ProgramData"), "Restante")
	}
	if os.Getuid() == 0 {
		return "/var/lib/restante"
	}
	home, err := os.UserHomeDir()
	switch {
	case err != nil:
		return "/var/lib/restante"
	case runtime.GOOS == "darwin":
		return filepath.Join(home, "Library", "Application Support", "restante")
	}
	if dir := os.Getenv("XDG_DATA_HOME"); filepath.IsAbs(dir) {
		return filepath.Join(dir, "restante")
	}
	return filepath.Join(home, ".local", "share", "restante")
}

// The Makefile has the linker set these from git.
var linkedVersion, linkedCommit, linkedDate string

// A build identifies the source of the binary.
type build struct {
	Version string `json:"version"`
	Commit  string `json:"commit"`
	Date    string `json:"date"` // of the commit, RFC 3339
}

// thisBuild asks the linker's values first, then those of the Go tool.
func thisBuild() build {
	b := build{linkedVersion, linkedCommit, linkedDate}
	if info, ok := debug.ReadBuildInfo(); ok {
		b.fill(info)
	}
	for _, field := range []*string{&b.Version, &b.Commit, &b.Date} {
		if *field == "" {
			*field = "unknown"
		}
	}
	return b
}

// fill sets empty fields from the records of the Go tool.
func (b *build) fill(info *debug.BuildInfo) {
	if b.Version == "" && info.Main.Version != "(devel)" {
		b.Version = info.Main.Version
	}
	if b.Commit != "" {
		return
	}
	for _, s := range info.Settings {
		switch {
		case s.Key == "vcs.revision":
			b.Commit = s.Value + b.Commit
		case s.Key == "vcs.time":
			b.Date = s.Value
		case s.Key == "vcs.modified" && s.Value == "true":
			b.Commit += "-dirty"
		}
	}
}

func (c *cli) versionCommand() *urfave.Command {
	return &urfave.Command{
		Name: "version", Usage: "show version, commit and date of this binary",
		Action: c.withArgs(0, 0, func(*urfave.Context) error {
			b := thisBuild()
			return c.answerOwn(b, func(w table) {
				row := fields(w)
				row("version", b.Version)
				row("commit", b.Commit)
				row("date", b.Date)
			})
		}),
	}
}
