// SPDX-License-Identifier: Apache-2.0

package testpeer_test

import (
	"bytes"
	"context"
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"

	"restante/internal/testpeer"
)

// tryCommand runs one command and gives its exit code and both streams.
func tryCommand(t *testing.T, s *testpeer.Service, stdin string, args ...string) (code int, stdout, stderr string) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 5*time.Minute) // of a service that should have refused
	defer cancel()
	cmd := exec.CommandContext(ctx, s.Bin, append([]string{"--data", s.Data}, args...)...)
	cmd.Stdin = strings.NewReader(stdin)
	var out, problems bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &problems
	err := cmd.Run()
	if exit := (*exec.ExitError)(nil); err != nil && !errors.As(err, &exit) {
		t.Fatal(err)
	}
	return cmd.ProcessState.ExitCode(), out.String(), problems.String()
}

// commandRows are commands that must be refused: arguments separated by spaces, the
// exit code, and a part of standard error.
var commandRows = []struct {
	args string
	code int
	want string
}{
	{"nosuch", 2, `no command is called "nosuch": there are serve, `},
	{"mb", 2, "a command is needed: get, set, "},
	{"mb frob", 2, `no command is called "frob"`},
	{"--frob status", 2, "there is no option --frob"},
	{"mb --frob ls", 2, "there is no option --frob"},
	{"mb set SMTPSVC/1 MaxRecipients --frob 1", 2, "there is no option --frob"},
	{"mb get", 2, "takes PATH PROP"},
	{"mb get SMTPSVC/1", 2, "a property is needed"},
	{"mb get SMTPSVC/1 MaxRecipients --rev x", 2, `"x"`},
	{"status more", 2, "takes no arguments"},
	{"site show x", 2, `"x" is no number of a site`},
	{"site bind 1", 2, "takes N ADDR:PORT..."},
	{"site create --name x", 2, "--name, --bind and --domain are needed"},
	{"domain create 1 x.test", 2, "either --alias or --remote is needed"},
	{"domain create 1 x.test --alias --turn testserver", 2, "an alias is local"},
	{"queue retry", 2, "takes ID..., or --domain, --from, --older-than or --all"},
	{"queue delete --older-than x", 2, `"x"`},
	{"queue delete --all", 2, "needs a yes"},
	{"explain 1 nonsense@", 2, "is empty"},
	{"serve --bind 127.0.0.1:0", 2, "is set up already"},
	{"serve --log-format xml", 2, `--log-format is text or json, not "xml"`},
	{"account add a/b/c --password-stdin", 2, "an account is NAME or SITE/NAME"},

	{"mb get SMTPSVC/9 MaxRecipients", 3, "/LM/SMTPSVC/9: not found"},
	{"mb set SMTPSVC/9 MaxRecipients 5", 3, "/LM/SMTPSVC/9: not found"},
	{"mb get SMTPSVC/1 MaxRecipient", 3, `no property is called "MaxRecipient"; did you mean "MaxRecipients"?`},
	{"mb set SMTPSVC/1 AuthTurnlists x", 3, `did you mean "AuthTurnList"?`},
	{"mb get SMTPSVC/1 4294967290", 3, "not set, and has no default"},
	{"mb unset SMTPSVC/1 MaxRecipients", 3, "MaxRecipients: not stored here"},
	{"mb add SMTPSVC/1/Domain/a.test/b/c", 3, "there is no key /LM/SMTPSVC/1/Domain/a.test/b to add it to"},
	{"mb add SMTPSVC/5 --class Nope", 3, `no class is called "Nope"`},
	{"mb rm NOPE", 3, "/LM/NOPE: not found"},
	{"mb find Nope", 3, `no property is called "Nope"`},
	{"mb schema Nope", 3, "neither a class nor a property"},
	{"mb revert 99999", 3, "not found: the newest is "},
	{"mb confirm", 3, "nothing waits to be confirmed"},
	{"site start 9", 3, "site 9: there is no such site"},
	{"site end-session 1 77", 3, "session 77: there is no such session"},
	{"domain show 1 nope.test", 3, "nope.test: there is no such domain"},
	{"domain delete 1 nope.test", 3, "nope.test: there is no such domain"},
	{"account delete nope", 3, "account nope: there is no such account"},
	{"turn grant 1 nope.test testserver", 3, "nope.test: there is no such domain"},
	{"queue show nope", 3, `"nope": must have 20 characters`},
	{"queue release nope.test", 3, "no mail waits for that domain"},

	{"mb set SMTPSVC/1 MaxRecipients abc", 4, `/LM/SMTPSVC/1: MaxRecipients: "abc" is no number`},
	{"mb set SMTPSVC/1 MaxRecipients -1", 4, "out of range"},
	{"mb set SMTPSVC/1 MaxRecipients 4294967296", 4, "is no number from 0 to 4294967295"},
	{"mb set SMTPSVC/1 MaxRecipients 1 2", 2, "takes one value and got 2"},
	{"mb set SMTPSVC/1 ConnectionTimeout 0", 4, "0 is out of range; allowed is 1 to 86400 s"},
	{"mb set SMTPSVC/1 TurnRequireTls maybe", 4, `"maybe" is neither true nor false`},
	{"mb set SMTPSVC/1 ServerBindings nonsense", 4, `"nonsense" has no port`},
	{"mb set SMTPSVC/1 ServerBindings 127.0.0.1:99999", 4, "is no port"},
	{"mb set SMTPSVC/1 RelayIpList 300.1.1.1", 4, "is no address and no network"},
	{"mb set SMTPSVC/1 DefaultDomain a..b", 4, "is no domain name"},
	{"mb set SMTPSVC/1 ServerState paused", 4, "is set by the service alone"},
	{"mb set SMTPSVC/1 ServerCommand 9", 4, "is none of 1 (start), 2 (stop)"},
	{"mb set SMTPSVC/1 RouteAction etrn_cmd", 4, "belong to a domain's key"},
	{"mb set SMTPSVC/1/Domain/held.test RouteAction bogus", 4, `there is no flag "bogus"; allowed are `},
	{"mb set SMTPSVC/1/Domain/held.test MaxRecipients 5", 4, "a key of class IIsSmtpDomain may not hold it"},
	{"mb set SMTPSVC/1/Domain/held.test RouteActionString [1.2.3", 4, "no IP address in the brackets"},
	{"mb set SMTPSVC/1 MaxMessageSize 999999999", 4, "MaxSessionSize: 268435456 bytes are less than MaxMessageSize"},
	{"mb set SMTPSVC/1 KeyType IIsSmtpDomain", 4, "does not stand here"},
	{"mb add SMTPSVC/1", 4, "already exists"},
	{"mb add SMTPSVC/abc --class IIsSmtpServer", 4, "allowed is a number from 1 up"},
	{"mb rm SMTPSVC/1", 4, "keys below it"},
	{"mb rm SMTPSVC --recursive", 4, "the default site can be stopped, but not deleted"},
	{"mb rm /", 4, "the root cannot be removed"},
	{"mb mv SMTPSVC SMTPSVC/1/x", 4, "cannot be moved below itself"},
	{"mb apply --if-rev 99 " + batchMark, 4, "conflict: the store is at revision "},
	{"site create --name x --bind nonsense --domain x.test", 4, `"nonsense" has no port`},
	{"--yes site delete 1 --discard", 4, "the default site cannot be deleted"},
	{"domain create 1 held.test --remote", 4, "there is such a domain already"},
	{"domain create 1 a..b --remote", 4, `domain "a..b"`},
	{"account add x --password-stdin", 4, "a password must not be empty"},

	{"mb apply /nonexistent/file", 1, "/nonexistent/file: no such file or directory"},
	{"mb import /nonexistent/file.xml", 1, "/nonexistent/file.xml: no such file or directory"},
	{"queue import /nonexistent", 1, "/nonexistent: no such file or directory"},
	{"run /nonexistent.lua", 1, "/nonexistent.lua: no such file or directory"},
	{"serve", 1, "a service runs there already"},
}

