// SPDX-License-Identifier: Apache-2.0

package engine

import (
	"bufio"
	"bytes"
	"crypto/tls"
	"encoding/base64"
	"errors"
	"fmt"
	"io"
	"maps"
	"net"
	"net/netip"
	"os"
	"path/filepath"
	"regexp"
	"runtime"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"
	"unicode/utf8"

	"restante/engine/settings"
	"restante/internal/testpeer"
)

const dialogueFolder = "../testdata/dialogues"

// allLoopback says that the system has all of 127.0.0.0/8, not 127.0.0.1 alone.
const allLoopback = runtime.GOOS == "linux" || runtime.GOOS == "windows"

// A dialogue is one file of testdata/dialogues, whose README has the format.
type dialogue struct {
	name     string
	settings []string
	steps    []step
}

type step struct {
	line    int
	op, arg string
}

// TestDialogues runs all of them at once, since some wait for a time-out. Those
// with the same settings share a site.
func TestDialogues(t *testing.T) {
	groups := map[string][]dialogue{}
	files, err := filepath.Glob(filepath.Join(dialogueFolder, "*.txt"))
	if err != nil || len(files) == 0 {
		t.Fatalf("no dialogues: %v", err)
	}
	for _, file := range files {
		d, err := readDialogue(file)
		if err != nil {
			t.Fatal(err)
		}
		key := strings.Join(d.settings, "\n")
		groups[key] = append(groups[key], d)
	}
	h := newHarness(t)
	h.apply(h.account("joe", "secret")...)
	cert, key := testpeer.WriteCertificate(t, t.TempDir(), "mx.hub.example")
	sites := map[int][]dialogue{}
	for _, lines := range slices.Sorted(maps.Keys(groups)) {
		sites[h.dialogueSite(cert, key, groups[lines])] = groups[lines]
	}
	h.run()
	var all sync.WaitGroup
	for n, group := range sites {
		at := h.status(n).Listening
		for _, d := range group {
			all.Go(func() {
				t.Run(d.name, func(t *testing.T) {
					(&talker{t: t, d: d, at: at, conns: map[string]*dialogueConn{}}).run()
				})
			})
		}
	}
	all.Wait()
}

// dialogueSite makes the site of a group and gives its number.
func (h *harness) dialogueSite(cert, key string, group []dialogue) int {
	h.t.Helper()
	n, ops, err := settings.CreateSite(h.store.Snapshot(), settings.NewSite{Bindings: []string{"127.0.0.1:0"}, Domain: "hub.example", FQDN: "mx.hub.example"})
	if err != nil {
		h.t.Fatal(err)
	}
	h.apply(ops...)
	site := settings.SitePath(n)
	ops = append(h.hold(n, "*.held.example", "joe"),
		h.set(site, "TlsCertificateFile", cert), h.set(site, "TlsKeyFile", key),
		h.set(site, "ConnectionLimitExempt", "127.0.0.0/8")) // wrong passwords of one dialogue do not slow the others down
	if allLoopback {
		ops = append(ops, h.set(site, "SecureBindings", "127.0.0.2:0"), h.set(site, "AtrnBindings", "127.0.0.3:0"))
	}
	for _, d := range group {
		if slices.ContainsFunc(d.steps, func(s step) bool { return strings.Contains(s.arg, "{account}") }) {
			ops = append(ops, h.account(d.name, "secret")...)
		}
	}
	for _, line := range group[0].settings {
		plain, quoted, some := strings.Cut(strings.TrimSuffix(line, `"`), ` "`)
		at, words := site, strings.Fields(plain)[1:]
		if some {
			words = append(words, quoted)
		}
		if name, ok := strings.CutPrefix(words[0], "Domain/"); ok {
			at, words = settings.DomainPath(n, name), words[1:]
		}
		ops = append(ops, h.set(at, words[0], words[1:]...))
	}
	h.apply(ops...)
	return n
}

func readDialogue(file string) (dialogue, error) {
	text, err := os.ReadFile(file)
	d := dialogue{name: strings.TrimSuffix(filepath.Base(file), ".txt")}
	if err == nil && !bytes.HasPrefix(text, []byte("# ")) {
		err = errors.New("the first line must say the rule")
	}
	for n, line := range strings.Split(strings.TrimSuffix(string(text), "\n"), "\n") {
		op, arg, _ := strings.Cut(line, " ")
		switch op {
		case "", "#":
		case "set":
			d.settings = append(d.settings, line)
		case "connect", "on", "C:", "C+", "S:", "Sx", "S*", "has", "lacks", "trace", "starttls", "end":
			d.steps = append(d.steps, step{n + 1, op, arg})
		default:
			err = errors.Join(err, fmt.Errorf("line %d: no step begins with %q", n+1, op))
		}
	}
	if err != nil {
		return d, fmt.Errorf("%s: %w", file, err)
	}
	return d, nil
}

type dialogueConn struct {
	net.Conn
	r *bufio.Reader
}

