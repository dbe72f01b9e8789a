// SPDX-License-Identifier: Apache-2.0

package pickup

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"
	"unicode"

	"restante/engine/mail"
)

// An inbox is an Intake in memory.
type inbox struct {
	mu       sync.Mutex // guards what follows
	refusal  mail.Reply // of every message, where it has a Code
	full     string     // what is in messages for which there is no room
	noForget bool       // as if the process ended before it
	got      []string   // told, in the order of the texts
	notes    map[mail.MessageID]bool
	other    mail.MessageID // of a message that came by another way
	tries    int
}

func (in *inbox) Submit(_ context.Context, m Message) mail.Reply {
	text, err := io.ReadAll(m.Text)
	in.mu.Lock()
	defer in.mu.Unlock()
	in.tries++
	switch {
	case m.ID == in.other:
		return mail.Reply{Code: 451, Enhanced: "3.0", Text: "a message with this ID exists already"}
	case in.full != "" && strings.Contains(string(text), in.full):
		return mail.Reply{Code: 452, Enhanced: "2.2", Text: "quota"}
	case in.refusal.Code != 0:
		return in.refusal
	case err != nil:
		return mail.Reply{Code: 451, Enhanced: "4.2", Text: "Message incomplete", Cause: err}
	}
	in.got = append(in.got, told(m, string(text)))
	slices.Sort(in.got)
	in.notes[m.ID] = true
	return mail.Reply{Code: 250}
}

func (in *inbox) Submitted(id mail.MessageID) (bool, error) {
	in.mu.Lock()
	defer in.mu.Unlock()
	if id == in.other {
		return false, ErrNotOurs
	}
	return in.notes[id], nil
}

func (in *inbox) Forget(_ context.Context, ids []mail.MessageID) error {
	in.mu.Lock()
	defer in.mu.Unlock()
	if in.noForget {
		return errors.New("not now")
	}
	for _, id := range ids {
		delete(in.notes, id)
	}
	return nil
}

func (in *inbox) refuse(r mail.Reply) {
	in.mu.Lock()
	defer in.mu.Unlock()
	in.refusal = r
}

// A lab is a Picker with its folders.
type lab struct {
	*Picker
	t        *testing.T
	in       *inbox
	pick     string
	bad      string
	settings atomic.Pointer[Settings]
	log      bytes.Buffer
}

func newLab(t *testing.T, sweepOnly bool) *lab {
	dir := t.TempDir()
	l := &lab{t: t, in: &inbox{notes: map[mail.MessageID]bool{}}, pick: filepath.Join(dir, "Pickup"), bad: filepath.Join(dir, "Badmail")}
	l.settings.Store(&Settings{Dir: l.pick, Bad: l.bad, Default: "hub.test"})
	if err := os.Mkdir(l.pick, 0o700); err != nil {
		t.Fatal(err)
	}
	l.Picker = New(func() Settings { return *l.settings.Load() }, l.in, Options{SweepOnly: sweepOnly, Log: slog.New(slog.NewTextHandler(&l.log, nil))})
	return l
}

// change changes a setting while it runs.
func (l *lab) change(f func(*Settings)) {
	s := *l.settings.Load()
	f(&s)
	l.settings.Store(&s)
}

// start runs it to the end of the test's bubble.
func (l *lab) start() {
	ctx, cancel := context.WithCancel(l.t.Context())
	var run sync.WaitGroup
	run.Go(func() { l.Run(ctx) })
	l.t.Cleanup(func() { cancel(); run.Wait() })
}

func (l *lab) put(name, text string) {
	l.t.Helper()
	if err := os.WriteFile(filepath.Join(l.pick, name), []byte(text), 0o600); err != nil {
		l.t.Fatal(err)
	}
}

// after lets time pass, and compares what was sent and what is in the folder.
func (l *lab) after(d time.Duration, when string, sent int, left ...string) {
	l.t.Helper()
	time.Sleep(d) // of the bubble
	synctest.Wait()
	l.in.mu.Lock()
	defer l.in.mu.Unlock()
	if len(l.in.got) != sent {
		l.t.Errorf("%s: %d sent, want %d: %q", when, len(l.in.got), sent, l.in.got)
	}
	if names := list(l.t, l.pick); !slices.Equal(names, left) {
		l.t.Errorf("%s: the folder has %q, want %q", when, names, left)
	}
}

