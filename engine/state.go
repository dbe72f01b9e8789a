// SPDX-License-Identifier: Apache-2.0

package engine

import (
	"cmp"
	"errors"
	"io/fs"
	"runtime"
	"slices"
	"strings"
	"syscall"

	"restante/engine/queue"
	"restante/engine/settings"
	"restante/engine/site"
	"restante/metabase"
	"restante/metabase/schema"
)

// A SiteStatus is a site as it runs.
type SiteStatus struct {
	Number     int           `json:"number"`
	Name       string        `json:"name"`
	State      string        `json:"state"`
	Listening  []string      `json:"listening"`         // actual addresses
	Configured metabase.Rev  `json:"configured"`        // the newest revision
	Running    metabase.Rev  `json:"running,omitempty"` // 0: it does not
	Why        string        `json:"why,omitempty"`     // why it is not as configured
	Callers    int           `json:"callers"`
	Queue      queue.Counts  `json:"queue"`
	Counters   site.Counters `json:"counters"`
}

// Sites lists the sites of the tree, in order.
func (e *Engine) Sites() []SiteStatus {
	e.mu.Lock()
	members := make(map[int]managedSite, len(e.sites))
	for n, m := range e.sites {
		members[n] = *m
	}
	e.mu.Unlock()
	out := make([]SiteStatus, 0, len(members))
	for n, m := range members {
		out = append(out, m.status(n))
	}
	slices.SortFunc(out, func(a, b SiteStatus) int { return cmp.Compare(a.Number, b.Number) })
	return out
}

func (m managedSite) status(n int) SiteStatus {
	if m.Site == nil {
		return SiteStatus{Number: n, State: site.Stopped.String(), Listening: []string{}, Configured: m.rev, Why: joinReasons(oneLine(m.why), m.stranded.text)}
	}
	st := m.Status()
	out := SiteStatus{
		Number: n, Name: st.Name, State: st.State.String(), Listening: make([]string, 0, len(st.Listening)),
		Configured: metabase.Rev(st.Configured), Running: metabase.Rev(st.Running),
		Why: joinReasons(strings.ReplaceAll(st.Behind(), "\n", "; "), m.stranded.text), Callers: st.Connections, Queue: st.Queue, Counters: st.Counters,
	}
	for _, a := range st.Listening {
		out.Listening = append(out.Listening, a.String())
	}
	return out
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

// A publishedState is what stands in the tree of a site's state.
type publishedState struct {
	state site.State
	code  uint32
}

// publishStates writes states that changed into the tree, in memory only.
func (e *Engine) publishStates() {
	e.mu.Lock()
	defer e.mu.Unlock()
	for n, m := range e.sites {
		now := publishedState{state: site.Stopped, code: win32(m.why)}
		if m.Site != nil {
			state, why := m.State()
			now = publishedState{state, win32(errors.Join(why, m.why))}
		}
		if now == m.published {
			continue
		}
		err := e.tree.SetVolatile(settings.SitePath(n), dword(settings.ServerState, uint32(now.state)), dword(settings.Win32Error, now.code))
		if err != nil {
			// The key may be gone just now; the next look will see that.
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
	case errors.Is(err, site.ErrTaken) || errors.Is(err, syscall.EADDRINUSE):
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
