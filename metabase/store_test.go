// SPDX-License-Identifier: Apache-2.0

package metabase

import (
	"context"
	"errors"
	"fmt"
	"runtime"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"restante/internal/kv"
	"restante/internal/kv/kvtest"
	"restante/internal/seal"
	"restante/metabase/internal/stored"
	"restante/metabase/internal/tree"
	"restante/metabase/key"
)

// blockingDB is a DB whose commits wait while it is blocked.
type blockingDB struct {
	kv.DB
	mu      sync.Mutex
	commits int
	pass    chan struct{} // nil: let all through
}

func (g *blockingDB) Commit(ctx context.Context, ops ...kv.Op) error {
	g.mu.Lock()
	pass := g.pass
	g.commits++
	g.mu.Unlock()
	if pass != nil {
		<-pass
	}
	return g.DB.Commit(ctx, ops...)
}

func (g *blockingDB) block() (open func()) {
	g.mu.Lock()
	defer g.mu.Unlock()
	pass := make(chan struct{})
	g.pass = pass
	return func() {
		g.mu.Lock()
		g.pass = nil
		g.mu.Unlock()
		close(pass)
	}
}

func (g *blockingDB) count() int {
	g.mu.Lock()
	defer g.mu.Unlock()
	return g.commits
}

// waiting blocks until n batches are in the line.
func waiting(s *Store, n int) {
	for {
		if s.committer.queue.Len() == n {
			return
		}
		runtime.Gosched()
	}
}

func TestGroupCommit(t *testing.T) {
	g := &blockingDB{DB: kv.NewMem()}
	s := open(t, g, Options{})
	site(t, s)
	start := s.Snapshot().Rev()
	open := g.block()
	first := make(chan error, 1)
	go func() {
		_, err := s.Apply(t.Context(), Batch{Ops: []Op{Set{"/LM", num(1, 0)}}})
		first <- err
	}()
	for g.count() < 3 { // opening, the site, and the one that is held up
	}
	const writers = 100
	revs := make(chan Rev, writers)
	var wg sync.WaitGroup
	for i := range writers {
		wg.Go(func() {
			rev, err := s.Apply(t.Context(), Batch{Ops: []Op{AddKey{Path(fmt.Sprintf("/LM/SMTPSVC/1/Domain/d%d", i)), ""}}})
			if err != nil {
				t.Error(err)
			}
			revs <- rev
		})
	}
	waiting(s, writers)
	if now := s.Snapshot(); now.Rev() != start {
		t.Errorf("revision %d is shown before it is durable", now.Rev())
	}
	// A batch that changes nothing only because of a pending one waits with it.
	same := make(chan Rev, 1)
	go func() {
		rev, err := s.Apply(t.Context(), Batch{Ops: []Op{Set{"/LM", num(1, 0)}}})
		if err != nil {
			t.Error(err)
		}
		same <- rev
	}()
	waiting(s, writers+1)
	select {
	case <-same:
		t.Error("an answer before the disk's")
	default:
	}
	before := g.count()
	open()
	wg.Wait()
	if err := <-first; err != nil {
		t.Error(err)
	}
	if rev := <-same; rev != start+1+writers {
		t.Errorf("the batch that changed nothing is answered with %d", rev)
	}
	if n := g.count() - before; n != 1 {
		t.Errorf("%d commits for those that waited, want 1", n)
	}
	close(revs)
	got := slices.Sorted(func(yield func(Rev) bool) {
		for r := range revs {
			if !yield(r) {
				return
			}
		}
	})
	for i, r := range got {
		if r != start+2+Rev(i) {
			t.Fatalf("revisions %v", got)
		}
	}
	sound(t, s)
}