// list names the files of a folder, those that are taken by the name that they came
// with.
func list(t *testing.T, dir string) (names []string) {
	t.Helper()
	entries, err := os.ReadDir(dir)
	if err != nil && !errors.Is(err, os.ErrNotExist) {
		t.Fatal(err)
	}
	for _, e := range entries {
		names = append(names, givenName(e.Name()))
	}
	slices.Sort(names)
	return names
}

const letter = "X-Sender: a@x.test\nX-Receiver: b@y.test\n\ntext\n"

func TestFilesAreTakenWhenTheyAreWhole(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l := newLab(t, true)
		l.put("there.eml", letter)
		l.start()
		l.after(quiet/2, "before it is quiet", 0, "there.eml")
		l.after(quiet, "one that was there", 1)

		l.put("grows.eml", letter)
		for range 4 {
			l.after(900*time.Millisecond, "while it grows", 1, "grows.eml")
			l.put("grows.eml", string(readFile(t, filepath.Join(l.pick, "grows.eml")))+"more\n")
			l.Wake()
		}
		l.after(sweepEvery+quiet, "it is whole", 2)
		if !strings.HasSuffix(l.in.got[1], "text\nmore\nmore\nmore\nmore\n") {
			t.Errorf("%q", l.in.got[1])
		}

		names := []string{".hidden", "a.tmp", "b.PART"}
		for _, name := range names {
			l.put(name, letter)
		}
		l.after(2*patience, "names of unfinished files", 2, names...)
		if err := os.Rename(filepath.Join(l.pick, "a.tmp"), filepath.Join(l.pick, "a.eml")); err != nil {
			t.Fatal(err)
		}
		l.after(sweepEvery+quiet, "it is moved into its name", 3, ".hidden", "b.PART")
	})
}

func readFile(t *testing.T, name string) []byte {
	t.Helper()
	b, err := os.ReadFile(name)
	if err != nil {
		t.Fatal(err)
	}
	return b
}

// A file that stops within its header is not sent as it is; nobody waits for it for
// ever.
func TestFileWithoutTheEndOfItsHeader(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l := newLab(t, true)
		l.start()
		l.put("half.eml", "X-Sender: a@x.test\nX-Receiver: b@y.te")
		l.after(patience, "it may still come", 0, "half.eml")
		l.put("half.eml", letter)
		l.after(sweepEvery+quiet, "it came", 1)

		l.put("half.eml", "X-Sender: a@x.test\n")
		l.after(patience+2*sweepEvery, "it did not", 1)
		if got := list(t, l.bad); len(got) != 2 {
			t.Errorf("Badmail has %q", got)
		}
	})
}

// A file goes to those of its recipients that can be read, and is put aside for the
// others.
func TestFileForSomeOfItsRecipients(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l := newLab(t, true)
		text := "From: a@x.test\nTo: b@y.test, c@y..test\n\n" + strings.Repeat("text\n", 10_000)
		l.put("two.eml", text)
		l.start()
		l.after(2*quiet, "one can be read", 1)
		checkPutAside(t, l.bad, `"two.eml" of the Pickup folder was not sent to all of its recipients`, `"c@y..test"`, text)
	})
}

func TestFilesThatCannotBeSentArePutAside(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l := newLab(t, true)
		l.put("no\nsender.eml", "To: b@y.test\n\n")
		l.start()
		l.after(2*quiet, "a bad file", 0)
		checkPutAside(t, l.bad, `"no\nsender.eml"`, "names no sender", "To: b@y.test\n\n")

		l.in.refuse(mail.Reply{Code: 552, Enhanced: "3.4", Text: "too big"})
		l.change(func(s *Settings) { s.Bad = "" })
		l.put("big.eml", letter)
		l.after(sweepEvery+2*quiet, "refused for good", 0, "Badmail")
		checkPutAside(t, filepath.Join(l.pick, "Badmail"), `"big.eml"`, "552 5.3.4 too big", letter)

		// A folder that cannot be written to: the file stays, and others are sent.
		l.in.refuse(mail.Reply{})
		l.change(func(s *Settings) { s.Bad = filepath.Join(l.pick, "in-the-way.part", "Badmail") })
		l.put("in-the-way.part", "")
		l.put("bad.eml", "\n")
		l.put("good.eml", letter)
		l.after(sweepEvery+2*quiet, "nowhere to put it", 1, "Badmail", "bad.eml", "in-the-way.part")
		l.after(10*sweepEvery, "it is tried again", 1, "Badmail", "bad.eml", "in-the-way.part")
		if n := strings.Count(l.log.String(), "a file stays in the Pickup folder"); n != 1 {
			t.Errorf("it is logged %d times: %s", n, l.log.String())
		}
		l.change(func(s *Settings) { s.Bad = l.bad })
		l.after(2*sweepEvery, "the folder can be used", 1, "Badmail", "in-the-way.part")
	})
}

