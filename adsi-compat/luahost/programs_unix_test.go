// SPDX-License-Identifier: Apache-2.0

//go:build unix

package luahost

import (
	"context"
	"io"
	"os"
	"strings"
	"syscall"
	"testing"

	"restante/adsi-compat/luahost/system"
)

// What a program of a script has started ends with the script, and with its
// interruption. Each writes "late" unless it is ended.
func TestProgramsEndWithTheScript(t *testing.T) {
	const work = `(echo here; sleep 20; echo late) > fifo 2>&1`
	tests := []struct {
		name, source string
		interrupt    bool
	}{
		{"execute", `os.execute("` + work + ` &")`, false},
		{"popen", `io.popen("` + work + ` & echo x"):close()`, false},
		{"popen left open", `io.popen("` + work + ` & echo x"):read()`, false},
		{"an error", `os.execute("` + work + ` &") error("x")`, false},
		{"execute interrupted", `os.execute("` + work + `")`, true},
		{"execute interrupted, with another", `os.execute("` + work + ` & wait")`, true},
		{"popen interrupted", `io.popen("` + work + ` & wait"):read()`, true},
		{"interrupted after", `os.execute("` + work + ` &") while true do end`, true},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Chdir(t.TempDir())
			if err := syscall.Mkfifo("fifo", 0o600); err != nil {
				t.Fatal(err)
			}
			ctx, cancel := context.WithCancel(t.Context())
			defer cancel()
			ended := make(chan error)
			go func() {
				ended <- Run(ctx, directory(tree(t)), Script{Name: "p.lua", Source: tt.source, Streams: system.Streams{In: strings.NewReader(""), Out: io.Discard, Err: io.Discard}})
			}()
			f, err := os.Open("fifo") // when a program has opened it, too
			if err != nil {
				t.Fatal(err)
			}
			defer f.Close()
			if b := make([]byte, len("here\n")); tt.interrupt {
				if _, err := io.ReadFull(f, b); err != nil {
					t.Fatal(err)
				}
				cancel()
			}
			<-ended
			if rest, err := io.ReadAll(f); err != nil || strings.Contains(string(rest), "late") {
				t.Errorf("%q, %v: the program went on", rest, err)
			}
		})
	}
}
