// SPDX-License-Identifier: Apache-2.0

package queue

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"restante/engine/mail"
	"restante/engine/queue/heading"
	"restante/internal/disk"
	"restante/internal/progress"
)

// Export writes what f picks into dir, which it makes if need be: for each
// message ID.eml, the text, and ID.json, the envelope with the recipients that
// are still open. The messages stay in the queue. An ID.json is written last,
// so that one that is there has its text. When Export returns nil, all files
// survive a power cut.
func (q *Queue) Export(ctx context.Context, f Filter, dir string) (Tally, error) {
	// What no report states yet would be lost: the files have open recipients only.
	if err := q.flushReports(ctx); err != nil {
		return Tally{}, fmt.Errorf("queue: export: %w", err)
	}
	picked, err := q.pick(ctx, f)
	if err != nil {
		return Tally{}, err
	}
	to, err := disk.MakeFolder(q.deps.FS, dir, 0o700)
	if err != nil {
		return Tally{}, fmt.Errorf("queue: export: %w", err)
	}
	defer to.Close()
	byID := map[mail.MessageID][]*entry{}
	for _, e := range picked {
		byID[e.id] = append(byID[e.id], e)
	}
	var sum tallyCounter
	count := progress.From(ctx)
	count.Expect(len(byID))
	for _, e := range picked {
		parts := byID[e.id]
		if parts == nil {
			continue // exported with its first destination
		}
		delete(byID, e.id)
		if err := context.Cause(ctx); err != nil {
			return sum.Tally, err
		}
		written, err := q.exportOne(to, parts)
		if err != nil {
			return sum.Tally, fmt.Errorf("queue %s: export: %w", e.id, err)
		}
		if written {
			sum.add(e)
		}
		count.Add(1)
	}
	return sum.Tally, nil
}

// exportOne writes the message of parts; false if it is settled meanwhile.
func (q *Queue) exportOne(to *disk.Folder, parts []*entry) (bool, error) {
	var open []int
	var env mail.Envelope
	for _, e := range parts {
		if e.dest.name == Reports {
			continue // of an outcome that is newer than the flush
		}
		rec, of, err := q.load(e)
		q.mu.Lock()
		settled, parked := e.is(settled), e.is(frozen)
		q.mu.Unlock()
		if settled {
			continue
		}
		if err != nil {
			return false, err
		}
		quarantine := env.Quarantine // of another destination
		if parked {
			quarantine = cmp.Or(quarantine, of.Quarantine, "frozen in the queue that it comes from")
		}
		of.Quarantine = quarantine // not what was thawed
		env, open = of, append(open, rec.open...)
	}
	if len(open) == 0 {
		return false, nil
	}
	slices.Sort(open)
	env.To = recipients(env, open)
	body, err := q.store.Open(env.ID)
	if err != nil {
		return false, err
	}
	defer body.Close()
	return true, WriteExport(to, env, body)
}

// WriteExport writes one message as Export does: its text, then its envelope.
func WriteExport(to *disk.Folder, env mail.Envelope, text io.Reader) error {
	name := string(env.ID)
	if err := to.WriteFile(name+".eml", 0o600, disk.Copy(text)); err != nil {
		return err
	}
	b, err := json.MarshalIndent(env, "", "  ")
	if err != nil {
		return err
	}
	return to.WriteFile(name+".json", 0o600, disk.Bytes(append(b, '\n')))
}

// archive has recipients of a message archived. A message that has or had others is
// archived under an ID of its own: each of its files can be imported.
func (q *Queue) archive(ctx context.Context, t *leasedMessage, rcpts []int) error {
	body, err := q.store.Open(t.env.ID)
	if err != nil {
		return fmt.Errorf("queue %s: archive: %w", t.env.ID, err)
	}
	defer body.Close()
	env := t.env
	if env.To = recipients(env, rcpts); len(env.To) < len(t.env.To) {
		env.ID = mail.NewMessageID(time.Now())
	}
	if err := q.deps.Archive(ctx, env, body); err != nil {
		return fmt.Errorf("queue %s: archive: %w", t.env.ID, err)
	}
	return nil
}

// Import takes in what Export wrote into dir. It skips a message whose ID is in
// the queue already, so that an interrupted import can be repeated. A file
// without its other half is an error, and then nothing is taken in.
func (q *Queue) Import(ctx context.Context, dir string) (Tally, error) {
	from, err := disk.OpenFolder(dir)
	if err != nil {
		return Tally{}, fmt.Errorf("queue: import: %w", err)
	}
	defer from.Close()
	names, envs, err := readEnvelopes(from)
	if errors.Is(err, ErrNoExport) {
		return Tally{}, fmt.Errorf("%s: %w", dir, err)
	}
	if err != nil {
		return Tally{}, fmt.Errorf("queue: import: %w", err)
	}
	var sum Tally
	count := progress.From(ctx)
	count.Expect(len(envs))
	for i, env := range envs {
		count.Add(1)
		if len(q.find(env.ID)) > 0 {
			continue
		}
		if err := q.importOne(ctx, env, from, names[i]+".eml"); err != nil {
			return sum, fmt.Errorf("queue: import: %s: %w", filepath.Join(dir, names[i]), err)
		}
		sum.Messages++
		sum.Bytes += env.Size
	}
	return sum, nil
}

// readEnvelopes reads and checks all envelopes of a folder, and reports every
// problem. The names are without .json.
func readEnvelopes(from *disk.Folder) (names []string, out []mail.Envelope, err error) {
	entries, err := from.Names()
	if err != nil {
		return nil, nil, err
	}
	var problems []error
	for _, e := range entries {
		name, ok := strings.CutSuffix(e.Name(), ".json")
		if !ok {
			continue
		}
		var env mail.Envelope
		if err := readEnvelope(from, name, &env); err != nil {
			problems = append(problems, fmt.Errorf("%s: %w", e.Name(), err))
		}
		names, out = append(names, name), append(out, env)
	}
	if len(names) == 0 && len(entries) > 0 {
		return nil, nil, ErrNoExport
	}
	return names, out, errors.Join(problems...)
}

func readEnvelope(from *disk.Folder, name string, env *mail.Envelope) error {
	text, err := from.ReadFile(name + ".json")
	if err != nil {
		return err
	}
	if err := json.Unmarshal(text, env); err != nil {
		return err
	}
	if _, _, err := entriesOf(*env); err != nil {
		return err
	}
	body, err := from.Open(name + ".eml")
	if errors.Is(err, fs.ErrNotExist) {
		return errors.New("its .eml is not there")
	}
	if err != nil {
		return err
	}
	info, err := body.Stat()
	if err := errors.Join(err, body.Close()); err != nil {
		return err
	}
	env.Size = info.Size()
	if env.Received.IsZero() {
		env.Received = time.Now()
	}
	return nil
}

func (q *Queue) importOne(ctx context.Context, env mail.Envelope, from *disk.Folder, name string) error {
	f, err := from.Open(name)
	if err != nil {
		return err
	}
	defer f.Close()
	if env.HeaderID, err = heading.MessageID(f); err != nil {
		return err
	}
	if _, err := f.Seek(0, io.SeekStart); err != nil {
		return err
	}
	body, err := q.store.Create(ctx)
	if err != nil {
		return err
	}
	if _, err := io.Copy(body, f); err != nil {
		body.Abort()
		return err
	}
	env.Size = body.Size()
	if err := q.accept(ctx, body, env); err != nil {
		body.Abort()
		return err
	}
	return nil
}
