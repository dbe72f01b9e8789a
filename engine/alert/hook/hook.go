// SPDX-License-Identifier: Apache-2.0

// Package hook tells an event to a web server and to a program.
//
// A request has the form of Standard Webhooks: the headers webhook-id,
// webhook-timestamp and, with a secret, webhook-signature. A program is started
// without a shell; it gets the event in its environment and, as JSON, on its standard
// input. Every attempt at one event has the same ID and the same text, so that a receiver
// can tell a repetition.
//
// The package decides neither when there is an event nor when it is tried again.
package hook

import (
	"bytes"
	"context"
	"crypto/hmac"
	"crypto/sha256"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"time"
	"unicode/utf8"

	"restante/internal/procgroup"
)

// The types of events.
const (
	MailWaits  = "mail.waiting"
	HostSilent = "host.silent"
)

// An Event is told to a receiver.
type Event struct {
	ID   string    `json:"id"`
	Type string    `json:"type"`
	Time time.Time `json:"timestamp"`
	Data Data      `json:"data"`
}

// Data is what an event tells of a held domain.
type Data struct {
	Site     int       `json:"site"`
	Domain   string    `json:"domain"`
	Reason   string    `json:"reason,omitempty"` // of MailWaits: first, threshold or priority
	Messages int       `json:"messages"`
	Bytes    int64     `json:"bytes"`
	Oldest   time.Time `json:"oldest,omitzero"`
	Percent  int       `json:"percent"` // of the quota
	LastCall time.Time `json:"last_call,omitzero"`
}

// A Secret signs requests. It does not show in a log.
type Secret string

// String implements fmt.Stringer.
func (Secret) String() string { return "(secret)" }

// minSecret is the length from which on a secret is not found by trying.
const minSecret = 16

const secretPrefix = "whsec_"

// CheckSecret refuses a secret that is too short, or not what its prefix says.
func CheckSecret(text string) error {
	key, err := Secret(text).key()
	switch {
	case err != nil:
		return fmt.Errorf("behind %s stands the secret in base64", secretPrefix)
	case len(key) < minSecret:
		return fmt.Errorf("the secret has fewer than %d octets, and could be found by trying", minSecret)
	}
	return nil
}

func (s Secret) key() ([]byte, error) {
	if text, ok := strings.CutPrefix(string(s), secretPrefix); ok {
		return base64.StdEncoding.DecodeString(text)
	}
	return []byte(s), nil
}

// Sign is the webhook-signature of a request.
func Sign(s Secret, id, timestamp string, body []byte) string {
	key, _ := s.key() // others are never stored
	mac := hmac.New(sha256.New, key)
	fmt.Fprintf(mac, "%s.%s.%s", id, timestamp, body)
	return "v1," + base64.StdEncoding.EncodeToString(mac.Sum(nil))
}

// CheckURL accepts the URL of a receiver.
func CheckURL(text string) error {
	u, err := url.Parse(text)
	if err != nil || u.Scheme != "http" && u.Scheme != "https" || u.Hostname() == "" || u.User != nil || u.Fragment != "" {
		return fmt.Errorf("%q is not a URL such as https://host.example/path, without a user", text)
	}
	if port := u.Port(); port != "" {
		if n, err := strconv.ParseUint(port, 10, 16); err != nil || n == 0 {
			return fmt.Errorf("%q has the port %s; allowed is 1 to 65535", text, port)
		}
	}
	return nil
}

// CheckProgram accepts the name of a program.
func CheckProgram(name string) error {
	if !filepath.IsAbs(name) || filepath.Clean(name) != filepath.FromSlash(name) {
		return fmt.Errorf("%q is not the absolute path of a program", name)
	}
	return nil
}

// ErrGone is the error of a receiver that wants nothing more.
var ErrGone = errors.New("the receiver answers 410: it wants no events")

// How long one attempt may take.
const (
	postTimeout = 15 * time.Second
	runTimeout  = time.Minute
	outputDelay = 5 * time.Second // for what a program has started, and keeps its output open
)

var client = &http.Client{
	Timeout: postTimeout,
	// What is meant for one receiver goes to no other one.
	CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
}

