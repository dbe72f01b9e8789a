// SPDX-License-Identifier: Apache-2.0

package testpeer

import (
	"bytes"
	"fmt"
	"math/rand/v2"
	"os"
	"os/exec"
	"runtime/debug"
	"slices"
	"testing"

	"restante/internal/testpeer/postfix"
	"restante/internal/testpeer/slapd"
)

// Need skips the test when a program that it talks to is not installed, and
// names the program. Where peers are required, by CI=true or
// RESTANTE_PEERS=required, it fails the test instead. .ci/peers installs them.
//
// "postfix" stands for all that package postfix needs. With -short, tests that need
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
		return postfix.Missing()
	}
	_, err := slapd.Look(program)
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

// Rounds is how often a test repeats what it does: with -short, ordinarily, and
// in `make soak`.
func Rounds(short, usual, soak int) int {
	switch {
	case soaking():
		return soak
	case testing.Short():
		return short
	}
	return usual
}

// FaultSteps picks those of the steps 1 to n at which a test injects a fault. In
// `make soak` they are all of them. Otherwise they are the first, the last and
// about so many between, by a seed that is in the log.
func FaultSteps(t testing.TB, n, between int) []int {
	t.Helper()
	stride := max(1, n/max(1, between))
	if soaking() {
		stride = 1
	}
	seed := rand.Uint64()
	t.Logf("seed of the steps: %d", seed)
	rnd := rand.New(rand.NewPCG(seed, 0))
	steps := []int{1}
	for from := 2; from < n; from += stride {
		steps = append(steps, from+rnd.IntN(min(stride, n-from)))
	}
	if n > 1 {
		steps = append(steps, n)
	}
	return steps
}

// RaceEnabled reports whether the test was built with the race detector.
func RaceEnabled() bool {
	info, ok := debug.ReadBuildInfo()
	return ok && slices.Contains(info.Settings, debug.BuildSetting{Key: "-race", Value: "true"})
}

// WithoutRace runs the test once more in a process built without the race
// detector, where it was built with it, and reports whether it did. It is for a
// test of what a library does with damaged memory: the checks of pointers that
// come with the race detector end the process, and the shipped binary has none;
// and for one of bounds of memory, which with it takes a multiple of both memory and
// time.
func WithoutRace(t *testing.T) bool {
	t.Helper()
	if !RaceEnabled() {
		return false
	}
	cmd := exec.CommandContext(t.Context(), "go", "test", "-vet=off", "-count=1", "-v",
		fmt.Sprintf("-short=%t", testing.Short()), "-run=^"+t.Name()+"$", ".")
	cmd.Env = append(os.Environ(), "CGO_ENABLED=0")
	out, err := cmd.CombinedOutput()
	if err != nil || !bytes.Contains(out, []byte("--- PASS: "+t.Name())) {
		t.Fatalf("without the race detector: %v\n%s", err, out)
	}
	return true
}

func soaking() bool { return os.Getenv("RESTANTE_SOAK") != "" }
