// SPDX-License-Identifier: Apache-2.0

package main

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"math/rand/v2"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"time"

	"restante/admin/api"
	"restante/admin/rpc"
	"restante/metabase"
)

// A request is a call that a random caller may make, as JSON; each @ stands for
// a random text and each # for a number, most of the time. Harmless ones change nothing, whatever the caller.
type request struct {
	method   string
	text     string
	harmless bool
}

var requests = []request{
	{"status", `{}`, true}, {"complete", `{"words":["mb",@]}`, true}, {"explain", `{"site":#,"recipient":@,"client":@,"account":@}`, true},
	{"mb/get", `{"words":[@,@]}`, true}, {"mb/get", `{"words":["/LM/SMTPSVC/1/Domain/fwd.test","RoutePassword"]}`, true}, {"mb/get", `{"words":[@],"rev":#}`, true},
	{"mb/show", `{"path":@,"all":true}`, true}, {"mb/show", `{"path":"/LM/SMTPSVC/1/Domain/fwd.test"}`, true}, {"mb/ls", `{"path":@,"deep":true,"data":true}`, true}, {"mb/find", `{"property":@,"path":@}`, true}, {"mb/schema", `{"name":@}`, true},
	{"mb/export", `{"path":@,"inherited":true}`, true}, {"mb/log", `{"path":@,"count":#}`, true}, {"mb/diff", `{"from":#,"to":#}`, true}, {"mb/backups", `{}`, true}, {"mb/verify", `{}`, true},
	{"mb/apply", `{"dry_run":true,"lines":[{"number":1,"words":["set",@,@,@]},{"number":2,"words":[@,@,@]}]}`, true}, {"mb/import", `{"xml":@,"dry_run":true}`, true},
	{"site/list", `{}`, true}, {"site/show", `{"site":#}`, true}, {"site/sessions", `{"site":#}`, true}, {"domain/list", `{"site":#}`, true}, {"domain/show", `{"site":#,"name":@}`, true}, {"turn/list", `{"account":@}`, true}, {"account/list", `{"site":#}`, true},
	{"queue/list", `{"site":#}`, true}, {"queue/messages", `{"site":#,"domain":@}`, true}, {"queue/show", `{"id":@,"body":true}`, true}, {"queue/trace", `{"what":@}`, true},
	{"mb/apply", `{"lines":[{"number":1,"words":["set","/LM/SMTPSVC/2",@,@]}]}`, false}, {"mb/apply", `{"lines":[{"number":1,"words":["add",@]}]}`, false}, {"mb/apply", `{"lines":[{"number":1,"words":["set","/LM/SMTPSVC/2","MaxRecipients","#"]}]}`, false}, {"mb/apply", `{"lines":[{"number":1,"words":[@,"/LM/SMTPSVC/1",@,@]}]}`, false},
	{"mb/apply", `{"lines":[{"number":1,"words":["cp","/LM/SMTPSVC/1/Domain/fwd.test",@]}]}`, false}, {"mb/apply", `{"lines":[{"number":1,"words":["set","/LM/SMTPSVC/1/Domain/fwd.test","RouteActionString",@]}]}`, false},
	{"mb/apply", `{"lines":[{"number":1,"words":["rm",@,"-r"]}]}`, false}, {"mb/apply", `{"lines":[{"number":1,"words":["set","/LM/SMTPSVC/2","MaxRecipients",@]}]}`, false},
	{"mb/confirm", `{"rev":#}`, false}, {"mb/revert", `{"rev":#,"path":@}`, false}, {"mb/backup", `{"name":@}`, false}, {"mb/restore", `{"name":@,"version":#}`, false}, {"mb/backups/delete", `{"name":@}`, false}, {"mb/import", `{"xml":@,"at":@}`, false},
	{"site/create", `{"name":@,"bind":["127.0.0.1:0"],"domain":@}`, false}, {"site/set", `{"site":#,"name":@,"bind":["127.0.0.1:0"]}`, false}, {"site/command", `{"site":#,"command":@}`, false}, {"site/delete", `{"site":#,"discard":true}`, false}, {"site/end-session", `{"site":#,"id":@}`, false},
	{"domain/create", `{"site":#,"name":@,"hold":true,"turn":["alice"],"smart_host":@}`, false}, {"domain/delete", `{"site":#,"name":@}`, false}, {"turn/set", `{"site":#,"domain":@,"account":@}`, false},
	{"account/put", `{"name":@,"password":@}`, false}, {"account/delete", `{"name":@}`, false}, {"queue/act", `{"site":#,"domain":@,"act":@,"all":true}`, false}, {"queue/release", `{"site":#,"domain":@}`, false}, {"queue/export", `{"dir":@,"site":#}`, false}, {"queue/import", `{"dir":@,"site":#}`, false},
	{"no/such", `{}`, true}, {"../status", `{}`, true}, {"", `{}`, true},
}

