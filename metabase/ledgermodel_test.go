// SPDX-License-Identifier: Apache-2.0

package metabase

import (
	"context"
	"fmt"
	"math"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"restante/internal/kv"
	"restante/internal/testpeer"
)

// A trial makes random changes in a store and in the model.
type trial struct {
	t      *testing.T
	rnd    *rand.Rand
	db     kv.DB
	s      *Store
	model  *ledger
	saved  []backupOf
	watch  *Watch
	seen   plain // when the watch was last looked at
	counts map[string]int
	story  []string // of the last steps
}

// A backupOf has the records of a tree.
type backupOf struct {
	records [][]byte
	tree    plain
}

// The callers of the model: one with all rights, one with those to change the tree,
// and one who may only read.
const (
	ann = Principal("user:ann")
	bob = Principal("user:bob")
)

// anAct is a property that acts and is not stored.
const anAct = ID(99)

// TestModelUnconfirmed plays changes of three callers, with and without a time to be
// confirmed, on overlapping keys: confirmed, reverted, restored, overdue, across kills,
// while old history is dropped and a watch looks on.
func TestModelUnconfirmed(t *testing.T) {
	const each = 100
	for range testpeer.Rounds(2000, 4000, 100_000) / each {
		seed := rand.Uint64()
		synctest.Test(t, func(t *testing.T) {
			p := &trial{t: t, rnd: rand.New(rand.NewPCG(seed, 1)), db: kv.NewMem(), model: newLedger(), counts: map[string]int{}}
			p.open()
			rights := Property{ID: AccessList, Attr: Inherit, Value: MultiSZ("user:ann read,write,create,delete", "user:bob read")}
			apply(t, p.s, Set{Root, rights})
			p.model.apply(1, []Op{Set{Root, rights}}, time.Time{})
			defer func() { p.s.Close() }()
			for step := range each {
				p.step()
				if p.check(); t.Failed() {
					t.Fatalf("seed %d, step %d", seed, step)
				}
			}
			p.pass(10 * time.Minute)
			if p.check(); t.Failed() || len(p.s.timed()) > 0 {
				t.Fatalf("seed %d, in the end", seed)
			}
		})
		if t.Failed() {
			return
		}
	}
}

func (p *trial) open() {
	act := func(context.Context, Path, Value) error { p.counts["act"]++; return nil }
	p.s = open(p.t, p.db, Options{
		Admins: []Principal{boss},
		Acts:   map[ID]Act{anAct: act},
		Keep:   func(Snapshot) Retention { return Retention{Count: 20} },
	})
	p.watch, p.seen = p.s.Watch(Root), of(p.s.Snapshot(), Root)
}

func (p *trial) step() {
	time.Sleep(time.Nanosecond) // no two changes at the same time
	switch n := p.rnd.IntN(100); {
	case n < 72:
		p.batch()
	case n < 80:
		p.pass(time.Duration(p.rnd.IntN(20)) * time.Second)
	case n < 86:
		p.confirm()
	case n < 90:
		p.revert()
	case n < 92:
		p.revertOld()
	case n < 96:
		p.tell("kill")
		p.s.Close()
		time.Sleep(time.Duration(p.rnd.IntN(10)) * time.Second)
		p.open()
		late := p.model.due(time.Now())
		slices.Sort(late)
		for _, rev := range slices.Backward(late) { // the newest first
			p.takenBack(rev)
		}
	case n < 98:
		_, _, records := p.s.Records(true)
		p.saved = append(p.saved, backupOf{slices.Collect(records), p.model.tree()})
	default:
		p.restore()
	}
}

func (p *trial) tell(format string, args ...any) {
	p.story = append(p.story, fmt.Sprintf(format, args...))
}

func (p *trial) fail(format string, args ...any) {
	p.t.Helper()
	p.t.Errorf("%s\nafter\n%s", fmt.Sprintf(format, args...), strings.Join(p.story[max(0, len(p.story)-25):], "\n"))
}

// wait is a time to be confirmed, or 0. Deadlines differ.
func (p *trial) wait() time.Duration {
	if p.rnd.IntN(2) == 0 {
		return 0
	}
	return time.Duration(1+p.rnd.IntN(60))*time.Second + time.Duration(1+p.rnd.IntN(1e6))
}

func (p *trial) path() Path {
	at := Root
	for range p.rnd.IntN(4) {
		at = at.Join(fmt.Sprintf("k%d", p.rnd.IntN(3)))
	}
	return at
}

// there is mostly the path of a key that is there.
func (p *trial) there() Path {
	at := p.path()
	if p.rnd.IntN(3) > 0 {
		for q := range p.s.Snapshot().Walk(Root) {
			if at = q; p.rnd.IntN(4) == 0 {
				break
			}
		}
	}
	return at
}

