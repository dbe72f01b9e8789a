// SPDX-License-Identifier: Apache-2.0

package engine

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"restante/engine/mail"
	"restante/engine/queue"
	"restante/engine/settings"
)

// badmail sends a message without a sender to site 1 and has it bounced.
func (h *harness) badmail(subject string) {
	h.t.Helper()
	l := h.dial(1)
	if err := l.Send("", "x@held.test", []byte("Subject: "+subject+"\r\n\r\n.\r\n")); err != nil {
		h.t.Fatal(err)
	}
	l.Quit()
	q, _ := h.Queue(1)
	if n, err := q.Bounce(h.t.Context(), queue.Filter{Domain: "held.test"}, false); err != nil || n.Messages != 1 {
		h.t.Fatalf("Bounce = %+v, %v", n, err)
	}
}

// BadMailDirectory names the folder that gets what can be neither delivered nor
// returned. Where it names none, the queue keeps it until it does.
func TestBadMailDirectory(t *testing.T) {
	h := newHarness(t)
	h.apply(h.hold(1, "held.test", "x")...)
	h.run()
	p := settings.SitePath(1)
	h.badmail("first")
	files := func(dir string) (out []string) {
		names, _ := filepath.Glob(filepath.Join(h.dir, filepath.FromSlash(dir), "*.eml"))
		for _, name := range names {
			text, err := os.ReadFile(name)
			if err != nil {
				t.Fatal(err)
			}
			id := strings.TrimSuffix(filepath.Base(name), ".eml")
			if _, err := mail.ParseMessageID(id); err != nil || !strings.HasPrefix(string(text), "Received: ") {
				t.Errorf("%s has %q", name, text)
			}
			for line := range strings.Lines(string(text)) {
				if s, ok := strings.CutPrefix(line, "Subject: "); ok {
					out = append(out, strings.TrimSpace(s))
				}
			}
		}
		return out
	}
	left := func() int { return h.status(1).Counts.Messages }
	h.eventually("the first is in the folder alone", func() bool {
		got := files("Mailroot/Badmail")
		return len(got) == 1 && got[0] == "first" && left() == 0
	})
	h.apply(h.set(p, "BadMailDirectory", ""))
	h.badmail("second")
	h.stop()
	h.run()
	if q, _ := h.Queue(1); q.Count(queue.Badmail) != 1 || left() != 1 || h.status(1).Counts.Held != 1 {
		t.Errorf("without a folder: %d in Badmail, %+v", q.Count(queue.Badmail), h.status(1).Counts)
	}
	h.apply(h.set(p, "BadMailDirectory", "Other"))
	h.eventually("the second is in the new folder", func() bool {
		got := files("Other")
		return len(got) == 1 && got[0] == "second" && left() == 0
	})
}
