// SPDX-License-Identifier: Apache-2.0

package main

import (
	"bytes"
	"cmp"
	"fmt"
	"io"
	"os"
	"unicode/utf8"

	urfave "github.com/urfave/cli/v2"

	"restante/admin/api"
	"restante/cmd/restante/internal/importreport"
	"restante/cmd/restante/internal/words"
	"restante/engine/settings"
	"restante/internal/disk"
	"restante/metabase"
	"restante/metabase/mbxml"
)

func (c *cli) mbExport() *urfave.Command {
	return &urfave.Command{
		Name: "export", Usage: "export keys as MetaBase.xml", ArgsUsage: "[PATH] FILE.xml",
		Description: "FILE.xml may be - for standard output. Secure values are written empty; a backup keeps them.",
		Flags: []urfave.Flag{
			&urfave.BoolFlag{Name: "inherited", Usage: "write with the topmost key also what it inherits"},
			&urfave.BoolFlag{Name: "node-only", Usage: "write only the topmost key"},
		},
		Action: c.withArgs(1, 2, func(cx *urfave.Context) error {
			q := api.ExportRequest{Inherited: cx.Bool("inherited"), NodeOnly: cx.Bool("node-only")}
			file := cx.Args().First()
			if cx.NArg() == 2 {
				q.Path, file = cx.Args().First(), cx.Args().Get(1)
			}
			a, _, err := exchange(cx.Context, c, api.MbExport, q)
			if err != nil {
				return err
			}
			if file == "-" {
				if c.json && !utf8.Valid(a.XML) {
					return fmt.Errorf("a value is not UTF-8, which JSON cannot carry: export to a file")
				}
				if c.json {
					return c.answerOwn(exportedText{string(a.XML), a.Rev, a.Secrets}, nil)
				}
				_, err := c.verbatim().Write(a.XML)
				return err
			}
			if a.Secrets > 0 {
				c.warn(file, words.Plural(a.Secrets, "secure value")+" left empty")
			}
			if err := disk.WriteFile(nil, file, 0o600, disk.Bytes(a.XML)); err != nil || c.quiet && !c.json {
				return err
			}
			made := exportedFile{file, a.Rev, a.Secrets}
			return c.answerOwn(made, func(w table) { w.printf("exported revision %d to %s\n", made.Rev, made.File) })
		}),
	}
}

// An exportedText is the JSON answer of mb export to standard output.
type exportedText struct {
	XML     string       `json:"xml"`
	Rev     metabase.Rev `json:"rev"`
	Secrets int          `json:"secrets"` // secure values that are left empty in it
}

// An exportedFile is the JSON answer of mb export.
type exportedFile struct {
	File    string       `json:"file"`
	Rev     metabase.Rev `json:"rev"`
	Secrets int          `json:"secrets"` // secure values that are left empty in it
}

func (c *cli) mbImport() *urfave.Command {
	return &urfave.Command{
		Name: "import", Usage: "import a MetaBase.xml of Restante or of IIS 6 to 10", ArgsUsage: "FILE.xml",
		Description: "The file's keys replace those in the tree; with --merge, what it does not name stays.\n" +
			"Of a file of IIS, the keys of the SMTP service are merged. A report says what was translated or ignored.",
		Flags: []urfave.Flag{
			&urfave.StringFlag{Name: "at", Usage: "import the file's topmost key as `PATH`", DefaultText: "where it says"},
			&urfave.BoolFlag{Name: "merge", Usage: "keep what the file does not name"},
			&urfave.BoolFlag{Name: "node-only", Usage: "import only the file's topmost key"},
			&urfave.BoolFlag{Name: "fragment", Usage: "take a part of a file, elements of keys with nothing around them"},
			&urfave.BoolFlag{Name: "dry-run", Usage: "check it, and print what it would change and the report"},
			&urfave.BoolFlag{Name: "all", Usage: "print all lines of the report, not the first ten of each kind"},
			&urfave.StringFlag{Name: "html", Usage: "also write the report to `FILE`, as a page with all of its lines"},
		},
		Action: c.withArgs(1, 1, func(cx *urfave.Context) error {
			xml, err := c.readTrimmed(cx.Args().First())
			if err != nil {
				return err
			}
			q := api.ImportRequest{
				XML: xml, At: cx.String("at"), Merge: cx.Bool("merge"), NodeOnly: cx.Bool("node-only"), DryRun: cx.Bool("dry-run"), Fragment: cx.Bool("fragment"),
				Brief: !c.json, // only a dry run prints the changes
			}
			page := cx.String("html")
			if page != "" && c.json {
				return c.usage("--html and --json exclude each other")
			}
			change := func(write func(*mbxml.Report)) error {
				return tryOrChange(cx.Context, c, api.MbImport, q, q.DryRun, func(w table, a api.Imported) {
					write(a.Report)
					if q.DryRun {
						printApplied(w, a.Applied)
					} else {
						printImported(w, a)
					}
					report := newTable(c.err)
					importreport.Print(report.printf, a.Report, cx.Bool("all"))
					_ = report.cells.Flush()
				})
			}
			if page == "" {
				return change(func(*mbxml.Report) {})
			}
			return importWithPage(page, cx.Args().First(), change)
		}),
	}
}

