// SPDX-License-Identifier: Apache-2.0

package w3clog

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"net/netip"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"restante/internal/deptest"
	"restante/internal/disk"
)

func TestLayers(t *testing.T) {
	deptest.Forbid(t, map[string]string{
		"/metabase": "the log knows no configuration tree",
		"/engine":   "its user says what a line has",
	})
}

// A running is a Log under test.
type running struct {
	*Log
	t       *testing.T
	set     *Settings
	changed int
	told    strings.Builder
	end     func()
}

// start runs a Log in a folder of its own. Settings may be replaced while no
// other goroutine writes.
func start(t *testing.T, set Settings) *running {
	set.Folder = filepath.Join(t.TempDir(), "LogFiles", "SMTPSVC1")
	r := &running{t: t, set: &set}
	r.Log = New("SMTPSVC1", "HUB", func() *Settings { return r.set }, slog.New(slog.NewTextHandler(&r.told, nil)), func() { r.changed++ })
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan struct{})
	go func() { defer close(done); r.Run(ctx) }()
	r.end = func() { cancel(); <-done }
	t.Cleanup(r.end)
	return r
}

// files are the names in the folder.
func (r *running) files() (names []string) {
	r.t.Helper()
	list, err := os.ReadDir(r.set.Folder)
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		r.t.Fatal(err)
	}
	for _, one := range list {
		names = append(names, one.Name())
	}
	return names
}

// read gives the lines of a file by a reader that knows nothing of this package.
func (r *running) read(name string) []map[string]string {
	r.t.Helper()
	raw, err := os.ReadFile(filepath.Join(r.set.Folder, name))
	if err != nil {
		r.t.Fatal(err)
	}
	lines, err := parse(string(raw))
	if err != nil {
		r.t.Fatalf("%s: %v:\n%s", name, err, raw)
	}
	return lines
}

// parse is a strict reader of the W3C working draft WD-logfile-960323: each line
// ends in CRLF, is a directive or has as many fields as the last #Fields named,
// and a Version and Fields stand before the first.
func parse(text string) (out []map[string]string, err error) {
	var fields []string
	version := false
	for n, l := range strings.Split(strings.TrimSuffix(text, "\r\n"), "\r\n") {
		fail := func(why string) error { return fmt.Errorf("line %d %q: %s", n+1, l, why) }
		if strings.ContainsFunc(l, func(r rune) bool { return r < ' ' || r > '~' }) {
			return nil, fail("is not printable ASCII")
		}
		if name, value, ok := strings.Cut(l, ": "); strings.HasPrefix(l, "#") {
			if !ok || value == "" {
				return nil, fail("a directive without a value")
			}
			switch name {
			case "#Version":
				version = value == "1.0"
			case "#Fields":
				fields = strings.Split(value, " ")
			case "#Date":
				if _, err := time.Parse(time.DateTime, value); err != nil {
					return nil, fail(err.Error())
				}
			case "#Software":
			default:
				return nil, fail("an unknown directive")
			}
			continue
		}
		values := strings.Split(l, " ")
		if !version || len(values) != len(fields) || slices.Contains(values, "") {
			return nil, fail("does not have the fields " + strings.Join(fields, " "))
		}
		one := map[string]string{}
		for i, f := range fields {
			one[f] = values[i]
		}
		out = append(out, one)
	}
	return out, nil
}

const everyField Fields = 0x3fffff

var mailFrom = Entry{
	Client: netip.MustParseAddr("192.0.2.1"), User: "mail.out.test", Server: netip.MustParseAddrPort("198.51.100.1:25"),
	Method: "MAIL", Query: " FROM:<a@out.test> SIZE=10", Status: 250, Sent: 44, Received: 36, Taken: 15 * time.Millisecond,
}