// The size of a shared commit is bounded: of ten batches of 200 KB each, six.
func TestGroupIsBounded(t *testing.T) {
	g := &blockingDB{DB: kv.NewMem()}
	s := open(t, g, Options{})
	site(t, s)
	open := g.block()
	var wg sync.WaitGroup
	enter := func(ops ...Op) {
		wg.Go(func() {
			if _, err := s.Apply(t.Context(), Batch{Ops: ops}); err != nil {
				t.Error(err)
			}
		})
	}
	enter(Set{"/LM", num(1, 0)})
	for g.count() < 3 { // opening, the site, and the one that is held up
	}
	for i := range 10 {
		p := Path(fmt.Sprintf("/LM/%d", i))
		enter(AddKey{p, ""}, Set{p, Property{ID: 1, Value: String(strings.Repeat("x", 100_000))}}) // once in the tree, once in the history
		waiting(s, i+1)
	}
	before := g.count()
	open()
	wg.Wait()
	if n := g.count() - before; n != 2 {
		t.Errorf("%d commits, want 2", n)
	}
	sound(t, s)
}

// What is long to check begins a commit of its own: those before it have theirs
// first.
func TestLargeBatchKeepsNobodyBeforeIt(t *testing.T) {
	g := &blockingDB{DB: kv.NewMem()}
	s := open(t, g, Options{})
	site(t, s)
	open := g.block()
	var wg sync.WaitGroup
	enter := func(ops ...Op) {
		wg.Go(func() {
			if _, err := s.Apply(t.Context(), Batch{Ops: ops}); err != nil {
				t.Error(err)
			}
		})
	}
	enter(Set{"/LM", num(1, 0)})
	for g.count() < 3 { // opening, the site, and the one that is held up
	}
	var many []Op
	for i := range 200 {
		many = append(many, AddKey{Path(fmt.Sprintf("/LM/%d", i)), ""})
	}
	for i, ops := range [][]Op{{Set{"/LM", num(2, 0)}}, {Set{"/LM", num(3, 0)}}, many, {Set{"/LM", num(4, 0)}}, {Copy{From: "/LM/SMTPSVC", To: "/LM/Other"}}} {
		enter(ops...)
		waiting(s, i+1)
	}
	before := g.count()
	open()
	wg.Wait()
	if n := g.count() - before; n != 3 {
		t.Errorf("%d commits, want one for the two before, one for the many and who came after, one for the copy", n)
	}
	sound(t, s)
}

// A slow DB takes a millisecond for each commit.
type slow struct {
	kv.DB
	commits int
}

func (s *slow) Commit(ctx context.Context, ops ...kv.Op) error {
	s.commits++
	time.Sleep(time.Millisecond)
	return s.DB.Commit(ctx, ops...)
}

// Writers without end stay one group: they do not split into two, of which one makes
// its batches while the other waits for its commit. On one processor the committer
// yields to them.
func TestWritersWithoutEndShareCommits(t *testing.T) {
	defer runtime.GOMAXPROCS(runtime.GOMAXPROCS(1))
	synctest.Test(t, func(t *testing.T) {
		db := &slow{DB: kv.NewMem()}
		s := open(t, db, Options{})
		site(t, s)
		db.commits = 0
		const writers, rounds = 32, 20
		var all sync.WaitGroup
		for w := range ID(writers) {
			all.Go(func() {
				for n := range uint32(rounds) {
					if _, err := s.Apply(t.Context(), Batch{Ops: []Op{Set{"/LM", num(w+1, n+1)}}}); err != nil {
						t.Error(err)
					}
				}
			})
		}
		all.Wait()
		if db.commits > rounds*3/2 {
			t.Errorf("%d commits for %d rounds", db.commits, rounds)
		}
		sound(t, s)
		s.Close()
	})
}

