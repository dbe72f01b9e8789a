// SPDX-License-Identifier: Apache-2.0

package seal

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"testing"

	"restante/internal/deptest"
)

func TestLayers(t *testing.T) {
	deptest.Forbid(t, map[string]string{
		"/engine":      "a seal knows nothing of mail",
		"/metabase":    "a seal knows nothing of properties",
		"/internal/kv": "what is sealed is kept by others",
		"/adsi-compat": "imports go down only",
	})
}

func TestKey(t *testing.T) {
	dir := t.TempDir()
	file := filepath.Join(dir, "machine.key")
	if _, err := Read(file); !errors.Is(err, ErrMissing) {
		t.Errorf("a missing key: %v", err)
	}
	made, err := Create(file)
	if err != nil {
		t.Fatal(err)
	}
	read, err := Read(file)
	if err != nil {
		t.Fatal(err)
	}
	if plain, err := read.Open(made.Seal([]byte("x"), 7), 7); err != nil || string(plain) != "x" {
		t.Errorf("the key that is read is another: %v", err)
	}
	if _, err := read.Open(made.Seal([]byte("x"), 7), 8); !errors.Is(err, ErrDamaged) {
		t.Errorf("a value of another use opens: %v", err)
	}
	if _, err := Create(file); !errors.Is(err, ErrExists) {
		t.Errorf("a key is written over: %v", err)
	}
	if info, _ := os.Stat(file); runtime.GOOS != "windows" && info.Mode().Perm() != 0o600 {
		t.Errorf("mode %v", info.Mode())
	}
	if text := fmt.Sprintf("%v %+v %#v %s", made, made, made, made); strings.Contains(text, "0x") || strings.Contains(text, "aead") {
		t.Errorf("the key prints as %s", text)
	}
	if runtime.GOOS != "windows" {
		if err := os.Chmod(file, 0o640); err != nil {
			t.Fatal(err)
		}
		if _, err := Read(file); !errors.Is(err, ErrExposed) || !strings.Contains(err.Error(), "chmod 600") {
			t.Errorf("a key that others read: %v", err)
		}
	}
	os.Chmod(file, 0o600)
	if err := os.WriteFile(file, []byte("restante-machine-key-1 AAAA\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := Read(file); !errors.Is(err, ErrDamaged) || strings.Contains(err.Error(), "AAAA") {
		t.Errorf("half a key: %v", err)
	}
	if !made.Fits(read.Prove()) || made.Fits(New().Prove()) || made.Fits(nil) {
		t.Error("a proof fits the wrong key, or not its own")
	}
	if _, err := (Key{}).Open(made.Prove(), 0); !errors.Is(err, ErrNoKey) {
		t.Errorf("no key opens: %v", err)
	}
}
