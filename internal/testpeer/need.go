// SPDX-License-Identifier: Apache-2.0

package testpeer

import (
	"os"
	"os/exec"
	"testing"
)

// Need skips the test when a program that it talks to is not installed, and
// names the program. Where peers are required, by CI=true or
// RESTANTE_PEERS=required, it fails the test instead. .ci/peers installs them.
//
// "postfix" stands for all that StartPostfix needs. With -short, tests that need
// a peer are left out.
func Need(t testing.TB, programs ...string) {
	t.Helper()
	if testing.Short() {
		t.Skipf("left out by -short: talks to %v", programs)
	}
	for _, p := range programs {
		if err := installed(p); err != nil {
			Missing(t, p, err)
		}
	}
}

func installed(program string) error {
	if program == "postfix" {
		return PostfixMissing()
	}
	_, err := exec.LookPath(program)
	return err
}

// Missing skips the test for want of a peer, or fails it where peers are
// required.
func Missing(t testing.TB, peer string, why error) {
	t.Helper()
	if peersRequired(os.Getenv) {
		t.Fatalf("%s is required here (CI or RESTANTE_PEERS=required): %v", peer, why)
	}
	t.Skipf("needs %s: %v", peer, why)
}

func peersRequired(getenv func(string) string) bool {
	ci := getenv("CI")
	return ci != "" && ci != "false" || getenv("RESTANTE_PEERS") == "required"
}

// Without skips the test on a machine that lacks an ability that no package
// installs, such as IPv6 or symbolic links. It never fails the test.
func Without(t testing.TB, ability string, why error) {
	t.Helper()
	t.Skipf("this machine has no %s: %v", ability, why)
}
