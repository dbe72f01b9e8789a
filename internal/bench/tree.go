// SPDX-License-Identifier: Apache-2.0

package main

import (
	"context"
	"errors"
	"fmt"
	"math"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"time"

	"restante/admin/api"
	"restante/admin/rpc"
	"restante/engine/settings"
	"restante/internal/kv/badgerkv"
	"restante/internal/seal"
	"restante/internal/testpeer"
	"restante/metabase"
	"restante/metabase/schema"
)

// domainCount is the number of domains in the measured tree.
const domainCount = 100_000

// measureTree measures the metabase with many domains, imported from a file as
// IIS writes it: import and export, how soon a changed limit holds for the next
// caller, open, reads and memory; and durable commits.
func measureTree(ctx context.Context, o options, r *report) error {
	s, err := startRestante(ctx, o, o.restante)
	if err != nil {
		return err
	}
	defer s.stop()
	if err := s.importTree(ctx, o, r); err != nil {
		return err
	}
	if err := s.limitInForce(ctx, o, r); err != nil {
		return err
	}
	if err := s.Halt(); err != nil {
		return err
	}
	if err := openTree(ctx, s.Data, r); err != nil {
		return err
	}
	if err := s.Start(ctx); err != nil {
		return err
	}
	if err := r.figure(one("exec to ready", "ms", float64(s.Ready.Milliseconds()))); err != nil {
		return err
	}
	return measureCommits(ctx, o, r)
}

// writeIISFile writes a file as IIS writes it, with domains that are held.
func writeIISFile(name string) error {
	var b strings.Builder
	b.WriteString("<?xml version=\"1.0\"?>\n<configuration xmlns=\"urn:microsoft-catalog:XML_Metabase_V64_0\">\n<MBProperty>\n" +
		"<IIS_Global\tLocation =\".\"\n\t>\n</IIS_Global>\n<IIsSmtpService\tLocation =\"/LM/SmtpSvc\"\n\t\tHopCount=\"15\"\n\t>\n</IIsSmtpService>\n")
	for i := range domainCount {
		fmt.Fprintf(&b, "<IIsSmtpDomain\tLocation =\"/LM/SmtpSvc/1/Domain/customer%d.example\"\n\t\tAuthTurnList=\"account%d\"\n\t\tRouteAction=\"514\"\n\t>\n</IIsSmtpDomain>\n", i, i)
	}
	b.WriteString("</MBProperty>\n</configuration>\n")
	return os.WriteFile(name, []byte(b.String()), 0o600)
}

// importTree times imports and an export by the command line.
func (s service) importTree(ctx context.Context, o options, r *report) error {
	file := filepath.Join(o.dir, "foreign.xml")
	if err := writeIISFile(file); err != nil {
		return err
	}
	for _, c := range []struct {
		what string
		args []string
	}{
		{"mb import --dry-run", []string{"mb", "import", file, "--dry-run"}},
		{"mb import", []string{"mb", "import", file}},
		{"mb export", []string{"mb", "export", filepath.Join(o.dir, "one.xml")}},
		{"mb import of what is stored already", []string{"mb", "import", filepath.Join(o.dir, "one.xml")}},
	} {
		begin := time.Now()
		if _, err := s.Run(ctx, "", c.args...); err != nil {
			return err
		}
		if err := r.figure(one(c.what, "s", time.Since(begin).Seconds())); err != nil {
			return err
		}
	}
	return nil
}

// limitInForce changes what a caller may send, again and again, and has fresh
// callers look for it until one is told the new limit. A bare commit to a store
// of its own follows each, so that both meet the same disk.
func (s service) limitInForce(ctx context.Context, o options, r *report) error {
	c, err := rpc.Dial(ctx, s.Data, api.Caller{Origin: metabase.FromCLI})
	if err != nil {
		return err
	}
	defer c.Close()
	commit, closeStore, err := newBatchStore(ctx, o, 0)
	if err != nil {
		return err
	}
	defer closeStore()
	const changes = 300
	var acknowledged, bare []float64 // ms
	var sent, answered []float64     // ms until the caller that was told connected
	late := 0
	for i := range changes {
		want := fmt.Sprint(1_000_000 + i)
		words := []string{"set", "SMTPSVC/1", "MaxMessageSize", want}
		begin := time.Now()
		if _, _, err := api.MbApply.Call(ctx, c, api.ApplyRequest{Lines: []api.Line{{Words: words}}}); err != nil {
			return err
		}
		answer := time.Now()
		acknowledged = append(acknowledged, answer.Sub(begin).Seconds()*1000)
		connects, callers, err := s.awaitEHLO(ctx, "SIZE "+want)
		if err != nil {
			return err
		}
		if callers > 1 {
			late++
		}
		sent = append(sent, connects.Sub(begin).Seconds()*1000)
		answered = append(answered, connects.Sub(answer).Seconds()*1000)
		begin = time.Now()
		if err := commit(uint64(i)); err != nil {
			return err
		}
		bare = append(bare, time.Since(begin).Seconds()*1000)
	}
	for _, f := range []*figure{
		one(fmt.Sprintf("of %d changed limits, answered before they held", changes), "changes", float64(late)),
		one("a change in force, request to answer, p50", "ms", quantile(acknowledged, 50)),
		one("a change in force, request to answer, p99", "ms", quantile(acknowledged, 99)),
		one("a bare commit, p50", "ms", quantile(bare, 50)),
		one("a bare commit, p99", "ms", quantile(bare, 99)),
		one("changed limit, answer to a caller who is told it, p50", "ms", quantile(answered, 50)),
		one("changed limit, answer to a caller who is told it, p99", "ms", quantile(answered, 99)),
		one("changed limit, request to a caller who is told it, p50", "ms", quantile(sent, 50)),
		one("changed limit, request to a caller who is told it, p99", "ms", quantile(sent, 99)),
	} {
		if err := r.figure(f); err != nil {
			return err
		}
	}
	return nil
}

