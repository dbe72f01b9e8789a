// SPDX-License-Identifier: Apache-2.0

// Package pullcmd is the command line of package pull: its options, and what is printed
// of a call. The commands restante pull and restante-pull have it in common.
package pullcmd

import (
	"bufio"
	"context"
	"crypto/tls"
	"crypto/x509"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"strconv"
	"strings"
	"time"
	"unicode"

	"restante/engine/account"
	"restante/engine/mail"
	"restante/engine/pull"
	"restante/engine/recipients/hashed"
)

// Texts of help.
const (
	Usage     = "collect held mail from another host and hand it to a local server"
	ArgsUsage = "HOST[:PORT]"
)

// An Option is an option of the command. Its value is between back quotes in Usage;
// without one it is a switch.
type Option struct{ Name, Usage, Default string }

// IsSwitch reports whether the option of that name takes no value.
func IsSwitch(name string) bool {
	return slices.ContainsFunc(Options, func(o Option) bool { return o.Name == name && o.Value() == "" })
}

// Value is the name of the value, or "".
func (o Option) Value() string {
	_, rest, _ := strings.Cut(o.Usage, "`")
	name, _, _ := strings.Cut(rest, "`")
	return name
}

// Optional reports whether the value may be left out: the option is then followed by
// another one, or by nothing.
func (o Option) Optional() bool { return strings.HasPrefix(o.Value(), "[") }

// Options lists them.
var Options = []Option{
	{"user", "sign in as `NAME`", ""},
	{"password-file", "read the password from the first line of `FILE`", "standard input"},
	{"turn", "ask by TURN for the mail of all domains of the account", ""},
	{"atrn", "ask by ATRN for the mail of `[DOMAIN,...]`, or of all domains", ""},
	{"etrn", "ask by ETRN that the mail of `DOMAIN` is sent to its hosts", ""},
	{"to", "hand the mail to the server at `HOST:PORT`", ""},
	{"lmtp", "speak LMTP with that server, which answers for each recipient", ""},
	{"tls", "encrypt as `HOW` says: starttls, implicit (from the first octet) or none", "starttls"},
	{"ca", "trust the authorities in `FILE` (PEM) instead of the system's", ""},
	{"insecure", "take any certificate", ""},
	{"size-ceiling", "leave messages of more than `BYTES` with the holder", "no limit"},
	{"recipients", "have the holder refuse mail for others than the recipients in `FILE`", ""},
	{"state", "remember in `DIR` what was taken and may not have been confirmed", "by system and user"},
	{"idle", "stay, and call again every --interval until a signal", ""},
	{"interval", "with --idle: wait `DURATION` between two calls", "1m"},
}

// A Call is one call of the command.
type Call struct {
	Program  string                           // that the lines about calls begin with
	Args     []string                         // without options
	Value    func(name string) (string, bool) // of an option that is given; a switch has "true"
	JSON     bool
	Quiet    bool // print nothing but errors
	Out, Err io.Writer
	Password func() (string, error) // asks for it
}

// ErrUsage is found in errors of the call itself.
var ErrUsage = errors.New("wrong call")

func usage(format string, args ...any) error {
	return &usageError{fmt.Sprintf(format, args...)}
}

type usageError struct{ text string }

func (e *usageError) Error() string        { return e.text }
func (e *usageError) Is(target error) bool { return target == ErrUsage }

// ExitCode is the exit code of the command: 2 for a wrong call, 4 where the holder
// refuses, 1 for any other error.
func ExitCode(err error) int {
	switch {
	case err == nil:
		return 0
	case errors.Is(err, ErrUsage):
		return 2
	case errors.Is(err, pull.ErrRefused):
		return 4
	}
	return 1
}

// Run does what the command says.
func Run(ctx context.Context, c Call) error {
	o, interval, err := c.options()
	if err != nil {
		return err
	}
	if o.Password, err = c.password(); err != nil {
		return err
	}
	p := &printer{call: c, verb: o.Verb}
	o.Taken, o.Warn = p.message, p.line
	if interval == 0 {
		res, err := pull.Call(ctx, o)
		if err != nil {
			return err
		}
		return errors.Join(p.sum(res), res.Unpushed, unsettled(res))
	}
	return pull.Idle(ctx, o, interval, func(res pull.Result, err error, wait time.Duration) {
		if err == nil && (res.Broken != nil || len(res.Messages) > 0) {
			err = errors.Join(p.sum(res), unsettled(res))
		}
		err = errors.Join(err, res.Unpushed)
		if err != nil && wait > 0 {
			p.line(fmt.Sprintf("%v; the next call is in %s", err, wait.Round(time.Second)))
		}
	})
}

