// SPDX-License-Identifier: Apache-2.0

package testpeer_test

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"restante/admin/api"
	"restante/internal/testpeer"
)

// A message with a forged sender to 1,000 recipients of 100 domains makes one
// report, whether all are refused or one domain holds the mail; a kill between
// the refusals and the report loses none.
func TestOneReportForAllThatFailTogether(t *testing.T) {
	t.Parallel()
	s := startService(t)
	refuse := testpeer.NewMX(t, testpeer.MXOptions{Answer: func(line string) string {
		if strings.HasPrefix(line, "RCPT") {
			return "550 5.1.1 no such user"
		}
		return ""
	}})
	zone, to := "", []string(nil)
	for i := range 100 {
		zone += fmt.Sprintf("d%d.test. IN A 127.0.0.1\n", i)
		for j := range 10 {
			to = append(to, fmt.Sprintf("u%d@d%d.test", j, i))
		}
	}
	pointDNS(t, s, refuse.Addr, zone)
	applyBatch(t, s, "set /LM/SMTPSVC/1 MaxRecipients 2000")
	createHeldDomain(t, s, "held.test")

	files := func() []string {
		names, _ := filepath.Glob(filepath.Join(s.Data, "Mailroot", "Drop", "*"))
		return names
	}
	awaitOne := func(subject string) {
		t.Helper()
		r := readReport(t, awaitDropped(t, s, 1)[0])
		if r.To != sender || subjectOf(t, []byte(r.Returned)) != subject || len(r.Recipients) != len(to) {
			t.Errorf("report to %q about %d recipients of:\n%.200s", r.To, len(r.Recipients), r.Returned)
		}
		if n := len(files()); n != 1 {
			t.Errorf("%d reports", n)
		}
		for _, name := range files() {
			if err := os.Remove(name); err != nil {
				t.Fatal(err)
			}
		}
	}
	sendMessage(t, s, sender, "all", to...)
	awaitEmptyQueue(t, s)
	awaitOne("all")

	sendMessage(t, s, sender, "one held", append([]string{"x@held.test"}, to...)...)
	waiting := func() bool {
		list := call(t, s, api.QueueList, api.QueueRequest{})
		return len(list) == 2 && list[0].Domain == "@report" && list[1].Domain == "held.test"
	}
	await(t, "the report to wait for others", waiting)
	s.Kill()
	if err := s.Start(context.Background()); err != nil {
		t.Fatal(err)
	}
	await(t, "the report to wait for others", waiting)
	if names := files(); len(names) != 0 {
		t.Errorf("reported too early: %q", names)
	}
	s.Kill()
	if err := s.Start(context.Background()); err != nil {
		t.Fatal(err)
	}
	retry(t, s, "@report")
	awaitOne("one held")
	if d := queueEntryFor(t, s, "held.test"); d.Messages != 1 {
		t.Errorf("the held mail: %+v", d)
	}
}
