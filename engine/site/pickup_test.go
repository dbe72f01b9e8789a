// SPDX-License-Identifier: Apache-2.0

package site

import (
	"fmt"
	"os"
	"path/filepath"
	"testing"

	"restante/engine/mail"
	"restante/engine/pickup"
)

const pickupFolder Part = "PickupDirectory"

// pickingUp is a Config whose Pickup folder is dir.
func (h *harness) pickingUp(rev uint64, dir string) *Config {
	cfg := h.make(rev, loopback)
	cfg.Pickup = pickup.Settings{Dir: dir, Bad: filepath.Join(h.dir, "Badmail")}
	cfg.Folders = []Folder{{Name: pickupFolder, Path: dir, Perm: 0o700}}
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
	h.put(dir, fmt.Sprintf("taken-%s-a.eml", id), "copy")
	eventually(t, "the copy is put aside", func() bool {
		names, _ := filepath.Glob(filepath.Join(h.dir, "Badmail", "*.eml"))
		return len(names) == 1
	})
	if st := h.Status(); st.Why != "" || h.Queue().Count("held.test") != 1 {
		t.Errorf("%+v", st)
	}
}