// readRecipients reads the list for the holder. It is read at each call, so that it may
// change.
func readRecipients(file, domains string) (hashed.Book, error) {
	f, err := os.Open(file)
	if err != nil {
		return nil, fmt.Errorf("--recipients: %w", err)
	}
	defer f.Close()
	var named []mail.Domain
	for name := range strings.SplitSeq(domains, ",") {
		if d, err := mail.ParseDomain(strings.TrimPrefix(name, "@")); err == nil {
			named = append(named, d)
		}
	}
	book, err := hashed.ReadBook(f, named)
	if err != nil {
		return nil, fmt.Errorf("--recipients %s: %w", file, err)
	}
	return book, nil
}

// unsettled is the error of a session that did not hand all over, or nil.
func unsettled(res pull.Result) error {
	if n := res.Messages[pull.Deferred]; res.Broken == nil && n > 0 {
		return fmt.Errorf("the local server did not take %s: the mail stays with the holder", plural(n, "message"))
	}
	return res.Broken
}

// options reads all options but the password.
func (c Call) options() (o pull.Options, interval time.Duration, err error) {
	value := func(name string) string {
		v, _ := c.Value(name)
		return v
	}
	switch atrn := value("atrn"); {
	case len(c.Args) == 0 && atrn != "":
		return o, 0, usage("takes %s: %s behind --atrn is read as a domain; put the host first", ArgsUsage, atrn)
	case len(c.Args) != 1:
		return o, 0, usage("takes %s", ArgsUsage)
	}
	o = pull.Options{User: value("user"), State: value("state"), LMTP: c.has("lmtp"), Security: pull.StartTLS}
	if err := c.verb(&o); err != nil {
		return o, 0, err
	}
	if v, ok := c.Value("tls"); ok {
		o.Security = pull.Security(strings.ToLower(v))
	}
	switch o.Security {
	case pull.StartTLS, pull.Implicit, pull.NoTLS:
	default:
		return o, 0, usage("--tls %q: it takes starttls, implicit or none", value("tls"))
	}
	if err := c.useless(o); err != nil {
		return o, 0, err
	}
	host := ""
	if o.Holder, host, err = hostPort(c.Args[0], defaultPort(o)); err != nil {
		return o, 0, usage("%s: %v", c.Args[0], err)
	}
	if o.User == "" {
		return o, 0, usage("--user is needed: the account that signs in at the holder")
	}
	if v := value("to"); v != "" {
		if o.Local, _, err = hostPort(v, "25"); err != nil {
			return o, 0, usage("--to %s: %v", v, err)
		}
	} else if o.Verb != pull.ETRN {
		return o, 0, usage("--to is needed: the server that gets the mail, such as --to localhost:25")
	}
	if o.Holder == o.Local {
		return o, 0, usage("--to %s is the holder itself: it would get its own mail back", o.Local)
	}
	if v, ok := c.Value("size-ceiling"); ok {
		if o.Ceiling, err = strconv.ParseInt(v, 10, 64); err != nil || o.Ceiling < 1 {
			return o, 0, usage("--size-ceiling %q: it takes a number of octets, such as 1000000", v)
		}
	}
	if v, ok := c.Value("recipients"); ok {
		o.Recipients = func() (hashed.Book, error) { return readRecipients(v, o.Argument) }
		if _, err := o.Recipients(); err != nil {
			return o, 0, err
		}
	}
	if o.State == "" {
		o.State = defaultState()
	}
	if o.TLS, err = c.tlsConfig(host); err != nil {
		return o, 0, err
	}
	if c.has("idle") {
		interval = time.Minute
	}
	if v, ok := c.Value("interval"); ok {
		if interval, err = time.ParseDuration(v); err != nil || interval < time.Second || !c.has("idle") {
			return o, 0, usage("--interval %q: it takes a duration from 1s on, such as 5m, and goes with --idle", v)
		}
	}
	return o, interval, nil
}

