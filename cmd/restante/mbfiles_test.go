// SPDX-License-Identifier: Apache-2.0

package main

import (
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"restante/admin/api"
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
	var b boundedBuffer
	if _, err := b.Write([]byte("four")); err != nil || b.text.String() != "four" {
		t.Errorf("%q, %v", b.text.String(), err)
	}
	if _, err := b.Write(make([]byte, api.MaxImport-3)); err == nil || b.text.Len() != 4 {
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
	endless := io.MultiReader(strings.NewReader(own), zeros{})
	if _, err := (&cli{in: endless}).readTrimmed("-"); err == nil || !strings.Contains(err.Error(), "is larger than") {
		t.Errorf("without an end: %v", err)
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
