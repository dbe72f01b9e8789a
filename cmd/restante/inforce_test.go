// SPDX-License-Identifier: Apache-2.0

package main

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"os"
	"path/filepath"
	"regexp"
	"runtime"
	"slices"
	"strings"
	"testing"
	"time"

	"restante/admin/adsitree"
	"restante/admin/api"
	"restante/admin/rpc"
	"restante/adsi-compat/luahost"
	"restante/adsi-compat/luahost/system"
	"restante/engine/site"
	"restante/internal/testpeer"
	"restante/metabase"
)

// A served is a service in this process, with a client on its socket.
type served struct {
	t    *testing.T
	c    api.Conn
	data string
}

// serveHere runs the service on an empty data folder until the test ends. Site
// 1 relays for no address, so that what it accepts is decided by its domains.
func serveHere(t *testing.T) *served {
	t.Helper()
	data := t.TempDir()
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan error, 1)
	out, printed := io.Pipe()
	s := &cli{data: data, out: printed, err: t.Output()}
	go func() {
		err := s.serve(ctx, slog.New(slog.DiscardHandler), setup{bind: []string{"127.0.0.1:0"}, domain: "hub.example"})
		_ = printed.CloseWithError(errors.Join(err, io.EOF))
		done <- err
	}()
	t.Cleanup(func() {
		cancel()
		if err := <-done; err != nil {
			t.Errorf("serve = %v", err)
		}
	})
	for lines := bufio.NewScanner(out); ; {
		if !lines.Scan() {
			t.Fatalf("serve ended: %v", lines.Err())
		}
		if strings.HasPrefix(lines.Text(), "ready: ") {
			break
		}
	}
	go func() { _, _ = io.Copy(io.Discard, out) }()
	c, err := rpc.Dial(t.Context(), data, api.Caller{Origin: metabase.FromCLI})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { c.Close() })
	h := &served{t, c, data}
	h.apply("set SMTPSVC/1 RelayIpList 192.0.2.1")
	return h
}

func (h *served) try(lines ...string) (api.Applied, error) {
	return h.request(api.Terms{}, lines...)
}

func (h *served) request(terms api.Terms, lines ...string) (api.Applied, error) {
	var q api.ApplyRequest
	for i, line := range lines {
		q.Lines = append(q.Lines, api.Line{Number: i + 1, Words: strings.Fields(line)})
	}
	a, _, err := api.MbApply.Call(api.WithTerms(h.t.Context(), terms), h.c, q)
	return a, err
}

func (h *served) apply(lines ...string) api.Applied {
	h.t.Helper()
	a, err := h.try(lines...)
	if err != nil {
		h.t.Fatal(err)
	}
	return a
}

func (h *served) site(n int) api.Site {
	h.t.Helper()
	s, _, err := api.SiteShow.Call(h.t.Context(), h.c, api.SiteRequest{Site: n})
	if err != nil {
		h.t.Fatal(err)
	}
	return s
}

// addr is where site 1 listens.
func (h *served) addr() string {
	h.t.Helper()
	return h.site(1).Listening[0].String()
}

// sizeLimit is the limit that a new caller of site 1 reads in the reply to EHLO.
func sizeLimit(t *testing.T, addr string) string {
	t.Helper()
	l, err := testpeer.Connect(addr)
	if err != nil {
		t.Fatal(err)
	}
	defer l.Quit()
	fmt.Fprintf(l, "EHLO caller.test\r\n")
	found := ""
	for {
		line, err := l.R.ReadString('\n')
		if err != nil {
			t.Fatal(err)
		}
		if n, ok := strings.CutPrefix(strings.TrimSpace(line[4:]), "SIZE "); ok {
			found = n
		}
		if line[3] == ' ' {
			return found
		}
	}
}

// says dials addr, says each command and gives the last reply, or why there is
// none.
func says(addr string, commands ...string) string {
	l, err := testpeer.Connect(addr)
	if err != nil {
		return err.Error()
	}
	defer l.Quit()
	reply := "220"
	for _, c := range commands {
		fmt.Fprintf(l, "%s\r\n", c)
		if reply, err = l.Reply(); err != nil {
			return err.Error()
		}
	}
	return reply
}

func signsIn(addr, account, password string) bool {
	l, err := testpeer.Dial(addr)
	if err != nil {
		return false
	}
	defer l.Quit()
	return l.SignIn(account, password) == nil
}

