// SPDX-License-Identifier: Apache-2.0

package policy

import (
	"strings"

	"restante/engine/filter"
	"restante/engine/session"
	"restante/engine/settings"
)

// Milters are the filters of a site.
func Milters(s *settings.Site) (list []filter.Filter) {
	for _, m := range s.Filters() {
		list = append(list, filter.Filter(m))
	}
	return list
}

// filters shows messages to the Milters of the site; nil where there are none.
func filters(s *settings.Site, health *filter.Health) func(session.Transaction) session.Filter {
	c := filter.Config{
		Site: s.Number, Filters: Milters(s), Command: s.Verify.MilterTimeout, Content: s.Verify.MilterContentTimeout,
		MaxSize: s.Verify.MilterMaxSize, Health: health,
	}
	if health == nil || len(c.Filters) == 0 {
		return nil
	}
	return func(t session.Transaction) session.Filter { return filter.New(c, t) }
}

// milterReasons are the property, which decides when the message is there, and with it
// the filters that are down.
func milterReasons(s *settings.Site, health *filter.Health) []settings.Reason {
	if len(s.Verify.Milters) == 0 {
		return nil
	}
	out := s.Reasons("", settings.Milters)
	if health == nil {
		return out // no service runs
	}
	if err := health.Err(s.Number); err != nil {
		out[0].Text += " (" + strings.ReplaceAll(err.Error(), "\n", "; ") + ")"
	}
	return out
}
