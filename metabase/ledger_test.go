// SPDX-License-Identifier: Apache-2.0

package metabase

import (
	"fmt"
	"maps"
	"slices"
	"strconv"
	"strings"
	"time"

	"restante/metabase/internal/tree"
)

// A ledger is the model of a tree with changes that wait to be confirmed: all writes
// of each part, in order. A part is as the newest write says whose revision is not
// taken back. It knows what the documentation says, and nothing of how the store
// does it.
type ledger struct {
	parts map[name][]entryOf
	until map[Rev]time.Time // revisions that are not confirmed
	moves map[Rev]tree.Move // of those
	void  map[Rev]bool      // revisions that are taken back
	kept  map[Rev][]name    // what a revision without a time to be confirmed took over
	timed map[Rev]bool      // revisions that were to be confirmed, and were not
	early map[Rev]Rev       // of these, by which revision one was reverted before its time; the last, of one that makes it again
	torn  map[Path]bool     // keys that were moved, whose parts are with another path now
}

// A name is a key's path, and a property's ID or 0.
type name struct {
	path Path
	id   ID
}

type entryOf struct {
	rev   Rev
	value string
	there bool
	need  bool // nothing but that the key is needed
}

func newLedger() *ledger {
	return &ledger{map[name][]entryOf{{Root, 0}: {{there: true}}}, map[Rev]time.Time{}, map[Rev]tree.Move{}, map[Rev]bool{}, map[Rev][]name{}, map[Rev]bool{}, map[Rev]Rev{}, map[Path]bool{}}
}

func (l *ledger) clone() *ledger {
	parts := map[name][]entryOf{}
	for n, list := range l.parts {
		parts[n] = slices.Clone(list)
	}
	return &ledger{parts, maps.Clone(l.until), maps.Clone(l.moves), maps.Clone(l.void), maps.Clone(l.kept), maps.Clone(l.timed), maps.Clone(l.early), maps.Clone(l.torn)}
}

func (l *ledger) get(n name) entryOf {
	for _, w := range slices.Backward(l.parts[n]) {
		if !l.void[w.rev] {
			return w
		}
	}
	return entryOf{}
}

func (l *ledger) has(p Path) bool { return l.get(name{p, 0}).there }

// put writes n, unless it is as w already and nobody could take that back.
func (l *ledger) put(n name, w entryOf) {
	if was := l.get(n); was.there != w.there || was.value != w.value || l.layered(n) {
		l.add(n, w)
	}
}

func (l *ledger) add(n name, w entryOf) {
	if _, pending := l.until[w.rev]; !pending {
		l.takeOver(n, l.live(n))
	}
	l.parts[n] = append(l.parts[n], w)
}

// live lists the writes of n since the newest that is confirmed.
func (l *ledger) live(n name) []entryOf {
	list := l.parts[n]
	for i, w := range slices.Backward(list) {
		if _, pending := l.until[w.rev]; !pending && !l.void[w.rev] {
			return list[i+1:]
		}
	}
	return list
}

// takeOver notes that nobody will take the writes back any more.
func (l *ledger) takeOver(n name, list []entryOf) {
	for _, w := range list {
		if !w.need && !l.void[w.rev] {
			l.kept[w.rev] = append(slices.Clip(l.kept[w.rev]), n)
		}
	}
}

// need writes that p and the keys above it are needed.
func (l *ledger) need(p Path, rev Rev) {
	for q := range p.Parents() {
		n := name{q, 0}
		if list := l.parts[n]; len(list) == 0 || list[len(list)-1].rev != rev {
			l.add(n, entryOf{rev: rev, there: true, need: true})
		}
	}
}

// below lists the parts at and below p that were ever written.
func (l *ledger) below(p Path) (out []name) {
	for n := range l.parts {
		if n.path.Within(p) {
			out = append(out, n)
		}
	}
	return out
}

// waits reports whether a write of n may yet be taken back. That a key is needed
// counts where the key would not be there otherwise.
func (l *ledger) waits(n name) bool {
	needed := false
	for _, w := range slices.Backward(l.parts[n]) {
		_, pending := l.until[w.rev]
		switch {
		case l.void[w.rev]:
		case pending && w.need:
			needed = true
		case pending:
			return true
		default:
			return needed && !w.there
		}
	}
	return needed
}