// batchMark stands for the name of a batch file without faults.
const batchMark = "BATCH"

// clearError is what every message of an error looks like.
var clearError = regexp.MustCompile(`\A(restante: [^\n]+\n)+(hint: restante [^\n]+\n)?\z`)

func TestRefusedCommandsChangeNothing(t *testing.T) {
	t.Parallel()
	mail := acknowledged{service: newLimitedService(t)}
	mail.send(t, 2)
	before := runCommand(t, mail.service, "", "mb", "tree")
	batch := filepath.Join(t.TempDir(), "batch")
	if err := os.WriteFile(batch, []byte("set SMTPSVC/1 MaxRecipients 7\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	for i, row := range commandRows {
		if !sampled(i, 8) {
			continue
		}
		code, stdout, stderr := tryCommand(t, mail.service, "", strings.Fields(strings.ReplaceAll(row.args, batchMark, batch))...)
		if code != row.code || !strings.Contains(stderr, row.want) || !clearError.MatchString(stderr) || stdout != "" {
			t.Errorf("%s: exit %d, want %d; on stdout %q; on stderr, want %s:\n%s", row.args, code, row.code, stdout, row.want, stderr)
		}
	}
	if after := runCommand(t, mail.service, "", "mb", "tree"); after != before {
		t.Errorf("something was changed:\n%s\nwas\n%s", after, before)
	}
	mail.send(t, 1)
	mail.verify(t)
}

// Every problem of a batch is reported with its path and property, and neither the
// tree nor the running service changes.
func TestBatchReportsEveryProblem(t *testing.T) {
	t.Parallel()
	mail := acknowledged{service: newLimitedService(t)}
	mail.send(t, 2)
	rev := runCommand(t, mail.service, "", "mb", "log")
	const batch = `# some are right
set SMTPSVC/1 MaxRecipients 7
add SMTPSVC/1/Domain/new.test IIsSmtpDomain
rm SMTPSVC/1/Domain/held.test
set SMTPSVC/1 ConnectionTimeout 0
set SMTPSVC/1 NoSuch 1
set SMTPSVC/7 MaxRecipients 5
set SMTPSVC/1 ServerBindings nonsense
set SMTPSVC/1/Domain/hub.test ServerComment x
set SMTPSVC/1 MaxMessageSize 999999999
frobnicate
set SMTPSVC/1 ServerComment "unclosed
`
	for _, extra := range [][]string{nil, {"--dry-run"}} {
		code, _, stderr := tryCommand(t, mail.service, batch, append([]string{"mb", "apply"}, extra...)...)
		if code != 4 {
			t.Errorf("%v: exit %d, want 4", extra, code)
		}
		for _, want := range []string{
			"line 5: /LM/SMTPSVC/1: ConnectionTimeout: 0 is out of range",
			`line 6: /LM/SMTPSVC/1: no property is called "NoSuch"`,
			"line 7: /LM/SMTPSVC/7: not found",
			`line 8: /LM/SMTPSVC/1: ServerBindings: "nonsense" has no port`,
			"line 9: /LM/SMTPSVC/1/Domain/hub.test: ServerComment: a key of class IIsSmtpDomain may not hold it",
			"line 10: /LM/SMTPSVC: MaxSessionSize: ",
			`line 11: invalid operation "frobnicate"`,
			"line 12: Unterminated double-quoted string",
		} {
			if !strings.Contains(stderr, "restante: mb apply: "+want) {
				t.Errorf("%v: does not say %s:\n%s", extra, want, stderr)
			}
		}
	}
	if got := runCommand(t, mail.service, "", "mb", "log"); got != rev {
		t.Errorf("the history is now\n%s\nwas\n%s", got, rev)
	}
	if got := runCommand(t, mail.service, "", "mb", "get", "SMTPSVC/1", "MaxRecipients"); strings.TrimSpace(got) != "100" {
		t.Errorf("MaxRecipients is %s", got)
	}
	mail.send(t, 1)
	mail.verify(t)
}

// Commands that need the service report that it does not run; all others work
// without it.
func TestCommandsWithoutTheService(t *testing.T) {
	t.Parallel()
	mail := acknowledged{service: newLimitedService(t)}
	mail.send(t, 2)
	if err := mail.service.Halt(); err != nil {
		t.Fatal(err)
	}
	for _, args := range []string{"status", "site sessions 1", "site stop 1", "queue list", "queue retry --all", "queue release held.test", "mb set SMTPSVC/1 ServerCommand stop", "mb watch"} {
		code, stdout, stderr := tryCommand(t, mail.service, "", strings.Fields(args)...)
		if code != 5 || !strings.Contains(stderr, "the service is needed and does not run") || !strings.Contains(stderr, "hint: restante --data "+mail.service.Data+" serve") || stdout != "" {
			t.Errorf("%s: exit %d, stdout %q:\n%s", args, code, stdout, stderr)
		}
	}
	for _, args := range []string{"mb get SMTPSVC/1 MaxRecipients", "site list", "domain list 1", "mb set SMTPSVC/1 MaxRecipients 77", "account list"} {
		if code, _, stderr := tryCommand(t, mail.service, "", strings.Fields(args)...); code != 0 {
			t.Errorf("%s: exit %d:\n%s", args, code, stderr)
		}
	}
	for args, want := range map[string]int{"mb get SMTPSVC/9 MaxRecipients": 3, "mb set SMTPSVC/1 MaxRecipients x": 4, "mb get": 2} {
		if code, _, stderr := tryCommand(t, mail.service, "", strings.Fields(args)...); code != want {
			t.Errorf("%s: exit %d, want %d:\n%s", args, code, want, stderr)
		}
	}
	if err := mail.service.Start(t.Context()); err != nil {
		t.Fatal(err)
	}
	mail.verify(t)
}
