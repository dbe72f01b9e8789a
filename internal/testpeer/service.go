// SPDX-License-Identifier: Apache-2.0

// Package testpeer has the peers of a service for tests: SMTP clients and hosts,
// real ones too where they are installed, and the service's own process.
package testpeer

import (
	"bufio"
	"bytes"
	"cmp"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"time"
)

// A Service is a running restante process: its binary, its data folder, and the
// addresses from its standard output.
type Service struct {
	Bin   string
	Data  string
	Ready time.Duration // from exec to the ready line

	addrs map[int]string // by site
	cmd   *exec.Cmd
	ended chan error
}

// Build builds the binary into dir as it is shipped: without cgo and without the
// race detector, whatever the test itself has.
func Build(dir string) (string, error) {
	bin := filepath.Join(dir, "restante")
	cmd := exec.Command("go", "build", "-tags", "urfave_cli_no_docs", "-o", bin, "restante/cmd/restante")
	cmd.Env = append(os.Environ(), "CGO_ENABLED=0")
	if out, err := cmd.CombinedOutput(); err != nil {
		return "", fmt.Errorf("build restante: %w: %s", err, out)
	}
	return bin, nil
}

// StartService runs `serve` with args on data and returns at its ready line.
// Its log goes to the file stderr.log beside data. The caller ends it with
// Halt or Kill, and may then Start it again.
func StartService(ctx context.Context, bin, data string, args ...string) (*Service, error) {
	s := &Service{Bin: bin, Data: data}
	return s, s.Start(ctx, args...)
}

// CopyData makes the data folder to as from is, which a service has left: a start on
// it makes no keys and sets nothing up. The mail folders are made anew, as each
// belongs to one data folder.
func CopyData(to, from string) error {
	return filepath.WalkDir(from, func(name string, d fs.DirEntry, err error) error {
		if err != nil || d.Name() == "Mailroot" {
			return cmp.Or(err, fs.SkipDir)
		}
		at, err := filepath.Rel(from, name)
		if err != nil {
			return err
		}
		info, err := d.Info()
		if err != nil {
			return err
		}
		if d.IsDir() {
			return os.Mkdir(filepath.Join(to, at), info.Mode().Perm())
		}
		b, err := os.ReadFile(name)
		if err != nil {
			return err
		}
		return os.WriteFile(filepath.Join(to, at), b, info.Mode().Perm())
	})
}

// Start runs a service that was ended once more.
func (s *Service) Start(ctx context.Context, args ...string) error {
	begin := time.Now()
	s.addrs = map[int]string{}
	s.cmd = exec.Command(s.Bin, append([]string{"--data", s.Data, "serve"}, args...)...)
	log, err := os.OpenFile(s.logName(), os.O_CREATE|os.O_WRONLY|os.O_APPEND, 0o600)
	if err != nil {
		return err
	}
	defer log.Close()
	s.cmd.Stderr = log
	out, err := s.cmd.StdoutPipe()
	if err != nil {
		return err
	}
	if err := s.cmd.Start(); err != nil {
		return err
	}
	late := time.AfterFunc(2*time.Minute, func() { _ = s.cmd.Process.Kill() })
	defer late.Stop()
	lines := bufio.NewScanner(out)
	for lines.Scan() {
		s.parseAddr(lines.Text())
		if word, _, _ := strings.Cut(lines.Text(), ":"); word == "ready" { // no more from older builds, which bench compares
			s.Ready = time.Since(begin)
			s.ended = make(chan error, 1)
			go func() { s.ended <- s.cmd.Wait() }()
			return ctx.Err()
		}
	}
	return fmt.Errorf("restante serve: %w: %s", errors.Join(errors.New("ended before it was ready"), s.cmd.Wait()), s.Log())
}

// parseAddr keeps the address of a line such as: site 1 "NAME" started on ADDR:PORT
func (s *Service) parseAddr(line string) {
	rest, ok := strings.CutPrefix(line, "site ")
	if !ok {
		return
	}
	number, _, _ := strings.Cut(rest, " ")
	n, err := strconv.Atoi(number)
	if at := strings.LastIndex(line, " started on "); at > 0 && err == nil {
		addr, _, _ := strings.Cut(line[at+len(" started on "):], ",")
		s.addrs[n] = strings.TrimSpace(addr)
	}
}

// Addr is where site n listens, or "" if it did not start.
func (s *Service) Addr(n int) string { return s.addrs[n] }

// PID is the running service's.
func (s *Service) PID() int { return s.cmd.Process.Pid }

// Run runs one command of the command line on the service's data and gives its
// standard output. A command that ends with another code than 0 is an error
// that holds its standard error.
func (s *Service) Run(ctx context.Context, stdin string, args ...string) (string, error) {
	cmd := exec.CommandContext(ctx, s.Bin, append([]string{"--data", s.Data}, args...)...)
	cmd.Stdin = strings.NewReader(stdin)
	var out, problems bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &problems
	if err := cmd.Run(); err != nil {
		return out.String(), fmt.Errorf("restante %s: %w: %s", strings.Join(args, " "), err, bytes.TrimSpace(problems.Bytes()))
	}
	return out.String(), nil
}

// Halt asks the service to end, and waits; an exit code other than 0 is an
// error.
func (s *Service) Halt() error {
	_ = s.cmd.Process.Signal(os.Interrupt)
	return s.wait()
}

// Kill ends the service with SIGKILL and waits for the process.
func (s *Service) Kill() {
	_ = s.cmd.Process.Kill()
	_ = s.wait()
}

func (s *Service) wait() error {
	select {
	case err := <-s.ended:
		s.ended <- nil // a second end is harmless
		return err
	case <-time.After(2 * time.Minute):
		_ = s.cmd.Process.Kill()
		return errors.New("restante did not end in two minutes")
	}
}

// Log is what the service wrote to its standard error so far.
func (s *Service) Log() string {
	text, _ := os.ReadFile(s.logName())
	return string(text)
}

func (s *Service) logName() string {
	return filepath.Clean(s.Data) + ".stderr.log"
}
