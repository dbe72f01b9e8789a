// SPDX-License-Identifier: Apache-2.0

package dirwatch

import (
	"os"
	"path/filepath"
	"testing"
	"time"

	"restante/internal/deptest"
)

func TestLayers(t *testing.T) {
	deptest.Forbid(t, map[string]string{"restante": "it stands on the system alone"})
}

func TestNewsOfFolders(t *testing.T) {
	w := New(func(name string) bool { return name == "ignored" })
	defer w.Close()
	one, two := t.TempDir(), t.TempDir()
	watch := func(dirs ...string) {
		t.Helper()
		if err := w.Watch(dirs...); err != nil {
			t.Skip("this system gives no news:", err)
		}
	}
	put := func(dir, name string) {
		t.Helper()
		if err := os.WriteFile(filepath.Join(dir, name), []byte("x"), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	hear := func(what string) {
		t.Helper()
		select {
		case <-w.Events():
		case <-time.After(time.Minute):
			t.Errorf("no news of %s", what)
		}
	}
	watch(one, two)
	put(one, "a")
	hear("a new file")
	put(two, "a")
	hear("a new file in the second folder")
	if err := os.RemoveAll(one); err != nil {
		t.Fatal(err)
	}
	if err := os.Mkdir(one, 0o700); err != nil {
		t.Fatal(err)
	}
	watch(one, two)
	put(one, "b")
	hear("a file in the folder that was made again")
	if err := os.Rename(filepath.Join(one, "b"), filepath.Join(two, "b")); err != nil {
		t.Fatal(err)
	}
	hear("a file that was moved there")
	watch()
}

func TestNoNews(t *testing.T) {
	var w *Watcher
	if err := w.Watch(t.TempDir()); err != nil || w.Events() != nil {
		t.Errorf("nil Watcher: %v", err)
	}
	w.Close()
	w = New(nil)
	if err := w.Watch(); err != nil || w.system != nil {
		t.Errorf("it takes something of the system for no folder: %v", err)
	}
	w.Close()
}