func (l *ledger) waitsBelow(p Path) bool { return slices.ContainsFunc(l.below(p), l.waits) }

func (l *ledger) keyWaitsAbove(p Path) bool {
	for q := range p.Parents() {
		if l.waits(name{q, 0}) {
			return true
		}
	}
	return false
}

// apply makes a batch, or reports that it is refused; l is then of no use any more.
func (l *ledger) apply(rev Rev, ops []Op, until time.Time) bool {
	was, moves := l.keys(), maps.Clone(l.moves)
	if !until.IsZero() {
		l.until[rev], l.timed[rev] = until, true
	}
	for _, op := range ops {
		if !l.one(rev, op, !until.IsZero()) {
			return false
		}
	}
	if !l.guarded(moves, was) {
		return false
	}
	l.net(rev)
	if m, ok := ops[0].(Move); ok && m.From != m.To && !until.IsZero() {
		l.moves[rev] = tree.Move{From: m.From, To: m.To}
	}
	return true
}

// net leaves of all that a revision wrote to a part what came of it.
func (l *ledger) net(rev Rev) {
	for n, list := range l.parts {
		i := slices.IndexFunc(list, func(w entryOf) bool { return w.rev == rev })
		if i < 0 {
			continue
		}
		w := list[len(list)-1]
		l.parts[n] = list[:i:i]
		was := l.get(n)
		if w.need = n.id == 0 && was.there && w.there; was.there != w.there || was.value != w.value || l.layered(n) {
			l.parts[n] = append(l.parts[n], w)
		}
	}
}

// guarded reports whether each move that is not confirmed can still be taken back.
func (l *ledger) guarded(moves map[Rev]tree.Move, was map[Path]bool) bool {
	now := l.keys()
	for _, m := range moves {
		for p := range was {
			if !now[p] && (m.To.Within(p) || m.From.Parent().Within(p)) {
				return false
			}
		}
		if now[m.From] && !was[m.From] {
			return false
		}
	}
	return true
}

func (l *ledger) keys() map[Path]bool {
	out := map[Path]bool{}
	for n := range l.parts {
		if n.id == 0 && l.has(n.path) {
			out[n.path] = true
		}
	}
	return out
}

func (l *ledger) one(rev Rev, op Op, pending bool) bool {
	switch op := op.(type) {
	case Set:
		ok := l.has(op.Path)
		if op.Property.ID == anAct {
			return ok && !pending
		}
		l.put(name{op.Path, op.Property.ID}, entryOf{rev: rev, there: true, value: shown(op.Property)})
		l.need(op.Path, rev)
		return ok
	case Amend:
		_, sure := l.holds(op.Path, op.Property.ID, rev)
		return (sure || pending) && l.one(rev, Set(op), pending)
	case SetBits:
		was, sure := l.holds(op.Path, op.Property.ID, rev)
		if w, err := strconv.ParseUint(strings.TrimSuffix(was.value, inherited), 10, 32); err == nil {
			op.Property.Value = DWord(uint32(w)&^op.Mask | op.Property.Value.DWord()&op.Mask)
		}
		return (sure || pending) && l.one(rev, Set{op.Path, op.Property}, pending)
	case Unset:
		n := name{op.Path, op.ID}
		ok := l.has(op.Path) && l.get(n).there
		l.put(n, entryOf{rev: rev})
		l.need(op.Path, rev)
		return ok
	case AddKey:
		ok := !l.has(op.Path) && l.has(op.Path.Parent())
		l.put(name{op.Path, 0}, entryOf{rev: rev, there: true})
		l.need(op.Path, rev)
		return ok
	case Remove:
		ok := l.has(op.Path) && (op.Recursive || !l.hasKids(op.Path))
		l.remove(rev, op.Path)
		return ok
	case Copy:
		return l.copy(rev, op.From, op.To, op.Overwrite)
	case Move:
		return l.move(rev, op, pending)
	}
	panic("an op that the model does not know")
}