// changes is how many of a kind are made.
func changes() int { return testpeer.Rounds(20, 100, 1000) }

func TestEachChangeIsInForceWhenAcknowledged(t *testing.T) {
	h := serveHere(t)
	addr := h.addr()
	t.Run("limit", func(t *testing.T) {
		for i := range changes() {
			want := fmt.Sprint(1_000_000 + i)
			h.apply("set SMTPSVC/1 MaxMessageSize " + want)
			if got := sizeLimit(t, addr); got != want {
				t.Fatalf("change %d: the next caller reads SIZE %s, want %s", i, got, want)
			}
		}
	})
	t.Run("password", func(t *testing.T) {
		h.apply("set SMTPSVC/1 ConnectionLimitExempt 127.0.0.0/8") // or its wrong passwords would slow it
		for i := range changes() {
			q := api.AccountRequest{Name: fmt.Sprint("joe", i/2), Password: fmt.Sprint("secret ", i), Change: i%2 == 1, CramMD5: true}
			if _, _, err := api.AccountPut.Call(t.Context(), h.c, q); err != nil {
				t.Fatal(err)
			}
			if !signsIn(addr, q.Name, q.Password) {
				t.Fatalf("change %d: the new password does not sign in", i)
			}
			if q.Change && signsIn(addr, q.Name, fmt.Sprint("secret ", i-1)) {
				t.Fatalf("change %d: the old password signs in", i)
			}
		}
	})
	t.Run("domain", func(t *testing.T) {
		for i := range changes() {
			name := fmt.Sprintf("d%d.example", i/2)
			want := "250"
			if i%2 == 0 {
				h.apply("add SMTPSVC/1/Domain/"+name, "set SMTPSVC/1/Domain/"+name+" RouteAction etrn_cmd")
			} else {
				h.apply("rm SMTPSVC/1/Domain/" + name)
				want = "550"
			}
			if got := says(addr, "EHLO caller.test", "MAIL FROM:<a@b.example>", "RCPT TO:<x@"+name+">"); !strings.HasPrefix(got, want) {
				t.Fatalf("change %d: RCPT is answered %q, want %s", i, got, want)
			}
		}
	})
	t.Run("binding", func(t *testing.T) {
		other := freeAddr(t)
		for i := range changes() {
			bind, want := []string{"127.0.0.1:0"}, "refused"
			if i%2 == 0 {
				bind, want = append(bind, other), "220"
			}
			if _, _, err := api.SiteSet.Call(t.Context(), h.c, api.SiteSetRequest{Site: 1, Bind: bind}); err != nil {
				t.Fatal(err)
			}
			if got := says(other); !strings.Contains(got, want) {
				t.Fatalf("change %d: a caller of %s hears %q, want %s", i, other, got, want)
			}
			if got := says(addr); got != "220" {
				t.Fatalf("change %d: the other address answers %q", i, got)
			}
		}
	})
}

// freeAddr is an address that nobody listens on now.
func freeAddr(t *testing.T) string {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	return l.Addr().String()
}

func TestEachWayOfAChangeIsInForce(t *testing.T) {
	h := serveHere(t)
	addr := h.addr()
	wants := func(way, limit string) {
		t.Helper()
		if got := sizeLimit(t, addr); got != limit {
			t.Errorf("%s: the next caller reads SIZE %s, want %s", way, got, limit)
		}
	}
	must := func(way string, err error) {
		t.Helper()
		if err != nil {
			t.Fatalf("%s: %v", way, err)
		}
	}
	first := h.apply("set SMTPSVC/1 MaxMessageSize 1000001")
	wants("mb set", "1000001")
	exported, _, err := api.MbExport.Call(t.Context(), h.c, api.ExportRequest{Path: "SMTPSVC/1"})
	must("mb export", err)
	_, _, err = api.MbBackup.Call(t.Context(), h.c, api.BackupRequest{Name: "before"})
	must("mb backup", err)

	second := h.apply("set SMTPSVC/1 MaxMessageSize 1000002")
	_, _, err = api.MbRevert.Call(t.Context(), h.c, api.RevertRequest{Rev: second.Rev, Path: "/"})
	must("mb revert", err)
	wants("mb revert", "1000001")

	h.apply("set SMTPSVC/1 MaxMessageSize 1000003")
	_, _, err = api.MbImport.Call(t.Context(), h.c, api.ImportRequest{XML: exported.XML, Merge: true})
	must("mb import", err)
	wants("mb import", "1000001")

	h.apply("set SMTPSVC/1 MaxMessageSize 1000004")
	_, _, err = api.MbRestore.Call(t.Context(), h.c, api.RestoreRequest{Name: "before", Version: -1})
	must("mb restore", err)
	wants("mb restore", "1000001")

	if out := h.lua(`local s = GetObject("IIS://LocalHost/SMTPSVC/1"); s.MaxMessageSize = 1000005; s:SetInfo()`); out != "" {
		t.Errorf("SetInfo printed %q", out)
	}
	wants("SetInfo", "1000005")

	hour := 3600.0
	third, err := h.request(api.Terms{Confirm: &hour}, "set SMTPSVC/1 MaxMessageSize 1000006")
	must("mb apply --confirm", err)
	wants("mb apply --confirm", "1000006")
	_, _, err = api.MbConfirm.Call(t.Context(), h.c, api.ConfirmRequest{Rev: third.Rev})
	must("mb confirm", err)
	wants("mb confirm", "1000006")
	if first.Rev == 0 || h.site(1).Running != h.site(1).Configured {
		t.Errorf("site 1: %+v", h.site(1).Status)
	}
}

