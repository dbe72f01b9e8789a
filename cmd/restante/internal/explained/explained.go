// SPDX-License-Identifier: Apache-2.0

// Package explained prints what the service explains: what becomes of mail, and which
// properties decide that.
package explained

import (
	"cmp"
	"fmt"
	"slices"
	"strings"
	"time"

	"restante/admin/api"
	"restante/cmd/restante/internal/domaintext"
	"restante/cmd/restante/internal/words"
)

// A Row prints one field of a description.
type Row func(name string, value any)

// Print prints what would happen to a message.
func Print(row Row, e api.Explained) {
	row("recipient", e.Recipient)
	if e.QueuedAs != "" {
		row("queued as", e.QueuedAs)
	}
	if e.Past {
		row("as of", fmt.Sprintf("revision %d; DNS, files and the greylist as of now, without what waits, who is connected and what directories say", e.Rev))
	}
	domain(row, e.WayOut)
	if e.Accepted {
		row("accepted", "yes")
	} else {
		row("accepted", "no: "+e.Refusal)
	}
	if e.Reply != "" {
		row("reply", e.Reply)
	}
	for _, one := range e.Narrowed {
		row("refused now", one)
	}
	wayOut(row, e.WayOut)
}

// PrintMessage prints what became of a message.
func PrintMessage(row Row, m api.ExplainedMessage) {
	row("id", m.ID)
	row("site", m.Site)
	row("state", m.State)
	row("from", "<"+m.From.String()+">")
	row("received", words.Time(m.Received))
	for _, one := range m.Queued {
		row("queued for", fmt.Sprintf("%s: %s", one.Message.Domain, one.Message.State))
		for _, to := range one.Message.To {
			row("to", to.Address)
		}
		message(row, one.Message)
		if one.WayOut != nil {
			domain(row, *one.WayOut)
			wayOut(row, *one.WayOut)
		}
	}
	for _, end := range m.Outcomes {
		row("to", end.To)
		text := words.Time(end.Time)
		if end.Host+end.Address != "" {
			text += ", " + strings.TrimSpace(end.Host+" "+end.Address)
		}
		if end.TLS != "" && end.TLS != "none" {
			text += ", " + end.TLS
		}
		row(end.Event, text)
		if end.Reply != "" {
			row("reply", end.Reply)
		}
		if end.WayOut != nil {
			row("as of", fmt.Sprintf("revision %d", end.WayOut.Rev))
			domain(row, *end.WayOut)
			wayOut(row, *end.WayOut)
		}
	}
}

// message prints what a message waits for.
func message(row Row, m api.Message) {
	row("attempts", m.Attempts)
	if !m.LastTry.IsZero() {
		row("last try", strings.TrimSuffix(words.Time(m.LastTry)+", "+m.Host, ", "))
		row("last error", m.LastError)
	}
	if m.Phase != "" {
		row("phase", m.Phase)
	}
	if m.InDoubt {
		row("in doubt", "the host may have it")
	}
	if !m.NextTry.IsZero() {
		row("next try", words.Time(m.NextTry))
	}
	if !m.Expires.IsZero() {
		row("expires", words.Time(m.Expires))
	}
}

func domain(row Row, w api.WayOut) {
	row("domain", fmt.Sprintf("%s, %s, key %s", w.Domain, w.Standing, words.Dash(w.Key)))
}

func wayOut(row Row, w api.WayOut) {
	row("route", w.Route)
	row("held", words.YesNo(w.Held))
	if len(w.Turn) > 0 {
		row("turn", words.Quoted(w.Turn))
	}
	if w.Held {
		row("etrn", domaintext.Etrn(w.Etrn))
		domaintext.VerbsOff(row, w.Off)
	}
	for i, g := range w.Hosts {
		hosts(row, g, i > 0)
	}
	if text := times(w); text != "" {
		row("times", text)
	}
	if w.Waiting > 0 {
		row("waiting", fmt.Sprintf("%s, %s, next try %s", words.Plural(w.Waiting, "message"), w.State, words.Time(w.NextTry)))
		if w.LastError != "" {
			row("last error", w.LastError)
		}
		if !w.Expires.IsZero() {
			row("expires", words.Time(w.Expires))
		}
	}
	if c := w.LastCall; c != nil {
		row("last call", fmt.Sprintf("%s, %s by %s: %s", words.Time(c.Begin), c.Verb, cmp.Or(c.Account, c.Address.String()), c.Outcome))
	}
	if !w.NextCall.IsZero() {
		row("next call", words.Time(w.NextCall))
	}
	for _, r := range w.Why {
		row(r.Step, fmt.Sprintf("%s = %s, from %s", r.Property, cmp.Or(r.Value, "(empty)"), cmp.Or(string(r.From), "the schema's default")+Made(r.Made)))
	}
}

