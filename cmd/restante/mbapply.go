// SPDX-License-Identifier: Apache-2.0

package main

import (
	"encoding/hex"
	"fmt"
	"io"
	"os"
	"path"
	"strings"
	"text/tabwriter"
	"unicode/utf8"

	"github.com/kballard/go-shellquote"
	"github.com/urfave/cli/v2"

	"restante/internal/control"
	"restante/metabase"
	"restante/metabase/schema"
)

func (s *shell) mbApply() *cli.Command {
	return &cli.Command{
		Name: "apply", Usage: "make a batch of changes, all or nothing", ArgsUsage: "[FILE]",
		Description: "FILE, or standard input, has one operation per line: set PATH PROP VALUE..., unset PATH PROP,\n" +
			"lock PATH PROP, unlock PATH PROP, add PATH CLASS, rm PATH, cp SRC DST, mv SRC DST. Words are quoted as in a shell; # begins a comment.",
		Flags: []cli.Flag{
			&cli.BoolFlag{Name: "dry-run", Usage: "check it, and print the difference and what it touches"},
			&cli.Uint64Flag{Name: "if-rev", Usage: "only if the tree is at `REVISION`", DefaultText: "any"},
			&cli.DurationFlag{Name: "confirm", Usage: "take it back unless mb confirm follows within `DURATION`", DefaultText: "never"},
		},
		Action: s.takes(0, 1, func(cx *cli.Context) error {
			if cx.Duration("confirm") < 0 {
				return s.usage("--confirm must be greater than 0")
			}
			text, err := s.input(cx.Args().First())
			if err != nil {
				return err
			}
			q := control.ApplyRequest{
				Lines: readBatch(text), DryRun: cx.Bool("dry-run"), IfRev: metabase.Rev(cx.Uint64("if-rev")), Confirm: cx.Duration("confirm").Seconds(),
			}
			return ask(cx.Context, s, control.MbApply, q, func(w *tabwriter.Writer, a control.Applied) { printApplied(w, a) })
		}),
	}
}

// input reads a file, or standard input for "" and "-".
func (s *shell) input(name string) (string, error) {
	if name == "" || name == "-" {
		b, err := io.ReadAll(s.in)
		return string(b), err
	}
	b, err := os.ReadFile(name)
	return string(b), err
}

// readBatch splits a batch into lines of words. A line that cannot be split
// says why, to be told with whatever else is wrong.
func readBatch(text string) []control.Line {
	lines := []control.Line{}
	n := 0
	for raw := range strings.SplitSeq(text, "\n") {
		n++
		code := strings.TrimSpace(uncomment(raw))
		if code == "" {
			continue
		}
		if !utf8.ValidString(code) {
			lines = append(lines, control.Line{Number: n, Broken: "is not valid UTF-8"})
			continue
		}
		words, err := shellquote.Split(code)
		if err == nil && strings.EqualFold(words[0], "set") {
			var rest []string
			rest, err = withFiles(words[1:])
			words = append(words[:1:1], rest...)
		}
		l := control.Line{Number: n, Words: words}
		if err != nil {
			l.Broken = err.Error()
		}
		lines = append(lines, l)
	}
	return lines
}

// uncomment cuts a line at a # that begins a word outside of quotes.
func uncomment(line string) string {
	quote := byte(0)
	for i := 0; i < len(line); i++ {
		switch c := line[i]; {
		case c == '\\' && quote != '\'':
			i++
		case quote != 0 && c == quote:
			quote = 0
		case quote == 0 && (c == '\'' || c == '"'):
			quote = c
		case quote == 0 && c == '#' && (i == 0 || line[i-1] == ' ' || line[i-1] == '\t'):
			return line[:i]
		}
	}
	return line
}