// useless refuses options that would do nothing with the others.
func (c Call) useless(o pull.Options) error {
	given := func(names ...string) string {
		i := slices.IndexFunc(names, c.has)
		if i < 0 {
			return ""
		}
		return names[i]
	}
	if name := given("to", "lmtp", "size-ceiling", "state", "idle"); name != "" && o.Verb == pull.ETRN {
		return usage("--%s goes with --turn or --atrn: after ETRN the holder sends the mail to the domain's hosts itself", name)
	}
	if name := given("ca", "insecure"); name != "" && o.Security == pull.NoTLS {
		return usage("--%s goes with TLS, and --tls none is without", name)
	}
	if c.has("ca") && c.has("insecure") {
		return usage("--insecure takes any certificate, and --ca does not: one of them")
	}
	return nil
}

func (c Call) has(name string) bool {
	v, ok := c.Value(name)
	return ok && v != "false"
}

// verb reads how the mail is asked for.
func (c Call) verb(o *pull.Options) error {
	n := 0
	for name, verb := range map[string]pull.Verb{"turn": pull.TURN, "atrn": pull.ATRN, "etrn": pull.ETRN} {
		if v, ok := c.Value(name); ok && (name != "turn" || v != "false") {
			n++
			if o.Verb = verb; verb != pull.TURN {
				o.Argument = v
			}
		}
	}
	if n != 1 {
		return usage("one of --turn, --atrn and --etrn is needed: how the mail is asked for")
	}
	if o.Verb == pull.TURN || o.Verb == pull.ATRN && o.Argument == "" {
		return nil
	}
	names := strings.Split(o.Argument, ",")
	for i, name := range names {
		mark := ""
		if o.Verb == pull.ETRN && strings.HasPrefix(name, "@") {
			mark, name = "@", name[1:]
		}
		d, err := mail.ParseDomain(strings.TrimSpace(name))
		if err != nil || o.Verb == pull.ETRN && len(names) > 1 {
			return usage("--%s %q: it takes the name of a domain, such as mail.example", strings.ToLower(string(o.Verb)), o.Argument)
		}
		names[i] = mark + string(d)
	}
	o.Argument = strings.Join(names, ",")
	return nil
}

// defaultPort is that of the holder: ODMR's for ATRN (RFC 2645).
func defaultPort(o pull.Options) string {
	switch {
	case o.Security == pull.Implicit:
		return "465"
	case o.Verb == pull.ATRN:
		return "366"
	}
	return "25"
}

// hostPort reads HOST[:PORT].
func hostPort(text, port string) (addr, host string, err error) {
	host = text
	if h, p, err := net.SplitHostPort(text); err == nil {
		host, port = h, p
	}
	host = strings.Trim(host, "[]")
	n, err := strconv.ParseUint(port, 10, 16)
	switch {
	case err != nil || n == 0:
		return "", "", fmt.Errorf("%q is no port", port)
	case host == "" || strings.ContainsAny(host, " /,@") || strings.Contains(host, ":") && net.ParseIP(host) == nil:
		return "", "", errors.New("is no HOST[:PORT]")
	}
	return net.JoinHostPort(host, port), host, nil
}

func (c Call) tlsConfig(host string) (*tls.Config, error) {
	cfg := &tls.Config{ServerName: host, InsecureSkipVerify: c.has("insecure")}
	file, ok := c.Value("ca")
	if !ok {
		return cfg, nil
	}
	pem, err := os.ReadFile(file)
	if err != nil {
		return nil, fmt.Errorf("--ca: %w", err)
	}
	cfg.RootCAs = x509.NewCertPool()
	if !cfg.RootCAs.AppendCertsFromPEM(pem) {
		return nil, fmt.Errorf("--ca: %s: has no certificate in PEM form", file)
	}
	return cfg, nil
}

// password reads the file, or asks.
func (c Call) password() (account.Secret, error) {
	file, ok := c.Value("password-file")
	if !ok {
		p, err := c.Password()
		if err == nil && p == "" {
			err = errors.New("the password is empty: it is read from standard input, or from --password-file")
		}
		return account.Secret(p), err
	}
	f, err := os.Open(file)
	if err != nil {
		return "", fmt.Errorf("--password-file: %w", err)
	}
	defer f.Close()
	p, err := FirstLine(f)
	if err == nil && p == "" {
		err = errors.New("its first line is empty")
	}
	if err != nil {
		return "", fmt.Errorf("--password-file: %s: %w", file, err)
	}
	return account.Secret(p), nil
}

