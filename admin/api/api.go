// SPDX-License-Identifier: Apache-2.0

// Package api defines the calls of the administration API: their requests,
// their answers and the form of their errors. A [Method] names a call with the
// types of its request and its answer; a [Stream] one with an answer of many
// parts. A [Conn] carries calls, over the local socket (package rpc) or within
// the process. Either way the same JSON is exchanged.
//
// The package does not know what a call does.
package api

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"iter"
	"os"
	"os/user"
	"slices"
	"strconv"
	"strings"
	"time"
	"unicode"
	"unicode/utf8"

	"restante/engine/settings"
	"restante/metabase"
)

// A Caller identifies the author of a call. Over the socket, Who is what the
// system says of the peer; the client sends the rest.
type Caller struct {
	Who     []metabase.Principal `json:"-"` // user first, then uid and groups
	Origin  metabase.Origin      `json:"origin,omitempty"`
	Comment string               `json:"comment,omitempty"`
	Terms
}

// Terms are the conditions of whatever a call changes in the tree.
type Terms struct {
	Confirm *float64      `json:"confirm,omitempty"` // seconds, more than 0 and up to ten years: to be confirmed in this time
	IfRev   *metabase.Rev `json:"if_rev,omitempty"`  // refused unless the tree is at this revision; 0: the empty tree
	Waiting string        `json:"waiting,omitempty"` // what becomes of held mail that it lets go: release, return or keep; "": refused then
}

// maxConfirm is the longest time that a change may wait to be confirmed.
const maxConfirm = 10 * 365 * 24 * time.Hour

// Check refuses a time to confirm of zero, with which a change would be made for good.
func (t Terms) Check() error {
	if !slices.Contains([]string{"", settings.ReleaseWaiting, settings.ReturnWaiting, settings.KeepWaiting}, t.Waiting) {
		return Usage(fmt.Sprintf("unknown word %q of what becomes of waiting mail: use release, return or keep", t.Waiting), "")
	}
	if t.Confirm == nil || *t.Confirm >= 1e-9 && *t.Confirm <= maxConfirm.Seconds() { // and no NaN
		return nil
	}
	return Usage("the time to confirm must be greater than 0 and at most ten years", "help mb apply")
}

type termsKey struct{}

// WithTerms gives a context whose calls are made under t, whatever the terms of their
// Conn.
func WithTerms(ctx context.Context, t Terms) context.Context {
	return context.WithValue(ctx, termsKey{}, t)
}

// For is the caller in a call of ctx.
func (c Caller) For(ctx context.Context) Caller {
	if t, ok := ctx.Value(termsKey{}).(Terms); ok {
		c.Terms = t
	}
	return c
}

// MaxComment bounds a comment, in characters.
const MaxComment = 1000

// Check refuses a comment that a list could not show in one line of a terminal, and
// what Terms.Check refuses.
func (c Caller) Check() error {
	if err := c.Terms.Check(); err != nil {
		return err
	}
	if n := utf8.RuneCountInString(c.Comment); n > MaxComment {
		return Refused("comment", fmt.Sprintf("has %d characters, %d are the most", n, MaxComment))
	}
	for _, r := range c.Comment {
		if r == utf8.RuneError || unicode.In(r, unicode.Cc, unicode.Zl, unicode.Zp, unicode.Bidi_Control) {
			return Refused("comment", fmt.Sprintf("the character %U has no place in it: a comment is one line of text", r))
		}
	}
	return nil
}

// Batch makes the batch of ops in the caller's name.
func (c Caller) Batch(ops ...metabase.Op) metabase.Batch {
	b := metabase.Batch{Ops: ops, Origin: c.Origin, Comment: c.Comment, IfRev: c.IfRev, Waiting: c.Waiting}
	if c.Confirm != nil {
		b.Confirm = time.Duration(*c.Confirm * float64(time.Second))
	}
	if len(c.Who) == 0 {
		c.Who = []metabase.Principal{"*"} // nobody: not the system
	}
	b.Actor, b.Also = c.Who[0], c.Who[1:]
	return b
}

// A Conn carries calls to their handlers: over the socket, or within the
// process.
type Conn interface {
	// Call sends the request and gives the answer as JSON.
	Call(ctx context.Context, method string, request []byte) (answer json.RawMessage, err error)

	// Stream is Call for an answer of many parts. It yields them as they come,
	// until the answer or ctx ends.
	Stream(ctx context.Context, method string, request []byte) iter.Seq2[json.RawMessage, error]
}

// A Method names a call, with the types of its request and its answer.
type Method[Q, A any] string

// Call sends q over c and returns the answer, and the same as raw JSON. Where an
// [Error] has an Answer, Call returns both.
func (m Method[Q, A]) Call(ctx context.Context, c Conn, q Q) (a A, raw json.RawMessage, err error) {
	request, err := json.Marshal(q)
	if err != nil {
		return a, nil, err
	}
	raw, err = c.Call(ctx, string(m), request)
	if stored := (*Error)(nil); errors.As(err, &stored) {
		raw = stored.Answer
	}
	if raw == nil {
		return a, nil, err
	}
	if err := json.Unmarshal(raw, &a); err != nil {
		return a, nil, fmt.Errorf("%s: the answer: %w", string(m), err)
	}
	return a, raw, err
}

// A Stream names a call whose answer is many parts.
type Stream[Q, A any] string

// Open sends q over c and yields the parts of the answer.
func (m Stream[Q, A]) Open(ctx context.Context, c Conn, q Q) iter.Seq2[A, error] {
	return func(yield func(A, error) bool) {
		var a A
		request, err := json.Marshal(q)
		if err != nil {
			yield(a, err)
			return
		}
		for raw, err := range c.Stream(ctx, string(m), request) {
			var a A
			if err == nil {
				err = json.Unmarshal(raw, &a)
			}
			if !yield(a, err) || err != nil {
				return
			}
		}
	}
}

// Self returns the principals of the process's own user: the name first, then
// the number and the groups.
func Self() []metabase.Principal {
	return PrincipalsOf(os.Getuid())
}

// PrincipalsOf returns the principals of a user number. A number without a name
// is still a principal.
func PrincipalsOf(uid int) []metabase.Principal {
	var u *user.User
	var err error
	if uid < 0 || uid == os.Getuid() {
		u, err = user.Current() // Windows has no numbers
	} else {
		u, err = user.LookupId(strconv.Itoa(uid))
	}
	number := metabase.Principal("uid:" + strconv.Itoa(uid))
	if err != nil {
		return []metabase.Principal{number}
	}
	who := []metabase.Principal{metabase.Principal("user:" + u.Username), metabase.Principal("uid:" + u.Uid)}
	groups, err := u.GroupIds()
	if err != nil {
		return who // fewer rights, never more
	}
	for _, id := range groups {
		who = append(who, metabase.Principal("gid:"+id))
		if g, err := user.LookupGroupId(id); err == nil {
			who = append(who, metabase.Principal("group:"+g.Name))
		}
	}
	return who
}

// Trusted reports whether the caller is root or the service's own user.
func Trusted(who []metabase.Principal) bool {
	own := Self()
	return slices.ContainsFunc(who, func(p metabase.Principal) bool {
		return p == "uid:0" || slices.Contains(own, p) && strings.HasPrefix(string(p), "uid:")
	})
}