// withFiles puts the content of FILE, as hexadecimal digits, in the place of
// @FILE where that is the value of a BINARY property.
func withFiles(words []string) ([]string, error) {
	last := len(words) - 1
	if last < 1 || !strings.HasPrefix(words[last], "@") {
		return words, nil
	}
	name := path.Base(strings.ReplaceAll(words[0], `\`, "/"))
	if last >= 2 {
		name = words[last-1]
	}
	p, ok := schema.IIS().Property(name)
	if !ok || p.Type != metabase.BinaryType {
		return words, nil
	}
	b, err := os.ReadFile(words[last][1:])
	if err != nil {
		return nil, err
	}
	return append(words[:last:last], hex.EncodeToString(b)), nil
}

// printApplied prints what a batch did, or would do.
func printApplied(w *tabwriter.Writer, a control.Applied) {
	if !a.DryRun {
		fmt.Fprintf(w, "revision %d\n", a.Rev)
		if !a.Until.IsZero() {
			fmt.Fprintf(w, "taken back at %s unless restante mb confirm follows\n", when(a.Until))
		}
		return
	}
	for _, c := range a.Changes {
		printChange(w, c)
	}
	if len(a.Changes) == 0 {
		fmt.Fprintln(w, "changes nothing")
	}
	if a.Touches != nil {
		printTouches(w, *a.Touches)
	}
}

// printChange prints a line of a difference, as + what comes and - what goes.
func printChange(w *tabwriter.Writer, c control.Change) {
	switch metabase.What(c.What) {
	case metabase.KeyAdded:
		fmt.Fprintf(w, "+ %s\n", c.Path)
	case metabase.KeyRemoved:
		fmt.Fprintf(w, "- %s\n", c.Path)
	case metabase.KeyMoved, metabase.KeyRenamed:
		fmt.Fprintf(w, "> %s -> %s\n", c.Path, c.To)
	default:
		if c.OldText != nil {
			fmt.Fprintf(w, "- %s/%s %s\n", c.Path, c.Property, strings.Join(c.OldText, " "))
		}
		if c.NewText != nil {
			fmt.Fprintf(w, "+ %s/%s %s\n", c.Path, c.Property, strings.Join(c.NewText, " "))
		}
		if c.OldText == nil && c.NewText == nil {
			fmt.Fprintf(w, "~ %s/%s\n", c.Path, c.Property)
		}
	}
}

func printTouches(w *tabwriter.Writer, t control.Touches) {
	for _, h := range t.Heirs {
		fmt.Fprintf(w, "%s/%s is inherited by %s, %s, %s: %s\n", h.Path, h.Property,
			plural(len(h.Sites), "site"), plural(h.Domains, "domain"), plural(h.Accounts, "account"), some(h.Keys))
	}
	for _, s := range t.Sites {
		fmt.Fprintf(w, "touches site %d\n", s.Site)
		if s.Rerouted > 0 {
			fmt.Fprintf(w, "site %d: %s in the queue would go another way\n", s.Site, plural(s.Rerouted, "message"))
		}
		if s.Relay.Sign() > 0 {
			fmt.Fprintf(w, "site %d: %s more addresses may relay, %s in all\n", s.Site, s.Relay, s.RelayAll)
		}
		if s.RelayAuth {
			fmt.Fprintf(w, "site %d: whoever has signed in may relay, and could not before\n", s.Site)
		}
		for _, d := range s.OpenDomains {
			fmt.Fprintf(w, "site %d: %s takes mail from anybody, and did not before\n", s.Site, d)
		}
	}
}

// some names the first of many keys.
func some(keys []metabase.Path) string {
	const most = 10
	var b strings.Builder
	for i, k := range keys[:min(most, len(keys))] {
		if i > 0 {
			b.WriteString(", ")
		}
		b.WriteString(string(k))
	}
	if more := len(keys) - most; more > 0 {
		fmt.Fprintf(&b, " and %d more", more)
	}
	return b.String()
}

func (s *shell) mbConfirm() *cli.Command {
	return &cli.Command{
		Name: "confirm", Usage: "keep a change that would be taken back", ArgsUsage: "[REV]",
		Action: s.takes(0, 1, func(cx *cli.Context) error {
			var q control.ConfirmRequest
			if cx.NArg() == 1 {
				n, err := s.number("revision", cx.Args().First())
				if err != nil {
					return err
				}
				q.Rev = metabase.Rev(n)
			}
			return ask(cx.Context, s, control.MbConfirm, q, func(w *tabwriter.Writer, a control.Applied) {
				fmt.Fprintf(w, "revision %d stays\n", a.Rev)
			})
		}),
	}
}
