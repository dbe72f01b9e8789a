// SPDX-License-Identifier: Apache-2.0

// Package postfix starts a Postfix of a test's own, where one is installed. It
// knows nothing of the service that is tested.
package postfix

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"time"
)

// A Server is a whole Postfix of the test's own: configuration, queue and
// log below one folder, listening on loopback. It needs root, as Postfix does.
type Server struct {
	Addr string // where its smtpd listens
	Dir  string // configuration, queue and log are below it

	conf  string
	ended chan error
	cmd   *exec.Cmd
}

// Missing says why no Postfix can be started here, or nil.
func Missing() error {
	if os.Geteuid() != 0 {
		return errors.New("postfix wants root")
	}
	for _, name := range []string{"postfix", "postmap", "/usr/lib/postfix/sbin/master"} {
		if _, err := lookSbin(name); err != nil {
			return err
		}
	}
	return nil
}

func lookSbin(name string) (string, error) {
	if path, err := exec.LookPath(name); err == nil {
		return path, nil
	}
	return exec.LookPath(filepath.Join("/usr/sbin", name))
}

// Start starts a Postfix below dir, with the lines of extra added to
// its main.cf, and returns when it answers. Sessions is how many callers and
// deliveries it may have at once. The caller ends it with Stop.
func Start(ctx context.Context, dir string, sessions int, extra ...string) (*Server, error) {
	if err := Missing(); err != nil {
		return nil, err
	}
	addr, err := freeAddr()
	if err != nil {
		return nil, err
	}
	p := &Server{Addr: addr, Dir: dir, conf: filepath.Join(dir, "etc"), ended: make(chan error, 1)}
	if err := p.write(sessions, extra); err != nil {
		return nil, fmt.Errorf("postfix: %w", err)
	}
	// create-missing and the owners of the queue's folders are this tool's work.
	tool, err := lookSbin("postfix")
	if err != nil {
		return nil, err
	}
	if out, err := exec.CommandContext(ctx, tool, "-c", p.conf, "check").CombinedOutput(); err != nil {
		return nil, fmt.Errorf("postfix check: %w: %s", err, bytes.TrimSpace(out))
	}
	p.cmd = exec.CommandContext(ctx, "/usr/lib/postfix/sbin/master", "-c", p.conf, "-d")
	p.cmd.Cancel = func() error { return p.cmd.Process.Signal(os.Interrupt) }
	p.cmd.WaitDelay = 20 * time.Second
	p.cmd.Env = append(os.Environ(), "MAIL_CONFIG="+p.conf)
	if err := p.cmd.Start(); err != nil {
		return nil, fmt.Errorf("postfix: %w", err)
	}
	go func() { p.ended <- p.cmd.Wait() }()
	if err := p.awaitGreeting(ctx); err != nil {
		p.Stop()
		log, _ := os.ReadFile(filepath.Join(dir, "log", "postfix.log"))
		return nil, fmt.Errorf("postfix: %w: %s", err, log)
	}
	return p, nil
}

// Stop ends Postfix and waits for its master.
func (p *Server) Stop() {
	_ = p.cmd.Process.Signal(os.Interrupt)
	select {
	case <-p.ended:
	case <-time.After(20 * time.Second):
		_ = p.cmd.Process.Kill()
		<-p.ended
	}
}

// Queued counts the messages in Postfix's queue.
func (p *Server) Queued() (int, error) {
	return p.count("maildrop", "incoming", "active", "deferred", "hold")
}

// Deferred counts those that wait for another try.
func (p *Server) Deferred() (int, error) { return p.count("deferred") }

func (p *Server) count(queues ...string) (int, error) {
	n := 0
	for _, q := range queues {
		err := filepath.WalkDir(filepath.Join(p.Dir, "queue", q), func(_ string, d os.DirEntry, err error) error {
			if err == nil && d.Type().IsRegular() {
				n++
			}
			return nil // an entry that went while we looked is none
		})
		if err != nil {
			return 0, err
		}
	}
	return n, nil
}

// Command runs one of Postfix's own tools, such as postqueue, on this Postfix.
func (p *Server) Command(ctx context.Context, name string, args ...string) ([]byte, error) {
	tool, err := lookSbin(name)
	if err != nil {
		return nil, err
	}
	cmd := exec.CommandContext(ctx, tool, append([]string{"-c", p.conf}, args...)...)
	return cmd.CombinedOutput()
}

// Log is what Postfix logged so far.
func (p *Server) Log() string {
	text, _ := os.ReadFile(filepath.Join(p.Dir, "log", "postfix.log"))
	return string(text)
}