// texts, numbers and misfits stand in a request.
var (
	texts = []string{
		`""`, `"/"`, `"/LM"`, `"/LM/SMTPSVC"`, `"/LM/SMTPSVC/1"`, `"/LM/SMTPSVC/2"`, `"/LM/SMTPSVC/2/Domain/x.test"`, `"/LM/SMTPSVC/99"`, `"SMTPSVC/1/Domain/fwd.test"`, `"/Schema"`, `"//"`, `"/../LM"`, `"\u0000"`, `"\ud800"`, `"%2e%2e"`,
		`"MaxRecipients"`, `"RoutePassword"`, `"AccessList"`, `"* all"`, `"ServerCommand"`, `"4"`, `"36946"`, `"set"`, `"lock"`, `"mv"`, `"copydata"`, `"held.test"`, `"x.test"`, `"*.test"`, `"alice"`, `"stop"`, `"delete"`, `"bounce"`, `"thaw"`, `"/etc"`, `"../.."`, `"tls"`,
		`"PENvbmZpZy8+"`, `"127.0.0.1"`, `"x@evil.test"`, `"\u001b[2J"`, `"` + strings.Repeat("x", 5000) + `"`,
	}
	numbers = []string{`1`, `2`, `2`, `3`, `99`, `0`, `-1`}
	misfits = []string{`1e99`, `9223372036854775807`, `null`, `true`, `[]`, `{}`, `["a","b"]`, `1`, `""`}
)

// calls lets a reader, a writer and root call at random, each in a process of its
// own, and looks at what changed.
func calls(ctx context.Context, a *attack) error {
	own, err := os.Executable()
	if err != nil {
		return err
	}
	text, err := os.ReadFile(own) // the folder of go run is closed to others
	if err != nil {
		return err
	}
	program := filepath.Join(a.dir, "attack")
	if err := os.WriteFile(program, text, 0o755); err != nil {
		return err
	}
	users := []struct {
		name string
		uid  int
	}{{"reader", readers}, {"writer", writers}, {"own", os.Getuid()}}
	if os.Getuid() != 0 {
		fmt.Println("calls     not as a reader and a writer: only root may start a process as another user")
		users = users[2:]
	}
	each := time.Until(a.until) / time.Duration(len(users))
	for i, u := range users {
		before, err := a.revision(ctx)
		if err != nil {
			return err
		}
		cmd := exec.CommandContext(ctx, program, "-calls", a.svc.Data, "-time", each.String(), "-seed", strconv.FormatUint(a.seed+uint64(i), 10))
		cmd.Dir = "/"
		if u.uid != os.Getuid() {
			runAs(cmd, u.uid)
		}
		var problems bytes.Buffer
		cmd.Stderr = &problems
		out, err := cmd.Output()
		if err != nil {
			return fmt.Errorf("%s: %w: %s", u.name, err, problems.Bytes())
		}
		var made figures
		if err := json.Unmarshal(out, &made); err != nil {
			return fmt.Errorf("%s: %w: %q", u.name, err, out)
		}
		a.mu.Lock()
		a.counts["calls by the "+u.name], a.counts["answered to the "+u.name] = made.Calls, made.Answered
		a.mu.Unlock()
		for _, f := range made.Failures {
			a.fail("%s: %s", u.name, f)
		}
		if err := a.changedBy(ctx, u.name, before); err != nil {
			return err
		}
	}
	return nil
}

// revision is that of the tree.
func (a *attack) revision(ctx context.Context) (uint64, error) {
	out, err := a.svc.Run(ctx, "", "status", "--json")
	if err != nil {
		return 0, err
	}
	var s struct {
		Revision uint64 `json:"revision"`
	}
	return s.Revision, json.Unmarshal([]byte(out), &s)
}

