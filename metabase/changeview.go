// SPDX-License-Identifier: Apache-2.0

package metabase

import (
	"context"
	"strings"
)

// A ChangeView filters a change for one caller. A path is visible only if the
// caller may read it under the current access lists and under those in force
// before and after the change: a list that is removed opens nothing of what it
// protected.
type ChangeView struct {
	Who                []Principal
	Now, Before, After Snapshot
}

// Allows reports whether the caller has the right at p.
func (v ChangeView) Allows(p Path, r Right) bool {
	for _, snap := range []Snapshot{v.Now, v.Before, v.After} {
		if !snap.Allows(v.Who, p, r) {
			return false
		}
	}
	return true
}

// Sees reports whether the caller may read p.
func (v ChangeView) Sees(p Path) bool { return v.Allows(p, Read) }

// Lines gives the lines that name no key but those that the caller may read.
func (v ChangeView) Lines(list []DiffLine) (out []DiffLine) {
	for _, l := range list {
		if v.Sees(l.Path) && (l.To == "" || v.Sees(l.To)) {
			out = append(out, l)
		}
	}
	return out
}

// Kept gives those of a Record's kept lines that name no key but those that the
// caller may read, each without the path of the other key.
func (v ChangeView) Kept(list []string) (out []string) {
	for _, line := range list {
		subject, why, _ := strings.Cut(line, ": ")
		p, err := ParsePath(subject)
		if err != nil {
			p = Root
		}
		if first, rest, _ := strings.Cut(why, ": "); strings.HasPrefix(first, "/") {
			if !v.Sees(Path(first)) {
				continue
			}
			line = subject + ": " + rest
		}
		if v.Sees(p) {
			out = append(out, line)
		}
	}
	return out
}

// at gives an earlier state: Store.At.
type at = func(context.Context, Rev) (Snapshot, error)

// Load sets Before and After to the states around r.
func (v *ChangeView) Load(ctx context.Context, at at, r Record) (err error) {
	v.After = v.Now
	if r.Rev < v.Now.Rev() {
		if v.After, err = at(ctx, r.Rev); err != nil {
			return err
		}
	}
	v.Before = v.After
	return v.Back(ctx, at, r)
}

// Back goes from the state after r, or the change after r, to r. It loads a
// state only where r changed an access list.
func (v *ChangeView) Back(ctx context.Context, at at, r Record) (err error) {
	v.After = v.Before
	if r.ChangesLists() {
		v.Before, err = at(ctx, r.Rev-1)
	}
	return err
}

// Forward goes from the state before r, or the change before r, to r.
func (v *ChangeView) Forward(ctx context.Context, at at, r Record) (err error) {
	v.Before = v.After
	if r.ChangesLists() {
		v.After, err = at(ctx, r.Rev)
	}
	return err
}
