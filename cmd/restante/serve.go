// SPDX-License-Identifier: Apache-2.0

package main

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"

	urfave "github.com/urfave/cli/v2"

	"restante/admin"
	"restante/admin/api"
	"restante/admin/rpc"
	"restante/cmd/restante/internal/datadir"
	"restante/cmd/restante/internal/selfsigned"
	"restante/engine"
	"restante/engine/settings"
	"restante/internal/descriptors"
	"restante/internal/disk"
	"restante/metabase"
	"restante/metabase/schema"
)

// fewCallers at once are a limit that a busy holder meets.
const fewCallers = 1000

// dataMode is that of the data folder. Commands of other users must reach the
// socket in it. Secret files below it have permissions of their own.
const dataMode = 0o711

func (c *cli) serveCommand() *urfave.Command {
	return &urfave.Command{
		Name: "serve", Usage: "run the service in the foreground",
		Description: "In an empty data folder, it first sets up site 1 with the given addresses, domain and name. Later these\n" +
			"options are refused: use site bind and mb set.\n\n" +
			"It prints a line for each site that started, and then ready: N of M sites run. Why a site does not run, or not\n" +
			"as configured, is on standard error. Such a site is tried again, and has its line when it runs.\n" +
			"SIGINT and SIGTERM stop it: callers, and messages on their way out, get a grace time.\n\n" +
			"Where root starts it on Linux, it runs as the user of --user, who may listen on ports below 1024 and has no\n" +
			"other right of root. A new or empty data folder is given to that user; any other must be that user's. Without\n" +
			"--user, it is the user restante, where there is one and the data folder is that user's, new or empty. With\n" +
			"--user root it stays root.",
		Flags: []urfave.Flag{
			&urfave.StringSliceFlag{Name: "bind", Usage: "at setup, listen on `ADDR:PORT`; may be given several times", DefaultText: ":25"},
			&urfave.StringFlag{Name: "domain", Usage: "at setup, set the default `DOMAIN`", DefaultText: "the host's name"},
			&urfave.StringFlag{Name: "fqdn", Usage: "at setup, announce `NAME` to callers", DefaultText: "the host's, or the domain"},
			&urfave.StringFlag{Name: "user", Usage: "run as the user `NAME` where root starts it", DefaultText: "restante"},
			&urfave.StringFlag{Name: "log-format", Value: "text", Usage: "write the log as text or json"},
		},
		Action: c.withArgs(0, 0, func(cx *urfave.Context) error {
			log, err := c.logger(cx.String("log-format"))
			if err != nil {
				return err
			}
			if err := c.becomeUser(cx.String("user")); err != nil {
				return err
			}
			return c.serve(cx.Context, log, setup{cx.StringSlice("bind"), cx.String("domain"), cx.String("fqdn")})
		}),
	}
}

func (c *cli) logger(format string) (*slog.Logger, error) {
	switch format {
	case "text":
		return slog.New(slog.NewTextHandler(c.err, nil)), nil
	case "json":
		return slog.New(slog.NewJSONHandler(c.err, nil)), nil
	}
	return nil, c.usage(fmt.Sprintf("--log-format is text or json, not %q", format))
}

// setup has the options of serve for an empty data folder.
type setup struct {
	bind         []string
	domain, fqdn string
}

func (o setup) given() bool { return len(o.bind) > 0 || o.domain != "" || o.fqdn != "" }

// changeCommand is the command that changes the setting of the first given
// option after setup.
func (o setup) changeCommand() string {
	switch {
	case len(o.bind) > 0:
		return fmt.Sprintf("site bind %d %s", settings.DefaultSite, strings.Join(o.bind, " "))
	case o.domain != "":
		return fmt.Sprintf("mb set SMTPSVC/%d DefaultDomain %s", settings.DefaultSite, o.domain)
	}
	return fmt.Sprintf("mb set SMTPSVC/%d FullyQualifiedDomainName %s", settings.DefaultSite, o.fqdn)
}

func (c *cli) refuseSetup(data string, o setup) error {
	return &api.Error{
		Kind: api.KindUsage, Text: data + ": is set up already: --bind, --domain and --fqdn are for the first start",
		Hint: o.changeCommand(),
	}
}

func (c *cli) serve(ctx context.Context, log *slog.Logger, o setup) (err error) {
	data, err := filepath.Abs(c.data)
	if err != nil {
		return err
	}
	if err := disk.MkdirAll(nil, data, dataMode); err != nil {
		return err
	}
	later := &laterEngine{data: data}
	var h *datadir.Opened
	err = datadir.WhenFree(ctx, data, func() (err error) {
		h, err = datadir.Open(ctx, data, datadir.Options{Create: true, Log: log, Audit: auditTo(log), Act: later.act, End: later.end, Mail: later.check})
		if err != nil {
			err = c.explainOpenError(ctx, err, data, o)
		}
		return err
	})
	if err != nil {
		return err
	}
	stores := map[string]func() error{filepath.Join(data, datadir.Store): h.Close}
	defer func() {
		if end := datadir.CloseAll(c.closing, stores); end != nil {
			err = errors.Join(err, end)
		}
	}()
	if err := c.setUpOrSync(ctx, h.Store, data, o); err != nil {
		return err
	}
	logUser(log, data)
	index, err := datadir.OpenKV(filepath.Join(data, datadir.Queue), log, false)
	if err != nil {
		return err
	}
	files := descriptors.New(descriptors.Limit())
	if files.Callers.Limit() < fewCallers {
		log.Warn("the limit of open files is low: raise it (ulimit -n, LimitNOFILE)", "limit", files.Limit, "callers", files.Callers.Limit())
	}
	stores[filepath.Join(data, datadir.Queue)] = index.Close
	e := engine.New(h.Store, engine.Options{DataDir: data, IndexDB: index, Log: log, Journal: log, TraceDir: filepath.Join(data, api.TraceFolder), Descriptors: files, SignInKey: h.SignInKey})
	later.Store(e)
	d := datadir.NewAPI(h.Store, engineAdapter{e}, data, thisBuild().Version)
	d.Audit = auditTo(log)
	states := h.Store.Watch(settings.Service)
	defer states.Close()
	return c.runService(ctx, e, d, states, files.Local, log)
}