// TestFields: each bit of LogExtFileFlags is its field, and all of them are a
// line as IIS wrote them.
func TestFields(t *testing.T) {
	at := time.Date(2026, 2, 3, 4, 5, 6, 0, time.UTC)
	full := map[Fields][2]string{
		0x1: {"date", "2026-02-03"}, 0x2: {"time", "04:05:06"}, 0x4: {"c-ip", "192.0.2.1"}, 0x8: {"cs-username", "mail.out.test"},
		0x10: {"s-sitename", "SMTPSVC1"}, 0x20: {"s-computername", "HUB"}, 0x40: {"s-ip", "198.51.100.1"}, 0x8000: {"s-port", "25"},
		0x80: {"cs-method", "MAIL"}, 0x100: {"cs-uri-stem", "-"}, 0x200: {"cs-uri-query", "+FROM:<a@out.test>+SIZE=10"},
		0x400: {"sc-status", "250"}, 0x200000: {"sc-substatus", "0"}, 0x800: {"sc-win32-status", "0"},
		0x1000: {"sc-bytes", "44"}, 0x2000: {"cs-bytes", "36"}, 0x4000: {"time-taken", "15"}, 0x80000: {"cs-version", "SMTP"},
		0x100000: {"cs-host", "-"}, 0x10000: {"cs(User-Agent)", "-"}, 0x20000: {"cs(Cookie)", "-"}, 0x40000: {"cs(Referer)", "-"},
	}
	l := &line{&mailFrom, at, "SMTPSVC1", "HUB"}
	for bit, want := range full {
		if got := string(bit.appendLine(nil, l)); got != want[1]+"\r\n" {
			t.Errorf("bit 0x%x: %q, want %q", uint32(bit), got, want[1])
		}
		if got := string(bit.header(at)); !strings.HasSuffix(got, "#Version: 1.0\r\n#Date: 2026-02-03 04:05:06\r\n#Fields: "+want[0]+"\r\n") {
			t.Errorf("bit 0x%x: header %q, want %s", uint32(bit), got, want[0])
		}
	}
	const names = "#Fields: date time c-ip cs-username s-sitename s-computername s-ip s-port cs-method cs-uri-stem cs-uri-query sc-status " +
		"sc-win32-status sc-bytes cs-bytes time-taken cs-version cs-host cs(User-Agent) cs(Cookie) cs(Referer)\r\n"
	if got := string(Fields(0x1fffff).header(at)); !strings.HasSuffix(got, names) {
		t.Errorf("header %q", got)
	}
	const all = "2026-02-03 04:05:06 192.0.2.1 mail.out.test SMTPSVC1 HUB 198.51.100.1 25 MAIL - +FROM:<a@out.test>+SIZE=10 250 0 44 36 15 SMTP - - - -\r\n"
	if got := string(Fields(0x1fffff).appendLine(nil, l)); got != all {
		t.Errorf("line %q, want %q", got, all)
	}
	empty := &line{new(Entry), at, "SMTPSVC1", "HUB"}
	if got := string(Fields(0x6cc).appendLine(nil, empty)); got != "- - - - - 0\r\n" {
		t.Errorf("a line about nothing: %q", got)
	}
}

