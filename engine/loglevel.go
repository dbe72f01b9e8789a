// SPDX-License-Identifier: Apache-2.0

package engine

import (
	"context"
	"log/slog"
	"math"
)

// A levelHandler passes on what is at least of a level, which may change.
type levelHandler struct {
	slog.Handler
	level slog.Leveler
}

// leveled is log from a level on.
func leveled(log *slog.Logger, level slog.Leveler) *slog.Logger {
	if log == nil {
		return nil
	}
	return slog.New(levelHandler{log.Handler(), level})
}

// Enabled implements slog.Handler, as do the methods below.
func (h levelHandler) Enabled(ctx context.Context, l slog.Level) bool {
	return l >= h.level.Level() && h.Handler.Enabled(ctx, l)
}

func (h levelHandler) WithAttrs(list []slog.Attr) slog.Handler {
	return levelHandler{h.Handler.WithAttrs(list), h.level}
}

func (h levelHandler) WithGroup(name string) slog.Handler {
	return levelHandler{h.Handler.WithGroup(name), h.level}
}

// leastLevel is that of SmtpEventlogLevel: 0 none, 1 minimum, 3 medium, 5 maximum;
// everything above.
func leastLevel(n int64) slog.Level {
	switch {
	case n == 0:
		return math.MaxInt
	case n < 3:
		return slog.LevelError
	case n < 5:
		return slog.LevelWarn
	case n < 7:
		return slog.LevelInfo
	}
	return math.MinInt
}
