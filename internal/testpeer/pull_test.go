// SPDX-License-Identifier: Apache-2.0

package testpeer_test

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"restante/internal/testpeer"
)

// restante pull collects from each listener of a holder, by the strongest mechanism, and
// hands over to a server that offers PIPELINING and to one that offers nothing.
func TestPullCollectsFromEachListener(t *testing.T) {
	t.Parallel()
	s := startService(t)
	for _, d := range []string{"one.test", "two.test", "three.test"} {
		createHeldDomain(t, s, d, account)
	}
	file := filepath.Join(t.TempDir(), "password")
	if err := os.WriteFile(file, []byte(password+"\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	odmr, implicit := openListener(t, s, "AtrnBindings"), openListener(t, s, "SecureBindings")
	state := t.TempDir()
	for i, tt := range []struct {
		addr string
		args []string
		want []string
	}{
		{odmr, []string{"--insecure", "--atrn", "one.test,three.test"}, []string{"one.test", "three.test"}},
		{odmr, []string{"--insecure", "--atrn"}, []string{"one.test", "three.test", "two.test", "two.test"}},
		{implicit, []string{"--insecure", "--turn", "--tls", "implicit"}, []string{"one.test", "three.test", "two.test"}},
		{s.Addr(1), []string{"--turn", "--tls", "none"}, []string{"one.test", "three.test", "two.test"}},
	} {
		mx := testpeer.NewMX(t, testpeer.MXOptions{Plain: i%2 == 0})
		for _, d := range []string{"one.test", "two.test", "three.test"} {
			sendMessage(t, s, sender, d, "x@"+d)
		}
		args := append([]string{"pull", tt.addr, "--user", account, "--password-file", file, "--to", mx.Addr, "--state", state}, tt.args...)
		out := runCommand(t, s, "", args...)
		checkSubjects(t, subjects(t, mx), tt.want)
		if want := fmt.Sprintf("%d messages taken", len(tt.want)); !strings.Contains(out, want) {
			t.Errorf("%q says: %s; want %s", args, out, want)
		}
		if n := strings.Count(s.Log(), "mechanism=SCRAM-SHA-256"); n != i+1 {
			t.Errorf("%q: %d sign-ins by the strongest mechanism", args, n)
		}
	}
}