func TestFileNames(t *testing.T) {
	east := time.FixedZone("east", 5*3600)
	tests := []struct {
		period Period
		at     time.Time
		want   string
	}{
		{Hourly, time.Date(2026, 3, 1, 7, 59, 59, 0, time.UTC), "ex26030107.log"},
		{Hourly, time.Date(2026, 3, 1, 4, 0, 0, 0, east), "ex26022823.log"}, // UTC decides
		{Daily, time.Date(2026, 3, 1, 0, 0, 0, 0, time.UTC), "ex260301.log"},
		{Daily, time.Date(2026, 3, 1, 4, 59, 59, 0, east), "ex260228.log"},
		{Monthly, time.Date(2009, 12, 31, 23, 0, 0, 0, time.UTC), "ex0912.log"},
		{Weekly, time.Date(2026, 8, 1, 0, 0, 0, 0, time.UTC), "ex260801.log"}, // a Saturday
		{Weekly, time.Date(2026, 8, 2, 0, 0, 0, 0, time.UTC), "ex260802.log"},
		{Weekly, time.Date(2026, 8, 8, 23, 0, 0, 0, time.UTC), "ex260802.log"},
		{Weekly, time.Date(2026, 8, 31, 0, 0, 0, 0, time.UTC), "ex260806.log"},
		{Weekly, time.Date(2026, 9, 1, 0, 0, 0, 0, time.UTC), "ex260901.log"}, // in the same week
		{BySize, time.Date(2026, 8, 1, 0, 0, 0, 0, time.UTC), ""},
		{77, time.Date(2026, 8, 1, 0, 0, 0, 0, time.UTC), ""},
	}
	for _, tt := range tests {
		if got := tt.period.file(tt.at); got != tt.want {
			t.Errorf("period %d at %s: %q, want %q", tt.period, tt.at, got, tt.want)
		}
	}
	for name, want := range map[string]int{"extend1.log": 1, "extend12.log": 12, "EXTEND1.log": 0, "extend.log": 0, "extend1.log.gz": 0, "extend9999999999.log": 0, "ex260801.log": 0} {
		if got := sizeNumber(name); got != want {
			t.Errorf("sizeNumber(%q) = %d, want %d", name, got, want)
		}
	}
}

// TestPeriods: a new file begins with each period, each with its directives, and
// the lines of one are in one.
func TestPeriods(t *testing.T) {
	for period, want := range map[Period]map[string]int{
		Hourly:  {"ex00010100.log": 2, "ex00010101.log": 2, "ex00010102.log": 1},
		Daily:   {"ex000101.log": 5},
		Weekly:  {"ex000101.log": 5},
		Monthly: {"ex0001.log": 5},
		BySize:  {"extend1.log": 5},
	} {
		t.Run(fmt.Sprint(period), func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				r := start(t, Settings{Fields: everyField, Period: period})
				for range 5 { // from midnight, at which a bubble begins
					r.Write(mailFrom)
					time.Sleep(30 * time.Minute)
				}
				r.end()
				got := map[string]int{}
				for _, name := range r.files() {
					got[name] = len(r.read(name))
				}
				if fmt.Sprint(got) != fmt.Sprint(want) {
					t.Errorf("lines by file %v, want %v", got, want)
				}
			})
		})
	}
}

// TestLinesOfTwoPeriodsInOneFlush: each line is in the file of its own moment.
func TestLinesOfTwoPeriodsInOneFlush(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := start(t, Settings{Fields: everyField, Period: Hourly})
		time.Sleep(time.Hour - flushEvery/2)
		r.Write(mailFrom)
		time.Sleep(flushEvery * 3 / 4)
		r.Write(mailFrom)
		r.end()
		if got := r.files(); !slices.Equal(got, []string{"ex00010100.log", "ex00010101.log"}) || r.read(got[0])[0]["time"] != "00:59:59" || len(r.read(got[1])) != 1 {
			t.Errorf("%q: %v", got, r.read(got[0]))
		}
	})
}

// TestChangesTakeEffectWithTheNextLine: folder, fields, period and the switch.
func TestChangesTakeEffectWithTheNextLine(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := start(t, Settings{Fields: everyField, Period: Daily})
		first := *r.set
		write := func(change func(*Settings)) {
			next := *r.set
			change(&next)
			r.set = &next
			r.Write(mailFrom)
		}
		write(func(*Settings) {})
		write(func(s *Settings) { s.Fields = 0x84 })
		write(func(s *Settings) {}) // an equal one: no new directives
		write(func(s *Settings) { s.Period = Monthly })
		write(func(s *Settings) { s.Folder += "-2" })
		write(func(s *Settings) { s.Fields = 0 })
		second := *r.set
		r.set = nil
		r.Write(mailFrom)
		r.set = &first
		time.Sleep(2 * flushEvery)
		synctest.Wait()
		r.Write(mailFrom)
		r.end()
		day, month := r.read("ex000101.log"), r.read("ex0001.log")
		if len(day) != 4 || len(day[0]) != len(columns) || len(day[1]) != 2 || len(day[2]) != 2 || len(day[3]) != len(columns) || len(month) != 1 {
			t.Errorf("day %v, month %v", day, month)
		}
		raw, _ := os.ReadFile(filepath.Join(first.Folder, "ex000101.log"))
		if n := strings.Count(string(raw), "#Fields"); n != 3 {
			t.Errorf("%d blocks of directives:\n%s", n, raw)
		}
		r.set = &second
		if got := r.read("ex0001.log"); len(got) != 1 {
			t.Errorf("the second folder: %v", got)
		}
	})
}

