// SPDX-License-Identifier: Apache-2.0

package engine

import (
	"errors"
	"io/fs"
	"net/netip"
	"runtime"
	"slices"
	"strings"
	"syscall"

	"restante/engine/settings"
	"restante/engine/site"
	"restante/engine/site/ports"
	"restante/metabase"
	"restante/metabase/schema"
)

// Sites lists the sites of the tree, in order.
func (e *Engine) Sites() []site.Status {
	e.mu.Lock()
	managed := make(map[int]managedSite, len(e.sites))
	for n, m := range e.sites {
		managed[n] = *m
	}
	e.mu.Unlock()
	out := make([]site.Status, 0, len(managed))
	for n, m := range managed {
		out = append(out, m.status(n))
	}
	slices.SortFunc(out, func(a, b site.Status) int { return a.Number - b.Number })
	return out
}

func (m *managedSite) status(n int) site.Status {
	if m.Site == nil {
		return site.Status{
			Number: n, State: site.Stopped, Listening: []netip.AddrPort{}, Configured: uint64(m.rev),
			Why: joinReasons(oneLine(m.loadErr), m.stranded.text),
		}
	}
	st := m.Status()
	st.Why = joinReasons(st.Why, m.stranded.text)
	return st
}

// joinReasons joins two reasons, each of which may be "".
func joinReasons(a, b string) string {
	if a == "" || b == "" {
		return a + b
	}
	return a + "; " + b
}

func oneLine(err error) string {
	if err == nil {
		return ""
	}
	return strings.ReplaceAll(err.Error(), "\n", "; ")
}

// A publishedState is a site's state as the tree has it.
type publishedState struct {
	state site.State
	code  uint32
}

// publishStates writes states that changed into the tree, in memory only.
func (e *Engine) publishStates() {
	e.mu.Lock()
	defer e.mu.Unlock()
	for n, m := range e.sites {
		now := publishedState{state: site.Stopped, code: win32(m.loadErr)}
		if m.Site != nil {
			state, why := m.State()
			now = publishedState{state, win32(why)}
		}
		if now == m.published {
			continue
		}
		err := e.tree.SetVolatile(settings.SitePath(n), dword(settings.ServerState, uint32(now.state)), dword(settings.Win32Error, now.code))
		if err != nil {
			// The key may have been removed; then the next pass drops the site.
			e.opts.Log.Warn("state is not published", "site", n, "err", err)
			continue
		}
		m.published = now
	}
}

// dword is a property as the schema has it.
func dword(id metabase.ID, v uint32) metabase.Property {
	value := metabase.DWord(v)
	if p, ok := schema.IIS().ByID(id); ok {
		return p.Item(value)
	}
	return metabase.Property{ID: id, Attr: metabase.Volatile, UserType: metabase.UTServer, Value: value}
}

// Codes of Windows, as Win32Error has them on any system.
const (
	win32Access    = 5     // ERROR_ACCESS_DENIED
	win32NoPath    = 3     // ERROR_PATH_NOT_FOUND
	win32Other     = 1066  // ERROR_SERVICE_SPECIFIC_ERROR
	win32InUse     = 10048 // WSAEADDRINUSE
	win32NoAddress = 10049 // WSAEADDRNOTAVAIL
	win32NoListen  = 10013 // WSAEACCES
)

func win32(err error) uint32 {
	var number syscall.Errno
	switch {
	case err == nil:
		return 0
	case errors.Is(err, ports.ErrTaken) || errors.Is(err, syscall.EADDRINUSE):
		return win32InUse
	case errors.Is(err, syscall.EADDRNOTAVAIL):
		return win32NoAddress
	case runtime.GOOS == "windows" && errors.As(err, &number):
		return uint32(number)
	case errors.Is(err, syscall.EACCES) && strings.Contains(err.Error(), "listen on"):
		return win32NoListen
	case errors.Is(err, fs.ErrPermission):
		return win32Access
	case errors.Is(err, fs.ErrNotExist):
		return win32NoPath
	}
	return win32Other
}