// A roll-back at its deadline is acknowledged to nobody. Who reads the status
// after it finds it in force.
func TestRollBackIsInForceForTheStatus(t *testing.T) {
	h := serveHere(t)
	addr := h.addr()
	h.apply("set SMTPSVC/1 MaxMessageSize 1000001")
	soon := 0.05
	a, err := h.request(api.Terms{Confirm: &soon}, "set SMTPSVC/1 MaxMessageSize 1000002")
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	for e, err := range api.MbWatch.Open(ctx, h.c, api.WatchRequest{Path: "/", Since: &a.Rev}) {
		if err != nil {
			t.Fatal(err)
		}
		if e.Reverts == a.Rev {
			break
		}
	}
	status, _, err := api.Status.Call(t.Context(), h.c, struct{}{})
	if err != nil || status.Revision <= a.Rev {
		t.Fatalf("status is of revision %d, %v", status.Revision, err)
	}
	if s := status.Sites[0]; s.Running != uint64(status.Revision) {
		t.Errorf("revision %d, site 1 runs at %d", status.Revision, s.Running)
	}
	if got := sizeLimit(t, addr); got != "1000001" {
		t.Errorf("the next caller reads SIZE %s", got)
	}
}

func (h *served) lua(source string) string {
	h.t.Helper()
	var b strings.Builder
	script := luahost.Script{Name: "x.lua", Source: source, Streams: system.Streams{Out: &b}}
	if err := runScript(h.t.Context(), adsitree.New(h.c, api.Terms{}), script, time.Minute); err != nil {
		fmt.Fprintf(&b, "error: %v\n", err)
	}
	return b.String()
}

func TestEachCommandIsDoneWhenAcknowledged(t *testing.T) {
	h := serveHere(t)
	addr := h.addr()
	const states = `local s = GetObject("IIS://LocalHost/SMTPSVC/1")
for _ = 1, 20 do
  s:Pause(); local paused = s:Status()
  s:Continue(); local started = s:Status()
  if paused ~= 6 or started ~= 2 then print(paused, started) end
end
s:Pause(); print(s:Status())`
	if got := h.lua(states); got != "6\n" {
		t.Errorf("the states are %q, want 6 after Pause and 2 after Continue", got)
	}
	if got := says(addr); !strings.Contains(got, "421") {
		t.Errorf("a caller of the paused site hears %q", got)
	}
	for _, c := range []struct{ word, want string }{{"continue", "220"}, {"pause", "421"}, {"stop", "refused"}} {
		s, _, err := api.SiteCommand.Call(t.Context(), h.c, api.SiteCommandRequest{Site: 1, Command: c.word})
		if got := says(addr); err != nil || !strings.Contains(got, c.want) {
			t.Errorf("%s: %v, and the next caller hears %q, want %s", c.word, err, got, c.want)
		}
		if s.Running != h.site(1).Running || s.State != h.site(1).State {
			t.Errorf("%s answers %+v", c.word, s.Status)
		}
	}
	h.apply("set SMTPSVC/1 ServerCommand start")
	if got := says(h.addr()); got != "220" {
		t.Errorf("a caller of the started site hears %q", got)
	}
	s, _, err := api.SiteCreate.Call(t.Context(), h.c, api.SiteCreateRequest{Name: "Two", Bind: []string{"127.0.0.1:0"}, Domain: "two.example"})
	if err != nil || len(s.Listening) != 1 || says(s.Listening[0].String()) != "220" {
		t.Fatalf("site create: %+v, %v", s.Status, err)
	}
	if _, err := h.try("set SMTPSVC SmtpServiceVersion 1"); err != nil {
		t.Error(err)
	}
	if got := says(s.Listening[0].String()); !strings.Contains(got, "refused") {
		t.Errorf("a caller of site 2 under SmtpServiceVersion 1 hears %q", got)
	}
	two := h.site(2)
	for end := time.Now().Add(time.Minute); two.State == site.Stopping && time.Now().Before(end); two = h.site(2) {
		runtime.Gosched() // its last callers have their grace time
	}
	if two.Running != 0 || two.Why != "SmtpServiceVersion is less than 2: only site 1 starts" {
		t.Errorf("site 2 under SmtpServiceVersion 1: %+v", two.Status)
	}
	h.apply("set SMTPSVC SmtpServiceVersion 2")
	if two := h.site(2); len(two.Listening) != 1 {
		t.Errorf("site 2 under SmtpServiceVersion 2: %+v", two.Status)
	}
}