// importWithPage writes the report of a change to a file. The file is open
// before the change is made: where there can be none, nothing is changed.
func importWithPage(page, file string, change func(write func(*mbxml.Report)) error) error {
	if at, err := os.Stat(page); err == nil && at.IsDir() {
		return fmt.Errorf("%s: is a folder", page)
	}
	var changed error
	err := disk.WriteFile(nil, page, 0o600, func(w io.ReadWriteSeeker) error {
		made, unwritten := false, error(nil)
		changed = change(func(r *mbxml.Report) { made, unwritten = true, importreport.WritePage(w, file, r) })
		if !made {
			return changed
		}
		return unwritten
	})
	return cmp.Or(changed, err)
}

// readTrimmed reads a MetaBase.xml, or standard input for "-", without what an
// import leaves out of a file of IIS.
func (c *cli) readTrimmed(name string) ([]byte, error) {
	in := c.in
	if name != "-" {
		f, err := os.Open(name)
		if err != nil {
			return nil, err
		}
		defer f.Close()
		if at, err := f.Stat(); err == nil && at.IsDir() {
			return nil, fmt.Errorf("%s: is a folder, not a file", name)
		}
		in = f
	}
	b := boundedBuffer{most: api.MaxImport}
	if err := b.trim(in); err != nil {
		return nil, fmt.Errorf("%s: %w", name, err)
	}
	return b.text.Bytes(), nil
}

// A boundedBuffer takes at most so many octets.
type boundedBuffer struct {
	text bytes.Buffer
	most int
}

// trim fills b with the file of an import.
func (b *boundedBuffer) trim(in io.Reader) error { return mbxml.Trim(b, in, settings.Service) }

func (b *boundedBuffer) Write(p []byte) (int, error) {
	if b.text.Len()+len(p) > b.most {
		return 0, fmt.Errorf("is larger than %d MiB", b.most>>20)
	}
	return b.text.Write(p)
}

// printOutcome is printApplied for a change that may turn out empty.
func printOutcome(w table, a api.Applied) {
	if !a.DryRun && !a.Made {
		w.printf("changes nothing\n")
		return
	}
	printApplied(w, a)
}

// printImported prints the one line on what an import did.
func printImported(w table, a api.Imported) {
	if !a.Made {
		w.printf("changes nothing\n")
		return
	}
	w.printf("revision %d: imported %s, %s\n", a.Rev, words.Plural(a.Report.Keys, "key"), words.Properties(a.Report.Properties))
}

func passwordFlag() *urfave.BoolFlag {
	return &urfave.BoolFlag{Name: "password-stdin", Usage: "read the password from standard input"}
}