func (p *Server) awaitGreeting(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, 2*time.Minute)
	defer cancel()
	again := time.NewTicker(50 * time.Millisecond)
	defer again.Stop()
	for {
		if conn, err := net.Dial("tcp", p.Addr); err == nil {
			_ = conn.SetReadDeadline(time.Now().Add(10 * time.Second))
			var line [4]byte
			_, err := conn.Read(line[:])
			_, _ = conn.Write([]byte("QUIT\r\n"))
			_ = conn.Close()
			if err == nil && string(line[:]) == "220 " {
				return nil
			}
		}
		select {
		case err := <-p.ended:
			p.ended <- err
			return fmt.Errorf("master ended: %w", err)
		case <-ctx.Done():
			return context.Cause(ctx)
		case <-again.C:
		}
	}
}

func (p *Server) write(sessions int, extra []string) error {
	for _, sub := range []string{"etc", "queue", "data", "log"} {
		if err := os.MkdirAll(filepath.Join(p.Dir, sub), 0o755); err != nil {
			return err
		}
	}
	// Postfix's processes leave root: they must get through to the queue.
	for dir := p.Dir; dir != "/" && dir != os.TempDir(); dir = filepath.Dir(dir) {
		if err := os.Chmod(dir, 0o755); err != nil {
			return err
		}
	}
	if err := chownTo("postfix", filepath.Join(p.Dir, "data")); err != nil {
		return err
	}
	main := append([]string{
		"compatibility_level = 3.6",
		"queue_directory = " + filepath.Join(p.Dir, "queue"),
		"data_directory = " + filepath.Join(p.Dir, "data"),
		"command_directory = /usr/sbin",
		"daemon_directory = /usr/lib/postfix/sbin",
		"maillog_file = " + filepath.Join(p.Dir, "log", "postfix.log"),
		"maillog_file_prefixes = /",
		"myhostname = postfix.test",
		"mydestination =",
		"alias_maps =",
		"alias_database =",
		"inet_interfaces = 127.0.0.1",
		"inet_protocols = ipv4",
		"mynetworks = 127.0.0.0/8",
		"smtpd_relay_restrictions = permit_mynetworks, reject",
		"smtp_host_lookup = native",
		"message_size_limit = 0",
		"mailbox_size_limit = 0",
		fmt.Sprintf("default_process_limit = %d", sessions),
		"smtpd_client_connection_count_limit = 0",
		"biff = no",
	}, extra...)
	if err := os.WriteFile(filepath.Join(p.conf, "main.cf"), []byte(strings.Join(main, "\n")+"\n"), 0o644); err != nil {
		return err
	}
	return os.WriteFile(filepath.Join(p.conf, "master.cf"), []byte(masterCf(p.Addr)), 0o644)
}

// masterCf names the services that take in, queue and send; none is chrooted.
func masterCf(addr string) string {
	var b strings.Builder
	row := func(name, kind, private, unpriv, wakeup, limit, command string) {
		fmt.Fprintf(&b, "%s %s %s %s n %s %s %s\n", name, kind, private, unpriv, wakeup, limit, command)
	}
	row(addr, "inet", "n", "-", "-", "-", "smtpd")
	row("pickup", "unix", "n", "-", "60", "1", "pickup")
	row("cleanup", "unix", "n", "-", "-", "0", "cleanup")
	row("qmgr", "unix", "n", "-", "300", "1", "qmgr")
	row("tlsmgr", "unix", "-", "-", "1000?", "1", "tlsmgr")
	row("rewrite", "unix", "-", "-", "-", "-", "trivial-rewrite")
	for _, name := range []string{"bounce", "defer", "trace"} {
		row(name, "unix", "-", "-", "-", "0", "bounce")
	}
	row("verify", "unix", "-", "-", "-", "1", "verify")
	row("flush", "unix", "n", "-", "1000?", "0", "flush")
	row("proxymap", "unix", "-", "-", "-", "-", "proxymap")
	row("smtp", "unix", "-", "-", "-", "-", "smtp")
	row("relay", "unix", "-", "-", "-", "-", "smtp")
	row("showq", "unix", "n", "-", "-", "-", "showq")
	row("error", "unix", "-", "-", "-", "-", "error")
	row("retry", "unix", "-", "-", "-", "-", "error")
	row("discard", "unix", "-", "-", "-", "-", "discard")
	row("local", "unix", "-", "n", "-", "-", "local")
	row("virtual", "unix", "-", "n", "-", "-", "virtual")
	row("anvil", "unix", "-", "-", "-", "1", "anvil")
	row("scache", "unix", "-", "-", "-", "1", "scache")
	row("postlog", "unix-dgram", "n", "-", "-", "1", "postlogd")
	return b.String()
}

func freeAddr() (string, error) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return "", err
	}
	defer l.Close()
	return l.Addr().String(), nil
}
