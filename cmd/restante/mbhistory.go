// SPDX-License-Identifier: Apache-2.0

package main

import (
	"fmt"

	urfave "github.com/urfave/cli/v2"

	"restante/admin/api"
	"restante/cmd/restante/internal/words"
	"restante/metabase"
)

func (c *cli) mbLog() *urfave.Command {
	return &urfave.Command{
		Name: "log", Usage: "list revisions, the newest first", ArgsUsage: "[PATH]",
		Flags: []urfave.Flag{
			&urfave.IntFlag{Name: "count", Aliases: []string{"n"}, Usage: "list only the newest `N`", DefaultText: "all"},
			&urfave.BoolFlag{Name: "changes", Usage: "also print what each changed"},
		},
		Action: c.withArgs(0, 1, func(cx *urfave.Context) error {
			if cx.Int("count") < 0 {
				return c.usage("--count must not be negative")
			}
			q := api.LogRequest{Path: cx.Args().First(), Count: cx.Int("count")}
			return list(cx.Context, c, api.MbLog, q, "the history has no such revision", func(w table, e api.Entry) {
				printEntry(w, e, cx.Bool("changes"))
			})
		}),
	}
}

func printEntry(w table, e api.Entry, changes bool) {
	note := e.Comment
	if e.Reverts != 0 {
		note = fmt.Sprintf("takes back %d %s", e.Reverts, note)
	}
	w.printf("%d\t%s\t%s\t%s\t%s\t%s\n", e.Rev, words.Time(e.Time), words.Dash(string(e.Actor)), e.Origin, words.Plural(len(e.Changes), "change"), note)
	for _, kept := range e.Kept {
		w.printf("! not taken back: %s\n", kept)
	}
	if !changes {
		return
	}
	for _, c := range e.Changes {
		printChange(w, c)
	}
}

func (c *cli) mbDiff() *urfave.Command {
	return &urfave.Command{
		Name: "diff", Usage: "show the difference between a revision and another, or now", ArgsUsage: "REV [REV2]",
		Description: "REV 0 is the empty tree. Differences beside the value stand in brackets: a lock, attributes, the data type.",
		Action: c.withArgs(1, 2, func(cx *urfave.Context) error {
			var q api.DiffRequest
			for i, rev := range []*metabase.Rev{&q.From, &q.To} {
				if i >= cx.NArg() {
					break
				}
				word := cx.Args().Get(i)
				if i == 0 && word == "0" {
					continue // the empty tree
				}
				n, err := c.number("revision", word)
				if err != nil {
					return err
				}
				*rev = metabase.Rev(n)
			}
			return list(cx.Context, c, api.MbDiff, q, "there is no difference", printChange)
		}),
	}
}

func (c *cli) mbRevert() *urfave.Command {
	return &urfave.Command{
		Name: "revert", Usage: "revert the changes of a revision", ArgsUsage: "REV",
		Flags: []urfave.Flag{
			&urfave.StringFlag{Name: "below", Usage: "revert only changes at and below `PATH`", DefaultText: "everywhere"},
			&urfave.BoolFlag{Name: "dry-run", Usage: "check it, and print what it would change and affect"},
		},
		Action: c.withArgs(1, 1, func(cx *urfave.Context) error {
			n, err := c.number("revision", cx.Args().First())
			if err != nil {
				return err
			}
			q := api.RevertRequest{Rev: metabase.Rev(n), Path: cx.String("below"), DryRun: cx.Bool("dry-run")}
			return tryOrChange(cx.Context, c, api.MbRevert, q, q.DryRun, printOutcome)
		}),
	}
}

func (c *cli) mbWatch() *urfave.Command {
	return &urfave.Command{
		Name: "watch", Usage: "print each change when it is made", ArgsUsage: "[PATH]",
		Description: "PATH need not exist yet. The command ends with exit code 1 when the service stops.",
		Flags: []urfave.Flag{
			&urfave.Uint64Flag{Name: "since", Usage: "also print changes after `REVISION`; 0 is the empty tree", DefaultText: "now"},
			&urfave.IntFlag{Name: "count", Usage: "end after `N` revisions", DefaultText: "never"},
		},
		Action: c.withArgs(0, 1, func(cx *urfave.Context) error {
			if cx.Int("count") < 0 {
				return c.usage("--count must not be negative")
			}
			return c.watch(cx)
		}),
	}
}

func (c *cli) watch(cx *urfave.Context) error {
	conn, err := c.open(cx.Context)
	if err != nil {
		return err
	}
	defer conn.close()
	q := api.WatchRequest{Path: cx.Args().First()}
	if cx.IsSet("since") {
		since := metabase.Rev(cx.Uint64("since"))
		q.Since = &since
	}
	left := cx.Int("count")
	for e, err := range api.MbWatch.Open(cx.Context, conn, q) {
		if cx.Context.Err() != nil {
			return nil // interrupted by the user
		}
		if err != nil {
			return err
		}
		if err := c.answerOwn(e, func(w table) { printEntry(w, e, true) }); err != nil {
			return err
		}
		if left--; left == 0 {
			return nil
		}
	}
	if cx.Context.Err() != nil {
		return nil
	}
	return &api.Error{Kind: api.KindFailed, Text: "the service has stopped, and nothing more will come"}
}
