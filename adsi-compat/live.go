// SPDX-License-Identifier: Apache-2.0

package adsi

import (
	"context"
	"errors"
	"restante/metabase/schema"
	"strconv"
	"time"
)

// A Backup is one version of a backup of the metabase.
type Backup struct {
	Name    string
	Version int
	Time    time.Time
}

// NewestBackup is the version of the newest backup of a name.
const NewestBackup = -1

// Backups are what a Tree may have besides: backups of the whole metabase. A dry
// run does as if it made and deleted them.
type Backups interface {
	Backup(ctx context.Context, name, password string) error
	Backups(ctx context.Context) ([]Backup, error)
	Restore(ctx context.Context, name string, version int, password string) error
	DeleteBackup(ctx context.Context, name string, version int) error
}

// Files are what a Tree may have besides: MetaBase.xml of the keys at and below a
// path of the metabase, such as /LM/SMTPSVC.
type Files interface {
	Export(ctx context.Context, path string, inherited, nodeOnly bool) ([]byte, error)
	Import(ctx context.Context, xml []byte, at string, merge, nodeOnly bool) error
}

// A Session is the connection of a caller of a site.
type Session struct {
	ID, User, Address, Hello, Activity string
	TLS                                bool
	Since                              time.Time
}

// Live is what a Tree may have besides: what the running service knows.
type Live interface {
	Sessions(ctx context.Context, site int) ([]Session, error)
	EndSession(ctx context.Context, site int, id string) error           // "": all of the site
	Waiting(ctx context.Context, site int) (queued, held int, err error) // messages
}

var errNotHere = errors.New("this tree has none")

// on returns what the tree has besides, for a call at a key of a class.
func on[T any](o *Object, op, class, what string) (T, error) {
	have, ok := o.dir.tree.(T)
	if o.class != class {
		return have, o.fail(op, CodeInvalid, "is of %s, not of a key of class %s", what, o.Class())
	}
	if !ok {
		return have, o.dir.wrap(op, o.ADsPath(), errNotHere)
	}
	return have, nil
}

// Backups gives what makes and restores backups, if o is the computer.
func (o *Object) Backups(op string) (Backups, error) {
	return on[Backups](o, op, "IIsComputer", "the computer, IIS://LocalHost")
}

// Files gives what exports and imports, if o is the computer.
func (o *Object) Files(op string) (Files, error) {
	return on[Files](o, op, "IIsComputer", "the computer, IIS://LocalHost")
}

// Live gives what knows of a site's queue and sessions, and the site's number, if
// o is a site or the container of its sessions.
func (o *Object) Live(op string) (live Live, site int, err error) {
	at := o.path
	if o.class == sessionsClass {
		at = at.Parent()
		live, err = on[Live](o, op, sessionsClass, "")
	} else {
		live, err = on[Live](o, op, schema.Server, "a site")
	}
	if err != nil {
		return nil, 0, err
	}
	site, err = strconv.Atoi(at.Base())
	return live, site, o.dir.wrap(op, o.ADsPath(), err)
}

const sessionsClass = "IIsSmtpSessions"

// HasSessions reports whether o is the container of a site's sessions.
func (o *Object) HasSessions() bool { return o.class == sessionsClass }

// Finish ends a call that was made for o beside its methods: it gives err, which may
// be nil, the form of the errors of o's methods. What the directory's objects have
// read is old then, as the call may have changed anything.
func (o *Object) Finish(op string, err error) error {
	o.dir.edits++
	return o.dir.wrap(op, o.ADsPath(), err)
}

// Path gives the metabase path of the ADsPath or of a path as IIS writes them in
// Export and Import, /LM/SMTPSVC.
func (d *Directory) Path(ctx context.Context, path string) (string, error) {
	if p, err := parsePath(ctx, path); err == nil {
		return string(p), nil
	}
	if len(path) > 0 && path[0] == '/' {
		return path, nil
	}
	return "", &Error{Code: CodeBadName, Op: "Path", On: path, Err: errors.New("is no path such as /LM/SMTPSVC")}
}
