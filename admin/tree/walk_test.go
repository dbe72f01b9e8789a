// SPDX-License-Identifier: Apache-2.0

package tree

import (
	"context"
	"log/slog"
	"os"
	"regexp"
	"runtime"
	"slices"
	"strings"
	"sync"
	"testing"

	"restante/admin"
	"restante/admin/admintest"
	"restante/admin/api"
	"restante/admin/rpc"
	"restante/engine/site"
	"restante/internal/kv"
	"restante/metabase"
)

// A walk records which packages of the module lead to a call.
type walk struct {
	mu      sync.Mutex
	entered map[string]bool
}

func (w *walk) record() {
	pcs := make([]uintptr, 200)
	frames := runtime.CallersFrames(pcs[:runtime.Callers(2, pcs)])
	w.mu.Lock()
	defer w.mu.Unlock()
	for {
		f, more := frames.Next()
		if name, ok := strings.CutPrefix(f.Function, "restante/"); ok && !strings.HasSuffix(f.File, "_test.go") {
			dir, base := "", name
			if i := strings.LastIndex(name, "/"); i >= 0 {
				dir, base = name[:i+1], name[i+1:]
			}
			pkg, _, _ := strings.Cut(base, ".")
			w.entered[dir+pkg] = true
		}
		if !more {
			return
		}
	}
}

type walkedDB struct {
	kv.DB
	*walk
}

func (w walkedDB) Commit(ctx context.Context, ops ...kv.Op) error {
	w.record()
	return w.DB.Commit(ctx, ops...)
}

type walkedEngine struct {
	admin.Engine
	*walk
}

func (w walkedEngine) Await(context.Context, metabase.Rev) ([]site.Status, error) {
	w.record()
	return nil, nil
}

func (w walkedEngine) Sites() []site.Status {
	w.record()
	return nil
}

// docs/flow.md names the packages that one mb set enters, from the socket to
// the commit and to the barrier, and they are at most twelve.
func TestSetEntersTwelvePackages(t *testing.T) {
	told := flowPackages(t)
	if len(told) > 12 {
		t.Errorf("docs/flow.md names %d packages: %v", len(told), told)
	}
	w := &walk{entered: map[string]bool{}}
	mem := kv.NewMem()
	defer mem.Close()
	a, _ := admintest.Over(t, walkedDB{mem, w}, walkedEngine{nil, w}, metabase.Options{Admins: api.Self()})
	Register(a)
	w.entered = map[string]bool{} // setting up is not the walk
	data := t.TempDir()
	l, err := rpc.Listen(data)
	if err != nil {
		t.Fatal(err)
	}
	var server sync.WaitGroup
	ctx, cancel := context.WithCancel(t.Context())
	server.Go(func() { rpc.Serve(ctx, l, 0, slog.New(slog.DiscardHandler), a.Direct) })
	defer server.Wait()
	defer cancel()
	c, err := rpc.Dial(ctx, data, api.Caller{Origin: metabase.FromCLI})
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	q := api.ApplyRequest{Lines: []api.Line{{Words: []string{"set", "SMTPSVC/1", "MaxMessageSize", "4000"}}}}
	if _, _, err := api.MbApply.Call(ctx, c, q); err != nil {
		t.Fatal(err)
	}
	for _, p := range []string{"admin/rpc", "admin", "admin/tree", "metabase", "internal/groupcommit"} {
		if !w.entered[p] {
			t.Errorf("the walk %v does not enter %s", w.entered, p)
		}
	}
	for p := range w.entered {
		if !slices.Contains(told, p) {
			t.Errorf("the walk enters %s, which docs/flow.md does not name", p)
		}
	}
}

// flowPackages returns the packages in bold in docs/flow.md's walk of one mb set.
func flowPackages(t *testing.T) []string {
	t.Helper()
	text, err := os.ReadFile("../../docs/flow.md")
	if err != nil {
		t.Fatal(err)
	}
	_, walk, ok := strings.Cut(string(text), "One `mb set`,")
	if !ok {
		t.Fatal("docs/flow.md does not tell the walk of one mb set")
	}
	var packages []string
	for _, m := range regexp.MustCompile(`(?m)\*\*([a-z/]+)\*\*`).FindAllStringSubmatch(walk, -1) {
		if !slices.Contains(packages, m[1]) {
			packages = append(packages, m[1])
		}
	}
	return packages
}
