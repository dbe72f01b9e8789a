// SPDX-License-Identifier: Apache-2.0

// Package indoubt remembers the messages that the local server has taken and that the
// holder may not have heard of, so that one which is offered again is not handed over
// twice.
//
// A message is known by a hash of its sender, its recipient and its octets. It is on
// stable storage when [File.Add] returns, before the holder gets the reply. It is
// forgotten when the holder ends the session by QUIT, by which it has recorded every
// reply; what is left of a session that broke is known to later ones, and then counts
// once for each time it was taken. A message that is never offered again is forgotten
// after [MaxAge]; beyond [MaxEntries] the oldest goes.
//
// The package knows no SMTP. A File is for one goroutine.
package indoubt

import (
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"hash"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"time"

	"restante/internal/disk"
)

// Bounds of what is remembered.
const (
	MaxAge     = 60 * 24 * time.Hour // twice what a holder keeps mail by default
	MaxEntries = 10_000
	maxID      = 200 // octets of a Message-ID
)

// A Key names a message for one recipient.
type Key struct{ from, whole string }

// A Hash makes keys: the octets of the message are written to it.
type Hash struct{ body hash.Hash }

// NewHash begins a message.
func NewHash() *Hash { return &Hash{sha256.New()} }

func (h *Hash) Write(b []byte) (int, error) { return h.body.Write(b) }

// Key is the key of the message as it was written so far.
func (h *Hash) Key(from, to string) Key {
	sum := sha256.Sum256(fmt.Appendf(nil, "%q %q %x", from, to, h.body.Sum(nil)))
	return Key{senderTag(from), hex.EncodeToString(sum[:])}
}

func senderTag(from string) string {
	sum := sha256.Sum256([]byte(from))
	return hex.EncodeToString(sum[:4])
}

// An entry is a message that was taken for one recipient.
type entry struct {
	at  time.Time
	key Key
	id  string // its Message-ID, for people
}

func (e entry) line() string {
	return fmt.Sprintf("taken %d %s %s %s\n", e.at.Unix(), e.key.from, e.key.whole, e.id)
}

// parse reads a line. One that a power cut has left unfinished, or somebody has
// damaged, is none.
func parse(line string) (entry, bool) {
	word := strings.SplitN(strings.TrimSuffix(line, "\n"), " ", 5)
	if len(word) != 5 || word[0] != "taken" || len(word[2]) != 8 || len(word[3]) != 2*sha256.Size {
		return entry{}, false
	}
	at, err := strconv.ParseInt(word[1], 10, 64)
	return entry{time.Unix(at, 0), Key{word[2], word[3]}, word[4]}, err == nil
}

// A File has the messages in doubt of one holder and account.
type File struct {
	Name    string
	Unread  int // lines that are damaged, and left out
	now     func() time.Time
	lock    *os.File
	out     *os.File // for appending; nil before the first Add
	earlier []entry  // of sessions that broke
	session []entry  // of this one, those of earlier that came again included
}

// Open reads the file of a holder and account in dir, which it makes if it is
// missing, and locks it against other processes. Now is the clock.
func Open(dir, holder, account string, now func() time.Time) (*File, error) {
	if err := disk.MkdirAll(nil, dir, 0o700); err != nil {
		return nil, err
	}
	sum := sha256.Sum256(fmt.Appendf(nil, "%q %q", strings.ToLower(holder), strings.ToLower(account)))
	f := &File{Name: filepath.Join(dir, hex.EncodeToString(sum[:8])+".taken"), now: now}
	var err error
	if f.lock, err = disk.Lock(f.Name + ".lock"); err != nil {
		if errors.Is(err, disk.ErrLocked) {
			err = fmt.Errorf("%s: another call of this account to this holder is under way", dir)
		}
		return nil, err
	}
	text, err := os.ReadFile(f.Name)
	if err != nil && !errors.Is(err, os.ErrNotExist) {
		f.lock.Close()
		return nil, err
	}
	for line := range strings.Lines(string(text)) {
		switch e, ok := parse(line); {
		case !ok:
			f.Unread++
		case now().Sub(e.at) < MaxAge:
			f.earlier = append(f.earlier, e)
		}
	}
	f.earlier = f.earlier[max(0, len(f.earlier)-MaxEntries):]
	return f, nil
}

// Sender reports whether a message of that sender is in doubt from an earlier session.
func (f *File) Sender(from string) bool {
	tag := senderTag(from)
	return slices.ContainsFunc(f.earlier, func(e entry) bool { return e.key.from == tag })
}

// Known reports whether the message was taken in an earlier session that broke. It is
// then one of this session, and another one like it is not known.
func (f *File) Known(k Key) bool {
	i := slices.IndexFunc(f.earlier, func(e entry) bool { return e.key == k })
	if i < 0 {
		return false
	}
	f.session = append(f.session, f.earlier[i])
	f.earlier = slices.Delete(f.earlier, i, i+1)
	return true
}

// Add takes down messages that the local server has just taken.
func (f *File) Add(id string, keys ...Key) error {
	id = strings.Map(func(r rune) rune {
		if r <= ' ' || r > '~' {
			return '_'
		}
		return r
	}, id[:min(len(id), maxID)])
	var text strings.Builder
	for _, k := range keys {
		e := entry{f.now(), k, id}
		f.session = append(f.session, e)
		text.WriteString(e.line())
	}
	if len(f.session) > 2*MaxEntries {
		f.session = slices.Clone(f.session[len(f.session)-MaxEntries:])
		f.endAppending()
	}
	if f.out == nil {
		// What a power cut has left of a line must not begin the next one.
		if err := f.rewrite(); err != nil {
			return err
		}
		out, err := os.OpenFile(f.Name, os.O_APPEND|os.O_WRONLY, 0)
		if err != nil {
			return err
		}
		f.out = out
		return nil
	}
	if _, err := io.WriteString(f.out, text.String()); err != nil {
		return err
	}
	return disk.SyncData(f.out)
}

// rewrite replaces the file by what is known now.
func (f *File) rewrite() error {
	var text strings.Builder
	all := slices.Concat(f.earlier, f.session)
	for _, e := range all[max(0, len(all)-MaxEntries):] {
		text.WriteString(e.line())
	}
	return disk.WriteFile(nil, f.Name, 0o600, disk.Bytes([]byte(text.String())))
}

// Confirm forgets the messages of this session: the holder has recorded the replies.
func (f *File) Confirm() error {
	if len(f.session) == 0 {
		return nil
	}
	f.session = nil
	f.endAppending()
	return f.rewrite()
}

func (f *File) endAppending() {
	if f.out != nil {
		f.out.Close()
		f.out = nil
	}
}

// Close gives the file back. What was not confirmed stays in it.
func (f *File) Close() error {
	f.endAppending()
	return f.lock.Close()
}
