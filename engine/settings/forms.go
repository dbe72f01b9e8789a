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

// forms are what values must be of which the schema knows the type alone. An
// empty text is no mistake.
var forms = []struct {
	id    metabase.ID
	check func(metabase.Value) error
}{
	{postmasterEmail, checkMailbox},
	{sendNdrTo, checkMailbox},
	{ServiceVersion, checkVersion},
	{ScramVerifier, checkVerifier},
}

// checkMailbox takes an address, which may be without a domain: then it is one
// of the default domain.
func checkMailbox(v metabase.Value) error {
	_, err := mail.ParseAddress(v.Str())
	if err == nil {
		return nil
	}
	if _, bare := mail.ParseAddress(v.Str() + "@domain.example"); bare == nil {
		return nil
	}
	return invalid("%v", err)
}

// checkVersion knows those that there have been.
func checkVersion(v metabase.Value) error {
	if v.DWord() > 2 {
		return invalid("there is no version %d; allowed are 0, 1 and 2", v.DWord())
	}
	return nil
}

// checkVerifier keeps an account from one by which it could never sign in. None
// is what an import brings.
func checkVerifier(v metabase.Value) error {
	if v.Str() == "" {
		return nil
	}
	if err := account.CheckVerifier(v.Str()); err != nil {
		return invalid("%v", err)
	}
	return nil
}

// checkForms looks at the values that a change stores.
func checkForms(c metabase.Change) (problems []metabase.Problem) {
	for _, path := range c.Touched {
		for _, form := range forms {
			item, ok := c.New.Stored(path, form.id)
			was, had := c.Old.Stored(path, form.id)
			if !ok || had && was.Value.Equal(item.Value) {
				continue
			}
			if err := form.check(item.Value); err != nil {
				prop, _ := schema.IIS().ByID(form.id)
				problems = append(problems, metabase.Problem{Path: path, ID: form.id, Property: prop.Name, Err: err})
			}
		}
	}
	return problems
}