// What cannot be brought into force is in the answer, with the kind of exit
// code 4, and in the status until it is cured. The tree keeps the change.
func TestAnswerTellsWhatIsNotInForce(t *testing.T) {
	h := serveHere(t)
	for _, name := range []string{"Two", "Three"} {
		if _, _, err := api.SiteCreate.Call(t.Context(), h.c, api.SiteCreateRequest{Name: name, Bind: []string{"127.0.0.1:0"}, Domain: "two.example"}); err != nil {
			t.Fatal(err)
		}
	}
	taken := h.site(2).Listening[0].String() // which the system picked, so that no check knows it
	folder := filepath.Join(t.TempDir(), "no.pem")
	if err := os.Mkdir(folder, 0o700); err != nil {
		t.Fatal(err)
	}
	for _, tt := range []struct {
		name string
		site int
		do   func() error
		why  string
		cure string
	}{
		{"site bind over another site's port", 3, func() error {
			_, _, err := api.SiteSet.Call(t.Context(), h.c, api.SiteSetRequest{Site: 3, Bind: []string{taken}})
			return err
		}, "because listen on " + taken + ": ", "set SMTPSVC/3 ServerBindings 127.0.0.1:0:"},
		{"mb set of a certificate file that is missing", 1, func() error {
			_, err := h.try("set SMTPSVC/1 TlsCertificateFile none.pem")
			return err
		}, "none.pem", "unset SMTPSVC/1 TlsCertificateFile"},
		{"mb set of a certificate that is no file", 1, func() error {
			_, err := h.try("set SMTPSVC/1 TlsCertificateFile " + folder)
			return err
		}, "is not a regular file", "unset SMTPSVC/1 TlsCertificateFile"},
		{"SetInfo", 3, func() error {
			if out := h.lua(`local s = GetObject("IIS://LocalHost/SMTPSVC/3"); s.ServerBindings = {"` + taken + `:"}; s:SetInfo()`); out != "" {
				return &api.Error{Kind: api.KindRefused, Text: out, Problems: []api.Problem{{Path: "/LM/SMTPSVC/3", Why: out}}}
			}
			return nil
		}, "listen on " + taken, "set SMTPSVC/3 ServerBindings 127.0.0.1:0:"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			h := &served{t, h.c, h.data}
			before := h.site(tt.site)
			err := tt.do()
			e := api.AsError(err)
			if err == nil || e.Kind != api.KindRefused || len(e.Problems) != 1 || !strings.HasSuffix(e.Problems[0].Path, fmt.Sprint("/", tt.site)) {
				t.Fatalf("answered %v, of kind %q", err, e.Kind)
			}
			if !strings.Contains(e.Problems[0].Why, tt.why) || !strings.Contains(e.Problems[0].Why, fmt.Sprintf("running %d, because ", before.Running)) {
				t.Errorf("the answer says %q, want %q and what the site runs on", e.Problems[0].Why, tt.why)
			}
			after := h.site(tt.site)
			if after.Why == "" || after.Running != before.Running || !slices.Equal(after.Listening, before.Listening) || after.Configured == before.Configured {
				t.Errorf("the site was %+v, is %+v", before.Status, after.Status)
			}
			// The same change again is stored already, and still not in force.
			if again := tt.do(); again == nil && tt.name != "SetInfo" {
				t.Error("the same change again is answered as done")
			}
			// A change at another site is in force, and says nothing of this one.
			h.apply(fmt.Sprintf("set SMTPSVC/2 MaxMessageSize %d", after.Configured+5000))
			if _, err := h.try(tt.cure); err != nil {
				t.Errorf("cure: %v", err)
			}
			if s := h.site(tt.site); s.Why != "" || s.Running != s.Configured {
				t.Errorf("cured: %+v", s.Status)
			}
		})
	}
}

