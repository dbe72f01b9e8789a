// SPDX-License-Identifier: Apache-2.0

package metabase

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"math/rand/v2"
	"runtime"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"

	"restante/internal/kv"
	"restante/internal/kv/kvtest"
	"restante/internal/testpeer"
)

// plain is the model: what each key holds, by path. It knows of the ops what
// their comments say, and nothing of how the store does them.
type plain map[string]map[ID]string

func (m plain) clone() plain {
	out := plain{}
	for p, props := range m {
		out[p] = maps.Clone(props)
	}
	return out
}

func (m plain) below(p string) []string {
	var out []string
	for q := range m {
		if strings.HasPrefix(q, p+"/") {
			out = append(out, q)
		}
	}
	return out
}

// apply makes op true on m, or says that it can't be.
func (m plain) apply(op Op) bool {
	switch op := op.(type) {
	case Set:
		props, ok := m[string(op.Path)]
		if ok {
			props[op.Property.ID] = shown(op.Property)
		}
		return ok
	case Unset:
		_, ok := m[string(op.Path)][op.ID]
		delete(m[string(op.Path)], op.ID)
		return ok
	case AddKey:
		_, there := m[string(op.Path)]
		_, parent := m[string(op.Path.Parent())]
		if there || !parent {
			return false
		}
		m[string(op.Path)] = map[ID]string{}
		return true
	case Remove:
		_, ok := m[string(op.Path)]
		kids := m.below(string(op.Path))
		if !ok || len(kids) > 0 && !op.Recursive {
			return false
		}
		for _, q := range append(kids, string(op.Path)) {
			delete(m, q)
		}
		return true
	case Clear:
		props, ok := m[string(op.Path)]
		clear(props)
		return ok
	case Copy:
		return m.copy(string(op.From), string(op.To), op.Overwrite)
	case Move:
		if op.From == op.To {
			_, ok := m[string(op.From)]
			return ok
		}
		if op.To.Within(op.From) || op.From.Within(op.To) || !m.copy(string(op.From), string(op.To), op.Overwrite) {
			return false
		}
		for _, q := range append(m.below(string(op.From)), string(op.From)) {
			delete(m, q)
		}
		return true
	}
	panic("an op that the model does not know")
}

func (m plain) copy(from, to string, overwrite bool) bool {
	_, ok := m[from]
	_, there := m[to]
	_, parent := m[string(Path(to).Parent())]
	if !ok || !parent && !there || there && !overwrite || from == to {
		return false
	}
	source := m.clone()
	for _, q := range append(source.below(from), from) {
		target := to + strings.TrimPrefix(q, from)
		if m[target] == nil {
			m[target] = map[ID]string{}
		}
		maps.Copy(m[target], source[q])
	}
	return true
}

// shown is what is compared of a property.
func shown(p Property) string {
	text := p.Value.Str() // of a secret, too
	if p.Value.Type() == DWordType {
		text = p.Value.String()
	}
	if p.Attr&Inherit != 0 {
		text += inherited
	}
	return text
}

// inherited ends the shown property that keys below inherit.
const inherited = " inherited"

// of reads what a snapshot holds at and below p.
func of(s Snapshot, p Path) plain {
	out := plain{}
	for q := range s.Walk(p) {
		props := map[ID]string{}
		for _, prop := range s.Properties(q) {
			props[prop.ID] = shown(prop)
		}
		out[string(q)] = props
	}
	return out
}

func (m plain) equal(o plain) bool {
	return maps.EqualFunc(m, o, func(a, b map[ID]string) bool { return maps.Equal(a, b) })
}

// A player is one writer with a part of the tree for itself.
type player struct {
	s     *Store
	top   Path
	rnd   *rand.Rand
	model plain
}

func (w *player) path() Path {
	p := w.top
	for range w.rnd.IntN(4) {
		p = p.Join(fmt.Sprintf("k%d", w.rnd.IntN(4)))
	}
	return p
}

func (w *player) op() Op {
	p, id := w.path(), ID(10+w.rnd.IntN(4))
	prop := Property{ID: id, Value: String(fmt.Sprint(w.rnd.IntN(1000)))}
	if id == 13 {
		prop.Attr = Secure
	}
	switch w.rnd.IntN(12) {
	case 0, 1, 2, 3:
		return AddKey{p, ""}
	case 4, 5, 6:
		return Set{p, prop}
	case 7:
		return Unset{p, id}
	case 8:
		if p == w.top {
			p = p.Join("k0")
		}
		return Remove{p, w.rnd.IntN(2) == 0}
	case 9:
		return Clear{Path: p}
	case 10:
		return Copy{p, w.path(), w.rnd.IntN(2) == 0}
	default:
		if p == w.top {
			p = p.Join("k1")
		}
		return Move{p, w.path(), w.rnd.IntN(2) == 0}
	}
}

