// SPDX-License-Identifier: Apache-2.0

package main

import (
	"bufio"
	"context"
	"io"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"sync"
	"testing"
	"time"
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
	for _, want := range []string{`^\{"site":1,"name":"Default SMTP Site","listening":\["127\.0\.0\.1:\d+"\]\}$`, `^\{"ready":true\}$`} {
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
	for lines := bufio.NewScanner(out); lines.Scan() && lines.Text() != "ready"; {
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
	for _, name := range []string{storeName, queueName} {
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
