// SPDX-License-Identifier: Apache-2.0

package settings

import (
	"restante/engine/account"
	"restante/engine/mail"
	"restante/metabase"
	"restante/metabase/schema"
)

// Addresses that are kept, and that nothing is sent to yet.
const (
	postmasterEmail metabase.ID = 36917
	sendNdrTo       metabase.ID = 0x00520008
)

// forms are what texts must be that the schema knows as texts alone. Nothing
// stored is no mistake.
var forms = []struct {
	id    metabase.ID
	check func(string) error
}{
	{postmasterEmail, checkMailbox},
	{sendNdrTo, checkMailbox},
	{ScramVerifier, account.CheckVerifier}, // with another an account could never sign in
}

// checkMailbox takes an address, which may be without a domain: then it is one
// of the default domain.
func checkMailbox(text string) error {
	_, err := mail.ParseAddress(text)
	if err == nil {
		return nil
	}
	if _, bare := mail.ParseAddress(text + "@domain.example"); bare == nil {
		return nil
	}
	return invalid("%v", err)
}

// checkForms looks at the texts that a change stores.
func checkForms(c metabase.Change) (problems []metabase.Problem) {
	for _, path := range c.Touched {
		for _, form := range forms {
			item, ok := c.New.Stored(path, form.id)
			was, had := c.Old.Stored(path, form.id)
			if !ok || item.Value.Str() == "" || had && was.Value.Equal(item.Value) {
				continue
			}
			if err := form.check(item.Value.Str()); err != nil {
				prop, _ := schema.IIS().ByID(form.id)
				problems = append(problems, metabase.Problem{Path: path, ID: form.id, Property: prop.Name, Err: invalid("%v", err)})
			}
		}
	}
	return problems
}
