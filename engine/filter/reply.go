// SPDX-License-Identifier: Apache-2.0

package filter

import (
	"fmt"
	"regexp"
	"strconv"
	"strings"

	"restante/engine/mail"
)

// maxText bounds the text of a filter's reply (RFC 5321 §4.5.3.1.5).
const maxText = 480

// replyForm is a line of a reply: a code, an enhanced code of its class where there is
// one, and a text.
var replyForm = regexp.MustCompile(`^([45][0-9]{2})(?:[ -]([45])\.([0-9]{1,3}\.[0-9]{1,3}))?(?:[ -]+(.*))?$`)

// parseReply reads the reply that a filter asks for. Nothing of it goes to the caller
// that is not the code and the text of one.
func parseReply(text string) (mail.Reply, error) {
	r := mail.Reply{Enhanced: "7.1"}
	var lines []string
	for i, line := range strings.Split(strings.ReplaceAll(text, "\r\n", "\n"), "\n") {
		if strings.ContainsFunc(line, func(c rune) bool { return c < ' ' || c > '~' }) {
			return r, fmt.Errorf("asks for a reply with a control character, or one beyond ASCII: %.80q", text)
		}
		part := replyForm.FindStringSubmatch(line)
		if part == nil || part[2] != "" && part[2] != part[1][:1] || i > 0 && part[1] != strconv.Itoa(r.Code) {
			return r, fmt.Errorf("asks for a reply that is none: %.80q", text)
		}
		if i == 0 {
			r.Code, _ = strconv.Atoi(part[1])
			if part[3] != "" {
				r.Enhanced = part[3]
			}
		}
		lines = append(lines, part[4])
	}
	if r.Text = strings.Join(lines, " "); len(r.Text) > maxText {
		r.Text = r.Text[:maxText]
	}
	if r.Text == "" {
		r.Text = "Rejected"
	}
	return r, nil
}