// A check that panics is the trouble of the batch that it was asked about. Those
// that wait with it, and come after it, go on.
func TestPanickingCheck(t *testing.T) {
	g := &blockingDB{DB: kv.NewMem()}
	s := open(t, g, Options{Checks: []Check{func(c Change) []Problem {
		if c.Batch.Comment == "broken" {
			panic("a fault")
		}
		return nil
	}}})
	site(t, s)
	open := g.block()
	var wg sync.WaitGroup
	enter := func(id ID, comment, want string) {
		wg.Go(func() {
			_, err := s.Apply(t.Context(), Batch{Comment: comment, Ops: []Op{Set{"/LM", num(id, 1)}}})
			if fmt.Sprint(err) != want {
				t.Errorf("batch %d: %v, want %s", id, err, want)
			}
		})
	}
	enter(1, "", "<nil>")
	for g.count() < 3 { // opening, the site, and the one that is held up
	}
	enter(2, "", "<nil>")
	waiting(s, 1)
	enter(3, "broken", "apply: panic: a fault")
	waiting(s, 2)
	enter(4, "", "<nil>")
	waiting(s, 3)
	open()
	wg.Wait()
	enter(5, "broken", "apply: panic: a fault") // no other writer is waiting
	wg.Wait()
	apply(t, s, Set{"/LM", num(6, 1)})
	for id := ID(1); id <= 6; id++ {
		if _, ok := s.Snapshot().Stored("/LM", id); ok == (id == 3 || id == 5) {
			t.Errorf("batch %d is kept: %v", id, ok)
		}
	}
	sound(t, s)
}

func TestNoLostUpdate(t *testing.T) {
	s := open(t, kv.NewMem(), Options{})
	apply(t, s, Set{"/", num(1, 0)})
	const writers, each = 8, 50
	var wg sync.WaitGroup
	for range writers {
		wg.Go(func() {
			for done := 0; done < each; {
				snap := s.Snapshot()
				p, _ := snap.Stored("/", 1)
				_, err := s.Apply(t.Context(), Batch{IfRev: new(snap.Rev()), Ops: []Op{Set{"/", num(1, p.Value.DWord()+1)}}})
				switch {
				case err == nil:
					done++
				case !errors.Is(err, Conflict):
					t.Error(err)
					return
				}
			}
		})
	}
	wg.Wait()
	if p, _ := s.Snapshot().Stored("/", 1); p.Value.DWord() != writers*each {
		t.Errorf("counted %v, want %d", p, writers*each)
	}
	sound(t, s)
}

func TestChecks(t *testing.T) {
	var seen Change
	check := func(c Change) (out []Problem) {
		seen = c
		for _, p := range c.Touched {
			for _, prop := range c.New.Properties(p) {
				if prop.Value.DWord() > 100 {
					out = append(out, Problem{Path: p, ID: prop.ID, Property: "Limit", Err: key.Errorf(Invalid, "must not be above 100")})
				}
			}
		}
		return out
	}
	var acted []string
	act := func(_ context.Context, p Path, v Value) error {
		acted = append(acted, fmt.Sprintf("%s %v", p, v))
		if v.DWord() == 9 {
			return errors.New("it does not start")
		}
		return nil
	}
	s := open(t, kv.NewMem(), Options{Checks: []Check{check, check}, Acts: map[ID]Act{1012: act}})
	site(t, s)
	rev := s.Snapshot().Rev()
	_, err := s.Apply(t.Context(), Batch{Ops: []Op{Set{"/LM", num(1, 101)}, Set{"/LM/SMTPSVC", num(2, 200)}, Unset{"/LM", 55}}})
	var refused *Refused
	if !errors.As(err, &refused) || len(refused.Problems) != 5 || !errors.Is(err, Invalid) || !errors.Is(err, NotFound) {
		t.Fatalf("Apply = %v", err)
	}
	if want := "/LM: property 55: not stored here\n/LM: Limit: must not be above 100\n"; !strings.HasPrefix(err.Error(), want) {
		t.Errorf("the error is\n%s", err)
	}
	if s.Snapshot().Rev() != rev {
		t.Error("something was kept")
	}
	if _, err := s.Apply(t.Context(), Batch{Ops: []Op{nil}}); !errors.Is(err, Invalid) {
		t.Errorf("a nil op: %v", err)
	}
	change, err := s.Try(t.Context(), Batch{Ops: []Op{Set{"/lm", num(1, 1)}, Remove{"/LM/SMTPSVC/1", true}}})
	if err != nil || !slices.Equal(change.Touched, []Path{"/LM", "/LM/SMTPSVC/1", "/LM/SMTPSVC/1/Domain"}) || s.Snapshot().Rev() != rev ||
		change.Old.Rev() != rev || change.New.Rev() != rev+1 || change.New.Has("/LM/SMTPSVC/1") {
		t.Errorf("Try = %+v, %v", change, err)
	}
	if d := change.Diff(); len(d) != 5 || d[0].Kind != PropertySet || d[1].Kind != KeyRemoved || d[2].Kind != PropertyUnset {
		t.Errorf("Diff = %+v", d)
	}
	// A property that acts is checked like the others, and then not stored.
	if got, err := s.Apply(t.Context(), Batch{Ops: []Op{Set{"/LM/SMTPSVC/1", num(1012, 1)}}}); got != rev || err != nil {
		t.Errorf("act = %d, %v", got, err)
	}
	if p, ok := seen.New.Stored("/LM/SMTPSVC/1", 1012); !ok || p.Value.DWord() != 1 {
		t.Errorf("a check sees %v, %v", p, ok)
	}
	if _, ok := s.Snapshot().Stored("/LM/SMTPSVC/1", 1012); ok {
		t.Error("what acts is stored")
	}
	if _, err := s.Apply(t.Context(), Batch{Ops: []Op{Set{"/LM/SMTPSVC/1", num(1012, 500)}}}); !errors.Is(err, Invalid) {
		t.Errorf("a wrong command: %v", err)
	}
	got, err := s.Apply(t.Context(), Batch{Ops: []Op{Set{"/LM", num(1, 3)}, Set{"/LM/SMTPSVC/1", num(1012, 9)}}})
	if got != rev+1 || err == nil || err.Error() != "/LM/SMTPSVC/1: property 1012: it does not start" {
		t.Errorf("an act that goes wrong: %d, %v", got, err)
	}
	if want := []string{"/LM/SMTPSVC/1 1", "/LM/SMTPSVC/1 9"}; !slices.Equal(acted, want) {
		t.Errorf("acted %q, want %q", acted, want)
	}
}