// ops makes a batch: a move is the first of its own.
func (p *trial) ops() (out []Op) {
	for range 1 + p.rnd.IntN(3) {
		at, id := p.there(), ID(10+p.rnd.IntN(2))
		switch n := p.rnd.IntN(16); {
		case n < 4:
			out = append(out, AddKey{at.Join(fmt.Sprintf("k%d", p.rnd.IntN(3))), ""})
		case n < 7:
			out = append(out, Set{at, Property{ID: id, Value: String(fmt.Sprint(p.rnd.IntN(4)))}})
		case n == 7 && p.rnd.IntN(3) == 0:
			out = append(out, Set{at, Property{ID: anAct, Value: String("go")}})
		case n == 7:
			out = append(out, Unset{at, id})
		case n >= 12:
			out = append(out, p.number(at))
		case at == Root:
		case n == 8 && len(out) == 0: // what a batch puts into a key and removes with it is nothing
			out = append(out, Remove{at, p.rnd.IntN(3) > 0})
		case n == 9:
			out = append(out, Copy{at, p.path().Join("k0"), p.rnd.IntN(2) == 0})
		case len(out) == 0:
			return p.move(at)
		}
	}
	return out
}

// move moves a key, and mostly changes it there, or stores again what it has.
func (p *trial) move(at Path) []Op {
	to := p.there().Join(fmt.Sprintf("k%d", p.rnd.IntN(3)))
	out := []Op{Move{at, to, p.rnd.IntN(2) == 0}}
	has := p.s.Snapshot().Properties(at)
	switch n := p.rnd.IntN(4); {
	case n == 0:
		return out
	case n == 1 || len(has) == 0:
		return append(out, p.number(to))
	}
	it := has[p.rnd.IntN(len(has))]
	if it.ID >= 12 && p.rnd.IntN(2) == 0 {
		return append(out, SetBits{to, it, 1})
	}
	return append(out, Set{to, it})
}

// number sets or unsets a number, or makes one of what holds.
func (p *trial) number(at Path) Op {
	n := Property{ID: ID(12 + p.rnd.IntN(2)), Attr: Inherit, Value: DWord(p.rnd.Uint32N(8))}
	if n.ID == 13 && p.rnd.IntN(2) == 0 {
		n.Attr = 0
	}
	switch p.rnd.IntN(8) {
	case 0, 1, 2:
		return Set{at, n}
	case 3:
		return Unset{at, n.ID}
	case 4:
		return Amend{at, n}
	}
	return SetBits{at, n, 1 << p.rnd.IntN(3)}
}

func (p *trial) batch() {
	ops, wait := p.ops(), p.wait()
	if len(ops) == 0 {
		return
	}
	rev := p.s.Snapshot().Rev() + 1
	next := p.model.clone()
	var until time.Time
	if wait > 0 {
		until = time.Now().Add(wait)
	}
	who := []Principal{boss, ann, ann, bob}[p.rnd.IntN(4)]
	want := who != bob && next.apply(rev, ops, until)
	got, err := p.s.Apply(p.t.Context(), Batch{Actor: who, Ops: ops, Confirm: wait})
	p.tell("%d: %s %v %T%v: %v", rev, who, wait, ops[0], ops, err)
	switch {
	case (err == nil) != want:
		p.fail("%v: %v, the model says %v", ops, err, want)
	case err == nil && got == rev:
		p.model = next
		p.counts["batch"]++
	}
}

// pass lets time pass.
func (p *trial) pass(d time.Duration) {
	time.Sleep(d)
	synctest.Wait()
	p.tell("%v pass", d)
	p.overdue()
}

func (p *trial) overdue() {
	for _, rev := range p.model.due(time.Now()) {
		p.takenBack(rev)
	}
}

// takenBack takes rev back in the model, and compares what the record of that says.
func (p *trial) takenBack(rev Rev) {
	want := p.model.left(rev)
	p.model.takeBack(rev)
	p.counts["taken back"]++
	log, err := p.s.Log(p.t.Context(), Root, 0)
	i := slices.IndexFunc(log, func(r Record) bool { return r.Reverts == rev && r.Origin == FromSystem })
	if err != nil || i < 0 {
		p.fail("there is no record of the end of revision %d: %v", rev, err)
		return
	}
	if len(log[i].Kept) != len(want) {
		p.fail("revision %d ends, the record keeps %q, the model %q", rev, log[i].Kept, want)
		return
	}
	kept := slices.Sorted(slices.Values(log[i].Kept))
	for i, line := range kept {
		if !strings.HasPrefix(line, want[i]) {
			p.fail("revision %d ends, the record keeps %q, the model %q", rev, kept, want)
			return
		}
	}
}

