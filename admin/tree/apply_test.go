// SPDX-License-Identifier: Apache-2.0

package tree

import (
	"slices"
	"strings"
	"testing"

	"restante/admin/api"
	"restante/internal/kv"
	"restante/metabase"
)

// FuzzApply makes a batch of any words: it is made whole, as one revision and
// as its dry run said, and can be taken back, or it is refused, and then the
// tree is what it was.
func FuzzApply(f *testing.F) {
	f.Add("set\x00SMTPSVC/1\x00MaxRecipients\x005\nadd\x00SMTPSVC/1/Domain/a.test\nset\x00SMTPSVC/1/Domain/a.test/RouteAction\x00etrn_cmd,smarthost")
	f.Add("lock\x00SMTPSVC\x00HopCount\nunset\x00SMTPSVC\x00HopCount\nunlock\x00SMTPSVC\x00HopCount")
	f.Add("cp\x00SMTPSVC/1\x00SMTPSVC/2\nrm\x00SMTPSVC/1/Domain\x00-r\nmv\x00SMTPSVC/User\x00SMTPSVC/1/User/User")
	f.Add("set\x00/\x00AuthBasic\x00true\nset\x00/Schema\x00AccessList\x00* all\nset\x00SMTPSVC/1\x0070000\x00\xff")
	f.Add("set\x00SMTPSVC\x0070000\x008\x00--type\x00DWORD\x00--attributes\x00INHERIT|SECURE\nset\x00SMTPSVC/1\x0070000\x009\nset\x00SMTPSVC/1\x0070000\x00--\x00--type")
	f.Add("clear\x00SMTPSVC/1\x00--type\x00DWORD\ncpdata\x00SMTPSVC/1/User\x00SMTPSVC/User\x00--move\ntouch\x00SMTPSVC/1\x002026-01-31T12:00:00Z\nrm\x00SMTPSVC/1/DL\x00--children")
	f.Add("cp\x00--overwrite\x00SMTPSVC/User\x00SMTPSVC/1/User\nset\x00--user-type=7\x00SMTPSVC/1/User\x0070001\x00a\x00b")
	d, who := setUp(f, kv.NewMem())
	f.Fuzz(func(t *testing.T, text string) {
		var q api.ApplyRequest
		for i, line := range strings.Split(text, "\n") {
			q.Lines = append(q.Lines, api.Line{Number: i + 1, Words: strings.Split(line, "\x00")})
		}
		before := d.Tree.Snapshot()
		q.DryRun = true
		dry, dryErr := d.apply(t.Context(), who, q)
		if d.Tree.Snapshot().Rev() != before.Rev() {
			t.Fatal("a dry run made a revision")
		}
		q.DryRun = false
		made, err := d.apply(t.Context(), who, q)
		if (err == nil) != (dryErr == nil) {
			t.Fatalf("the dry run: %v; the batch: %v", dryErr, err)
		}
		after := d.Tree.Snapshot()
		if diff := (metabase.Change{Old: before, New: after}).Diff(); err != nil && (len(diff) != 0 || after.Rev() != before.Rev()) {
			t.Fatalf("refused (%v), and yet changed: %+v", err, diff)
		}
		if err != nil {
			return
		}
		made.Changes = slices.DeleteFunc(made.Changes, func(c api.Change) bool {
			return c.What == string(metabase.KeyMoved) || c.What == string(metabase.KeyRenamed) // said beside what differs
		})
		if len(made.Changes) != len(dry.Changes) || after.Rev() > before.Rev()+1 {
			t.Fatalf("the dry run said %+v, made is %+v", dry.Changes, made.Changes)
		}
		if err := d.Tree.Verify(t.Context()); err != nil {
			t.Fatal(err)
		}
		if after.Rev() == before.Rev() {
			return
		}
		if _, err := d.revert(t.Context(), who, api.RevertRequest{Rev: after.Rev()}); err != nil {
			t.Fatalf("cannot be taken back: %v", err)
		}
		if diff := (metabase.Change{Old: before, New: d.Tree.Snapshot()}).Diff(); len(diff) != 0 {
			t.Fatalf("what is taken back leaves %+v", diff)
		}
	})
}