// TestFilesBySize: no file is larger than the limit, no line is lost or in two
// files, and a later process goes on with the newest.
func TestFilesBySize(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		const limit, lines = 2000, 200
		r := start(t, Settings{Fields: everyField, Period: BySize, Size: limit})
		for i := range lines {
			one := mailFrom
			one.Status = i
			r.Write(one)
			if i%7 == 0 {
				time.Sleep(2 * flushEvery)
				synctest.Wait()
			}
		}
		r.end()
		names := r.files()
		next := 0
		for i := range names {
			name := fmt.Sprintf("extend%d.log", i+1)
			if st, err := os.Stat(filepath.Join(r.set.Folder, name)); err != nil || st.Size() > limit {
				t.Errorf("%s: %v, %v", name, st.Size(), err)
			}
			for _, l := range r.read(name) {
				if l["sc-status"] != fmt.Sprint(next) {
					t.Fatalf("%s: status %s, want %d", name, l["sc-status"], next)
				}
				next++
			}
		}
		if next != lines || len(names) < 10 {
			t.Errorf("%d lines in %q", next, names)
		}
		again := New("SMTPSVC1", "HUB", func() *Settings { return r.set }, slog.New(slog.DiscardHandler), func() {})
		again.Write(mailFrom)
		ctx, cancel := context.WithCancel(t.Context())
		cancel()
		again.Run(ctx)
		if got := r.files(); len(got) > len(names)+1 {
			t.Errorf("a later process makes %q", got)
		}
		// A line that is longer than a file has one of its own.
		r.set = &Settings{Folder: r.set.Folder + "-small", Fields: everyField, Size: 10}
		small := New("SMTPSVC1", "HUB", func() *Settings { return r.set }, slog.New(slog.DiscardHandler), func() {})
		small.Write(mailFrom)
		small.Write(mailFrom)
		small.Run(ctx)
		if got := r.files(); !slices.Equal(got, []string{"extend1.log", "extend2.log"}) {
			t.Errorf("files of one line: %q", got)
		}
	})
}

// TestTornLine: what a killed process left is not taken for the beginning of a
// line of ours.
func TestTornLine(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := start(t, Settings{Fields: 0x84, Period: Daily})
		name := filepath.Join(r.set.Folder, "ex000101.log")
		torn := string(Fields(0x84).header(time.Now())) + "192.0.2.1 RC"
		if err := errors.Join(os.MkdirAll(r.set.Folder, 0o750), os.WriteFile(name, []byte(torn), 0o600)); err != nil {
			t.Fatal(err)
		}
		r.Write(mailFrom)
		r.end()
		if got := r.read("ex000101.log"); len(got) != 2 || got[0]["cs-method"] != "RC" || got[1]["cs-method"] != "MAIL" {
			t.Errorf("read %v", got)
		}
	})
}