// holds gives what holds at key p of a property: its own, or else the nearest above if
// that is inherited. It is sure unless a revision before rev that is not confirmed has
// written the part at a key from p up to that, or has moved one of the keys below that.
func (l *ledger) holds(p Path, id ID, rev Rev) (w entryOf, sure bool) {
	sure = true
	for q := range p.Parents() {
		n := name{q, id}
		for _, before := range slices.Backward(l.parts[n]) {
			if before.rev != rev && !l.void[before.rev] {
				_, pending := l.until[before.rev]
				sure = sure && !pending
				break
			}
		}
		if w = l.get(n); w.there {
			if q != p && !strings.HasSuffix(w.value, inherited) {
				w = entryOf{}
			}
			return w, sure
		}
		for _, m := range l.moves {
			sure = sure && m.To != q
		}
	}
	return w, sure
}

func (l *ledger) hasKids(p Path) bool {
	return slices.ContainsFunc(l.below(p), func(n name) bool { return n.path != p && l.has(n.path) })
}

func (l *ledger) remove(rev Rev, p Path) {
	for _, n := range l.below(p) {
		l.put(n, entryOf{rev: rev})
	}
}

func (l *ledger) copy(rev Rev, from, to Path, overwrite bool) bool {
	if !l.has(from) || l.has(to) && !overwrite || !l.has(to.Parent()) || from == to {
		return false
	}
	what := map[name]string{}
	for _, n := range l.below(from) {
		if w := l.get(n); w.there {
			what[n] = w.value
		}
	}
	for n, value := range what {
		at := name{to + n.path[len(from):], n.id}
		if n.id == 0 && l.has(at.path) {
			l.need(at.path, rev)
		} else {
			l.put(at, entryOf{rev: rev, there: true, value: value})
		}
	}
	l.need(to, rev)
	return true
}

func (l *ledger) move(rev Rev, op Move, pending bool) bool {
	if op.From == op.To {
		return l.has(op.From)
	}
	if op.From == Root || op.To.Within(op.From) || op.From.Within(op.To) || !l.has(op.From) || l.waitsBelow(op.To) ||
		l.has(op.To) && !op.Overwrite || !l.has(op.To.Parent()) {
		return false
	}
	if !pending && !l.waitsBelow(op.From) {
		ok := l.copy(rev, op.From, op.To, op.Overwrite)
		l.remove(rev, op.From)
		return ok
	}
	if l.has(op.To) || pending && (l.keyWaitsAbove(op.From) || l.keyWaitsAbove(op.To.Parent())) {
		return false
	}
	l.carry(op.From, op.To)
	l.need(op.To.Parent(), rev)
	return true
}

func (l *ledger) carry(from, to Path) {
	for _, n := range l.below(to) {
		delete(l.parts, n)
	}
	l.torn[from], l.torn[to] = true, true
	for _, n := range l.below(from) {
		l.parts[name{to + n.path[len(from):], n.id}] = l.parts[n]
		delete(l.parts, n)
	}
	m := tree.Move{From: from, To: to}
	for rev, o := range l.moves {
		l.moves[rev] = tree.Move{From: m.Follow(o.From), To: m.Follow(o.To)}
	}
}

// replace puts another tree in the place of the whole.
func (l *ledger) replace(rev Rev, tree plain) {
	next := map[name]entryOf{}
	for n := range l.parts {
		next[n] = entryOf{rev: rev}
	}
	for p, props := range tree {
		next[name{Path(p), 0}] = entryOf{rev: rev, there: true, need: l.has(Path(p))}
		for id, value := range props {
			next[name{Path(p), id}] = entryOf{rev: rev, there: true, value: value}
		}
	}
	for n, w := range next {
		l.put(n, w)
	}
}

// layered reports whether n was written by a revision that is not confirmed, and
// since by none that is.
func (l *ledger) layered(n name) bool {
	return slices.ContainsFunc(l.live(n), func(w entryOf) bool { return !l.void[w.rev] })
}

