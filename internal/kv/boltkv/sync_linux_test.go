// SPDX-License-Identifier: Apache-2.0

package boltkv_test

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"testing"

	"restante/internal/testpeer"
	"restante/internal/testpeer/winetest"
)

// Each commit syncs the file twice: its data, and then the page that makes them
// valid. Under Wine that is what FlushFileBuffers comes down to.
func TestSyncsOfACommit(t *testing.T) {
	testpeer.Need(t, "strace")
	for system, command := range map[string]func(t *testing.T) *exec.Cmd{
		"Linux": func(*testing.T) *exec.Cmd { return exec.Command(os.Args[0]) },
		"Windows": func(t *testing.T) *exec.Cmd {
			return winetest.New(t).Command(t, winetest.Build(t, "test", "-c"))
		},
	} {
		t.Run(system, func(t *testing.T) {
			const commits = 10
			cmd := command(t)
			none, some := syncs(t, cmd, 0), syncs(t, cmd, commits)
			if some-none != 2*commits {
				t.Errorf("%d syncs for %d commits, %d of them without any", some, commits, none)
			}
		})
	}
}

// syncs counts the successful syncs of TestCommits with n commits in a test's
// binary.
func syncs(t *testing.T, binary *exec.Cmd, n int) int {
	t.Helper()
	trace := filepath.Join(t.TempDir(), "trace")
	args := append([]string{"-f", "-o", trace, "-e", "trace=fsync,fdatasync,msync"}, binary.Args...)
	cmd := exec.CommandContext(t.Context(), "strace", append(args, "-test.run=^TestCommits$")...)
	cmd.Env = append(binary.Environ(), fmt.Sprintf("%s=%d", commitsVariable, n))
	if out, err := cmd.CombinedOutput(); err != nil {
		testpeer.Missing(t, "strace that may trace", fmt.Errorf("%w: %s", err, out))
	}
	text, err := os.ReadFile(trace)
	if err != nil {
		t.Fatal(err)
	}
	return len(regexp.MustCompile(`sync.* = 0\n`).FindAll(text, -1))
}