func (c *cli) mbBackup() *urfave.Command {
	return &urfave.Command{
		Name: "backup", Usage: "back up the tree and print the file's name", ArgsUsage: "NAME",
		Description: "A backup has everything but the history. Only this machine can restore its secure values,\n" +
			"unless the backup has a password: then any machine can restore it, and the password opens all of it.",
		Flags: []urfave.Flag{
			&urfave.BoolFlag{Name: "password", Usage: "ask for a password"},
			passwordFlag(),
		},
		Action: c.withArgs(1, 1, func(cx *urfave.Context) error {
			q := api.BackupRequest{Name: cx.Args().First()}
			if cx.Bool("password") || cx.Bool("password-stdin") {
				var err error
				if q.Password, err = c.password(cx.Bool("password-stdin"), true); err != nil {
					return err
				}
				if q.Password == "" {
					return c.usage("the password is empty")
				}
			}
			return change(cx.Context, c, api.MbBackup, q, func(w table, b api.Backup) {
				w.printf("%s\n", b.File)
			})
		}),
	}
}

func (c *cli) mbBackups() *urfave.Command {
	return &urfave.Command{
		Name: "backups", Usage: "list backups, or delete one",
		Flags: []urfave.Flag{
			&urfave.StringFlag{Name: "delete", Usage: "delete the newest backup `NAME`, or that of --version", DefaultText: "none"},
			versionFlag("with --delete, delete version `N`"),
		},
		Action: c.withArgs(0, 0, func(cx *urfave.Context) error {
			if cx.IsSet("delete") {
				return c.deleteBackup(cx)
			}
			if cx.IsSet("version") {
				return c.usage("--version goes with --delete")
			}
			return list(cx.Context, c, api.MbBackups, struct{}{}, "there are no backups", func(w table, b api.Backup) {
				w.printf("%s\t%d\t%s\t%s\n", b.Name, b.Version, words.Time(b.Time), words.Size(b.Bytes))
			})
		}),
	}
}

func (c *cli) deleteBackup(cx *urfave.Context) error {
	version, err := c.version(cx)
	if err != nil {
		return err
	}
	q := api.DeleteRequest{Name: cx.String("delete"), Version: version}
	which := "the newest backup " + q.Name
	if version >= 0 {
		which = fmt.Sprintf("version %d of the backup %s", version, q.Name)
	}
	if err := c.confirm("deleting " + which); err != nil {
		return err
	}
	return change(cx.Context, c, api.MbDeleteBackup, q, func(w table, b api.Backup) {
		w.printf("deleted %s\n", b.File)
	})
}

func versionFlag(usage string) *urfave.IntFlag {
	return &urfave.IntFlag{Name: "version", Value: newest, Usage: usage, DefaultText: "the newest"}
}

// newest stands for an absent --version.
const newest = -1

// version reads the number of a backup.
func (c *cli) version(cx *urfave.Context) (int, error) {
	n := cx.Int("version")
	if cx.IsSet("version") && n < 0 {
		return 0, c.usage(fmt.Sprintf("%d is no version: it is a number from 0 up; the newest is taken without --version", n))
	}
	return n, nil
}

func (c *cli) mbRestore() *urfave.Command {
	return &urfave.Command{
		Name: "restore", Usage: "restore the tree from a backup", ArgsUsage: "NAME",
		Description: "The backup is verified before anything changes. The restore is one revision: mb revert takes it back.",
		Flags: []urfave.Flag{
			versionFlag("restore version `N`"),
			&urfave.BoolFlag{Name: "dry-run", Usage: "verify it, and print what it would change"},
			&urfave.BoolFlag{Name: "password", Usage: "ask for the password"},
			passwordFlag(),
		},
		Action: c.withArgs(1, 1, func(cx *urfave.Context) error {
			version, err := c.version(cx)
			if err != nil {
				return err
			}
			q := api.RestoreRequest{Name: cx.Args().First(), Version: version, DryRun: cx.Bool("dry-run")}
			if cx.Bool("password") || cx.Bool("password-stdin") {
				if q.Password, err = c.password(cx.Bool("password-stdin"), false); err != nil {
					return err
				}
			}
			if !q.DryRun {
				if err := c.confirm("replacing the whole tree by " + q.Name); err != nil {
					return err
				}
			}
			return tryOrChange(cx.Context, c, api.MbRestore, q, q.DryRun, printOutcome)
		}),
	}
}
