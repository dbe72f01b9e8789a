// SPDX-License-Identifier: Apache-2.0

package session

import (
	"sync"

	"restante/engine/mail"
)

// Names gives the names of a client by DNS, each of which leads back to its
// address. A decision that depends on them asks for them. Where Names is nil they
// are not known yet, and such a decision is put off: it grants.
type Names = func() ([]string, error)

// A Host has the names of one client. They are looked up once, when a decision
// asks for them.
type Host struct {
	find  Names
	mu    sync.Mutex
	asked bool
	names []string
	err   error
}

// NewHost makes a Host that finds the names by find, which is nil for one without a
// name.
func NewHost(find Names) *Host { return &Host{find: find, asked: find == nil} }

// lookup is nil for a Host that is not known yet.
func (h *Host) lookup() Names {
	if h == nil {
		return nil
	}
	return func() ([]string, error) {
		h.mu.Lock()
		defer h.mu.Unlock()
		if !h.asked {
			h.asked = true
			h.names, h.err = h.find()
		}
		return h.names, h.err
	}
}

// failed says that the names were asked for and could not be looked up now.
func (h *Host) failed() bool {
	if h == nil {
		return false
	}
	h.mu.Lock()
	defer h.mu.Unlock()
	return h.err != nil
}

// unnamed is the reply to a client that a list by names keeps out while its names
// cannot be looked up.
func unnamed(code int) mail.Reply {
	return mail.Reply{Code: code, Enhanced: "7.1", Text: "The name of your host cannot be looked up now, try again later"}
}

func (p *Policy) keepsOut(q Question) bool {
	return p.MayConnect != nil && !p.MayConnect(q.Client, q.Host.lookup())
}