// tlsTexts say how a conversation is encrypted.
var tlsTexts = map[string]string{
	"required":      "TLS required, and the host must prove who it is",
	"implicit":      "TLS from the first octet",
	"offered":       "TLS where it is offered; not without it after a handshake that failed",
	"opportunistic": "TLS where it is offered, else in clear",
	"none":          "in clear",
}

func hosts(row Row, g api.HostGroup, later bool) {
	name := map[string]string{"dns": "host", "smart_host": "smart host"}[g.By]
	if later {
		name = "then " + name
	}
	for _, h := range g.Hosts {
		text := fmt.Sprintf("%s %s port %d, %s", h.Name, h.Address, h.Port, tlsTexts[h.TLS])
		if rule := map[string]string{"dane": "DANE", "sts": "MTA-STS"}[h.Rule]; rule != "" {
			text += ", by " + rule
		}
		if h.Reply != "" {
			text += "; passed over: " + h.Reply
		}
		row(name, text)
	}
	if len(g.Hosts) == 0 {
		row(name, fmt.Sprintf("none, the mail would be %s: %s", g.Outcome, g.Reply))
	}
	if in := g.SignIn; in != nil {
		text := fmt.Sprintf("as %s by %s", in.Account, strings.Join(in.Mechanisms, ", "))
		if in.InClear {
			text += ", also without TLS"
		}
		row("sign-in", text)
	}
}

// times say when mail is tried again and given up.
func times(w api.WayOut) string {
	var parts []string
	if n := len(w.Retries); n > 0 {
		var waits []string
		for i, wait := range w.Retries {
			if text := seconds(wait); i == n-1 {
				waits = append(waits, "then every "+text)
			} else {
				waits = append(waits, text)
			}
		}
		parts = append(parts, "tried again after "+strings.Join(waits, ", "))
	}
	if w.DelayNotice > 0 {
		parts = append(parts, "reported late after "+seconds(w.DelayNotice))
	}
	switch end := map[string]string{"archive": "archived", "": "returned", "return": "returned"}[w.HoldEnd]; {
	case w.Held && w.Expire == 0:
		parts = append(parts, "waits without end")
	case w.Expire > 0:
		parts = append(parts, end+" after "+seconds(w.Expire))
	}
	return strings.Replace(strings.Join(parts, "; "), "after then every", "every", 1)
}

// seconds words a duration without zero parts: 4h, 2d.
func seconds(n float64) string {
	d := time.Duration(n * float64(time.Second))
	if days := d / (24 * time.Hour); days > 1 && d%(24*time.Hour) == 0 {
		return fmt.Sprintf("%d days", days)
	}
	text := d.String()
	for _, zero := range []string{"m0s", "h0m"} {
		if s, ok := strings.CutSuffix(text, zero); ok {
			text = s + zero[:1]
		}
	}
	return text
}

// ErrorOfCall says what is wrong with the words of a call; "" for nothing. Used are the
// options that were given.
func ErrorOfCall(arguments int, why bool, used []string) string {
	others := slices.DeleteFunc(slices.Clone(used), func(name string) bool { return name == "why" })
	switch {
	case why && arguments > 0:
		return "--why takes the ID of a message, and neither SITE nor RECIPIENT"
	case why && len(others) > 0:
		return fmt.Sprintf("--why and --%s exclude each other", others[0])
	case slices.Contains(used, "rev") && slices.Contains(used, "at"):
		return "--rev and --at exclude each other"
	case !why && arguments != 2:
		return "takes SITE RECIPIENT, or --why ID"
	}
	return ""
}

// Made tells which revision set a value, as the rest of a sentence; "" for nil.
func Made(m *api.Provenance) string {
	if m == nil {
		return ""
	}
	text := fmt.Sprintf(", revision %d", m.Rev)
	if !m.Time.IsZero() {
		text += ", " + words.Time(m.Time)
	}
	if m.Actor != "" {
		text += ", by " + string(m.Actor)
	}
	if m.Comment != "" {
		text += ": " + m.Comment
	}
	return text
}
