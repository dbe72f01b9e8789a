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
	for t := range c.PropertyChanges() {
		for _, form := range forms {
			if t.ID != form.id || !stores(t) {
				continue
			}
			if err := form.check(t.New.Value); err != nil {
				prop, _ := schema.IIS().ByID(form.id)
				problems = append(problems, metabase.Problem{Path: t.Path, ID: form.id, Property: prop.Name, Err: err})
			}
		}
	}
	return problems
}

// stores says that a property gets another value.
func stores(t metabase.PropertyChange) bool {
	return t.New != nil && (t.Old == nil || !t.Old.Value.Equal(t.New.Value))
}