// awaitEHLO connects until a caller is told line. It gives when that one
// connected, and how many callers there were.
func (s service) awaitEHLO(ctx context.Context, line string) (connects time.Time, callers int, err error) {
	for callers = 1; ctx.Err() == nil; callers++ {
		connects = time.Now()
		if ok, err := ehloHas(s.Addr(1), line); ok || err != nil {
			return connects, callers, err
		}
	}
	return connects, callers, context.Cause(ctx)
}

func quantile(xs []float64, percent int) float64 {
	slices.Sort(xs)
	return xs[min(len(xs)-1, len(xs)*percent/100)]
}

// ehloHas says whether a fresh caller is told line in the answer to EHLO.
func ehloHas(addr, line string) (bool, error) {
	l, err := testpeer.Connect(addr)
	if err != nil {
		return false, err
	}
	defer l.Quit()
	if _, err := fmt.Fprintf(l, "EHLO caller.test\r\n"); err != nil {
		return false, err
	}
	found := false
	for {
		text, err := l.R.ReadString('\n')
		if err != nil {
			return false, err
		}
		if len(text) < 4 {
			return false, fmt.Errorf("EHLO is answered %q", text)
		}
		found = found || strings.TrimSpace(text[4:]) == line
		if text[3] != '-' {
			return found, nil
		}
	}
}

// openTree opens the store of a data folder as the service does, and reads. The
// memory of the tree is what is free after it is closed, with Badger still open.
func openTree(ctx context.Context, data string, r *report) error {
	key, err := seal.Read(filepath.Join(data, "machine.key"))
	if err != nil {
		return err
	}
	begin := time.Now()
	db, err := badgerkv.Open(filepath.Join(data, "metabase"), badgerkv.Options{})
	if err != nil {
		return err
	}
	defer db.Close()
	store, err := metabase.Open(ctx, db, key, metabase.Options{Checks: []metabase.Check{schema.IIS().Check, settings.Check}})
	if err != nil {
		return err
	}
	took := time.Since(begin)
	domains, _ := store.Snapshot().Key(settings.DomainPath(1, "x").Parent())
	if err := r.figure(one("open of the store", "ms", float64(took.Milliseconds()))); err != nil {
		return err
	}
	err = readTree(store.Snapshot(), r)
	with := liveHeap()
	store.Close()
	store = nil
	perDomain := float64(with-liveHeap()) / float64(domains.Children)
	return errors.Join(err, r.figure(one("memory of a domain key with two properties", "octets", perDomain)))
}

// liveHeap is the octets in use after Badger's work of an open: the least of
// many measurements. What pools and finalizers hold is free only after the third
// collection.
func liveHeap() uint64 {
	least := uint64(math.MaxUint64)
	for range 10 {
		time.Sleep(200 * time.Millisecond)
		for range 3 {
			runtime.GC()
		}
		var m runtime.MemStats
		runtime.ReadMemStats(&m)
		least = min(least, m.HeapAlloc)
	}
	return least
}

// readTree reads what domains inherit from the service, four levels up, in turns
// with a map from the whole path to the value: the map has the same cache misses
// and no way down a tree.
func readTree(snap metabase.Snapshot, r *report) error {
	paths := make([]metabase.Path, domainCount)
	for i := range paths {
		paths[i] = settings.DomainPath(1, fmt.Sprintf("customer%d.example", i))
	}
	hops, _, _ := snap.Effective(paths[0], settings.HopCount)
	bare := make(map[metabase.Path]metabase.Property, len(paths))
	for _, p := range paths {
		bare[p] = hops
	}
	tree := func(p metabase.Path) bool {
		_, from, ok := snap.Effective(p, settings.HopCount)
		return ok && len(from) == len(settings.Service)
	}
	flat := func(p metabase.Path) bool {
		_, ok := bare[p]
		return ok
	}
	for _, c := range []struct {
		name string
		next func(i int) int
	}{
		{"one domain", func(int) int { return 77 }},
		{"domains in order", func(i int) int { return i % domainCount }},
		{"domains at random", func(i int) int { return int(uint64(i) * 0x9e3779b97f4a7c15 >> 40 % domainCount) }},
	} {
		f := &figure{Name: "inherited read through 4 levels, " + c.name, Unit: "ns"}
		allocs := &figure{Name: "allocations of a read, " + c.name, Unit: "per read"}
		for range 11 {
			ns, n, ok := timeReads(paths, c.next, tree)
			bare, _, _ := timeReads(paths, c.next, flat)
			if !ok {
				return errors.New("HopCount is not inherited from the service")
			}
			f.add("restante", ns)
			f.add("map by whole path", bare)
			allocs.add("restante", n)
		}
		if err := errors.Join(r.figure(f), r.figure(allocs)); err != nil {
			return err
		}
	}
	return nil
}

// timeReads gives nanoseconds and allocations per read, and whether all found
// what they should.
func timeReads(paths []metabase.Path, next func(int) int, read func(metabase.Path) bool) (ns, allocs float64, ok bool) {
	const reads = 500_000
	var before, after runtime.MemStats
	runtime.ReadMemStats(&before)
	begin := time.Now()
	ok = true
	for i := range reads {
		ok = read(paths[next(i)]) && ok
	}
	took := time.Since(begin)
	runtime.ReadMemStats(&after)
	return float64(took.Nanoseconds()) / reads, float64(after.Mallocs-before.Mallocs) / reads, ok
}
