// SPDX-License-Identifier: Apache-2.0

package testpeer

import (
	"errors"
	"fmt"
	"os"
	"os/exec"
	"strings"
	"syscall"
	"testing"
)

// inNamespace marks the second run of a test, as the root of a user namespace.
const inNamespace = "RESTANTE_TEST_NAMESPACE"

// SmallDisk mounts a file system of that size, such as "64m", for the test's
// time. Where only root may mount, it runs the test once more in a user
// namespace, and done reports that the test has ended there.
func SmallDisk(t *testing.T, size string) (dir string, done bool) {
	t.Helper()
	dir = t.TempDir()
	err := syscall.Mount("tmpfs", dir, "tmpfs", 0, "size="+size)
	if err == nil {
		t.Cleanup(func() { _ = syscall.Unmount(dir, syscall.MNT_DETACH) })
		return dir, false
	}
	if os.Getenv(inNamespace) != "" {
		Missing(t, "a file system of "+size, err)
	}
	unshare, err := exec.LookPath("unshare")
	if err != nil {
		Missing(t, "unshare", err)
	}
	again := exec.CommandContext(t.Context(), unshare, "-rm", os.Args[0], "-test.v", "-test.run=^"+t.Name()+"$",
		fmt.Sprintf("-test.short=%v", testing.Short()))
	again.Env = append(os.Environ(), inNamespace+"=1")
	out, err := again.CombinedOutput()
	t.Logf("in a user namespace:\n%s", out)
	if exit := (*exec.ExitError)(nil); errors.As(err, &exit) && strings.Contains(string(out), "--- FAIL") {
		t.Error("failed in the user namespace")
	} else if err != nil {
		Missing(t, "a user namespace that may mount", err)
	}
	return "", true
}