// A talker is the client of one dialogue.
type talker struct {
	t     *testing.T
	d     dialogue
	at    []netip.AddrPort // of the bindings, in the order of dialogueSite
	conns map[string]*dialogueConn
	c     *dialogueConn
	out   []byte   // to be sent before the next step that is no C
	last  []string // reply of S*
	line  string   // the last line
	said  strings.Builder
}

func (k *talker) run() {
	for _, s := range k.d.steps {
		if err := k.step(s); err != nil {
			said := k.said.String()
			k.t.Fatalf("%s.txt:%d: %s %s: %v\n%s", filepath.Join(dialogueFolder, k.d.name), s.line, s.op, s.arg, err, said[max(0, len(said)-2000):])
		}
	}
	if err := k.flush(); err != nil {
		k.t.Fatal(err)
	}
	for name, c := range k.conns {
		if err := c.atEnd(); err != nil {
			k.t.Errorf("%s: connection %q: %v\n%s", k.d.name, name, err, k.said.String())
		}
		c.Close()
	}
}

// atEnd ends the client's side and checks that nothing is left to be read.
func (c *dialogueConn) atEnd() error {
	if half, ok := c.Conn.(interface{ CloseWrite() error }); ok {
		_ = half.CloseWrite() // the server may have closed
	}
	rest, err := io.ReadAll(c.r)
	if len(rest) > 0 {
		return fmt.Errorf("the server said more: %.300q", rest)
	}
	return err
}

func (k *talker) step(s step) error {
	if s.op != "C:" && s.op != "C+" {
		if err := k.flush(); err != nil {
			return err
		}
	}
	switch s.op {
	case "connect":
		return k.connect(strings.Fields(s.arg))
	case "on":
		k.c = k.conns[s.arg]
		return nil
	case "C:":
		k.out = append(k.out, k.expand(s.arg)+"\r\n"...)
		return nil
	case "C+":
		text, err := strconv.Unquote(`"` + k.expand(s.arg) + `"`)
		k.out = append(k.out, text...)
		return err
	case "S:":
		return k.expect(s.arg)
	case "trace":
		return k.trace(s.arg)
	case "Sx":
		count, pattern, _ := strings.Cut(s.arg, " ")
		n, err := strconv.Atoi(count)
		for range n {
			err = errors.Join(err, k.expect(pattern))
		}
		return err
	case "S*":
		return k.reply(s.arg)
	case "has", "lacks":
		re := regexp.MustCompile("^(?:" + k.expand(s.arg) + ")$")
		if slices.ContainsFunc(k.last, re.MatchString) != (s.op == "has") {
			return fmt.Errorf("the reply is %q", k.last)
		}
		return nil
	case "starttls":
		tc := tls.Client(k.c.Conn, &tls.Config{InsecureSkipVerify: true})
		if err := tc.HandshakeContext(k.t.Context()); err != nil {
			return err
		}
		k.c.Conn, k.c.r = tc, bufio.NewReader(tc)
		return nil
	}
	_, err := k.c.r.ReadByte() // end
	if !errors.Is(err, io.EOF) {
		return fmt.Errorf("the connection is open: %v", err)
	}
	return nil
}

func (k *talker) connect(words []string) error {
	name, at, clear := "", 0, false
	for _, w := range words {
		switch w {
		case "tls":
			at = 1
		case "odmr":
			at = 2
		case "clear":
			clear = true
		default:
			name = w
		}
	}
	if at > 0 && !allLoopback {
		k.t.Skip("one loopback address: the site has one binding")
	}
	nc, err := net.Dial("tcp", k.at[at].String())
	if err != nil {
		return err
	}
	_ = nc.SetDeadline(time.Now().Add(time.Minute)) // a test that hangs is to say where
	if at == 1 && !clear {
		nc = tls.Client(nc, &tls.Config{InsecureSkipVerify: true})
	}
	k.c = &dialogueConn{nc, bufio.NewReader(nc)}
	k.conns[name] = k.c
	return nil
}

func (k *talker) flush() error {
	if len(k.out) == 0 {
		return nil
	}
	fmt.Fprintf(&k.said, "C: %.200q\n", k.out)
	_, err := k.c.Write(k.out)
	k.out = nil
	return err
}

func (k *talker) read() error {
	line, err := k.c.r.ReadString('\n')
	fmt.Fprintf(&k.said, "S: %q\n", line)
	if err != nil {
		return err
	}
	var whole bool
	if k.line, whole = strings.CutSuffix(line, "\r\n"); !whole {
		return errors.New("the line does not end in CRLF")
	}
	if !utf8.ValidString(k.line) {
		k.line = latin1(k.line)
	}
	return nil
}

func latin1(line string) string {
	var b strings.Builder
	for _, octet := range []byte(line) {
		b.WriteRune(rune(octet))
	}
	return b.String()
}

