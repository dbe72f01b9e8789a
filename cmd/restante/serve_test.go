// SPDX-License-Identifier: Apache-2.0

package main

import (
	"bufio"
	"context"
	"io"
	"regexp"
	"strings"
	"testing"
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