func TestClosed(t *testing.T) {
	s := open(t, kv.NewMem(), Options{})
	apply(t, s, AddKey{"/LM", ""})
	ctx, cancel := context.WithCancelCause(t.Context())
	why := errors.New("gone home")
	cancel(why)
	if _, err := s.Apply(ctx, Batch{Ops: []Op{AddKey{"/B", ""}}}); !errors.Is(err, why) {
		t.Errorf("with a dead context: %v", err)
	}
	s.Close()
	s.Close()
	if _, err := s.Apply(t.Context(), Batch{Ops: []Op{AddKey{"/B", ""}}}); !errors.Is(err, Closed) {
		t.Errorf("after Close: %v", err)
	}
	if !s.Snapshot().Has("/lm") {
		t.Error("the snapshot is gone with the store")
	}
}

// TestCommitFails breaks the disk at every step of a run of batches, in turn.
func TestCommitFails(t *testing.T) {
	batches := [][]Op{
		{AddKey{"/LM", "Computer"}, Set{"/LM", num(1, 1)}},
		{AddKey{"/LM/A", ""}, Set{"/LM/A", secret(2, "pw")}},
		{Copy{"/LM/A", "/LM/B", false}},
		{Move{"/LM", "/MN", false}},
		{Remove{"/MN", true}},
	}
	for n := 1; ; n++ {
		mem := kv.NewMem()
		f := kvtest.NewFault(mem)
		s := open(t, f, Options{})
		f.FailOnce(n)
		failed := 0
		for _, ops := range batches {
			was := exact(s.Snapshot())
			_, err := s.Apply(t.Context(), Batch{Ops: ops})
			if err == nil {
				continue
			}
			failed++
			f.Heal() // it has had its turn
			if !errors.Is(err, kvtest.ErrFault) || !strings.HasPrefix(err.Error(), "commit: ") {
				t.Errorf("step %d: %v", n, err)
			}
			if exact(s.Snapshot()) != was {
				t.Errorf("step %d: a batch that was not kept shows", n)
			}
			sound(t, s)
			if _, err := s.Apply(t.Context(), Batch{Ops: ops}); err != nil {
				t.Errorf("step %d: the second time: %v", n, err)
			}
		}
		f.Heal()
		sound(t, s)
		if got := dump(s.Snapshot()); got != "/:\n" {
			t.Errorf("step %d: in the end there is\n%s", n, got)
		}
		last := exact(s.Snapshot())
		s.Close()
		if got := exact(open(t, mem, Options{}).Snapshot()); got != last {
			t.Errorf("step %d: on the disk there is\n%s", n, got)
		}
		if failed == 0 && n > len(batches) {
			return // every step has had its turn
		}
	}
}

