// SPDX-License-Identifier: Apache-2.0

package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"time"

	"restante/internal/testpeer"
	"restante/internal/testpeer/postfix"
)

// A contender is a mail server that the rows of accept, release and memory
// measure; all of them take turns.
type contender struct {
	name    string
	start   func(context.Context, options) (instance, error)
	release func(context.Context, options) (float64, error) // messages per second
}

// An instance is a contender that runs.
type instance interface {
	addr() string
	stop() // and remove its data
}

// contenders gives restante first.
func contenders(o options) []contender {
	all := []contender{restanteContender("restante", o.restante)}
	if o.against != "" {
		all = append(all, restanteContender("against", o.against))
	}
	if postfix.Missing() == nil {
		all = append(all, contender{"Postfix", func(ctx context.Context, o options) (instance, error) {
			return startPostfix(ctx, o, "127.0.0.1:9")
		}, releasePostfix})
	}
	return all
}

func names(all []contender) (out []string) {
	for _, c := range all {
		out = append(out, c.name)
	}
	return out
}

func restanteContender(name, binary string) contender {
	return contender{
		name:    name,
		start:   func(ctx context.Context, o options) (instance, error) { return startRestante(ctx, o, binary) },
		release: func(ctx context.Context, o options) (float64, error) { return releaseRestante(ctx, o, binary) },
	}
}

type service struct{ *testpeer.Service }

// startRestante sets up a service that holds mail for heldDomain, for account to
// collect.
func startRestante(ctx context.Context, o options, binary string) (service, error) {
	data, err := os.MkdirTemp(o.dir, "restante-")
	if err != nil {
		return service{}, err
	}
	s, err := testpeer.StartService(ctx, binary, data, "--bind", "127.0.0.1:0", "--domain", "hub.test", "--fqdn", "hub.test")
	if err != nil {
		return service{}, err
	}
	for _, c := range []struct {
		stdin string
		args  []string
	}{
		{password + "\n", []string{"account", "add", "--password-stdin", "--cram-md5", account}},
		{"", []string{"domain", "create", "1", heldDomain, "--remote", "--turn", account}},
	} {
		if _, err := s.Run(ctx, c.stdin, c.args...); err != nil {
			return service{}, errors.Join(err, s.Halt())
		}
	}
	return service{s}, nil
}

func (s service) addr() string { return s.Addr(1) }

func (s service) stop() {
	_ = s.Halt()
	_ = os.RemoveAll(s.Data)
}

// resident is the process' resident memory in MiB.
func (s service) resident() (float64, error) {
	text, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", s.PID()))
	if err != nil {
		return 0, err
	}
	for line := range strings.Lines(string(text)) {
		if rest, ok := strings.CutPrefix(line, "VmRSS:"); ok {
			kib, err := strconv.ParseFloat(strings.TrimSuffix(strings.TrimSpace(rest), " kB"), 64)
			return kib / 1024, err
		}
	}
	return 0, errors.New("no VmRSS")
}

type postfixServer struct{ *postfix.Server }

// startPostfix starts a Postfix that defers mail for heldDomain until ETRN, and
// then sends it to next.
func startPostfix(ctx context.Context, o options, next string) (postfixServer, error) {
	dir, err := os.MkdirTemp(o.dir, "postfix-")
	if err != nil {
		return postfixServer{}, err
	}
	if dir, err = filepath.Abs(dir); err != nil {
		return postfixServer{}, err
	}
	host, port, _ := strings.Cut(next, ":")
	p, err := postfix.Start(ctx, dir, 120,
		"relay_domains = "+heldDomain,
		"fast_flush_domains = $relay_domains",
		"defer_transports = relay",
		"transport_maps = inline:{"+heldDomain+"=relay:["+host+"]:"+port+"}",
		"smtpd_client_event_limit_exceptions = 127.0.0.0/8",
	)
	return postfixServer{p}, err
}

func (p postfixServer) addr() string { return p.Addr }

func (p postfixServer) stop() {
	p.Stop()
	_ = os.RemoveAll(p.Dir)
}

// measureMemory measures the time from exec to the ready line and the resident
// memory, empty and with many messages held. Each side is started once.
func measureMemory(ctx context.Context, o options, r *report) error {
	var figures []*figure
	for _, held := range []int{0, o.full} {
		figures = append(figures,
			&figure{Name: fmt.Sprintf("exec to ready, %d messages held", held), Unit: "ms"},
			&figure{Name: fmt.Sprintf("resident, %d messages held", held), Unit: "MiB"})
	}
	binaries := [][2]string{{"restante", o.restante}}
	if o.against != "" {
		binaries = append(binaries, [2]string{"against", o.against})
	}
	for _, b := range binaries {
		if err := fillAndRestart(ctx, o, b[0], b[1], figures); err != nil {
			return fmt.Errorf("%s: %w", b[0], err)
		}
	}
	for _, f := range figures {
		if err := r.figure(f); err != nil {
			return err
		}
	}
	return nil
}

// fillAndRestart adds the values of one binary to the figures.
func fillAndRestart(ctx context.Context, o options, name, binary string, figures []*figure) error {
	s, err := startRestante(ctx, o, binary)
	if err != nil {
		return err
	}
	defer s.stop()
	for i, held := range []int{0, o.full} {
		if held > 0 {
			const sessions = 50
			if _, err := load(ctx, s.Addr(1), sessions, 1<<10, 0, int64(held-sessions)); err != nil {
				return err
			}
		}
		if err := restart(ctx, s.Service); err != nil {
			return err
		}
		mib, err := s.resident()
		if err != nil {
			return err
		}
		figures[2*i].add(name, float64(s.Ready.Milliseconds()))
		figures[2*i+1].add(name, mib)
	}
	return nil
}

// restart starts the service once more on what it has, and waits until it has
// given back the memory that only a start needs.
func restart(ctx context.Context, s *testpeer.Service) error {
	if err := s.Halt(); err != nil {
		return err
	}
	if err := s.Start(ctx); err != nil {
		return err
	}
	return settle(ctx)
}

// settle waits until a service has given back the memory that it needs no more.
func settle(ctx context.Context) error {
	select {
	case <-ctx.Done():
		return context.Cause(ctx)
	case <-time.After(5 * time.Second):
		return nil
	}
}
