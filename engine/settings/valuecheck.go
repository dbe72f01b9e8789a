// SPDX-License-Identifier: Apache-2.0

package settings

import (
	"restante/engine/account"
	"restante/engine/mail"
	"restante/metabase"
	"restante/metabase/schema"
)

// valueChecks check texts whose form the schema does not know, by property. An
// empty text is accepted.
var valueChecks = map[string]func(text string) error{
	"PostmasterEmail": checkMailbox,
	"SendNdrTo":       checkMailbox,
	"ScramVerifier":   account.CheckVerifier, // with another one an account could never sign in
}

// checkMailbox accepts an address. One without a domain is in the default
// domain.
func checkMailbox(text string) error {
	_, err := mail.ParseAddress(text)
	if err == nil {
		return nil
	}
	if _, bare := mail.ParseAddress(text + "@domain.example"); bare == nil {
		return nil
	}
	return err
}

// checkValues checks the values that a change stores.
func checkValues(c metabase.Change) (problems []metabase.Problem) {
	for t := range c.PropertyChanges() {
		prop, _ := schema.IIS().ByID(t.ID)
		check := valueChecks[prop.Name]
		if check == nil || !stores(t) || t.New.Value.Str() == "" {
			continue
		}
		if err := check(t.New.Value.Str()); err != nil {
			problems = append(problems, problem(t.Path, t.ID, invalid("%v", err)))
		}
	}
	return problems
}

// stores reports whether a property gets another value.
func stores(t metabase.PropertyChange) bool {
	return t.New != nil && (t.Old == nil || !t.Old.Value.Equal(t.New.Value))
}
