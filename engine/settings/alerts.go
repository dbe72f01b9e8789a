// SPDX-License-Identifier: Apache-2.0

package settings

import (
	"time"

	"restante/engine/alert/hook"
	"restante/engine/mail"
	"restante/metabase"
)

// Alerts says who is told of the mail that waits for a held domain.
type Alerts struct {
	HoldOwner   []string
	WakeUrl     string
	WakeCommand []string // program and arguments
	WakeAfter   time.Duration
	WakeSecret  string
}

func (a *Alerts) fields() []field {
	return []field{
		{HoldOwner, &a.HoldOwner},
		{WakeUrl, &a.WakeUrl},
		{WakeCommand, &a.WakeCommand},
		{WakeAfter, &a.WakeAfter},
		{WakeSecret, &a.WakeSecret},
	}
}

// AlertsOf gives those of a held domain.
func (s *Site) AlertsOf(name mail.Domain) (a Alerts) {
	path, _ := s.domainKey(name)
	newReader(s.snap, path).read(a.fields()...)
	return a
}

// Owners are the addresses of HoldOwner but those in held domains: one whose domain was
// held later is told nothing.
func (s *Site) Owners(a Alerts) (list []mail.Address) {
	for _, text := range a.HoldOwner {
		if to, err := mail.ParseMailbox(text); err == nil && s.Standing(to.Domain) != mail.Held {
			list = append(list, to)
		}
	}
	return list
}

func checkOwner(text string) error {
	a, err := mail.ParseMailbox(text)
	if err == nil && a.Domain == "" {
		err = invalid("%q has no domain", text)
	}
	return err
}

// checkOwners refuses an owner whose mail would wait with what it tells of.
func checkOwners(c metabase.Change, t metabase.PropertyChange) (problems []metabase.Problem) {
	n, _, ok := domainOf(t.Path)
	if !ok || t.ID != HoldOwner {
		return nil
	}
	s := Unchecked(c.New, n)
	for _, text := range t.New.Value.Strings() {
		if a, err := mail.ParseMailbox(text); err == nil && s != nil && s.Standing(a.Domain) == mail.Held {
			problems = append(problems, problem(t.Path, t.ID, invalid("%q is in %s, which site %d holds: the mail would wait there, too; name an address elsewhere", text, a.Domain, n)))
		}
	}
	return problems
}

// checkWakeCommand asks for control over the whole tree where a change sets a program: it
// runs with the rights of the service.
func checkWakeCommand(c metabase.Change, t metabase.PropertyChange) []metabase.Problem {
	list := t.New.Value.Strings()
	if t.ID != WakeCommand || len(list) == 0 {
		return nil
	}
	if err := hook.CheckProgram(list[0]); err != nil {
		return []metabase.Problem{problem(t.Path, t.ID, invalid("%v", err))}
	}
	if !allows(c, metabase.Root, metabase.Control) {
		return []metabase.Problem{problem(t.Path, t.ID, invalid("%s would run with the rights of the service: that takes the right %s at %s", list[0], metabase.Control, metabase.Root))}
	}
	return nil
}
