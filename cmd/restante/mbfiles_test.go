// SPDX-License-Identifier: Apache-2.0

package main

import (
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"restante/admin/api"
	"restante/internal/testpeer"
)

// TestArgumentsAreText refuses what would be replaced on its way.
func TestArgumentsAreText(t *testing.T) {
	for _, args := range [][]string{
		{"mb", "set", "SMTPSVC/1", "ServerComment", "caf\xe9"},
		{"--comment", "\xff", "status"},
		{"domain", "create", "1", "\xc3\x28.example", "--hold"},
	} {
		var out, errs strings.Builder
		if code := run(append([]string{"--data", t.TempDir()}, args...), strings.NewReader(""), &out, &errs); code != 2 ||
			!strings.Contains(errs.String(), "is not valid UTF-8") || out.Len() > 0 {
			t.Errorf("%q: exit code %d, %s", args, code, errs.String())
		}
	}
}

func TestBoundedBuffer(t *testing.T) {
	b := boundedBuffer{most: 1 << 20}
	if _, err := b.Write([]byte("four")); err != nil || b.text.String() != "four" {
		t.Errorf("%q, %v", b.text.String(), err)
	}
	if _, err := b.Write(make([]byte, b.most-3)); err == nil || b.text.Len() != 4 {
		t.Errorf("more than it may: %d octets, %v", b.text.Len(), err)
	}
}

func TestReadTrimmed(t *testing.T) {
	file := filepath.Join(t.TempDir(), "four")
	if err := os.WriteFile(file, []byte("four"), 0o600); err != nil {
		t.Fatal(err)
	}
	c := &cli{in: strings.NewReader("four")}
	own := `<configuration><MBProperty><IIS_Global Origin="Restante"/>`
	endless := func() io.Reader { return io.MultiReader(strings.NewReader(own), zeros{}) }
	bounded := boundedBuffer{most: 1 << 20}
	if err := bounded.trim(endless()); err == nil || !strings.Contains(err.Error(), "is larger than 1 MiB") {
		t.Errorf("without an end: %v", err)
	}
	for range testpeer.Rounds(0, 0, 1) { // takes a gigabyte, and five with the race detector
		want := fmt.Sprintf("is larger than %d MiB", api.MaxImport>>20)
		if _, err := (&cli{in: endless()}).readTrimmed("-"); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("without an end: %v", err)
		}
	}
	for _, name := range []string{file, "-"} {
		if got, err := c.readTrimmed(name); string(got) != "four" || err != nil {
			t.Errorf("%s: %q, %v", name, got, err)
		}
	}
}

// zeros reads on and on.
type zeros struct{}

func (zeros) Read(b []byte) (int, error) { return len(b), nil }
