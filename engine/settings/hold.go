// SPDX-License-Identifier: Apache-2.0

package settings

import (
	"time"

	"restante/engine/mail"
	"restante/metabase"
)

// A HoldPolicy says how mail of a held domain waits. 0 is no limit.
type HoldPolicy struct {
	Key string // that decides for the domain: example.com, or *.example.com

	HoldMaxMessages  int
	HoldMaxBytes     int64
	HoldReserveBytes int64         // of the disk that the mail leaves free
	HoldWarnPercent  int           // from which on the log warns; 0: it never does
	CallInterval     time.Duration // between the calls of its host; 0: it is learned
}

func (h *HoldPolicy) fields() []field {
	return []field{
		{HoldMaxMessages, &h.HoldMaxMessages},
		{HoldMaxBytes, &h.HoldMaxBytes},
		{HoldReserveBytes, &h.HoldReserveBytes},
		{HoldWarnPercent, &h.HoldWarnPercent},
		{CallInterval, &h.CallInterval},
	}
}

// Percent is how much of the quota is used, by messages or by octets, whichever is more.
func (h HoldPolicy) Percent(messages int, bytes int64) (percent int) {
	if h.HoldMaxMessages > 0 {
		percent = int(int64(messages) * 100 / int64(h.HoldMaxMessages))
	}
	if h.HoldMaxBytes > 0 {
		percent = max(percent, int(float64(bytes)/float64(h.HoldMaxBytes)*100))
	}
	return percent
}

// What becomes of mail that nobody has called for in time; values of HoldEnd.
const (
	ReturnAtEnd  = "return"
	ArchiveAtEnd = "archive"
	KeepAtEnd    = "keep"
)

func checkHoldEnd(text string) error {
	if text != ReturnAtEnd && text != ArchiveAtEnd && text != KeepAtEnd {
		return invalid("%q is none of %s, %s and %s", text, ReturnAtEnd, ArchiveAtEnd, KeepAtEnd)
	}
	return nil
}

// HoldEnd is that of a held domain.
func (s *Site) HoldEnd(name mail.Domain) string {
	path, _ := s.domainKey(name)
	return newReader(s.snap, path).text(HoldEnd)
}

// ArchiveFolder is the folder of site n for the mail that HoldEnd archives, of its
// HoldArchiveDirectory.
func ArchiveFolder(n int, directory string) string {
	if directory == "" {
		return Mailroot(n) + "/Archive"
	}
	return directory
}

// HoldReasons are the properties that bound what may wait for a held domain, as they hold
// for it.
func (s *Site) HoldReasons(name mail.Domain) []Reason {
	var set []metabase.ID
	h, _ := s.HoldOf(name)
	for _, one := range []struct {
		id    metabase.ID
		limit int64
	}{{HoldMaxMessages, int64(h.HoldMaxMessages)}, {HoldMaxBytes, h.HoldMaxBytes}, {HoldReserveBytes, h.HoldReserveBytes}} {
		if one.limit > 0 {
			set = append(set, one.id)
		}
	}
	return s.Reasons(name, set...)
}

// HoldOf gives how mail of a domain waits; false: it is not held.
func (s *Site) HoldOf(name mail.Domain) (h HoldPolicy, held bool) {
	path, ok := s.domainKey(name)
	if !ok || path == "" {
		return h, false
	}
	r := newReader(s.snap, path)
	if !Action(r.number(RouteAction)).Has(Hold) {
		return h, false
	}
	r.read(h.fields()...)
	h.Key = path.Base()
	return h, true
}
