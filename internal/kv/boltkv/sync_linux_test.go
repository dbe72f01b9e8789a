// SPDX-License-Identifier: Apache-2.0

package boltkv_test

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strconv"
	"testing"

	"restante/internal/kv"
	"restante/internal/testpeer"
)

// commitsVariable has the number of commits for the traced run of the test.
const commitsVariable = "RESTANTE_TEST_COMMITS"

// Each commit syncs the file twice: its data, and then the page that makes them
// valid.
func TestSyncsOfACommit(t *testing.T) {
	if n, err := strconv.Atoi(os.Getenv(commitsVariable)); err == nil {
		db := mustOpen(t, t.TempDir())
		for i := range n {
			if err := db.Commit(t.Context(), kv.Put(fmt.Append(nil, i), []byte("v"))); err != nil {
				t.Fatal(err)
			}
		}
		return
	}
	testpeer.Need(t, "strace")
	const commits = 10
	none, some := syncs(t, 0), syncs(t, commits)
	if some-none != 2*commits {
		t.Errorf("%d syncs for %d commits, %d of them without any", some, commits, none)
	}
}

// syncs counts the successful syncs of a run with n commits.
func syncs(t *testing.T, n int) int {
	t.Helper()
	trace := filepath.Join(t.TempDir(), "trace")
	cmd := exec.CommandContext(t.Context(), "strace", "-f", "-o", trace, "-e", "trace=fsync,fdatasync,msync", os.Args[0], "-test.run=^"+t.Name()+"$")
	cmd.Env = append(os.Environ(), fmt.Sprintf("%s=%d", commitsVariable, n))
	if out, err := cmd.CombinedOutput(); err != nil {
		testpeer.Missing(t, "strace that may trace", fmt.Errorf("%w: %s", err, out))
	}
	text, err := os.ReadFile(trace)
	if err != nil {
		t.Fatal(err)
	}
	return len(regexp.MustCompile(`sync.* = 0\n`).FindAll(text, -1))
}
