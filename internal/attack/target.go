// SPDX-License-Identifier: Apache-2.0

package main

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"maps"
	"math/rand/v2"
	"net"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"

	"restante/internal/testpeer"
)

// Who may do what at the service that is attacked.
const (
	account  = "alice"
	password = "correct horse battery"
	secret   = "planted-secret-7431" // of a property that no caller may read
	readers  = 65534                 // may read everything
	writers  = 65533                 // may change site 2, and delete its domains
)

// settings makes all mail to strangers end at the trap. Nobody may relay but an
// account: not even loopback addresses.
const settings = `set /LM/SMTPSVC/1 SmartHost %s
set /LM/SMTPSVC/1 SmartHostType 2
set /LM/SMTPSVC/1 RelayIpList 192.0.2.1
set /LM/SMTPSVC/1 RelayForAuth true
set /LM/SMTPSVC/1/Domain/fwd.test RoutePassword ` + secret + `
set / AccessList 'user:root all' 'uid:65534 read'
set /LM/SMTPSVC/2 AccessList 'user:root all' 'uid:65534 read' 'uid:65533 read,write,create'
set /LM/SMTPSVC/2/Domain AccessList 'user:root all' 'uid:65534 read' 'uid:65533 read,write,create,delete'
`

// An attack is one run.
type attack struct {
	options
	dir   string
	svc   *testpeer.Service
	trap  *sink // gets what nobody may send
	next  *sink // gets the mail to fwd.test
	until time.Time

	table string

	mu       sync.Mutex // guards what follows
	rnd      *rand.Rand
	counts   map[string]int // of this table
	sent     map[string]string
	markers  int
	failures []string
}

// start sets up the service.
func start(ctx context.Context, o options) (a *attack, err error) {
	a = &attack{options: o, sent: map[string]string{}, rnd: rand.New(rand.NewPCG(o.seed, 0))}
	if a.dir, err = os.MkdirTemp("", "attack-"); err != nil {
		return nil, err
	}
	defer func() {
		if err != nil {
			_ = os.RemoveAll(a.dir)
		}
	}()
	if err := os.Chmod(a.dir, 0o755); err != nil { // other users call the socket
		return nil, err
	}
	if a.trap, err = listen(); err != nil {
		return nil, err
	}
	if a.next, err = listen(); err != nil {
		return nil, err
	}
	bin, err := filepath.Abs(o.restante)
	if err != nil {
		return nil, err
	}
	data := filepath.Join(a.dir, "data")
	if a.svc, err = testpeer.StartService(ctx, bin, data, "--bind", "127.0.0.1:0", "--domain", "hub.test", "--fqdn", "hub.test"); err != nil {
		return nil, err
	}
	for _, c := range []struct{ stdin, command string }{
		{password + "\n", "account add --password-stdin --cram-md5 " + account},
		{"", "domain create 1 held.test --remote --turn " + account},
		{"", "domain create 1 fwd.test --remote --relay --smart-host " + a.next.addr()},
		{"", "site create --name Two --bind 127.0.0.1:0 --domain two.test"},
		{fmt.Sprintf(settings, a.trap.addr()), "mb apply"},
	} {
		if _, err := a.svc.Run(ctx, c.stdin, strings.Fields(c.command)...); err != nil {
			return nil, errors.Join(err, a.svc.Halt())
		}
	}
	return a, nil
}

func (a *attack) close() {
	if err := a.svc.Halt(); err != nil {
		fmt.Println("the service ended:", err)
	}
	if a.keep {
		fmt.Println("kept:", a.dir)
		return
	}
	_ = os.RemoveAll(a.dir)
}

func (a *attack) count(what string) {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.counts[what]++
}

func (a *attack) figures() string {
	a.mu.Lock()
	defer a.mu.Unlock()
	var out []string
	for _, what := range slices.Sorted(maps.Keys(a.counts)) {
		out = append(out, fmt.Sprintf("%d %s", a.counts[what], what))
	}
	return strings.Join(out, ", ")
}