// left lists what the record of a revision that is taken back says is kept: what it
// wrote and a later one wrote again.
func (l *ledger) left(rev Rev) (out []string) {
	names := slices.Clone(l.kept[rev])
	for n := range l.parts {
		list := l.live(n)
		mine := slices.IndexFunc(list, func(w entryOf) bool { return w.rev == rev && !w.need })
		if mine >= 0 && slices.ContainsFunc(list[mine:], func(w entryOf) bool { return w.rev > rev && !l.void[w.rev] }) {
			names = append(names, n)
		}
	}
	for _, n := range names {
		line := string(n.path) + ": "
		if n.id != 0 {
			line += n.id.String() + ": "
		}
		out = append(out, line+"revision ")
	}
	slices.Sort(out)
	return out
}

// takeBack takes a revision back that is not confirmed.
func (l *ledger) takeBack(rev Rev) {
	l.void[rev] = true
	if m, ok := l.moves[rev]; ok {
		delete(l.moves, rev)
		l.carry(m.To, m.From)
	}
	l.end(rev)
}

func (l *ledger) confirm(rev Rev) {
	for n := range l.parts {
		list := l.live(n)
		if i := slices.IndexFunc(list, func(w entryOf) bool { return w.rev == rev }); i > 0 {
			l.takeOver(n, list[:i])
		}
	}
	delete(l.timed, rev)
	l.end(rev)
}

// confirmed gives n as it was before rev, without what was not confirmed; it is sure
// where the history has all of that, which begins at first, and the model, too. That
// nothing is left where there was nothing, no history tells, nor whether what was
// reverted after rev had been confirmed, or was made again.
func (l *ledger) confirmed(n name, rev, first Rev) (was entryOf, sure bool) {
	sure = true
	for p := range n.path.Parents() {
		if l.torn[p] {
			return was, false
		}
	}
	last := entryOf{there: true}
	for _, w := range l.parts[n] {
		switch {
		case w.rev >= rev:
			continue
		case l.timed[w.rev]:
			sure = sure && w.rev >= first && l.early[w.rev] <= rev
		default:
			was, sure = w, (w.there || last.there) && l.early[w.rev] <= rev
		}
		last = w
	}
	return was, sure
}

// revert makes the changes of a revision that reverts one of those without a time.
func (l *ledger) revert(rev Rev, lines []DiffLine) {
	for _, d := range lines {
		switch d.Kind {
		case KeyAdded:
			l.put(name{d.Path, 0}, entryOf{rev: rev, there: true})
		case KeyRemoved:
			l.remove(rev, d.Path)
			continue
		case PropertySet:
			l.put(name{d.Path, d.ID}, entryOf{rev: rev, there: true, value: shown(*d.New)})
		case PropertyUnset:
			l.put(name{d.Path, d.ID}, entryOf{rev: rev})
		}
		l.need(d.Path, rev)
	}
	l.net(rev)
}

func (l *ledger) end(rev Rev) {
	delete(l.until, rev)
	delete(l.moves, rev)
}

// due lists what is not confirmed in time, in the order of the deadlines.
func (l *ledger) due(now time.Time) (revs []Rev) {
	for rev, until := range l.until {
		if !until.After(now) {
			revs = append(revs, rev)
		}
	}
	slices.SortFunc(revs, func(a, b Rev) int { return l.until[a].Compare(l.until[b]) })
	return revs
}

// tree gives the model's tree.
func (l *ledger) tree() plain {
	out := plain{}
	for p := range l.keys() {
		out[string(p)] = map[ID]string{}
	}
	for n := range l.parts {
		if w := l.get(n); n.id != 0 && w.there && out[string(n.path)] != nil {
			out[string(n.path)][n.id] = w.value
		}
	}
	return out
}

// differ tells two trees apart.
func differ(got, want plain) string {
	var out []string
	for _, p := range slices.Sorted(maps.Keys(got)) {
		if want[p] == nil {
			out = append(out, fmt.Sprintf("%s is there", p))
		} else if !maps.Equal(got[p], want[p]) {
			out = append(out, fmt.Sprintf("%s has %v, want %v", p, got[p], want[p]))
		}
	}
	for _, p := range slices.Sorted(maps.Keys(want)) {
		if got[p] == nil {
			out = append(out, fmt.Sprintf("%s is missing", p))
		}
	}
	return strings.Join(out, "\n")
}