// turn makes one batch, in the store and in the model, and compares what came
// of it. Each batch also sets two items of the top to one number, so that
// readers can see whether a batch is ever seen by half.
func (w *player) turn(step int) error {
	stamp := fmt.Sprint(step)
	ops := []Op{Set{w.top, Property{ID: 1, Value: String(stamp)}}}
	for range 1 + w.rnd.IntN(3) {
		ops = append(ops, w.op())
	}
	ops = append(ops, ops[0], Set{w.top, Property{ID: 2, Value: String(stamp)}})
	next, good := w.model.clone(), true
	for _, op := range ops {
		good = next.apply(op) && good
	}
	if len(next.below(string(w.top))) > 500 {
		return nil // large enough
	}
	_, err := w.s.Apply(context.Background(), Batch{Ops: ops})
	if errors.Is(err, kvtest.ErrFault) {
		return nil
	}
	if (err == nil) != good {
		return fmt.Errorf("step %d: %v: %v; the model says %v", step, ops, err, good)
	}
	if err == nil {
		w.model = next
	}
	if got := of(w.s.Snapshot(), w.top); !got.equal(w.model) {
		return fmt.Errorf("step %d: %v: the store has\n%v\nthe model\n%v", step, ops, got, w.model)
	}
	return nil
}

// modelSteps is how many batches each test of this file makes in all.
func modelSteps() int { return testpeer.Rounds(1000, 2000, 100_000) }

func TestModel(t *testing.T) { playModel(t, 0) }

// TestModelFaults breaks one commit in ten.
func TestModelFaults(t *testing.T) { playModel(t, 10) }

func playModel(t *testing.T, faultIn int) {
	const writers, readers = 8, 8
	seed := rand.Uint64()
	t.Logf("seed %d", seed)
	db := kv.NewMem()
	fault := kvtest.NewFault(db)
	s := open(t, fault, Options{})
	players := make([]*player, writers)
	for i := range players {
		top := Path(fmt.Sprintf("/W%d", i))
		apply(t, s, AddKey{top, ""})
		players[i] = &player{s, top, rand.New(rand.NewPCG(seed, uint64(i))), plain{string(top): {}}}
	}
	var done atomic.Bool
	var writing, reading sync.WaitGroup
	var kept sync.Map // Rev -> string: what readers saw
	for i := range readers {
		reading.Go(func() {
			rnd := rand.New(rand.NewPCG(seed, uint64(100+i)))
			for last := Rev(0); !done.Load(); {
				snap := s.Snapshot()
				if snap.Rev() < last {
					t.Errorf("revision %d after %d", snap.Rev(), last)
				}
				last = snap.Rev()
				for _, w := range players {
					a, _ := snap.Stored(w.top, 1)
					b, _ := snap.Stored(w.top, 2)
					if !a.Value.Equal(b.Value) {
						t.Errorf("half a batch is seen at %s", w.top)
					}
				}
				if rnd.IntN(500) == 0 {
					kept.Store(last, exact(snap))
				}
				runtime.Gosched() // eight who never rest leave little for the writers
			}
		})
	}
	for i, w := range players {
		writing.Go(func() {
			for step := range modelSteps() / writers {
				if faultIn > 0 && i == 0 && w.rnd.IntN(faultIn) == 0 {
					fault.FailOnce(1 + w.rnd.IntN(3))
				}
				if err := w.turn(step); err != nil {
					t.Error(err)
					return
				}
			}
		})
	}
	writing.Wait()
	done.Store(true)
	reading.Wait()
	fault.Heal()
	sound(t, s)
	for _, w := range players {
		if got := of(s.Snapshot(), w.top); !got.equal(w.model) {
			t.Errorf("in the end %s is %v, the model %v", w.top, got, w.model)
		}
	}
	lookBack(t, s, &kept)
	last := exact(s.Snapshot())
	s.Close()
	again := open(t, db, Options{})
	if exact(again.Snapshot()) != last {
		t.Error("opened again, the tree is another")
	}
	sound(t, again)
}

// lookBack compares some of what readers saw with what the history says.
func lookBack(t *testing.T, s *Store, kept *sync.Map) {
	var revs []Rev
	kept.Range(func(rev, _ any) bool {
		revs = append(revs, rev.(Rev))
		return true
	})
	slices.Sort(revs)
	for i, rev := range revs {
		if i%(1+len(revs)/20) != 0 || rev < s.Oldest() {
			continue
		}
		back, err := s.At(t.Context(), rev)
		if want, _ := kept.Load(rev); err != nil || exact(back) != want {
			t.Fatalf("At(%d) is not what was seen then: %v", rev, err)
		}
	}
}

// TestModelEveryFault lets the n-th step of the disk fail, for every n, in the
// middle of what one writer does.
func TestModelEveryFault(t *testing.T) {
	seed := rand.Uint64()
	t.Logf("seed %d", seed)
	const steps = 30
	for n := 1; n <= 2*steps; n++ {
		db := kv.NewMem()
		fault := kvtest.NewFault(db)
		s := open(t, fault, Options{})
		apply(t, s, AddKey{"/W", ""})
		w := &player{s, "/W", rand.New(rand.NewPCG(seed, 1)), plain{"/W": {}}}
		fault.FailOnce(n)
		for step := range steps {
			if err := w.turn(step); err != nil {
				t.Fatalf("fault %d: %v", n, err)
			}
		}
		fault.Heal()
		sound(t, s)
		s.Close()
		again := open(t, db, Options{})
		if got := of(again.Snapshot(), "/W"); !got.equal(w.model) {
			t.Fatalf("fault %d: on the disk is %v, the model %v", n, got, w.model)
		}
		again.Close()
	}
}