// Batches that wait behind a commit whose answer is lost are committed after it.
func TestLostAnswerWithOthersBehind(t *testing.T) {
	f := kvtest.NewFault(kv.NewMem())
	g := &blockingDB{DB: f}
	s := open(t, g, Options{})
	site(t, s)
	open := g.block()
	errs := make(chan error, 4)
	for i := range 4 {
		go func() {
			_, err := s.Apply(t.Context(), Batch{Ops: []Op{AddKey{Path(fmt.Sprintf("/LM/%d", i)), ""}}})
			errs <- err
		}()
		for i == 0 && g.count() < 3 {
		}
		waiting(s, i)
	}
	f.FailAfter(1)
	open()
	for range 4 {
		if err := <-errs; err != nil {
			t.Errorf("Apply = %v", err)
		}
	}
	if rev := s.Snapshot().Rev(); rev != 5 {
		t.Errorf("revision %d, want 5: each batch is made once", rev)
	}
	sound(t, s)
}

// Verify looks at one state, also while others write.
func TestVerifyBesideWriters(t *testing.T) {
	s := open(t, kv.NewMem(), Options{})
	site(t, s)
	var done atomic.Bool
	var wg sync.WaitGroup
	for w := range ID(4) {
		wg.Go(func() {
			for n := uint32(0); !done.Load(); n++ {
				if _, err := s.Apply(t.Context(), Batch{Ops: []Op{Set{"/LM", num(w+1, n)}}}); err != nil {
					t.Error(err)
				}
				runtime.Gosched()
			}
		})
	}
	for range 50 {
		sound(t, s)
	}
	done.Store(true)
	wg.Wait()
}

// TestLostAnswer loses the answer of a commit that happened, and of one that did
// not: the batch is made once, and acknowledged.
func TestLostAnswer(t *testing.T) {
	for _, confirm := range []bool{false, true} {
		for i, mode := range []func(*kvtest.Fault, int){(*kvtest.Fault).FailAfter, (*kvtest.Fault).FailUnknown} {
			f := kvtest.NewFault(kv.NewMem())
			s := open(t, f, Options{})
			rev, err := s.Apply(t.Context(), Batch{Ops: []Op{AddKey{"/LM", ""}, Set{Root, num(9, 9)}}, Confirm: time.Hour})
			if err != nil {
				t.Fatal(err)
			}
			mode(f, 1)
			if confirm {
				_, err = s.Confirm(t.Context(), rev)
			} else {
				rev, err = s.Apply(t.Context(), Batch{IfRev: &rev, Ops: []Op{AddKey{"/LM/A", ""}}})
			}
			if err != nil || s.Snapshot().Rev() != rev || s.Snapshot().Has("/LM/A") == confirm || (len(s.Pending()) == 0) != confirm {
				t.Errorf("mode %d, confirm %v: %v, revision %d, %d to be confirmed", i, confirm, err, s.Snapshot().Rev(), len(s.Pending()))
			}
			sound(t, s)
			last := exact(s.Snapshot())
			s.Close()
			again := open(t, f, Options{})
			sound(t, again)
			if exact(again.Snapshot()) != last {
				t.Errorf("mode %d: opened again, the tree is another", i)
			}
		}
	}
}

// A mute DB loses the answers of all commits. The last one of a batch happens,
// if that is wanted.
type mute struct {
	kv.DB
	lose   int // so many answers
	happen bool
}

func (m *mute) Commit(ctx context.Context, ops ...kv.Op) error {
	if m.lose == 0 {
		return m.DB.Commit(ctx, ops...)
	}
	if m.lose--; m.lose == 0 && m.happen {
		if err := m.DB.Commit(ctx, ops...); err != nil {
			return err
		}
	}
	return kv.ErrUnknown
}