func (k *talker) expect(pattern string) error {
	re, err := regexp.Compile("^(?:" + k.expand(pattern) + ")$")
	if err != nil {
		return err
	}
	if err := k.read(); err != nil {
		return err
	}
	if !re.MatchString(k.line) {
		return fmt.Errorf("the line is %q", k.line)
	}
	return nil
}

// trace reads our trace field, unfolded.
func (k *talker) trace(pattern string) error {
	if err := k.read(); err != nil {
		return err
	}
	field := k.line
	for {
		next, err := k.c.r.Peek(1)
		if err != nil {
			return err
		}
		if next[0] != '\t' {
			break
		}
		if err := k.read(); err != nil {
			return err
		}
		field += " " + strings.TrimSpace(k.line)
	}
	if pattern == "" {
		pattern = "Received: .*"
	}
	if !regexp.MustCompile("^(?:" + k.expand(pattern) + ")$").MatchString(field) {
		return fmt.Errorf("the field is %q", field)
	}
	return nil
}

// reply reads all lines of a reply, without their code.
func (k *talker) reply(code string) error {
	for k.last = nil; ; {
		if err := k.read(); err != nil {
			return err
		}
		if len(k.line) < 4 || k.line[:3] != code || k.line[3] != ' ' && k.line[3] != '-' {
			return fmt.Errorf("the line is %q", k.line)
		}
		if k.last = append(k.last, k.line[4:]); k.line[3] == ' ' {
			return nil
		}
	}
}

var dialogueForm = regexp.MustCompile(`\{(held|cram [^}]*|b64 [^}]*|\d+ [^}]*)\}`)

// expand replaces the forms in braces.
func (k *talker) expand(text string) string {
	text = strings.ReplaceAll(text, "{account}", k.d.name)
	return dialogueForm.ReplaceAllStringFunc(text, func(form string) string {
		word, rest, _ := strings.Cut(form[1:len(form)-1], " ")
		switch word {
		case "held":
			return k.d.name + ".held.example"
		case "b64":
			text, err := strconv.Unquote(`"` + rest + `"`)
			if err != nil {
				k.t.Fatalf("%s: %v", form, err)
			}
			return base64.StdEncoding.EncodeToString([]byte(text))
		case "cram":
			name, password, _ := strings.Cut(rest, " ")
			challenge, err := base64.StdEncoding.DecodeString(strings.TrimPrefix(k.line, "334 "))
			if err != nil {
				k.t.Fatalf("%s: %v", form, err)
			}
			return base64.StdEncoding.EncodeToString([]byte(testpeer.AnswerCRAM(name, password, challenge)))
		}
		n, _ := strconv.Atoi(word)
		return strings.Repeat(rest, n)
	})
}

// TestExtensionsAreDocumented compares the table of docs/esmtp.md with EHLO of a site that
// offers everything.
func TestExtensionsAreDocumented(t *testing.T) {
	text, err := os.ReadFile("../docs/esmtp.md")
	if err != nil {
		t.Fatal(err)
	}
	var documented []string
	for _, row := range regexp.MustCompile("(?m)^\\| `([A-Z0-9-]+)` \\|").FindAllSubmatch(text, -1) {
		documented = append(documented, string(row[1]))
	}
	for _, file := range regexp.MustCompile(`\(\.\./testdata/dialogues/([a-z0-9-]+\.txt)\)`).FindAllSubmatch(text, -1) {
		if _, err := os.Stat(filepath.Join(dialogueFolder, string(file[1]))); err != nil {
			t.Errorf("docs/esmtp.md: %v", err)
		}
	}
	h := newHarness(t)
	h.apply(h.account("joe", "secret")...)
	cert, key := testpeer.WriteCertificate(t, t.TempDir(), "mx.hub.example")
	n := h.dialogueSite(cert, key, []dialogue{{settings: []string{"set FutureReleaseMax 60", "set SmtpInboundCommandSupportOptions 7697601", "set PushedRecipients true"}}})
	h.run()
	k := &talker{t: t, at: h.status(n).Listening, conns: map[string]*dialogueConn{}}
	for _, s := range []step{{op: "connect"}, {op: "S*", arg: "220"}, {op: "C:", arg: "STARTTLS"}, {op: "S*", arg: "220"}, {op: "starttls"}, {op: "C:", arg: "EHLO x"}, {op: "S*", arg: "250"}} {
		if err := k.step(s); err != nil {
			t.Fatal(err)
		}
	}
	offered := []string{"STARTTLS", "XCLIENT"} // in clear only
	for _, line := range k.last[1:] {
		keyword, _, _ := strings.Cut(line, " ")
		if keyword, _, _ = strings.Cut(keyword, "="); !slices.Contains(offered, keyword) {
			offered = append(offered, keyword)
		}
	}
	slices.Sort(offered)
	slices.Sort(documented)
	if !slices.Equal(offered, documented) {
		t.Errorf("docs/esmtp.md has %v, EHLO %v", documented, offered)
	}
}
