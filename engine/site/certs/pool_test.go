// SPDX-License-Identifier: Apache-2.0

package certs

import (
	"os"
	"strings"
	"testing"
	"testing/synctest"
	"time"
)

// The authorities follow their file; one that is broken leaves them as they were.
func TestPoolFollowsItsFile(t *testing.T) {
	dir := t.TempDir()
	synctest.Test(t, func(t *testing.T) {
		file := writeCert(t, dir, "one.test")[0]
		p := NewPool(file)
		first, err := p.Roots()
		if err != nil {
			t.Fatal(err)
		}
		writeCert(t, dir, "another.test")
		time.Sleep(poolEvery)
		second, err := p.Roots()
		if err != nil || second.Equal(first) {
			t.Errorf("a new file is not read: %v", err)
		}
		if err := os.WriteFile(file, []byte("no certificate"), 0o600); err != nil {
			t.Fatal(err)
		}
		time.Sleep(poolEvery)
		if now, err := p.Roots(); err != nil || !now.Equal(second) {
			t.Errorf("a broken file is taken: %v", err)
		}
		if _, err := NewPool(file).Roots(); err == nil || !strings.Contains(err.Error(), "has none: name a PEM file") {
			t.Errorf("a broken file: %v", err)
		}
		if _, err := NewPool(dir).Roots(); err == nil || !strings.Contains(err.Error(), "is not a regular file") {
			t.Errorf("a folder: %v", err)
		}
	})
}