// Post sends e to a URL, signed where there is a secret.
func Post(ctx context.Context, to string, s Secret, e Event) error {
	body := encode(e)
	r, err := http.NewRequestWithContext(ctx, http.MethodPost, to, bytes.NewReader(body))
	if err != nil {
		return err
	}
	at := strconv.FormatInt(time.Now().Unix(), 10)
	r.Header = http.Header{
		"Content-Type": {"application/json"}, "User-Agent": {"restante"},
		"Webhook-Id": {e.ID}, "Webhook-Timestamp": {at},
	}
	if s != "" {
		r.Header.Set("Webhook-Signature", Sign(s, e.ID, at, body))
	}
	resp, err := client.Do(r)
	if bad := (*url.Error)(nil); errors.As(err, &bad) {
		return bad.Err // without the URL, which may have a secret in it
	}
	if err != nil {
		return err
	}
	defer resp.Body.Close()
	_, _ = io.CopyN(io.Discard, resp.Body, 4096) // so that the connection can be used again
	switch {
	case resp.StatusCode == http.StatusGone:
		return ErrGone
	case resp.StatusCode/100 != 2:
		return fmt.Errorf("the receiver answers %d", resp.StatusCode)
	}
	return nil
}

func encode(e Event) []byte {
	text, err := json.Marshal(e)
	if err != nil {
		panic(err) // plain data
	}
	return text
}

// passed are the variables that a program gets of the service's environment, in which
// there may be secrets.
var passed = []string{"PATH", "HOME", "LANG", "TZ", "TMPDIR", "SystemRoot", "SystemDrive", "TEMP", "TMP", "ComSpec", "PATHEXT"}

// Run starts a program with its arguments, and waits until it ends with 0. One that does
// not in its time ends with all that it has started.
func Run(ctx context.Context, command []string, e Event) error {
	return run(ctx, command, e, outputDelay)
}

func run(ctx context.Context, command []string, e Event, outputDelay time.Duration) error {
	ctx, cancel := context.WithTimeoutCause(ctx, runTimeout, fmt.Errorf("it runs longer than %s", runTimeout))
	defer cancel()
	said := &short{}
	cmd := exec.CommandContext(ctx, command[0], command[1:]...)
	cmd.Dir, cmd.Env = filepath.Dir(command[0]), environment(e)
	cmd.Stdin, cmd.Stdout, cmd.Stderr = bytes.NewReader(encode(e)), said, said
	cmd.WaitDelay = outputDelay
	procgroup.Set(cmd)
	err := cmd.Run()
	if errors.Is(err, exec.ErrWaitDelay) {
		return nil // it ended with 0, and what it has started goes on
	}
	if cause := context.Cause(ctx); err != nil && cause != nil {
		err = cause
	}
	if err != nil && len(said.text) > 0 {
		err = fmt.Errorf("%w: %s", err, said)
	}
	return err
}

func environment(e Event) (env []string) {
	for _, name := range passed {
		if v, ok := os.LookupEnv(name); ok {
			env = append(env, name+"="+v)
		}
	}
	instant := func(t time.Time) string {
		if t.IsZero() {
			return ""
		}
		return t.UTC().Format(time.RFC3339)
	}
	d := e.Data
	return append(env,
		"RESTANTE_ID="+e.ID, "RESTANTE_EVENT="+e.Type, "RESTANTE_TIME="+instant(e.Time),
		"RESTANTE_SITE="+strconv.Itoa(d.Site), "RESTANTE_DOMAIN="+d.Domain, "RESTANTE_REASON="+d.Reason,
		"RESTANTE_MESSAGES="+strconv.Itoa(d.Messages), "RESTANTE_BYTES="+strconv.FormatInt(d.Bytes, 10),
		"RESTANTE_OLDEST="+instant(d.Oldest), "RESTANTE_PERCENT="+strconv.Itoa(d.Percent), "RESTANTE_LAST_CALL="+instant(d.LastCall))
}

// A short keeps the beginning of what a program says.
type short struct{ text []byte }

func (s *short) Write(p []byte) (int, error) {
	s.text = append(s.text, p[:min(len(p), 200-len(s.text))]...)
	return len(p), nil
}

func (s *short) String() string {
	return strings.ToValidUTF8(strings.Join(strings.Fields(string(s.text)), " "), string(utf8.RuneError))
}
