// SPDX-License-Identifier: Apache-2.0

package main

import (
	"runtime/debug"
	"text/tabwriter"

	urfave "github.com/urfave/cli/v2"
)

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
			return c.answerOwn(b, func(w *tabwriter.Writer) {
				row := fields(w)
				row("version", b.Version)
				row("commit", b.Commit)
				row("date", b.Date)
			})
		}),
	}
}
