// SPDX-License-Identifier: Apache-2.0

package main

import (
	"bufio"
	"context"
	"errors"
	"io"
	"net"
	"net/netip"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"runtime"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"restante/cmd/restante/internal/datadir"
)

// TestServeJSON runs a service until it is ready, and reads an object per line.
func TestServeJSON(t *testing.T) {
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	out, in := io.Pipe()
	c := &cli{in: strings.NewReader(""), out: in, err: io.Discard}
	ended := make(chan error, 1)
	go func() {
		ended <- c.run(ctx, []string{"--data", t.TempDir(), "--json", "serve", "--bind", "127.0.0.1:0", "--domain", "hub.example"})
		in.Close()
	}()
	lines := bufio.NewScanner(out)
	for _, want := range []string{`^\{"site":1,"name":"Default SMTP Site","listening":\["127\.0\.0\.1:\d+"\]\}$`, `^\{"ready":true,"running":1,"sites":1\}$`} {
		if !lines.Scan() || !regexp.MustCompile(want).MatchString(lines.Text()) {
			t.Errorf("line %q, want %s", lines.Text(), want)
		}
	}
	cancel()
	if lines.Scan() {
		t.Errorf("another line: %s", lines.Text())
	}
	if err := <-ended; err != nil {
		t.Errorf("serve: %v", err)
	}
}

// A site whose port is taken is told with its reason, counted as not running,
// tried again, and told when it runs. The trial of make run ends there.
func TestServeTellsWhatDoesNotRun(t *testing.T) {
	blocker, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer func() { blocker.Close() }()
	at := blocker.Addr().String()
	data := filepath.Join(t.TempDir(), "data")
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	out, in := io.Pipe()
	var said lockedText
	c := &cli{in: strings.NewReader(""), out: in, err: &said}
	ended := make(chan error, 1)
	go func() {
		ended <- c.run(ctx, []string{"--data", data, "serve", "--bind", at, "--domain", "hub.example"})
		in.Close()
	}()
	lines := bufio.NewScanner(out)
	if !lines.Scan() || lines.Text() != "ready: 0 of 1 sites run" {
		t.Fatalf("line %q, and %s", lines.Text(), said.String())
	}
	reason := "restante: serve: site 1: does not run: listen on " + at + ": bind: "
	if !strings.Contains(said.String(), reason) {
		t.Errorf("standard error has %q, want %q", said.String(), reason)
	}
	blocker.Close()
	if want := `site 1 "Default SMTP Site" started on ` + at; !lines.Scan() || lines.Text() != want {
		t.Errorf("line %q, want %q", lines.Text(), want)
	}
	cancel()
	if err := <-ended; err != nil {
		t.Errorf("serve: %v", err)
	}
	if runtime.GOOS == "windows" {
		return // make run needs a shell
	}

	if blocker, err = net.Listen("tcp", at); err != nil {
		t.Fatal(err)
	}
	bin, err := exec.LookPath("restante")
	if err != nil {
		t.Fatal(err)
	}
	trial, err := exec.Command("../../.ci/try", bin, data).CombinedOutput()
	if code := new(exec.ExitError); !errors.As(err, &code) || code.ExitCode() != 1 {
		t.Errorf("the trial ends with %v, want exit code 1", err)
	}
	for _, want := range []string{reason, "ready: 0 of 1 sites run\n", "try: a site does not run: the service stops"} {
		if !strings.Contains(string(trial), want) {
			t.Errorf("the trial prints %q, want %q", trial, want)
		}
	}
	if strings.Contains(string(trial), "Restante runs") {
		t.Errorf("the trial says that it runs: %q", trial)
	}
}

// Each site is in one line: where it runs, or why not.
func TestAnnounce(t *testing.T) {
	at := []netip.AddrPort{netip.MustParseAddrPort("127.0.0.1:25")}
	sites := []siteState{
		{startedSite{1, "One", at}, ""},
		{startedSite{2, "Two", nil}, "listen on :26: no"},
		{startedSite{3, "Three", nil}, ""},
		{startedSite{4, "Four", at}, "no certificate"},
	}
	var out, said strings.Builder
	c := &cli{out: &out, err: &said}
	changed, rounds := make(chan struct{}, 1), 0
	ctx, cancel := context.WithCancel(t.Context())
	c.announce(ctx, func() []siteState {
		switch rounds++; rounds {
		case 2:
			sites = slices.Clone(sites)
			sites[1] = siteState{startedSite{2, "Two", at}, ""}
		case 3:
			cancel() // site 3 stays as it is, and site 2 is not told again
			return sites
		}
		changed <- struct{}{}
		return sites
	}, changed)
	if want := `site 1 "One" started on 127.0.0.1:25
site 4 "Four" started on 127.0.0.1:25
ready: 2 of 4 sites run
site 2 "Two" started on 127.0.0.1:25
`; out.String() != want {
		t.Errorf("printed %q, want %q", out.String(), want)
	}
	if want := `restante: serve: site 2: does not run: listen on :26: no
restante: serve: site 3: does not start by itself: ServerAutoStart is false
restante: serve: site 4: no certificate
`; said.String() != want {
		t.Errorf("standard error has %q, want %q", said.String(), want)
	}
}

// A lockedText is written to by several goroutines.
type lockedText struct {
	mu   sync.Mutex
	text strings.Builder
}

func (l *lockedText) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.text.Write(p)
}

func (l *lockedText) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.text.String()
}

// A service whose folder is gone ends all the same, says which stores it could not
// close, and loses nothing that was acknowledged.
func TestServeEndsWithoutItsFolder(t *testing.T) {
	data := filepath.Join(t.TempDir(), "data")
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	out, in := io.Pipe()
	var said lockedText
	c := &cli{in: strings.NewReader(""), out: in, err: &said, closing: 100 * time.Millisecond}
	ended := make(chan int, 1)
	go func() {
		ended <- c.report(c.run(ctx, []string{"--data", data, "serve", "--bind", "127.0.0.1:0", "--domain", "hub.example"}))
		in.Close()
	}()
	for lines := bufio.NewScanner(out); lines.Scan() && !strings.HasPrefix(lines.Text(), "ready: "); {
	}
	set := &cli{out: io.Discard, err: io.Discard}
	if code := set.report(set.run(t.Context(), []string{"--data", data, "mb", "set", "SMTPSVC/1", "MaxRecipients", "77"})); code != 0 {
		t.Fatalf("mb set: %d", code)
	}
	if err := os.Rename(data, data+".away"); err != nil {
		t.Fatal(err)
	}
	cancel()
	code := <-ended
	for _, name := range []string{datadir.Store, datadir.Queue} {
		if want := "restante: serve: close " + filepath.Join(data, name) + ": not done after 100ms"; code != 1 || !strings.Contains(said.String(), want) {
			t.Errorf("exit code %d and %q, want 1 and %q", code, said.String(), want)
		}
	}

	// Badger still tries: it ends when the folder is back.
	if err := os.Rename(data+".away", data); err != nil {
		t.Fatal(err)
	}
	again := time.NewTicker(50 * time.Millisecond)
	defer again.Stop()
	for {
		var got strings.Builder
		get := &cli{out: &got, err: &said}
		if get.report(get.run(t.Context(), []string{"--data", data, "mb", "get", "SMTPSVC/1", "MaxRecipients"})) == 0 {
			if got.String() != "77\n" {
				t.Errorf("MaxRecipients is %q, want 77", got.String())
			}
			return
		}
		select {
		case <-again.C:
		case <-t.Context().Done():
			t.Fatal(said.String())
		}
	}
}
