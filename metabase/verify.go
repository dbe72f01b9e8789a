// SPDX-License-Identifier: Apache-2.0

package metabase

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"maps"
	"slices"

	"restante/internal/progress"
	"restante/metabase/internal/history"
	"restante/metabase/internal/stored"
	"restante/metabase/internal/tree"
	"restante/metabase/internal/unconfirmed"
)

// Verify reads the whole store and compares it with the image in memory: every
// key can be decoded and has its parent, no property is newer than the store,
// locks hold, the history has no gaps and every record of it can be decoded. It
// returns all problems joined, each of kind Damaged. Writers wait meanwhile.
func (s *Store) Verify(ctx context.Context) error {
	// A batch of its own changes nothing, and nobody writes while it is validated.
	return s.do(ctx, &pending{op: "verify", large: true, validate: func(*image) error { return s.verify(ctx) }})
}

func (s *Store) verify(ctx context.Context) error {
	var found []error
	bad := func(p Path, format string, args ...any) {
		found = append(found, &Error{Op: "verify", Path: p, Kind: Damaged, Err: fmt.Errorf(format, args...)})
	}
	img := s.cur.Load()
	count := progress.From(ctx)
	count.ExpectCounted(func() (n int) {
		img.root.Walk(Root, func(Path, *tree.Node) bool { n++; return true })
		return n
	})
	count.Expect(int(img.rev + 1 - s.pages.Oldest()))
	raw, _, err := s.db.Get([]byte{stored.MetaKey})
	if err != nil {
		return &Error{Op: "verify", Err: err}
	}
	if m, err := stored.DecodeMeta(raw); err != nil || m.Rev != img.rev {
		bad("", "the disk is at revision %d, memory at %d: %v", m.Rev, img.rev, err)
	}
	root, err := stored.LoadTree(ctx, s.db, s.key)
	if err != nil {
		bad("", "%w", err)
		return errors.Join(found...)
	}
	for _, d := range tree.Diff(img.root, root) {
		bad(d.Path, "disk and memory differ")
	}
	all := tree.Diff(nil, root)
	for _, d := range all {
		for _, p := range d.Props {
			if p.New.Rev == 0 || p.New.Rev > img.rev {
				bad(d.Path, "%v is of revision %d, the store at %d", p.ID, p.New.Rev, img.rev)
			}
		}
	}
	for _, problem := range checkLocks(&image{root: root}, all) {
		bad(problem.Path, "%w", problem)
	}
	var live history.Live
	if live.Begin(root); !maps.Equal(live.Count, s.live.Count) {
		bad("", "the counts of live properties by revision are wrong")
	}
	s.verifyHistory(ctx, img, bad)
	return errors.Join(found...)
}

func (s *Store) verifyHistory(ctx context.Context, img *image, bad func(Path, string, ...any)) {
	at := s.pages.Reader()
	for rev := s.pages.Oldest(); rev <= img.rev; rev++ {
		progress.From(ctx).Add(1)
		if _, err := at.Entry(ctx, rev); err != nil && rev >= s.pages.Oldest() { // else dropped meanwhile
			bad("", "%w", err)
		}
	}
	stray := func(kind byte, leads func(stored.Page, []byte) bool) {
		for pair, err := range s.db.Scan(ctx, []byte{kind}) {
			if err != nil {
				bad("", "%w", err)
				return
			}
			first, err := stored.KeyRev(pair.Key[:min(9, len(pair.Key))])
			if p, ok := s.pages.Find(first); err != nil || ok && (p.First != first || !leads(p, pair.Key[9:])) || first > img.rev {
				bad("", "the history has a record at %q that no page refers to", pair.Key)
			}
		}
	}
	stray(stored.PageKeys, func(_ stored.Page, rest []byte) bool { return len(rest) == 0 })
	stray(stored.PartKeys, func(p stored.Page, rest []byte) bool {
		return len(rest) == 4 && binary.BigEndian.Uint32(rest)-1 < uint32(p.Parts)-1
	})
	disk, err := s.loadUnconfirmed(ctx)
	if err != nil {
		bad("", "%w", err)
	}
	if !slices.EqualFunc(disk, img.unconfirmed, (*unconfirmed.Revision).Same) {
		bad("", "disk and memory differ in what is not confirmed")
	}
	for _, u := range img.unconfirmed {
		if u.Rev > img.rev || u.Rev < s.pages.Oldest() {
			bad("", "revision %d is not confirmed and not in the history", u.Rev)
		}
	}
}