// changedBy looks at what a user changed: a reader nothing, a writer site 2 alone.
// The service's own user may do everything.
func (a *attack) changedBy(ctx context.Context, who string, before uint64) error {
	after, err := a.revision(ctx)
	if err != nil || who == "own" || after == before {
		return err
	}
	if who == "reader" {
		a.fail("a reader made the revisions %d to %d", before+1, after)
		return nil
	}
	out, err := a.svc.Run(ctx, "", "mb", "diff", strconv.FormatUint(before, 10), "--json")
	if err != nil {
		return err
	}
	var changes []struct {
		Path string `json:"path"`
	}
	if err := json.Unmarshal([]byte(out), &changes); err != nil {
		return err
	}
	if _, err := a.svc.Run(ctx, "", "site", "show", "2"); err != nil {
		a.fail("site 2 after the writer: %v", err)
	}
	for _, c := range changes {
		a.count("changes at site 2 by the writer")
		if c.Path != "/LM/SMTPSVC/2" && !strings.HasPrefix(c.Path, "/LM/SMTPSVC/2/") {
			a.fail("a writer of site 2 changed %s", c.Path)
		}
	}
	return nil
}

// figures is what a process of calls tells.
type figures struct {
	Calls    int      `json:"calls"`
	Answered int      `json:"answered"` // not with an error
	Failures []string `json:"failures"`
}

// callAtRandom makes calls until the time is over. The service's own user makes
// harmless ones only: it may end everything.
func callAtRandom(ctx context.Context, data string, o options) error {
	rnd := rand.New(rand.NewPCG(o.seed, 1))
	end := time.Now().Add(o.time)
	var made figures
	for time.Now().Before(end) && ctx.Err() == nil {
		client, err := rpc.Dial(ctx, data, api.Caller{Origin: []metabase.Origin{metabase.FromCLI, metabase.FromLua}[rnd.IntN(2)], Comment: "attack"})
		if err != nil {
			return err
		}
		for range 50 {
			callOnce(ctx, client, rnd, &made)
		}
		client.Close()
		if err := garble(data, rnd); err != nil {
			return err
		}
	}
	return json.NewEncoder(os.Stdout).Encode(made)
}

func callOnce(ctx context.Context, client *rpc.Client, rnd *rand.Rand, made *figures) {
	trusted := os.Getuid() != readers && os.Getuid() != writers
	r := requests[rnd.IntN(len(requests))]
	for trusted && !r.harmless {
		r = requests[rnd.IntN(len(requests))]
	}
	var text strings.Builder
	for _, c := range r.text {
		from, ok := map[rune][]string{'@': texts, '#': numbers}[c]
		if ok && rnd.IntN(10) == 0 {
			from = misfits
		}
		if ok {
			text.WriteString(from[rnd.IntN(len(from))])
		} else {
			text.WriteRune(c)
		}
	}
	b := []byte(text.String())
	if rnd.IntN(5) == 0 && !strings.Contains(r.text, "dry_run") && r.harmless { // else it might be none any more
		b[rnd.IntN(len(b))] = byte(rnd.Uint32())
	}
	ctx, cancel := context.WithTimeout(ctx, time.Minute)
	defer cancel()
	answer, err := client.Call(ctx, r.method, b)
	made.Calls++
	var refused *api.Error
	switch {
	case err == nil:
		made.Answered++
	case errors.Is(err, api.ErrNoService), ctx.Err() != nil, !errors.As(err, &refused):
		made.Failures = append(made.Failures, fmt.Sprintf("%s %.300s: %v", r.method, b, err))
	case strings.Contains(err.Error(), "panic"):
		made.Failures = append(made.Failures, fmt.Sprintf("%s %.300s: %v", r.method, b, err))
	}
	if !trusted && (bytes.Contains(answer, []byte(secret)) || err != nil && strings.Contains(err.Error(), secret)) {
		made.Failures = append(made.Failures, fmt.Sprintf("%s %.300s tells the secret", r.method, b))
	}
}

// garble writes octets to the socket that are no request.
func garble(data string, rnd *rand.Rand) error {
	conn, err := net.Dial("unix", filepath.Join(data, rpc.Names[0]))
	if err != nil {
		return err
	}
	defer conn.Close()
	b := make([]byte, rnd.IntN(2000))
	for i := range b {
		b[i] = byte(rnd.Uint32())
	}
	if rnd.IntN(2) == 0 {
		b = append([]byte("POST /call/status HTTP/1.1\r\nHost: x\r\nContent-Length: 99999999999\r\nRestante-Origin: cli\r\nRestante-Comment: "), b...)
	}
	_, _ = conn.Write(b)
	return nil
}
