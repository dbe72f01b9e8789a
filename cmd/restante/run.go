// SPDX-License-Identifier: Apache-2.0

package main

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"runtime/debug"
	"strings"
	"time"

	urfave "github.com/urfave/cli/v2"

	"restante/admin/adsitree"
	"restante/admin/api"
	"restante/admin/scriptcalls"
	adsi "restante/adsi-compat"
	"restante/adsi-compat/luahost"
	"restante/adsi-compat/luahost/system"
	"restante/cmd/restante/internal/terminal"
	"restante/cmd/restante/internal/words"
	"restante/metabase"
	"restante/metabase/schema"
	carried "restante/scripts"
)

func (c *cli) runCommand() *urfave.Command {
	return &urfave.Command{
		Name: "run", Usage: "run a Lua administration script", ArgsUsage: "SCRIPT.lua|@NAME|- [ARG]...",
		Description: "SCRIPT.lua is a file, @NAME a script that the binary carries (@list prints their names), and - standard input.\n" +
			"@definitions prints what the Lua language server has to know of objects, modules and properties.\n" +
			"The script runs in the process of this command, with your rights and your files; its arguments are in arg. Each\n" +
			"SetInfo is one batch, recorded with your name. It requires modules from its own folder (of standard input: the\n" +
			"current one), then from $RESTANTE_LUA, by default the folder restante/lua among your user's settings.",
		Flags: []urfave.Flag{
			&urfave.DurationFlag{Name: "timeout", Value: 5 * time.Minute, Usage: "stop the script after `DURATION`"},
			&urfave.BoolFlag{Name: "dry-run", Usage: "change nothing, and print what the script would change and affect"},
			&urfave.BoolFlag{Name: "sandbox", Usage: "take files, programs and the environment away from the script"},
			&urfave.BoolFlag{Name: "interactive", Aliases: []string{"i"}, Usage: "take no script, and run lines as they are typed; the time-out is then off unless given"},
		},
		Action: c.withArgs(0, -1, func(cx *urfave.Context) error {
			if (cx.NArg() == 0) != cx.Bool("interactive") {
				return c.usage("takes " + cx.Command.ArgsUsage + ", or --interactive")
			}
			switch cx.Args().First() {
			case "@list":
				return c.listScripts()
			case "@definitions":
				out := c.verbatim()
				if c.json {
					out = jsonText{c.out}
				}
				_, err := io.WriteString(out, definitions())
				return err
			}
			script, err := luahost.Script{Name: "prompt"}, error(nil)
			if cx.NArg() > 0 {
				script, err = c.readScript(cx.Args().First())
			} else {
				p := terminal.NewPrompter(c.in, c.out)
				script.Prompt, c.in = p, p.In // which may have read ahead
			}
			if err != nil {
				return err
			}
			script.Args, script.Sandbox = cx.Args().Tail(), cx.Bool("sandbox")
			script.DryRun = cx.Bool("dry-run")
			script.Streams = system.Streams{In: c.in, Out: c.verbatim(), Err: c.err, Terminal: terminal.Is(c.in)}
			if c.json {
				script.Out = jsonText{c.out}
			}
			if script.Modules, err = moduleFolders(cx.Args().First(), script.Sandbox); err != nil {
				return err
			}
			timeout := cx.Duration("timeout")
			if script.Prompt != nil && !cx.IsSet("timeout") {
				timeout = 365 * 24 * time.Hour
			}
			if timeout <= 0 {
				return c.usage("--timeout must be greater than 0")
			}
			conn, err := c.openAs(cx.Context, metabase.FromLua)
			if err != nil {
				return err
			}
			defer conn.close()
			tree := adsitree.New(conn, c.terms)
			if cx.Bool("dry-run") {
				tree = adsitree.NewDryRun(conn, c.terms)
			}
			cx.Context = api.WithNotes(cx.Context, c.warnOnce())
			debug.SetMemoryLimit(luahost.MaxMemory) // collect garbage before it counts
			err = runScript(cx.Context, tree, script, timeout)
			if !cx.Bool("dry-run") {
				return cmp.Or(err, c.printMade(tree.Made())) // one that failed may have changed something, too
			}
			if err != nil {
				return err
			}
			difference, err := tree.Difference(cx.Context)
			if err != nil {
				return err
			}
			return c.answerOwn(difference, func(w table) { printApplied(w, difference) })
		}),
	}
}

// warnOnce returns a function that prints each note once: a dry run makes the
// same changes again and again.
func (c *cli) warnOnce() func(api.Noted) {
	told := map[api.Noted]bool{}
	return func(n api.Noted) {
		if !told[n] {
			c.warn(n.Subject, n.Text)
		}
		told[n] = true
	}
}

// printMade prints one line on what a script changed.
func (c *cli) printMade(made adsitree.Made) error {
	n := len(made.Revisions)
	if n == 0 || c.quiet && !c.json {
		return nil
	}
	return c.answerOwn(made, func(w table) {
		if n == 1 {
			w.printf("revision %d: %s\n", made.Revisions[0], words.Plural(made.Changes, "change"))
		} else {
			w.printf("%d revisions, %d to %d: %s\n", n, made.Revisions[0], made.Revisions[n-1], words.Plural(made.Changes, "change"))
		}
		for _, line := range takenBack(made) {
			w.printf("%s\n", line)
		}
	})
}