// TestRefusedFolder: mail goes on, the lines are counted, it is told once, and
// told again when it is cured.
func TestRefusedFolder(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := start(t, Settings{Fields: everyField, Period: Daily})
		above := filepath.Dir(r.set.Folder)
		if err := os.WriteFile(above, []byte("no folder"), 0o600); err != nil {
			t.Fatal(err)
		}
		for range 3 {
			r.Write(mailFrom)
			r.Write(mailFrom)
			time.Sleep(2 * flushEvery)
			synctest.Wait()
		}
		if err := r.Err(); err == nil || !strings.Contains(err.Error(), "6 lines are left out") || !strings.Contains(err.Error(), above) {
			t.Errorf("Err = %v", err)
		}
		set := r.set
		if r.set = nil; r.Err() != nil {
			t.Error("a log that is off has an error")
		}
		r.set = set
		if err := os.Remove(above); err != nil {
			t.Fatal(err)
		}
		r.Write(mailFrom)
		time.Sleep(2 * flushEvery)
		synctest.Wait()
		if err := r.Err(); err != nil || r.changed != 2 {
			t.Errorf("cured: Err = %v, %d changes told", err, r.changed)
		}
		told := r.told.String()
		if strings.Count(told, "is not written") != 1 || !strings.Contains(told, "left_out=6") {
			t.Errorf("told:\n%s", told)
		}
		if got := r.read("ex000101.log"); len(got) != 1 {
			t.Errorf("read %v", got)
		}
	})
}

// TestTooFast: what a disk does not take in time is counted, and memory is
// bounded.
func TestTooFast(t *testing.T) {
	set := &Settings{Folder: t.TempDir(), Fields: everyField, Period: Monthly}
	var told strings.Builder
	l := New("SMTPSVC1", "HUB", func() *Settings { return set }, slog.New(slog.NewTextHandler(&told, nil)), func() {})
	const lines = 2 * maxPending / 100
	for range lines {
		l.Write(mailFrom)
	}
	if l.size > maxPending+1000 || l.leftOut == 0 {
		t.Errorf("%d octets pending, %d lines left out", l.size, l.leftOut)
	}
	leftOut := l.leftOut
	l.flush()
	if err := l.Err(); !errors.Is(err, errTooFast) || l.lost != leftOut {
		t.Errorf("Err = %v, want %d lines", err, leftOut)
	}
	l.Write(mailFrom)
	if l.flush(); l.Err() != nil {
		t.Errorf("Err = %v", l.Err())
	}
}

// TestFilesAreNotForStrangers: nor are links followed.
func TestFilesAreNotForStrangers(t *testing.T) {
	if runtime.GOOS == "windows" {
		t.Skip("folders have lists of access there")
	}
	synctest.Test(t, func(t *testing.T) {
		r := start(t, Settings{Fields: everyField, Period: Daily})
		r.Write(mailFrom)
		time.Sleep(2 * flushEvery)
		synctest.Wait()
		name := filepath.Join(r.set.Folder, "ex000101.log")
		for path, want := range map[string]fs.FileMode{name: 0o640, r.set.Folder: 0o700, filepath.Dir(r.set.Folder): 0o700} {
			if st, err := os.Stat(path); err != nil || st.Mode().Perm() != want {
				t.Errorf("%s: %v, %v", path, st.Mode(), err)
			}
		}
		other := filepath.Join(t.TempDir(), "other")
		if err := errors.Join(os.Remove(name), os.WriteFile(other, nil, 0o600), os.Symlink(other, name)); err != nil {
			t.Fatal(err)
		}
		r.Write(mailFrom)
		time.Sleep(2 * flushEvery)
		synctest.Wait()
		if raw, _ := os.ReadFile(other); len(raw) > 0 || r.Err() == nil {
			t.Errorf("a link is followed: %q, %v", raw, r.Err())
		}
		// What another program moves away begins anew.
		if err := os.Remove(name); err != nil {
			t.Fatal(err)
		}
		r.Write(mailFrom)
		r.end()
		if got := r.read("ex000101.log"); len(got) != 1 || r.Err() != nil {
			t.Errorf("after it was moved: %v, %v", got, r.Err())
		}
	})
}

// TestLinkedFolders: neither the folder of a site nor the one above is a link.
func TestLinkedFolders(t *testing.T) {
	for _, linked := range []string{"LogFiles", "LogFiles/SMTPSVC1"} {
		dir := t.TempDir()
		name := filepath.Join(dir, filepath.FromSlash(linked))
		if err := errors.Join(os.MkdirAll(filepath.Dir(name), 0o700), os.Symlink(t.TempDir(), name)); err != nil {
			t.Skip(err)
		}
		folder, err := OpenFolder(filepath.Join(dir, "LogFiles", "SMTPSVC1"))
		if !errors.Is(err, disk.ErrLink) {
			t.Errorf("%s is a link: %v", linked, err)
		}
		if err == nil {
			folder.Close()
		}
	}
}

