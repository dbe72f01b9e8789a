// SPDX-License-Identifier: Apache-2.0

//go:build unix

package testpeer_test

import (
	"bytes"
	"context"
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"restante/internal/testpeer"
)

// operatorUID is a user other than the one the service runs as.
const operatorUID = 65534

// runAsOperator runs one command as the operator of site 1. It gives the exit code
// and both streams.
func runAsOperator(t *testing.T, s *testpeer.Service, stdin string, args ...string) (int, string) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 2*time.Minute)
	defer cancel()
	cmd := exec.CommandContext(ctx, s.Bin, append([]string{"--data", s.Data}, args...)...)
	cmd.SysProcAttr = &syscall.SysProcAttr{Credential: &syscall.Credential{Uid: operatorUID, Gid: operatorUID}}
	cmd.Dir = "/"
	cmd.Stdin = strings.NewReader(stdin)
	out, err := cmd.CombinedOutput()
	var exit *exec.ExitError
	if err != nil && !errors.As(err, &exit) {
		t.Fatal(err)
	}
	return cmd.ProcessState.ExitCode(), string(out)
}

// TestOperatorSeesAndChangesOneSite calls over the socket as another user of the
// machine, whose access list covers site 1. No answer names anything of site 2.
func TestOperatorSeesAndChangesOneSite(t *testing.T) {
	t.Parallel()
	if os.Getuid() != 0 {
		testpeer.Without(t, "second user for this test", errors.New("only root may start a process as another user"))
	}
	s := startService(t)
	for _, dir := range []string{filepath.Dir(s.Bin), filepath.Dir(filepath.Dir(s.Data))} {
		if err := os.Chmod(dir, 0o755); err != nil { // folders of a test are private
			t.Fatal(err)
		}
	}
	const planted = "planted-secret-7431"
	runCommand(t, s, "", "site", "create", "--name", "Two", "--bind", "127.0.0.1:0", "--domain", "two.test")
	runCommand(t, s, "", "domain", "create", "1", "mine.test", "--remote", "--smart-host", "relay.test")
	runCommand(t, s, "", "domain", "create", "2", "theirs.test", "--remote", "--turn", account)
	runCommand(t, s, "set SMTPSVC/1/Domain/mine.test RoutePassword "+planted+"\n"+
		"set SMTPSVC/2/Domain/theirs.test RoutePassword "+planted+"\n"+
		"set / AccessList 'user:root all'\n"+
		"set SMTPSVC/1 AccessList 'uid:65534 read,write,create,delete'\n", "mb", "apply")
	both := "set SMTPSVC/1 MaxRecipients 11\nset SMTPSVC/2 MaxRecipients 11\n"
	tests := []struct {
		stdin string
		args  string
		code  int
		want  string // in the output
	}{
		{"", "mb set SMTPSVC/1 MaxRecipients 7", 0, ""},
		{"", "mb get SMTPSVC/1 MaxRecipients --from", 0, "by user:nobody"},
		{"", "mb tree SMTPSVC/1", 0, "mine.test"},
		{"", "mb show SMTPSVC/1 --all", 0, "AccessList"},
		{"", "mb find RouteAction SMTPSVC/1", 0, "mine.test"},
		{"", "mb log SMTPSVC/1 --changes", 0, "MaxRecipients"},
		{"", "mb export SMTPSVC/1 -", 0, "mine.test"},
		{"", "mb watch SMTPSVC/1 --since 1 --count 1", 0, "/LM/SMTPSVC/1/"},
		{"", "mb diff 1", 0, "/LM/SMTPSVC/1/MaxRecipients"},
		{"", "domain list 1", 0, "mine.test"},
		{"", "site list", 0, "Default SMTP Site"},
		{"", "site stop 1", 0, "stopped"},
		{"", "site start 1", 0, "started"},
		{"", "domain create 1 new.test --remote", 0, ""},
		{"", "domain delete 1 new.test", 0, ""},
		{"set SMTPSVC/1 MaxRecipients 8\n", "mb apply --confirm 1h", 0, "taken back"},
		{"", "mb confirm", 0, "stays"},

		{"", "mb get SMTPSVC/2 MaxRecipients", 4, "denied"},
		{"", "mb get SMTPSVC/99 MaxRecipients", 4, "denied"}, // the same where there is no such site
		{"", "mb set SMTPSVC/2 MaxRecipients 7", 4, "denied"},
		{"", "mb set SMTPSVC MaxRecipients 7", 4, "denied"},
		{"", "mb set SMTPSVC/1 AccessList '* all'", 4, "control"},
		{"", "mb unset SMTPSVC/1 AccessList", 4, "control"},
		{"", "mb lock SMTPSVC/1 MaxRecipients", 4, "control"},
		{both, "mb apply", 4, "denied"},
		{both, "mb apply --dry-run", 4, "denied"},
		{"", "mb tree", 0, "mine.test"}, // his part of the tree
		{"", "mb ls", 0, "SMTPSVC"},
		{"", "mb ls SMTPSVC", 0, "1"},
		{"", "mb ls SMTPSVC/2", 4, "denied"},
		{"", "mb ls SMTPSVC/99", 4, "denied"},
		{"", "__complete -- mb ls SMTPSVC/", 0, "SMTPSVC/1"},
		{"", "status", 0, "site 1"},
		{"", "mb tree SMTPSVC/2", 4, "denied"},
		{"", "mb show SMTPSVC/2", 4, "denied"},
		{"", "mb find RouteAction", 0, "mine.test"},
		{"", "mb log", 4, "denied"},
		{"", "mb log SMTPSVC/2", 4, "denied"},
		{"", "mb watch", 4, "denied"},
		{"", "mb watch SMTPSVC/2", 4, "denied"},
		{"", "mb export -", 4, "denied"},
		{"", "mb export SMTPSVC/2 -", 4, "denied"},
		{"", "mb revert 2", 4, "denied"},
		{"", "mb cp SMTPSVC/2/Domain/theirs.test SMTPSVC/1/Domain/stolen.test", 4, "denied"},
		{"", "mb cp SMTPSVC/1/Domain/mine.test SMTPSVC/1/Domain/copy.test", 4, "write_secret"},
		{"", "mb set SMTPSVC/1/Domain/mine.test RoutePassword guess", 4, "write_secret"},
		{"", "mb rm SMTPSVC/2 --recursive", 4, "denied"},
		{"", "mb backup mine", 4, "denied"},
		{"", "mb backups", 4, "denied"},
		{"", "--yes mb restore mine", 4, "denied"},
		{"", "mb set SMTPSVC/2 MaxMessageSize xx", 4, "/LM/SMTPSVC/2: denied"},
		{"", "mb set SMTPSVC/99 MaxMessageSize xx", 4, "/LM/SMTPSVC/99: denied"},
		{"", "mb unlock SMTPSVC/2 HopCount", 4, "/LM/SMTPSVC/2: HopCount: denied"},
		{"", "queue list --site 2", 4, "/LM/SMTPSVC/2: denied"},
		{"", "queue list --site 99", 4, "/LM/SMTPSVC/99: denied"},
		{"", "queue export /tmp/of-site-1 --site 1", 4, "/exports"},
		{"", "queue import /tmp --site 1", 4, "/exports"},
		{"", "account delete 2/bob", 4, "/LM/SMTPSVC/2/User/bob: denied"},
		{"", "account delete 99/bob", 4, "/LM/SMTPSVC/99/User/bob: denied"},
		{"", "explain 99 x@theirs.test", 4, "/LM/SMTPSVC/99: denied"},
		{"", "explain 1 x@mine.test --account " + account, 4, "denied"},
		{"", "site show 99", 4, "/LM/SMTPSVC/99: denied"},
		{"", "site show 2", 4, "denied"},
		{"", "site stop 2", 4, "denied"},
		{"", "site sessions 2", 4, "denied"},
		{"", "domain list 2", 4, "denied"},
		{"", "explain 2 x@theirs.test", 4, "denied"},
		{"", "site create --name Three --bind 127.0.0.1:0 --domain three.test", 4, "denied"},
		{"pw\n", "account add --password-stdin mallory", 4, "denied"},
	}
	for i, tt := range tests {
		if !sampled(i, 5) && i > 0 {
			continue
		}
		words := strings.Fields(tt.args)
		if i := strings.Index(tt.args, "'"); i > 0 { // one quoted value at the end
			words = append(strings.Fields(tt.args[:i]), strings.Trim(tt.args[i:], "'"))
		}
		code, out := runAsOperator(t, s, tt.stdin, words...)
		if code != tt.code || !strings.Contains(out, tt.want) {
			t.Errorf("%s: exit code %d, want %d and %q:\n%s", tt.args, code, tt.code, tt.want, out)
		}
		for _, hidden := range []string{planted, "theirs.test", "two.test", "/LM/SMTPSVC/2/", `"Two"`} {
			if strings.Contains(out, hidden) && !strings.Contains(tt.want, hidden) && !strings.Contains(strings.ReplaceAll(tt.args, "SMTPSVC", "/LM/SMTPSVC"), hidden) {
				t.Errorf("%s names %s:\n%s", tt.args, hidden, out)
			}
		}
	}
	for _, path := range []string{"/LM/SMTPSVC/2", "/LM/SMTPSVC", "/"} {
		if !strings.Contains(s.Log(), `msg="refused right" actor=user:nobody origin=cli path=`+path+" ") {
			t.Errorf("no refusal at %s is in the log", path)
		}
	}
	if out := runCommand(t, s, "", "mb", "get", "SMTPSVC/2", "MaxRecipients"); strings.TrimSpace(out) != "100" {
		t.Errorf("MaxRecipients of site 2 is %s", out)
	}
	checkUnreadable(t, s)
}

// checkUnreadable checks that the operator can read no file of the data folder.
func checkUnreadable(t *testing.T, s *testpeer.Service) {
	t.Helper()
	cmd := exec.CommandContext(t.Context(), "find", s.Data, "-type", "f", "-readable")
	cmd.SysProcAttr = &syscall.SysProcAttr{Credential: &syscall.Credential{Uid: operatorUID, Gid: operatorUID}}
	cmd.Dir = "/"
	out, _ := cmd.Output() // it fails for folders without access
	if len(bytes.TrimSpace(out)) > 0 {
		t.Errorf("another user can read:\n%s", out)
	}
}