// takenBack says what becomes of each pending revision. Without a number, mb confirm
// takes the newest alone.
func takenBack(made adsitree.Made) (lines []string) {
	for _, p := range made.Pending {
		line := fmt.Sprintf("taken back at %s unless restante mb confirm", words.Time(p.Until))
		if len(made.Pending) > 1 {
			line = fmt.Sprintf("revision %d: %s %d", p.Rev, line, p.Rev)
		}
		lines = append(lines, line+" follows")
	}
	return lines
}

// runScript runs a script over tree.
func runScript(ctx context.Context, tree *adsitree.Tree, s luahost.Script, timeout time.Duration) error {
	ctx, cancel := context.WithTimeoutCause(ctx, timeout, fmt.Errorf("it ran for more than %s", timeout))
	defer cancel()
	for _, f := range scriptcalls.Functions() {
		f.Sandbox = s.Sandbox
		s.Functions = append(s.Functions, luahost.Function{
			Module: f.Module, Name: f.Name, Args: f.Args,
			Call: func(ctx context.Context, request []byte) (json.RawMessage, error) {
				return f.Call(ctx, tree, tree, request)
			},
		})
	}
	return luahost.Run(ctx, adsi.New(tree, schema.IIS()), s)
}

// jsonText prints each text that is written as an object.
type jsonText struct{ out io.Writer }

func (j jsonText) Write(b []byte) (int, error) {
	err := json.NewEncoder(j.out).Encode(struct {
		Text string `json:"text"`
	}{string(b)})
	return len(b), err
}

func (c *cli) readScript(name string) (luahost.Script, error) {
	if own, ok := strings.CutPrefix(name, "@"); ok {
		file := own + ".lua"
		source, err := fs.ReadFile(carried.Files, file)
		if err != nil {
			return luahost.Script{}, &api.Error{Kind: api.KindFailed, Text: name + ": the binary carries no script of that name", Hint: "run @list"}
		}
		return luahost.Script{Name: file, Source: string(source)}, nil
	}
	source, err := c.input(name)
	if name == "-" {
		name = "stdin"
	}
	return luahost.Script{Name: filepath.Base(name), Source: source}, err
}

// moduleFolders are the folders that a script requires from: its own, and the
// administrator's. In a sandbox no link leads out of them.
func moduleFolders(script string, sandbox bool) ([]system.Folder, error) {
	var folders []system.Folder
	var dirs []string
	if strings.HasPrefix(script, "@") {
		folders = append(folders, system.Folder{Name: "the binary", FS: carried.Files})
	} else {
		dirs = append(dirs, filepath.Dir(script)) // of "-": the current one
	}
	mine, err := os.UserConfigDir()
	if mine = filepath.Join(mine, "restante", "lua"); err == nil || os.Getenv("RESTANTE_LUA") != "" {
		dirs = append(dirs, cmp.Or(os.Getenv("RESTANTE_LUA"), mine))
	}
	for _, dir := range dirs {
		folder := system.Folder{Name: dir, FS: os.DirFS(dir)}
		if sandbox {
			root, err := os.OpenRoot(dir)
			if errors.Is(err, fs.ErrNotExist) {
				continue
			}
			if err != nil {
				return nil, err
			}
			folder.FS = root.FS() // open until the process ends
		}
		folders = append(folders, folder)
	}
	return folders, nil
}

// A carriedScript is a script in the binary.
type carriedScript struct {
	Name string `json:"name"`
	Does string `json:"does"` // its first line
}

// definitions describes objects, modules and properties for the Lua language server.
func definitions() string {
	properties := map[string]string{}
	for p := range schema.IIS().Props() {
		if p.Name != "" {
			properties[p.Name] = luaType(p)
		}
	}
	return "---@meta\n\n-- What scripts of restante run have, for the Lua language server. Generated by make docs; restante run @definitions\n" +
		"-- prints it.\n\n" + luahost.Definitions(properties) + scriptcalls.Definitions()
}

func luaType(p schema.Prop) string {
	switch {
	case p.Syntax == schema.IPList:
		return "restante.IPList"
	case p.Syntax == schema.Flag || p.Syntax == schema.Boolean:
		return "boolean"
	case p.Type == metabase.DWordType:
		return "integer"
	case p.Type == metabase.MultiSZType:
		return "string[]"
	}
	return "string"
}

func (c *cli) listScripts() error {
	files, err := fs.Glob(carried.Files, "*.lua")
	if err != nil {
		return err
	}
	var list []carriedScript
	for _, file := range files {
		source, err := fs.ReadFile(carried.Files, file)
		if err != nil {
			return err
		}
		list = append(list, carriedScript{"@" + strings.TrimSuffix(file, ".lua"), summary(string(source))})
	}
	return c.answerOwn(list, func(w table) {
		for _, s := range list {
			w.printf("%s\t%s\n", s.Name, s.Does)
		}
	})
}

// summary is the comment that a script begins with.
func summary(source string) string {
	var texts []string
	for line := range strings.Lines(source) {
		text, ok := strings.CutPrefix(line, "--")
		if !ok {
			break
		}
		texts = append(texts, strings.TrimSpace(text))
	}
	return strings.Join(texts, " ")
}
