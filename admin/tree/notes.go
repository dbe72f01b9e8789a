// SPDX-License-Identifier: Apache-2.0

package tree

import (
	"context"
	"fmt"
	"net/netip"
	"slices"

	"restante/admin/api"
	"restante/engine/settings"
	"restante/internal/disk"
	"restante/metabase"
)

// noteValues tells the caller which of the values that it stores have no effect, or one
// that is hardly meant.
func (d handlers) noteValues(ctx context.Context, ops []metabase.Op) {
	for _, op := range ops {
		var item metabase.Property
		whole := true
		switch op := op.(type) {
		case metabase.Set:
			item = op.Property
		case metabase.SetBits:
			item, whole = op.Property, false
			item.Value = metabase.DWord(item.Value.DWord() & op.Mask)
		case metabase.Amend:
			item = op.Property
		}
		p, ok := d.Schema.ByID(item.ID)
		if !ok || item.Value.IsZero() {
			continue
		}
		at := string(op.Scope().Path.Join(p.Label()))
		if text := d.remark(item); text != "" && whole {
			api.Note(ctx, at, text)
		}
		if text := p.Unacted(item.Value); text != "" {
			api.Note(ctx, at, text)
		}
	}
}

// remark says what follows from a value that is hardly meant, or "".
func (d handlers) remark(item metabase.Property) string {
	switch v := item.Value; {
	case item.ID == settings.LogExtFileFlags && v.DWord() == 0:
		return "names no field: no line is written into the log file"
	case item.ID == settings.RecipientsFile && v.Str() != "":
		f, _, err := disk.OpenRegular(disk.Locate(d.Env.Data, v.Str()))
		if err != nil {
			return fmt.Sprintf("%v; recipients are put off with 451 until it can be read", err)
		}
		_ = f.Close() // it was only looked at
	case (item.ID == settings.ProxyFrom || item.ID == settings.XclientFrom) && slices.ContainsFunc(v.Strings(), isEverybody):
		return "has every address: every caller may say which client it brings, and use that client's rights"
	}
	return ""
}

func isEverybody(network string) bool {
	p, err := netip.ParsePrefix(network)
	return err == nil && p.Bits() == 0
}
