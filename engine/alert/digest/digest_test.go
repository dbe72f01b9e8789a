// SPDX-License-Identifier: Apache-2.0

package digest

import (
	"io"
	"net/mail"
	"strings"
	"testing"
	"time"

	ours "restante/engine/mail"
)

// A digest has all that is known, and nothing answers it.
func TestBuild(t *testing.T) {
	at := time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC)
	d := Digest{
		Domain: "a.test", To: []ours.Address{{Local: "boss", Domain: "else.test"}, {Local: "two", Domain: "else.test"}}, Reasons: []Reason{Quota, Daily}, ID: "id1", At: at,
		Messages: 12, Bytes: 3456, Percent: 81, Oldest: at.Add(-time.Hour), Ends: at.Add(time.Hour), LastCall: at.Add(-2 * time.Hour), NextCall: at.Add(2 * time.Hour),
	}
	from := From{Name: "The Mail System", Address: ours.Address{Local: "pm", Domain: "hub.test"}, Host: "mx.hub.test"}
	text := string(Build(d, from))
	if strings.Count(text, "\n") != strings.Count(text, "\r\n") {
		t.Errorf("a line has no CRLF:\n%s", text)
	}
	m, err := mail.ReadMessage(strings.NewReader(text))
	if err != nil {
		t.Fatal(err)
	}
	for field, want := range map[string]string{
		"From": `"The Mail System" <pm@hub.test>`, "To": "<boss@else.test>, <two@else.test>", "Subject": "Mail for a.test: 81 % of the quota",
		"Date": "Sun, 01 Mar 2026 12:00:00 +0000", "Message-Id": "<id1@mx.hub.test>", "Auto-Submitted": "auto-generated",
	} {
		if got := m.Header.Get(field); got != want {
			t.Errorf("%s is %q, want %q", field, got, want)
		}
	}
	body, _ := io.ReadAll(m.Body)
	for _, want := range []string{
		"What waits is 81 % of its quota.", "Mail has waited for a day", "messages waiting    12\r\n", "bytes               3456\r\n", "of the quota        81 %\r\n",
		"oldest came         2026-03-01 11:00:00 UTC", "oldest ends         2026-03-01 13:00:00 UTC", "last call           2026-03-01 10:00:00 UTC", "next call expected  2026-03-01 14:00:00 UTC",
	} {
		if !strings.Contains(string(body), want) {
			t.Errorf("%q is missing in\n%s", want, body)
		}
	}
	for reason, subject := range map[Reason]string{
		Ending: "Mail for a.test is close to its end", Silence: "The host of a.test has not called", Daily: "Mail for a.test: 0 waiting",
	} {
		text := string(Build(Digest{Domain: "a.test", Reasons: []Reason{reason}}, From{Host: "mx.hub.test"}))
		if !strings.Contains(text, "Subject: "+subject+"\r\n") || !strings.Contains(text, "From: <postmaster@mx.hub.test>\r\n") || !strings.Contains(text, "oldest ends         never") {
			t.Errorf("%s:\n%s", reason, text)
		}
	}
}