// Where the answer stays unknown, the caller is told so, and the store goes on
// from what was stored.
func TestOutcomeStaysUnknown(t *testing.T) {
	for _, happen := range []bool{false, true} {
		m := &mute{DB: kv.NewMem()}
		s := open(t, m, Options{})
		apply(t, s, AddKey{"/LM", ""})
		m.lose, m.happen = 1+retries, happen
		_, err := s.Apply(t.Context(), Batch{Ops: []Op{AddKey{"/LM/A", ""}}})
		if !errors.Is(err, kv.ErrUnknown) || errors.Is(err, Damaged) || s.Snapshot().Has("/LM/A") {
			t.Errorf("Apply = %v", err)
		}
		apply(t, s, AddKey{"/LM/B", ""})
		if got := s.Snapshot().Has("/LM/A"); got != happen {
			t.Errorf("the commit of unknown outcome happened: %v, want %v", got, happen)
		}
		sound(t, s)
	}
}

// TestGroupFails lets a commit fail that one waits for while ten wait behind it,
// and one that those ten share: who shared it is told, and nobody else.
func TestGroupFails(t *testing.T) {
	for _, failing := range []int{1, 2} {
		f := kvtest.NewFault(kv.NewMem())
		g := &blockingDB{DB: f}
		s := open(t, g, Options{})
		site(t, s)
		open := g.block()
		set := func(i int) error {
			_, err := s.Apply(t.Context(), Batch{Ops: []Op{AddKey{Path(fmt.Sprintf("/LM/%d", i)), ""}}, Confirm: 1e12})
			return err
		}
		first, others := make(chan error, 1), make(chan error, 10)
		go func() { first <- set(0) }()
		for g.count() < 3 {
		}
		for i := range 10 {
			go func() { others <- set(i + 1) }()
		}
		waiting(s, 10)
		f.FailOnce(failing)
		open()
		if err := <-first; errors.Is(err, kvtest.ErrFault) != (failing == 1) {
			t.Errorf("commit %d fails, the first: %v", failing, err)
		}
		for range 10 {
			if err := <-others; errors.Is(err, kvtest.ErrFault) != (failing == 2) {
				t.Errorf("commit %d fails, one of the others: %v", failing, err)
			}
		}
		want := 10
		if failing == 2 {
			want = 1
		}
		if n, pending := len(slices.Collect(s.Snapshot().Names("/LM"))), len(s.Pending()); n != want+1 || pending != want {
			t.Errorf("commit %d fails: %d keys, %d wait to be confirmed", failing, n, pending)
		}
		newest := s.Pending()[0].Rev
		if rev, err := s.Confirm(t.Context(), 0); rev != newest || err != nil {
			t.Errorf("commit %d fails: confirmed %d, %v, want %d", failing, rev, err, newest)
		}
		sound(t, s)
		for i := range 11 {
			_ = set(i) // who is there already is refused
			if p := Path(fmt.Sprintf("/LM/%d", i)); !s.Snapshot().Has(p) {
				t.Errorf("%s does not go in any more", p)
			}
		}
		sound(t, s)
	}
}