// command runs a command line on the service's data folder.
func (h *served) command(stdin string, args ...string) (code int, stdout, stderr string) {
	var out, err strings.Builder
	code = run(append([]string{"--data", h.data}, args...), strings.NewReader(stdin), &out, &err)
	return code, out.String(), err.String()
}

// A change that is stored is answered as ever, also where it is not in force.
func TestStoredChangeIsAnswered(t *testing.T) {
	h := serveHere(t)
	code, out, errs := h.command("", "mb", "set", "SMTPSVC/1", "TlsCertificateFile", "none.pem")
	if code != 4 || out != "revision 3: set /LM/SMTPSVC/1/TlsCertificateFile none.pem\n" {
		t.Fatalf("exit %d: %q, %q", code, out, errs)
	}
	// Nothing takes effect at a site that cannot start. Site 2 is for the act.
	if err := os.WriteFile(filepath.Join(h.data, "in-the-way"), nil, 0o600); err != nil {
		t.Fatal(err)
	}
	for _, args := range []string{"site create --name Two --bind 127.0.0.1:0 --domain two.example", "site stop 1", "mb set SMTPSVC/1 QueueDirectory in-the-way/Queue"} {
		if code, out, errs := h.command("", strings.Fields(args)...); code != 0 {
			t.Fatalf("%s: exit %d: %q, %q", args, code, out, errs)
		}
	}
	if code, _, errs := h.command("", "site", "start", "1"); code == 0 || !strings.Contains(errs, "in-the-way") {
		t.Fatalf("site start: exit %d: %q", code, errs)
	}
	const line = "[^\n]+\n"
	steps := []struct {
		args  string // ROUND is 1 or 2, LAST the newest revision
		stdin string
		want  string // of stdout, after the exit code
	}{
		{args: "mb set SMTPSVC/1 ServerComment nameROUND", want: `4 revision \d+: set /LM/SMTPSVC/1/ServerComment nameROUND\n`},
		{args: "mb unset SMTPSVC/1 ServerComment", want: `4 revision \d+: unset ` + line},
		{args: "mb add SMTPSVC/1/Domain/ROUND.example", want: `4 revision \d+: add ` + line},
		{args: "mb cp SMTPSVC/1/Domain/ROUND.example SMTPSVC/1/Domain/copy.example", want: `4 revision \d+: cp ` + line},
		{args: "mb mv SMTPSVC/1/Domain/copy.example SMTPSVC/1/Domain/moved.example", want: `4 revision \d+: mv ` + line},
		{args: "mb rm SMTPSVC/1/Domain/moved.example", want: `4 revision \d+: rm ` + line},
		{args: "mb apply - --confirm 5m", stdin: "set SMTPSVC/1 HopCount 5ROUND", want: `4 revision \d+\ntaken back at .* unless restante mb confirm follows\n`},
		{args: "mb confirm", want: `0 revision \d+ stays\n`},
		{args: "mb apply -", stdin: "set SMTPSVC/1 HopCount 6ROUND\nset SMTPSVC/2 ServerCommand continue", want: `4 revision \d+\n`},
		{args: "mb revert LAST", want: `4 revision \d+\n`},
		{args: "mb set SMTPSVC/1 HopCount 9ROUND", want: "4 revision " + line},
		{args: "mb export SMTPSVC/1 FILE", want: "0 exported " + line},
		{args: "mb set SMTPSVC/1 HopCount 7ROUND", want: "4 revision " + line},
		{args: "mb import --merge FILE", want: `0 revision \d+: imported \d+ keys, \d+ properties\n`}, // a remark about the site
		{args: "mb backup keep", want: "0 " + line},
		{args: "mb set SMTPSVC/1 HopCount 8ROUND", want: "4 revision " + line},
		{args: "--yes mb restore keep", want: `4 revision \d+\n`},
		{args: "site rename 1 otherROUND", want: `4 1  "otherROUND" ` + line},
		{args: "site bind 1 127.0.0.1:0 127.0.0.2:0", want: `4 1  "otherROUND" ` + line},
		{args: "site bind 1 127.0.0.1:0", want: `4 1  "otherROUND" ` + line},
		{args: "domain create 1 held.example --hold", want: "4 created domain held.example " + line},
		{args: "turn grant 1 held.example joe", want: "4 account joe may collect " + line},
		{args: "turn revoke 1 held.example joe", want: "4 account joe may no longer " + line},
		{args: "domain delete 1 held.example", want: "4 deleted domain held.example of site 1\n"},
		{args: "account add 1/joe --password-stdin", stdin: "sesame", want: "4 added account 1/joe\n"},
		{args: "account passwd 1/joe --password-stdin", stdin: "open", want: "4 changed the password of account 1/joe\n"},
		{args: "account delete 1/joe", want: "4 deleted account 1/joe\n"},
	}
	for round, global := range []string{"", "--json", "--quiet"} {
		for _, tt := range steps {
			last := fmt.Sprint(h.site(1).Configured)
			fill := strings.NewReplacer("ROUND", fmt.Sprint(round+1), "LAST", last, "FILE", filepath.Join(h.data, "one.xml")).Replace
			code, out, errs := h.command(fill(tt.stdin), strings.Fields(global+" "+fill(tt.args))...)
			inForce := strings.HasPrefix(tt.want, "0")
			ok := inForce
			switch global {
			case "":
				ok = regexp.MustCompile("^" + fill(tt.want) + "$").MatchString(fmt.Sprint(code, " ", out))
			case "--json":
				var a struct {
					NotInForce []api.Problem `json:"not_in_force"`
				}
				err := json.Unmarshal([]byte(out), &a)
				ok = err == nil && (inForce || len(a.NotInForce) == 1 && strings.Contains(errs, a.NotInForce[0].Why))
			case "--quiet":
				ok = out == ""
			}
			if !ok || inForce != (code == 0) || !inForce && !strings.Contains(errs, "/LM/SMTPSVC/") {
				t.Errorf("%s %s: exit %d, %q, %q", global, tt.args, code, out, errs)
			}
		}
	}
}

