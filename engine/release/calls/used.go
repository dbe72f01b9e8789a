// SPDX-License-Identifier: Apache-2.0

package calls

import (
	"encoding/json"
	"maps"
	"slices"
	"time"

	"restante/engine/release/link"
	"restante/internal/kv"
)

// usedPrefix begins the keys of what links have used.
const usedPrefix = "w/link/"

// A usage is what one link has used in a day.
type usage struct {
	Day    string      `json:"day"` // of UTC
	Budget link.Budget `json:"used"`
	stored bool
}

func today() string { return time.Now().UTC().Format(time.DateOnly) }

// Used is what a link has used today. It implements [link.Day].
func (l *Log) Used(name string) link.Budget {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.usedToday(name).Budget
}

// Use adds to it. It waits for nothing; a crash loses what came in the last second.
func (l *Log) Use(name string, more link.Budget) {
	l.mu.Lock()
	defer l.mu.Unlock()
	u := l.usedToday(name)
	u.Budget.Bytes += more.Bytes
	u.Budget.Time += more.Time
	u.stored = false
	l.used[name] = u
	l.wakeRun()
}

// usedToday reads a link that is not in memory yet. The caller holds l.mu.
func (l *Log) usedToday(name string) usage {
	u, ok := l.used[name]
	if !ok {
		if text, found, err := l.db.Get([]byte(usedPrefix + name)); err == nil && found {
			_ = json.Unmarshal(text, &u) // a damaged one begins anew
		}
		u.stored = true
	}
	if day := today(); u.Day != day {
		u = usage{Day: day, stored: true}
	}
	if l.used == nil {
		l.used = map[string]usage{}
	}
	l.used[name] = u
	return u
}

// unstored are the usages that are to be written.
func (l *Log) unstored() (out map[string]usage, ops []kv.Op) {
	l.mu.Lock()
	defer l.mu.Unlock()
	out = maps.Clone(l.used)
	maps.DeleteFunc(out, func(_ string, u usage) bool { return u.stored })
	for name, u := range out {
		ops = append(ops, put(usedPrefix+name, u))
	}
	return out, ops
}

// noteStored marks what was written, unless more came meanwhile. The caller holds l.mu.
func (l *Log) noteStored(written map[string]usage) {
	for name, u := range written {
		if l.used[name] == u {
			u.stored = true
			l.used[name] = u
		}
	}
}

// pruneUsed removes what was used on other days.
func pruneUsed(key, value []byte) (ops []kv.Op) {
	var u usage
	if json.Unmarshal(value, &u) != nil || u.Day != today() {
		ops = append(ops, kv.Del(slices.Clone(key)))
	}
	return ops
}