// The reason is text, whatever a stranger wrote.
func TestReasonHasNoControls(t *testing.T) {
	for _, file := range []string{"X-Receiver: a\x1b[31mb@y.test\n\n", "no\x1b[31m field\x07 \u009b\u202e\n\n", "X\x1b: \x00\n\n"} {
		synctest.Test(t, func(t *testing.T) {
			l := newLab(t, true)
			l.put("a.eml", "X-Sender: a@x.test\n"+file)
			l.start()
			l.after(2*quiet, "a bad file", 0)
			names, _ := filepath.Glob(filepath.Join(l.bad, "*.txt"))
			if len(names) != 1 {
				t.Fatalf("Badmail has %q", names)
			}
			text := strings.ReplaceAll(string(readFile(t, names[0])), "\r\n", "")
			if strings.ContainsFunc(text, func(r rune) bool { return !unicode.IsPrint(r) }) {
				t.Errorf("%q: %q", file, text)
			}
		})
	}
}

// checkPutAside finds a file in a folder, and the reason beside it.
func checkPutAside(t *testing.T, dir, given, why, text string) {
	t.Helper()
	names := list(t, dir)
	if len(names) != 2 || strings.TrimSuffix(names[0], ".eml") != strings.TrimSuffix(names[1], ".txt") {
		t.Fatalf("%s has %q", dir, names)
	}
	if got := readFile(t, filepath.Join(dir, names[0])); string(got) != text {
		t.Errorf("%s: %q, want %q", names[0], got, text)
	}
	if got := string(readFile(t, filepath.Join(dir, names[1]))); !strings.Contains(got, given) || !strings.Contains(got, why) {
		t.Errorf("%s: %q, want %s and %s", names[1], got, given, why)
	}
}

// What is no regular file of one name is not read, and stands in nobody's way.
func TestOtherThingsInTheFolder(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l := newLab(t, true)
		elsewhere := filepath.Join(t.TempDir(), "elsewhere.eml")
		if err := os.WriteFile(elsewhere, []byte(letter), 0o600); err != nil {
			t.Fatal(err)
		}
		if err := os.Symlink(elsewhere, filepath.Join(l.pick, "link.eml")); err != nil {
			t.Skip(err)
		}
		if err := os.Mkdir(filepath.Join(l.pick, "folder.eml"), 0o700); err != nil {
			t.Fatal(err)
		}
		others := append([]string{"folder.eml", "link.eml"}, special(t, l.pick, elsewhere)...)
		slices.Sort(others)
		l.put("good.eml", letter)
		l.start()
		l.after(3*patience, "other things", 1, others...)
		if n := strings.Count(l.log.String(), "a file stays"); n != len(others) {
			t.Errorf("%d are logged: %s", n, l.log.String())
		}
	})
}

// A message for which one recipient has no room stays, and the others are sent.
func TestOneFileWithoutRoom(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l := newLab(t, true)
		l.in.full = "too much"
		l.put("a.eml", letter+"too much\n")
		l.put("b.eml", letter)
		l.start()
		l.after(3*patience, "others", 1, "a.eml")
		if err := l.Err(); err != nil {
			t.Errorf("its state is %v", err)
		}
		if n := strings.Count(l.log.String(), "a file stays"); n != 1 {
			t.Errorf("%d lines are logged: %s", n, l.log.String())
		}
		l.in.mu.Lock()
		l.in.full = ""
		l.in.mu.Unlock()
		l.after(sweepEvery+time.Second, "there is room", 2)
	})
}