func TestOpenErrors(t *testing.T) {
	full := func(t *testing.T) kv.DB {
		db := kv.NewMem()
		s := open(t, db, Options{})
		site(t, s)
		apply(t, s, Set{"/LM", secret(1, "pw")})
		s.Close()
		return db
	}
	tests := []struct {
		name string
		key  seal.Key
		ops  []kv.Op
		kind Kind
		text string
	}{
		{"no machine key", seal.Key{}, nil, Invalid, "no machine key"},
		{"another machine key", seal.New(), nil, Invalid, "not the one that this store was made with"},
		{"no root", testKey, []kv.Op{kv.Del(stored.NodeKey("/"))}, Damaged, "the key above it is missing"},
		{"no parent", testKey, []kv.Op{kv.Del(stored.NodeKey("/LM/SMTPSVC/1"))}, Damaged, `key "/LM/SMTPSVC/1/DOMAIN": the key above it is missing`},
		{"a key of zeros", testKey, []kv.Op{kv.Put(stored.NodeKey("/LM"), make([]byte, 20))}, Damaged, `key "/LM": a record has form 0`},
		{"half a key", testKey, []kv.Op{kv.Put(stored.NodeKey("/LM"), []byte{stored.KeyForm, 2, 'L'})}, Damaged, `key "/LM": a record of the store does not read`},
		{"a key in another's place", testKey, []kv.Op{kv.Put(stored.NodeKey("/LN"), stored.AppendNode(nil, &tree.Node{Spelling: "LM"}, testKey))}, Damaged, `holds the name "LM"`},
		{"no revision", testKey, []kv.Op{kv.Del([]byte{stored.MetaKey})}, Damaged, "the record of the revision is missing"},
		{"revision of another version", testKey, []kv.Op{kv.Put([]byte{stored.MetaKey}, []byte{9})}, Damaged, "has form 9"},
	}
	for _, tt := range tests {
		db := full(t)
		if len(tt.ops) > 0 {
			if err := db.Commit(t.Context(), tt.ops...); err != nil {
				t.Fatal(err)
			}
		}
		s, err := Open(t.Context(), db, tt.key, Options{})
		if !errors.Is(err, tt.kind) || !strings.Contains(fmt.Sprint(err), tt.text) {
			t.Errorf("%s: %v", tt.name, err)
		}
		if err == nil {
			s.Close()
		}
	}
}

func TestOpenFails(t *testing.T) {
	mem := kv.NewMem()
	s := open(t, mem, Options{})
	site(t, s)
	s.Close()
	for n := 1; ; n++ {
		f := kvtest.NewFault(mem)
		f.FailOnce(n)
		s, err := Open(t.Context(), f, testKey, Options{})
		if err == nil {
			s.Close()
			if n < 4 {
				t.Errorf("only %d steps", n)
			}
			return
		}
		if !errors.Is(err, kvtest.ErrFault) {
			t.Errorf("step %d: %v", n, err)
		}
	}
}

func TestSetBits(t *testing.T) {
	tests := []struct {
		name string
		ops  []Op
		want uint32
		err  string
	}{
		{"stored", []Op{Set{"/LM", num(1, 0b1100)}, SetBits{"/LM", num(1, 0b0001), 0b0101}}, 0b1001, ""},
		{"inherited", []Op{Set{"/", with(num(1, 0b1100), Inherit)}, SetBits{"/LM", num(1, 0b0001), 0b0101}}, 0b1001, ""},
		{"nothing", []Op{SetBits{"/LM", num(1, 0b1001), 0b0001}}, 0b1001, ""},
		{"one after the other", []Op{SetBits{"/LM", num(1, 1), 1}, SetBits{"/LM", num(1, 2), 2}}, 3, ""},
		{"text", []Op{SetBits{"/LM", text(1, "x"), 1}}, 0, "only a DWORD"},
		{"no key", []Op{SetBits{"/LN", num(1, 1), 1}}, 0, "/LN: not found"},
	}
	for _, tt := range tests {
		s := open(t, kv.NewMem(), Options{})
		site(t, s)
		_, err := s.Apply(t.Context(), Batch{Ops: tt.ops})
		if p, _ := s.Snapshot().Stored("/LM", 1); p.Value.DWord() != tt.want || (err == nil) != (tt.err == "") || err != nil && !strings.Contains(err.Error(), tt.err) {
			t.Errorf("%s: %v, %v; want %d, %q", tt.name, p, err, tt.want, tt.err)
		}
	}
}

// TestSetBitsTogether has many set a bit each at the same time.
func TestSetBitsTogether(t *testing.T) {
	s := open(t, kv.NewMem(), Options{})
	site(t, s)
	var all sync.WaitGroup
	for i := range 32 {
		all.Go(func() {
			if _, err := s.Apply(t.Context(), Batch{Ops: []Op{SetBits{"/LM", num(1, 1<<i), 1 << i}}}); err != nil {
				t.Error(err)
			}
		})
	}
	all.Wait()
	if p, _ := s.Snapshot().Stored("/LM", 1); p.Value.DWord() != 1<<32-1 {
		t.Errorf("%b", p.Value.DWord())
	}
}