// One batch may have addresses go from site to site, in any order, also from a
// site that goes, or to one that gets another number.
func TestAddressesGoFromSiteToSiteInOneBatch(t *testing.T) {
	h := serveHere(t)
	var at []string
	for range 3 {
		at = append(at, freeAddr(t))
	}
	for _, name := range []string{"Two", "Three"} {
		if _, _, err := api.SiteCreate.Call(t.Context(), h.c, api.SiteCreateRequest{Name: name, Bind: []string{"127.0.0.1:0"}, Domain: "two.example"}); err != nil {
			t.Fatal(err)
		}
	}
	for n, addr := range at {
		h.apply(fmt.Sprintf("set SMTPSVC/%d ServerBindings %s", n+1, addr))
	}
	want := func(listening map[int]string) {
		t.Helper()
		for n, addrs := range listening {
			if s := h.site(n); s.Why != "" || s.Running != s.Configured || fmt.Sprint(s.Listening) != "["+addrs+"]" {
				t.Errorf("site %d: %+v, want %s", n, s.Status, addrs)
			}
		}
	}
	swap := []string{"set SMTPSVC/1 ServerBindings " + at[1], "set SMTPSVC/2 ServerBindings " + at[0]}
	h.apply(swap...)
	want(map[int]string{1: at[1], 2: at[0], 3: at[2]})
	h.apply("set SMTPSVC/2 ServerBindings "+at[1], "set SMTPSVC/1 ServerBindings "+at[0])
	want(map[int]string{1: at[0], 2: at[1], 3: at[2]})
	h.apply("rm SMTPSVC/3 --recursive", fmt.Sprintf("set SMTPSVC/1 ServerBindings %s %s", at[0], at[2]))
	want(map[int]string{1: at[0] + " " + at[2], 2: at[1]})
	h.apply("mv SMTPSVC/2 SMTPSVC/7")
	want(map[int]string{1: at[0] + " " + at[2], 7: at[1]})
}
