// SPDX-License-Identifier: Apache-2.0

package main

import (
	"fmt"
	"math/big"
	"slices"
	"strconv"
	"strings"

	urfave "github.com/urfave/cli/v2"

	"restante/admin/api"
	"restante/cmd/restante/internal/batch"
	"restante/cmd/restante/internal/words"
	"restante/metabase"
	"restante/metabase/schema"
)

func (c *cli) mbApply() *urfave.Command {
	return &urfave.Command{
		Name: "apply", Usage: "apply a batch of changes, all or nothing", ArgsUsage: "[FILE]",
		Description: "FILE, or standard input, has one operation per line: set PATH PROP VALUE..., unset PATH PROP,\n" +
			"lock PATH PROP, unlock PATH PROP, add PATH CLASS, rm PATH, cp SRC DST, mv SRC DST, clear PATH, cpdata SRC DST,\n" +
			"touch PATH [TIME], each with the options of the command of that name; -- ends the options. Words are quoted as\n" +
			"in a shell, but outside of quotes a backslash escapes only a blank, a quote and #. # begins a comment.",
		Flags: []urfave.Flag{
			&urfave.BoolFlag{Name: "dry-run", Usage: "check it, and print what it would change and affect"},
		},
		Action: c.withArgs(0, 1, func(cx *urfave.Context) error {
			text, err := c.input(cx.Args().First())
			if err != nil {
				return err
			}
			q := api.ApplyRequest{Lines: batch.Read(text), DryRun: cx.Bool("dry-run")}
			return tryOrChange(cx.Context, c, api.MbApply, q, q.DryRun, printApplied)
		}),
	}
}

// printApplied prints the revision of a batch, or what a dry run found.
func printApplied(w table, a api.Applied) {
	if !a.DryRun {
		w.printf("revision %d\n", a.Rev)
		return
	}
	for _, c := range a.Changes {
		printChange(w, c)
	}
	if len(a.Changes) == 0 && !a.Acts() {
		w.printf("changes nothing\n")
	}
	if a.Touches != nil {
		printImpact(w, *a.Touches)
	}
}

// printChange prints a line of a difference: + for new, - for old.
func printChange(w table, c api.Change) {
	switch metabase.ChangeKind(c.What) {
	case metabase.KeyAdded:
		w.printf("+ %s\n", c.Path)
	case metabase.KeyRemoved:
		w.printf("- %s\n", c.Path)
	case metabase.KeyMoved, metabase.KeyRenamed:
		w.printf("> %s -> %s\n", c.Path, c.To)
	default:
		name := c.Path.Join(c.Property)
		if c.OldText != nil {
			w.printf("- %s %s%s\n", name, words.OneLine(c.Old, c.OldText), oldAnnotations(c))
		}
		if c.NewText != nil {
			w.printf("+ %s %s%s\n", name, words.OneLine(c.New, c.NewText), newAnnotations(c))
		}
		if c.OldText == nil && c.NewText == nil {
			w.printf("~ %s\n", name)
		}
	}
}

func oldAnnotations(c api.Change) string {
	if c.NewText == nil {
		return annotations(c.OldAttributes, "", c.OldType, nil, true)
	}
	return annotations(c.OldAttributes, c.NewAttributes, c.OldType, c.OldUserType, false)
}

func newAnnotations(c api.Change) string {
	if c.OldText == nil {
		return annotations(c.NewAttributes, "", c.NewType, nil, true)
	}
	return annotations(c.NewAttributes, c.OldAttributes, c.NewType, c.NewUserType, false)
}

// annotations lists in brackets the attributes, type and user type that differ
// between the two sides of a change. An item without another side shows its lock.
func annotations(attributes, others, typ string, user *metabase.UserType, alone bool) string {
	var out []string
	has := strings.Split(others, " | ")
	for _, name := range strings.Split(attributes, " | ") {
		locked := name == metabase.Locked.String()
		if !slices.Contains(has, name) && (!alone || locked) && name != "" {
			out = append(out, strings.ToLower(name))
		}
	}
	if typ != "" {
		out = append(out, typ)
	}
	if user != nil {
		out = append(out, "user type "+schema.UserTypeText(*user))
	}
	if len(out) == 0 {
		return ""
	}
	return " [" + strings.Join(out, ", ") + "]"
}

// printImpact prints the effects of a change beyond the keys that it names, one
// per line.
func printImpact(w table, t api.Impact) {
	for _, h := range t.Inheritors {
		var who []string
		for _, part := range []string{countAndNames("site", numbers(h.Sites)), countAndNames("domain", h.DomainNames), countAndNames("account", h.AccountNames)} {
			if part != "" {
				who = append(who, part)
			}
		}
		w.printf("%s is inherited by %s\n", h.Path.Join(h.Property), strings.Join(who, "; "))
	}
	touched := make([]int, len(t.Sites))
	for i, s := range t.Sites {
		touched[i] = s.Site
	}
	if len(touched) > 0 {
		w.printf("touches %s\n", countAndNames("site", numbers(touched)))
	}
	for _, s := range t.Sites {
		printSiteImpact(w, s)
	}
	if len(t.Uninspected) > 0 {
		w.printf("not looked at: the mail that waits at %s, whose queue is not open\n", countAndNames("site", numbers(t.Uninspected)))
	}
}

func printSiteImpact(w table, s api.SiteImpact) {
	say := func(format string, args ...any) {
		w.printf("site %d: %s\n", s.Site, fmt.Sprintf(format, args...))
	}
	for _, word := range s.Becomes {
		say("%s", word)
	}
	if s.Rerouted > 0 {
		say("%s in the queue would go another way", words.Plural(s.Rerouted, "message"))
	}
	for _, r := range []struct {
		more, fewer, all *big.Int
		what             string
	}{{s.Relay, s.RelayFewer, s.RelayAll, "relay"}, {s.Connect, s.ConnectFewer, s.ConnectAll, "connect"}} {
		if r.more.Sign() > 0 {
			say("%s more addresses may %s, %s in all", r.more, r.what, r.all)
		}
		if r.fewer.Sign() > 0 {
			say("%s fewer addresses may %s, %s in all", r.fewer, r.what, r.all)
		}
	}
	if s.RelayAuth {
		say("every signed-in caller may relay, and could not before")
	}
	for _, d := range s.OpenDomains {
		say("%s takes mail from anybody, and did not before", d)
	}
}

func numbers(list []int) []string {
	out := make([]string, len(list))
	for i, n := range list {
		out[i] = strconv.Itoa(n)
	}
	return out
}

// countAndNames counts names and lists the first of them; "" for none.
func countAndNames(word string, names []string) string {
	const most = 10
	if len(names) == 0 {
		return ""
	}
	text := words.Plural(len(names), word) + ": " + strings.Join(names[:min(most, len(names))], ", ")
	if more := len(names) - most; more > 0 {
		text += fmt.Sprintf(" and %d more", more)
	}
	return text
}

func (c *cli) mbConfirm() *urfave.Command {
	return &urfave.Command{
		Name: "confirm", Usage: "keep a change that would be reverted", ArgsUsage: "[REV]",
		Action: c.withArgs(0, 1, func(cx *urfave.Context) error {
			var q api.ConfirmRequest
			if cx.NArg() == 1 {
				n, err := c.number("revision", cx.Args().First())
				if err != nil {
					return err
				}
				q.Rev = metabase.Rev(n)
			}
			return change(cx.Context, c, api.MbConfirm, q, func(w table, a api.Applied) {
				w.printf("revision %d stays\n", a.Rev)
			})
		}),
	}
}
