// SPDX-License-Identifier: Apache-2.0

package policy

import (
	"sync"

	"restante/engine/auth"
	"restante/engine/mail"
	"restante/engine/session"
	"restante/engine/settings"
)

// signing begins the DKIM signatures of messages by the keys of their authors' domains.
// A key is parsed once.
//
// A message of no caller, of the Pickup folder or our own, is signed only where its
// sender's domain has a key, too: files may have a stranger's text, such as forwarded mail.
func signing(s *settings.Site) func(mail.Envelope) session.Signing {
	var mu sync.Mutex
	parsed := map[string]auth.Key{}
	keys := func(texts []string) (out []auth.Key) {
		mu.Lock()
		defer mu.Unlock()
		for _, text := range texts {
			key, there := parsed[text]
			if !there {
				var err error
				if key, err = auth.ParseKey(text); err != nil {
					continue // no such key is ever stored
				}
				parsed[text] = key
			}
			out = append(out, key)
		}
		return out
	}
	return func(env mail.Envelope) session.Signing {
		signs := func(author mail.Domain) []string { return s.DkimKeys(author, env.Account, env.Client) }
		if !s.HasDkim() || !env.Client.IsValid() && len(signs(env.From.Domain)) == 0 {
			return nil
		}
		return auth.Sign(func(author mail.Domain) []auth.Key { return keys(signs(author)) })
	}
}