// fail notes that something did not hold.
func (a *attack) fail(format string, args ...any) {
	a.mu.Lock()
	defer a.mu.Unlock()
	if a.failures = append(a.failures, a.table+": "+fmt.Sprintf(format, args...)); len(a.failures) < 20 {
		fmt.Println("FAILED", a.failures[len(a.failures)-1])
	}
}

// random is a source of the run's seed, for one goroutine.
func (a *attack) random() *rand.Rand {
	a.mu.Lock()
	defer a.mu.Unlock()
	return rand.New(rand.NewPCG(a.rnd.Uint64(), a.rnd.Uint64()))
}

// marker names the next message.
func (a *attack) marker() string {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.markers++
	return fmt.Sprintf("m%d-%d", a.seed, a.markers)
}

// accepted notes that the message with this marker was answered 250 for to.
func (a *attack) accepted(marker, to string) {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.sent[marker] = to
}

// dial connects from an address of its own, so that limits for one address hit the
// attack that they are for.
func (a *attack) dial(from string) (*testpeer.Client, error) {
	d := net.Dialer{Timeout: time.Minute}
	if ip := net.ParseIP(from); ip != nil && systemHasLoopbackNet {
		d.LocalAddr = &net.TCPAddr{IP: ip}
	}
	conn, err := d.Dial("tcp", a.svc.Addr(1))
	if err != nil {
		return nil, err
	}
	_ = conn.SetDeadline(time.Now().Add(time.Minute))
	c := &testpeer.Client{Conn: conn, R: bufio.NewReader(conn)}
	if err := c.Expect("220"); err != nil {
		_ = conn.Close()
		return nil, err
	}
	return c, nil
}

// alive asks for status, and looks at the memory.
func (a *attack) alive(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, time.Minute)
	defer cancel()
	if _, err := a.svc.Run(ctx, "", "status"); err != nil {
		log := a.svc.Log()
		return fmt.Errorf("the service does not answer: %w; its log ends: %s", err, log[max(0, len(log)-2000):])
	}
	if mib, ok := a.resident("VmRSS:"); ok && mib > a.memory {
		a.fail("the service has %d MiB, %d are the most", mib, a.memory)
	}
	return nil
}

// resident is a figure of the service's memory in MiB, where the system tells it.
func (a *attack) resident(key string) (mib int, ok bool) {
	text, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", a.svc.PID()))
	if err != nil {
		return 0, false
	}
	_, rest, ok := bytes.Cut(text, []byte(key))
	if !ok {
		return 0, false
	}
	kib, err := strconv.Atoi(string(bytes.Fields(rest)[0]))
	return kib / 1024, err == nil
}

// A sink takes all mail.
type sink struct {
	l net.Listener

	mu       sync.Mutex // guards what follows
	messages []testpeer.Received
}

func listen() (*sink, error) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return nil, err
	}
	s := &sink{l: l}
	go s.accept()
	return s, nil
}

func (s *sink) accept() {
	for {
		conn, err := s.l.Accept()
		if err != nil {
			return // ends with the process
		}
		go func() {
			defer conn.Close()
			_ = (&testpeer.Client{Conn: conn, R: bufio.NewReader(conn)}).Receive(s.keep)
		}()
	}
}

func (s *sink) keep(m testpeer.Received) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.messages = append(s.messages, m)
	return nil
}

func (s *sink) taken() []testpeer.Received {
	s.mu.Lock()
	defer s.mu.Unlock()
	return slices.Clone(s.messages)
}

func (s *sink) addr() string { return s.l.Addr().String() }

// say sends one command and gives the reply's last line; "" is a connection that
// has ended.
func say(c *testpeer.Client, command string) string {
	if _, err := io.WriteString(c, command); err != nil {
		return ""
	}
	r, err := c.Reply()
	if err != nil {
		return ""
	}
	return r
}

// closeWrite ends our half of a connection.
func closeWrite(c net.Conn) error { return c.(*net.TCPConn).CloseWrite() }
