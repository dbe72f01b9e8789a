// SPDX-License-Identifier: Apache-2.0

package spool

import "context"

// Stats is the content of a spool and its use of the disk.
type Stats struct {
	Messages  int
	LiveBytes int64 // bodies with their heads and envelopes
	DeadBytes int64 // in segments, of removed messages
	Segments  int   // segment files, the ready ones included
	Ready     int   // empty segments kept for use
	Files     int   // bodies in a file of their own
}

// Stats counts the messages by the index, and the bytes in segments by the
// account that decides which segment is used again.
func (s *Spool) Stats() Stats {
	var st Stats
	for p, err := range s.db.Scan(context.Background(), []byte(entryPrefix)) {
		if err != nil {
			break
		}
		e, err := decodeEntry(p.Value)
		if err != nil {
			continue
		}
		st.Messages++
		if e.seg == 0 {
			st.Files++
			st.LiveBytes += e.length()
		}
	}
	b := s.segs
	b.mu.Lock()
	defer b.mu.Unlock()
	st.Segments, st.Ready = len(b.byNum), len(b.ready)
	for _, seg := range b.byNum {
		st.LiveBytes += seg.live
		if seg.state != ready {
			st.DeadBytes += seg.end - seg.live
		}
	}
	return st
}

// Report is what Open found.
func (s *Spool) Report() Report { return s.report }