func (p *trial) pick() (Rev, bool) {
	list := p.s.timed()
	if len(list) == 0 {
		return 0, false
	}
	return list[p.rnd.IntN(len(list))].Rev, true
}

func (p *trial) confirm() {
	rev, ok := p.pick()
	if !ok {
		return
	}
	waits := slices.ContainsFunc(p.s.Pending(), func(w Pending) bool { return w.Rev == rev })
	_, err := p.s.Confirm(p.t.Context(), rev)
	if p.tell("confirm %d: %v", rev, err); (err == nil) != waits {
		p.fail("confirm %d: %v, but it is pending: %v", rev, err, waits)
	}
	if err != nil {
		return
	}
	p.model.confirm(rev)
	p.counts["confirm"]++
}

// revert takes back what is not confirmed before its time.
func (p *trial) revert() {
	rev, ok := p.pick()
	if !ok {
		return
	}
	left := p.model.left(rev)
	by, err := p.s.Revert(p.t.Context(), rev, Root, Batch{})
	p.tell("revert %d: %v", rev, err)
	if (err == nil) != (len(left) == 0) {
		p.fail("revert %d: %v, the model keeps %q", rev, err, left)
	}
	if err == nil {
		p.model.takeBack(rev)
		p.model.early[rev] = by
		p.counts["revert"]++
	}
}

// revertOld takes back what is confirmed, or was taken back. The model makes the
// changes that the record lists, and looks whether a value is one that was confirmed.
func (p *trial) revertOld() {
	now := p.s.Snapshot().Rev()
	first := p.s.Oldest() + 1
	rev := first + Rev(p.rnd.IntN(int(now-first)+1))
	old, err := p.s.Record(p.t.Context(), rev)
	if _, pending := p.model.until[rev]; pending || err != nil || rev == 1 { // which gave the rights
		return
	}
	got, err := p.s.Revert(p.t.Context(), rev, Root, Batch{})
	p.tell("%d: revert of %d: %v", got, rev, err)
	if err != nil || got == now {
		return // that nothing happened, check sees
	}
	made, err := p.s.Record(p.t.Context(), got)
	if err != nil {
		p.t.Fatal(err)
	}
	for _, l := range made.Changes {
		if n := (name{l.Path, l.ID}); l.ID != 0 && old.Reverts == 0 {
			if want, sure := p.model.confirmed(n, rev, first); sure && (want.there != (l.New != nil) || l.New != nil && want.value != shown(*l.New)) {
				p.fail("the revert of %d makes %s %v of %v, confirmed was %+v", rev, n.path, n.id, l.New, want)
			}
		}
	}
	p.model.revert(got, made.Changes)
	if old.Reverts != 0 {
		p.model.early[got] = math.MaxInt64
	}
	p.counts["revert of old"]++
}

func (p *trial) restore() {
	if len(p.saved) == 0 {
		return
	}
	b, wait := p.saved[p.rnd.IntN(len(p.saved))], p.wait()
	op, err := p.s.Replace(p.s.proof)
	if err != nil {
		p.t.Fatal(err)
	}
	for _, r := range b.records {
		if err := op.Add(r); err != nil {
			p.t.Fatal(err)
		}
	}
	rev := p.s.Snapshot().Rev() + 1
	next := p.model.clone()
	was := next.keys()
	if wait > 0 {
		next.until[rev], next.timed[rev] = time.Now().Add(wait), true
	}
	next.replace(rev, b.tree)
	want := next.guarded(next.moves, was)
	got, err := p.s.Apply(p.t.Context(), Batch{Actor: boss, Ops: []Op{op}, Confirm: wait})
	p.tell("%d: %v restore: %v", rev, wait, err)
	if (err == nil) != want {
		p.fail("restore: %v, the model says %v", err, want)
	}
	if err == nil && got == rev {
		p.model = next
		p.counts["restore"]++
	}
}

// check compares the store with the model.
func (p *trial) check() {
	sound(p.t, p.s)
	noted := false
	select {
	case <-p.watch.C():
		noted = true
	default:
	}
	if now := of(p.s.Snapshot(), Root); !now.equal(p.seen) {
		if p.seen = now; !noted {
			p.fail("the watch is not told of a change")
		}
	}
	if got, want := of(p.s.Snapshot(), Root), p.model.tree(); !got.equal(want) {
		p.fail("the store is not as the model:\n%s", differ(got, want))
	}
	var got []Rev
	for _, w := range slices.Backward(p.s.timed()) {
		got = append(got, w.Rev)
	}
	var want []Rev
	for rev := range p.model.until {
		want = append(want, rev)
	}
	if slices.Sort(want); !slices.Equal(got, want) {
		p.fail("%v are not confirmed, the model says %v", got, want)
	}
}
