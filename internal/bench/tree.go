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

// domainCount is how many domains the tree of these figures has.
const domainCount = 100_000

// measureTree prints the figures of the metabase: with a tree of many domains,
// brought in from a file as IIS writes it, the import and a second look at the
// file by a dry run, the open, the read, the memory, how soon a changed limit
// holds for the next caller; and durable commits beside bare ones.
func measureTree(ctx context.Context, o options) error {
	s, err := startRestante(ctx, o)
	if err != nil {
		return err
	}
	defer s.stop()
	if err := s.importTree(ctx, o); err != nil {
		return err
	}
	if err := s.limitInForce(ctx); err != nil {
		return err
	}
	if err := s.Halt(); err != nil {
		return err
	}
	if err := openTree(ctx, s.Data); err != nil {
		return err
	}
	if err := s.Start(ctx); err != nil {
		return err
	}
	fmt.Printf("start of the service with them, from exec to ready: %d ms\n", s.Ready.Milliseconds())
	return measureCommits(ctx, o)
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

// importTree brings the file in through the command line.
func (s service) importTree(ctx context.Context, o options) error {
	file := filepath.Join(o.dir, "foreign.xml")
	if err := writeIISFile(file); err != nil {
		return err
	}
	for _, c := range []struct {
		what string
		args []string
	}{
		{"dry run of an import", []string{"mb", "import", file, "--dry-run"}},
		{"import", []string{"mb", "import", file}},
		{"export", []string{"mb", "export", filepath.Join(o.dir, "one.xml")}},
		{"import of what is there already", []string{"mb", "import", filepath.Join(o.dir, "one.xml")}},
	} {
		begin := time.Now()
		if _, err := s.Run(ctx, "", c.args...); err != nil {
			return err
		}
		fmt.Printf("%s, %d keys, by the command line: %.1f s\n", c.what, domainCount, time.Since(begin).Seconds())
	}
	return nil
}

// limitInForce changes what a caller may send, again and again, and has fresh
// callers look for it until one finds it.
func (s service) limitInForce(ctx context.Context) error {
	c, err := rpc.Dial(ctx, s.Data, api.Caller{Origin: metabase.FromCLI})
	if err != nil {
		return err
	}
	defer c.Close()
	const changes = 300
	var asked, told []float64
	for i := range changes {
		want := fmt.Sprint(1_000_000 + i)
		words := []string{"set", "SMTPSVC/1", "MaxMessageSize", want}
		begin := time.Now()
		if _, _, err := api.MbApply.Call(ctx, c, api.ApplyRequest{Lines: []api.Line{{Words: words}}}); err != nil {
			return err
		}
		answered := time.Now()
		for {
			connects := time.Now()
			ok, err := ehloHas(s.Addr(1), "SIZE "+want)
			if err != nil {
				return err
			}
			if ok {
				asked = append(asked, connects.Sub(begin).Seconds()*1000)
				told = append(told, connects.Sub(answered).Seconds()*1000)
				break
			}
		}
	}
	fmt.Printf("a changed limit is in force for the next caller (%d changes, ms): p50 %.1f, p99 %.1f from the answer to the change; p50 %.1f, p99 %.1f from its being sent\n",
		changes, quantile(told, 50), quantile(told, 99), quantile(asked, 50), quantile(asked, 99))
	return nil
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

// openTree opens the store of a data folder as the service does, and reads. What
// the tree takes of the memory is what is free when it is gone, and Badger still
// there.
func openTree(ctx context.Context, data string) error {
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
	fmt.Printf("open with %d domains: %d ms\n", domains.Children, took.Milliseconds())
	err = readTree(store.Snapshot())
	with := liveHeap()
	store.Close()
	store = nil
	fmt.Printf("memory: %d octets per domain key (two properties each)\n", (with-liveHeap())/uint64(domains.Children))
	return err
}

// liveHeap is the octets in use, when Badger has done what it does after an open:
// the least of many looks. What pools and finalizers hold is only gone after
// the third round.
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

// readTree reads what domains inherit from the service, four levels up, and
// beside it from a bare map that has the value for each whole path: what lies
// between the two is the way down the tree, and what both wait for is memory.
func readTree(snap metabase.Snapshot) error {
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
		var ours, allocs, theirs []float64
		for range 11 {
			a, n, ok := timeReads(paths, c.next, tree)
			b, _, _ := timeReads(paths, c.next, flat)
			if !ok {
				return errors.New("HopCount is not inherited from the service")
			}
			ours, allocs, theirs = append(ours, a), append(allocs, n), append(theirs, b)
		}
		fmt.Printf("effective read through 4 levels, %s (medians of 11 turns): %.0f ns, %.2f allocations; a bare map by whole path: %.0f ns\n",
			c.name, median(ours), median(allocs), median(theirs))
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
