// SPDX-License-Identifier: Apache-2.0

package site

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"testing"

	"restante/engine/mail"
	"restante/engine/pickup"
)

// pickingUp is a Config whose Pickup folder is dir.
func (h *harness) pickingUp(rev uint64, dir string) *Config {
	cfg := h.make(rev, loopback)
	cfg.Pickup = pickup.Settings{Dir: dir, Bad: filepath.Join(h.dir, "Badmail")}
	cfg.Folders = []Folder{{Name: PickupFolder, Path: dir, Perm: 0o700}}
	return cfg
}

// put moves a message for held.test into a folder.
func (h *harness) put(dir, name, subject string) {
	h.t.Helper()
	tmp := filepath.Join(h.dir, name+".tmp")
	text := "X-Sender: a@b.test\nX-Receiver: x@held.test\nSubject: " + subject + "\n\n"
	if err := os.WriteFile(tmp, []byte(text), 0o600); err != nil {
		h.t.Fatal(err)
	}
	if err := os.Rename(tmp, filepath.Join(dir, name)); err != nil {
		h.t.Fatal(err)
	}
}

// A copy of a file that was taken is put aside while its message is in the queue.
func TestCopyOfAFileThatWasTaken(t *testing.T) {
	h := started(t)
	dir := filepath.Join(h.dir, "Pickup")
	h.settle(h.pickingUp(2, dir))
	h.put(dir, "a.eml", "first")
	eventually(t, "it is taken", func() bool { return h.Queue().Count("held.test") == 1 })
	var id mail.MessageID
	for m, err := range h.Queue().Messages(t.Context(), "held.test") {
		if id = m.ID; err != nil {
			t.Fatal(err)
		}
	}
	eventually(t, "its note is gone", func() bool {
		_, err := submissions{h.mail, h.Site}.Submitted(id)
		return errors.Is(err, pickup.ErrNotOurs)
	})
	h.put(dir, fmt.Sprintf("taken-%s-a.eml", id), "copy")
	eventually(t, "the copy is put aside", func() bool {
		names, _ := filepath.Glob(filepath.Join(h.dir, "Badmail", "*.eml"))
		return len(names) == 1
	})
	if st := h.Status(); st.Why != "" || h.Queue().Count("held.test") != 1 {
		t.Errorf("%+v", st)
	}
}

// A Pickup folder that the system refuses leaves the site the one that it had, or
// none, until it can be used.
func TestPickupFolderThatIsRefused(t *testing.T) {
	h := started(t)
	dir, other := filepath.Join(h.dir, "Pickup"), filepath.Join(h.dir, "in-the-way", "Pickup")
	sent := func(from, subject string, n int) {
		t.Helper()
		h.put(from, "a.eml", subject)
		eventually(t, subject, func() bool { return h.Queue().Count("held.test") == n })
	}
	refused := func(cfg *Config, want string) {
		t.Helper()
		st := h.settle(cfg)
		if got := h.config().Pickup.Dir; got != want || !slices.Contains(st.Kept, PickupFolder) || st.Why == "" {
			t.Errorf("%s is in force, want %q: %+v", got, want, st)
		}
	}
	h.settle(h.pickingUp(2, dir))
	way := h.file("in-the-way")
	refused(h.pickingUp(3, other), dir)
	sent(dir, "from the one that it had", 1)

	h.must(Stop)
	h.must(Start)
	if got := h.config().Pickup.Dir; got != "" {
		t.Errorf("%s is in force after a start", got)
	}
	if err := os.Remove(way); err != nil {
		t.Fatal(err)
	}
	h.until(func() bool { return h.Status().Why == "" })
	sent(other, "from the new one", 2)

	// The one that it had gets another use, or becomes another site's.
	way = h.file("in-the-way-again")
	next := h.pickingUp(4, filepath.Join(way, "Pickup"))
	next.Folders = append(next.Folders, Folder{Name: "DropDirectory", Path: other, Perm: 0o700})
	refused(next, "")
	if err := os.Remove(way); err != nil {
		t.Fatal(err)
	}
	h.settle(h.pickingUp(5, dir))
	h.file("in-the-way-again")
	next = h.pickingUp(6, filepath.Join(way, "Pickup"))
	next.IsOthers = func(path string) bool { return path == dir }
	refused(next, "")
}