// While the intake takes nothing, the files stay, and are not tried all the time.
func TestFilesStayWhileNothingCanBeStored(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l := newLab(t, true)
		l.in.refuse(mail.Reply{Code: 452, Enhanced: "3.1", Text: "full"})
		names := map[string]bool{}
		for i := range 3 * batchSize {
			name := fmt.Sprintf("%03d.eml", i)
			l.put(name, letter)
			names[name] = true
		}
		l.start()
		l.after(quiet+60*time.Second, "full", 0, slices.Sorted(maps.Keys(names))...)
		if most := 13 * batchSize; l.in.tries > most {
			t.Errorf("%d attempts in a minute, want at most %d", l.in.tries, most)
		}
		if n := strings.Count(l.log.String(), "\n"); n != 1 {
			t.Errorf("%d lines are logged: %s", n, l.log.String())
		}
		if err := l.Err(); err == nil || !strings.HasSuffix(err.Error(), "full") {
			t.Errorf("its state is %v", err)
		}
		l.in.refuse(mail.Reply{})
		l.after(sweepEvery+time.Second, "no longer", len(names))
		if err := l.Err(); err != nil {
			t.Errorf("afterwards its state is %v", err)
		}
		if len(l.in.notes) > 0 {
			t.Errorf("%d notes are left", len(l.in.notes))
		}
	})
}

// A site that is paused, or has another folder, is asked at once.
func TestSettingsChange(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l := newLab(t, true)
		l.change(func(s *Settings) { s.Dir = "" })
		l.put("a.eml", letter)
		l.start()
		l.after(time.Minute, "no folder", 0, "a.eml")
		l.change(func(s *Settings) { s.Dir = filepath.Join(l.pick, "new") })
		l.Wake()
		l.after(0, "the new folder is made", 0, "a.eml", "new")
		l.change(func(s *Settings) { s.Dir = l.pick })
		l.Wake()
		l.after(quiet+lookGap, "the first one", 1, "new")
		if err := os.RemoveAll(l.pick); err != nil {
			t.Fatal(err)
		}
		l.after(sweepEvery, "it is made again", 1)
		l.put("b.eml", letter)
		l.after(sweepEvery+quiet, "in the folder that was made again", 2)
	})
}

// Whatever step a crash comes after, no file is lost and none is sent twice.
func TestCrashes(t *testing.T) {
	id := mail.NewMessageID(time.Now())
	tests := []struct {
		name  string
		file  string
		noted bool // the message was stored
		sent  int
	}{
		{"before the name is stored", "a.eml", false, 1},
		{"before the message is stored", takenName(id, "a.eml"), false, 1},
		{"before the file is removed", takenName(id, "a.eml"), true, 0},
	}
	for _, tt := range tests {
		synctest.Test(t, func(t *testing.T) {
			l := newLab(t, true)
			if tt.noted {
				l.in.notes[id] = true
			}
			l.put(tt.file, letter)
			l.start()
			l.after(3*quiet, tt.name, tt.sent)
			if len(l.in.notes) != 0 {
				t.Errorf("%s: %d notes are left", tt.name, len(l.in.notes))
			}
		})
	}
}

// A copy of a file that was taken, as a restored backup has it, does not stand in the
// way of others.
func TestFileWithTheIDOfAnotherMessage(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l := newLab(t, true)
		l.in.other = mail.NewMessageID(time.Now())
		name := takenName(l.in.other, "a.eml")
		l.put(name, letter)
		l.put("b.eml", letter)
		l.start()
		l.after(3*quiet, "a copy, and another file", 1)
		checkPutAside(t, l.bad, name, "the ID of another message", letter)
		if names := list(t, l.bad); slices.Contains(names, string(l.in.other)+".eml") {
			t.Errorf("Badmail has %q", names)
		}
	})
}

// A process that ends between the removal of a file and that of its note sends
// nothing again.
func TestNotesThatStayDoNoHarm(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l := newLab(t, true)
		l.in.noForget = true
		l.put("a.eml", letter)
		l.start()
		l.after(3*quiet, "the note stays", 1)
		l.put("a.eml", letter)
		l.after(sweepEvery+2*quiet, "another file of that name", 2)
	})
}

func TestNamesOfTakenFiles(t *testing.T) {
	id := mail.NewMessageID(time.Now())
	for _, given := range []string{"a.eml", "taken-x", "a-b-c", strings.Repeat("\u00e4", 300), "\x01\n"} {
		name := takenName(id, given)
		if got, ok := takenID(name); !ok || got != id || len(name) > 255 {
			t.Errorf("%q: %s, %v, %d octets", name, got, ok, len(name))
		}
		if got := givenName(name); !strings.HasSuffix(given, got) {
			t.Errorf("%q came as %q", name, got)
		}
	}
	for _, name := range []string{"taken-", "taken-a.eml", takenPrefix + string(id), "x" + takenName(id, "a")} {
		if _, ok := takenID(name); ok || givenName(name) != name {
			t.Errorf("%q passes for a file that is taken", name)
		}
	}
}