// FirstLine is the first line of r, without its end.
func FirstLine(r io.Reader) (string, error) {
	line, err := bufio.NewReader(io.LimitReader(r, 4096)).ReadString('\n')
	if err == io.EOF {
		err = nil
	}
	return strings.TrimRight(strings.TrimPrefix(line, "\ufeff"), "\r\n"), err
}

// defaultState is the folder without --state: the machine's for root, else the user's.
func defaultState() string {
	if runtime.GOOS == "windows" {
		return filepath.Join(os.Getenv("ProgramData"), "Restante", "pull")
	}
	if os.Getuid() == 0 {
		return "/var/lib/restante-pull"
	}
	if dir := os.Getenv("XDG_STATE_HOME"); filepath.IsAbs(dir) {
		return filepath.Join(dir, "restante-pull")
	}
	home, err := os.UserHomeDir()
	if err != nil {
		return "/var/lib/restante-pull"
	}
	if runtime.GOOS == "darwin" {
		return filepath.Join(home, "Library", "Application Support", "restante-pull")
	}
	return filepath.Join(home, ".local", "state", "restante-pull")
}

// A printer writes what becomes of the messages.
type printer struct {
	call Call
	verb pull.Verb
}

// line writes what is amiss.
func (p *printer) line(text string) { fmt.Fprintf(p.call.Err, "%s: %s\n", p.call.Program, shown(text)) }

func (p *printer) message(m pull.Message) {
	switch {
	case p.call.JSON:
		_ = p.object(struct {
			pull.Message
			Reply string `json:"reply"`
		}{m, m.Reply.String()})
	case !p.call.Quiet:
		to := ""
		if len(m.To) > 0 {
			to = " to <" + strings.Join(m.To, ">, <") + ">"
		}
		fmt.Fprintln(p.call.Out, shown(fmt.Sprintf("%s %s%s from <%s>: %s", m.Outcome, plural(int(m.Size), "octet"), to, m.From, m.Reply)))
	}
}

// A sum is the last line of a call.
type sum struct {
	Taken    int    `json:"taken"`
	Known    int    `json:"known"`
	Deferred int    `json:"deferred"`
	Left     int    `json:"left"`
	Refused  int    `json:"refused"`
	Octets   int64  `json:"octets"`
	Reply    string `json:"reply"`
}

func (p *printer) sum(res pull.Result) error {
	n := res.Messages
	s := sum{n[pull.Taken], n[pull.Known], n[pull.Deferred], n[pull.Left], n[pull.Refused], res.Octets, res.Reply.String()}
	if p.call.JSON {
		return p.object(s)
	}
	text := "nothing came"
	switch {
	case res.Reply.Code == pull.NothingWaits:
		text = "nothing waits"
	case p.verb == pull.ETRN:
		text = shown("ETRN: " + s.Reply)
	case len(n) > 0:
		text = fmt.Sprintf("%s taken, %s", plural(s.Taken, "message"), plural(int(s.Octets), "octet"))
		for _, one := range []struct {
			n    int
			what string
		}{{s.Known, "taken before"}, {s.Deferred, "not taken now"}, {s.Left, "left as too large"}, {s.Refused, "refused"}} {
			if one.n > 0 {
				text += fmt.Sprintf("; %d %s", one.n, one.what)
			}
		}
	}
	if p.call.Quiet {
		return nil
	}
	_, err := fmt.Fprintln(p.call.Out, text)
	return err
}

func (p *printer) object(v any) error {
	out := json.NewEncoder(p.call.Out)
	out.SetEscapeHTML(false)
	return out.Encode(v)
}

func plural(n int, what string) string {
	if n == 1 {
		return "1 " + what
	}
	return strconv.Itoa(n) + " " + what + "s"
}

// shown has a question mark for each character that a terminal could obey.
func shown(text string) string {
	return strings.Map(func(r rune) rune {
		if !unicode.IsPrint(r) {
			return '?'
		}
		return r
	}, text)
}