// forged are texts of strangers that look like the end of a line, or like one.
var forged = []string{
	"x\r\n2026-01-01 00:00:00 192.0.2.9 evil", "x\ny", "x\ry", "x\x00y", "x\vy\fz", "\u2028", "\u0085", "a b\tc", "#Fields:", "# x", `"a b`, "-", "",
	"\xff\xfe", "\x1b[2J", "\u202e", "x%0Ay", "a+b@x.test", strings.Repeat("x", 5000), strings.Repeat("\n", 5000),
}

// TestForgedLines: whatever strangers send, a line stays one line with its
// fields, and no directive.
func TestForgedLines(t *testing.T) {
	for _, text := range forged {
		checkField(t, text)
	}
	for text, want := range map[string]string{
		"FROM:<a+b@x.test> \"x\r\n#é": "FROM:<a%2Bb@x.test>+%22x%0D%0A#%C3%A9",
		"SMTPSVC1+x+%22":              "SMTPSVC1%2Bx%2B%2522",
		"-":                           "%2D",
		"--":                          "--",
		"":                            "-",
	} {
		if got := string(appendText(nil, text)); got != want {
			t.Errorf("%q escaped: %q, want %q", text, got, want)
		}
	}
}

// TestCallerIsNotOutbound: a caller cannot greet so that its lines look like those
// of a conversation of ours.
func TestCallerIsNotOutbound(t *testing.T) {
	for name, want := range map[string]string{
		"OutboundConnectionCommand":  "%4FutboundConnectionCommand",
		"outboundconnectionRESPONSE": "%6FutboundconnectionRESPONSE",
		"OutboundConnection":         "OutboundConnection",
	} {
		if got := string(appendUser(nil, &line{Entry: &Entry{User: name}})); got != want {
			t.Errorf("a caller %q: %q, want %q", name, got, want)
		}
	}
	if got := string(appendUser(nil, &line{Entry: &Entry{Outbound: OutboundCommand}})); got != "OutboundConnectionCommand" {
		t.Errorf("our own line: %q", got)
	}
}

func FuzzField(f *testing.F) {
	for _, text := range forged {
		f.Add(text)
	}
	f.Fuzz(checkField)
}

// checkField writes text into each field that strangers fill, with each set of
// fields that has it first.
func checkField(t *testing.T, text string) {
	e := Entry{User: text, Method: text, Query: text}
	for _, fields := range []Fields{everyField, 0x8, 0x80, 0x200, 0x288} {
		l := &line{&e, time.Unix(0, 0).UTC(), "SMTPSVC1", "HUB"}
		raw := string(append(fields.header(l.at), fields.appendLine(nil, l)...))
		lines, err := parse(raw)
		if err != nil || len(lines) != 1 || strings.Count(raw, "\n") != 5 || strings.Count("\n"+raw, "\n#") != 4 {
			t.Fatalf("%q: %v: %q", text, err, raw)
		}
		for _, name := range []string{"cs-username", "cs-method", "cs-uri-query"} {
			value, has := lines[0][name]
			if has && (value == "" || strings.ContainsAny(value, "\" \r\n") || value[0] == '#' || len(value) > 3*maxText+3) {
				t.Fatalf("%q: %s is %q", text, name, value)
			}
		}
	}
}

// BenchmarkWrite is the time that a line costs the conversation it is about.
func BenchmarkWrite(b *testing.B) {
	set := &Settings{Folder: b.TempDir(), Fields: everyField, Period: Daily}
	l := New("SMTPSVC1", "HUB", func() *Settings { return set }, slog.New(slog.DiscardHandler), func() {})
	for b.Loop() {
		if l.Write(mailFrom); l.size > flushSize {
			b.StopTimer()
			l.pending, l.size = nil, 0
			b.StartTimer()
		}
	}
}
