// SPDX-License-Identifier: Apache-2.0

package main

import (
	"cmp"
	"errors"

	urfave "github.com/urfave/cli/v2"

	"restante/admin/adsitree"
	"restante/admin/api"
	adsi "restante/adsi-compat"
	"restante/adsi-compat/adsutil"
	"restante/metabase"
	"restante/metabase/schema"
)

func (c *cli) adsutilCommand() *urfave.Command {
	return &urfave.Command{
		Name: "adsutil", Usage: "carry out a verb of IIS's adsutil.vbs", ArgsUsage: "VERB [PATH[/PROP]] [VALUE]...",
		Description: "Verbs, paths and properties are taken in any case, and paths in each spelling of IIS: smtpsvc/1, /LM/SMTPSVC/1,\n" +
			"IIS://LocalHost/smtpsvc/1, smtpsvc\\1. The verb HELP lists the verbs. The output has adsutil's form. Exit codes are\n" +
			"those of every command; an error also has adsutil's number. Options stand before the verb.",
		Action: c.withArgs(0, -1, func(cx *urfave.Context) error {
			conn, err := c.openAs(cx.Context, metabase.FromCLI)
			if err != nil {
				return err
			}
			defer conn.close()
			out := c.verbatimLines()
			if c.json {
				out = jsonText{c.out}
			}
			tree := adsitree.New(conn, c.terms)
			err = adsutil.Run(api.WithNotes(cx.Context, c.warnOnce()), adsi.New(tree, schema.IIS()), out, cx.Args().Slice())
			for _, line := range takenBack(tree.Made()) {
				c.warn("the change", line)
			}
			return adsutilError(err)
		}),
	}
}

// adsutilError gives an error of adsutil the kind that decides the exit code.
func adsutilError(err error) error {
	var usage *adsutil.Usage
	var warned *adsutil.Warning
	var no *adsutil.Error
	switch {
	case errors.As(err, &usage):
		return &api.Error{Kind: api.KindUsage, Text: usage.Text, Hint: "adsutil HELP"}
	case errors.As(err, &warned):
		return api.OfLines(api.KindFailed, "", warned.Lines())
	case !errors.As(err, &no):
		return err
	}
	cause := api.AsError(no.Err)
	e := api.OfLines(cause.Kind, cmp.Or(no.Hint, cause.Hint), no.Lines())
	switch no.Code {
	case adsi.CodePathNotFound, adsi.CodeUnknownProp, adsi.CodeNotSet:
		e.Kind = api.KindNotFound
	case adsi.CodeAlreadyExists, adsi.CodeInvalid, adsi.CodeAccessDenied:
		e.Kind = api.KindRefused
	case adsi.CodeBadName, adsi.CodeNoHost:
		e.Kind = api.KindUsage
	}
	return e
}