// A laterEngine stands in for the engine, which needs the open store, while the
// store opens.
type laterEngine struct {
	atomic.Pointer[engine.Engine]
	data string
}

func (l *laterEngine) act(ctx context.Context, p metabase.Path, v metabase.Value) error {
	if e := l.Load(); e != nil {
		return e.Act(ctx, p, v)
	}
	return api.ErrNoService
}

func (l *laterEngine) end(ctx context.Context, p metabase.Path, v metabase.Value) error {
	if e := l.Load(); e != nil {
		return e.ActEnd(ctx, p, v)
	}
	return api.ErrNoService
}

func (l *laterEngine) check(c metabase.Change) []metabase.Problem {
	if e := l.Load(); e != nil {
		return e.Check(c)
	}
	return datadir.CheckQueues(l.data)(c) // an unconfirmed change is reverted before the engine has the queues
}

// explainOpenError replaces err by a clearer one if a service runs on the store.
func (c *cli) explainOpenError(ctx context.Context, err error, data string, o setup) error {
	client, gone := rpc.Dial(ctx, data, api.Caller{})
	if gone != nil {
		return err
	}
	defer client.Close()
	if o.given() {
		return c.refuseSetup(data, o)
	}
	return &api.Error{Kind: api.KindFailed, Text: data + ": a service runs there already", Hint: "status"}
}

// setUpOrSync sets up an empty store, and brings the schema's keys of others up
// to date.
func (c *cli) setUpOrSync(ctx context.Context, store *metabase.Store, data string, o setup) error {
	snap := store.Snapshot()
	b := metabase.Batch{Origin: metabase.FromSystem, Comment: "schema and defaults of this version"}
	if snap.Has(settings.SitePath(settings.DefaultSite)) {
		if o.given() {
			return c.refuseSetup(data, o)
		}
		upgrade, err := settings.Upgrade(snap)
		if err != nil {
			return err
		}
		b.Ops = append(schema.IIS().Sync(snap), upgrade...)
	} else {
		if err := checkUnused(data); err != nil {
			return err
		}
		site := admin.FirstSite(o.bind, o.domain, o.fqdn)
		ops, err := admin.Setup(snap, schema.IIS(), site)
		if err != nil {
			return &api.Error{Kind: api.KindRefused, Text: err.Error()}
		}
		if err := selfsigned.Write(filepath.Join(data, datadir.Certificates), site.FQDN, site.Domain); err != nil {
			return err
		}
		b.Ops, b.Comment = ops, "setup"
	}
	if len(b.Ops) == 0 {
		return nil
	}
	_, err := store.Apply(ctx, b)
	return err
}

// checkUnused refuses to set up beside an existing queue: with an empty
// configuration, held mail would be delivered or bounced.
func checkUnused(data string) error {
	_, err := os.Stat(filepath.Join(data, datadir.Queue))
	switch {
	case errors.Is(err, os.ErrNotExist):
		return nil
	case err != nil:
		return err
	}
	return &api.Error{Kind: api.KindFailed, Text: fmt.Sprintf(
		"%s has lost what it held: put it back from a backup; to begin anew, move all of %s aside", filepath.Join(data, datadir.Store), data)}
}

func auditTo(log *slog.Logger) func(context.Context, metabase.Refusal) {
	return func(ctx context.Context, r metabase.Refusal) {
		log.WarnContext(ctx, "refused right", "actor", r.Actor, "origin", r.Origin, "path", r.Path, "need", r.Need.String())
	}
}

// runService runs the sites and serves the local socket until ctx ends or one of
// the two fails. The socket takes that many connections, and goes last: while the sites
// stop, reads are answered. It returns when both have ended, and nil if ctx ended.
func (c *cli) runService(ctx context.Context, e *engine.Engine, d *admin.API, states *metabase.Watch, connections int, log *slog.Logger) error {
	socket, err := rpc.Listen(d.Env.Data)
	if err != nil {
		return err
	}
	defer socket.Close()
	inner, cancel := context.WithCancel(ctx)
	defer cancel()
	calls, hangUp := context.WithCancel(context.WithoutCancel(ctx))
	defer hangUp()
	d.Stopping = func() bool { return inner.Err() != nil }
	var both sync.WaitGroup
	ends := make([]error, 2)
	both.Go(func() { defer hangUp(); defer cancel(); ends[0] = e.Run(inner) })
	both.Go(func() { defer cancel(); ends[1] = rpc.Serve(calls, socket, connections, log, d.Direct) })
	select {
	case <-e.Ready():
		c.announce(inner, func() []siteState { return siteStates(e) }, states.C())
	case <-inner.Done():
	}
	both.Wait()
	if ctx.Err() != nil {
		return nil
	}
	return errors.Join(ends...)
}

// An engineAdapter is the engine with the queues as the API names them.
type engineAdapter struct{ *engine.Engine }

func (r engineAdapter) Queue(n int) (admin.Queue, bool) {
	q, ok := r.Engine.Queue(n)
	if !ok {
		return nil, false
	}
	return q, true
}

func (r engineAdapter) OpenQueue(ctx context.Context, n int) (admin.Queue, error) {
	q, err := r.Engine.OpenQueue(ctx, n)
	if q == nil {
		return nil, err
	}
	return q, err
}
