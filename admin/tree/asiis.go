// SPDX-License-Identifier: Apache-2.0

package tree

import (
	"context"
	"fmt"
	"strings"

	"restante/admin/api"
	"restante/admin/iisimport"
	"restante/engine/settings"
	"restante/internal/disk"
	"restante/metabase"
	"restante/metabase/schema"
)

// asIIS gives what op did in IIS, where the service made the containers of a new
// site, and where a folder is a path of Windows.
func (p *lineParser) asIIS(ctx context.Context, op metabase.Op) ([]metabase.Op, error) {
	switch op := op.(type) {
	case metabase.AddKey:
		if !strings.EqualFold(op.Class, schema.Server) {
			break
		}
		parts, err := settings.SiteParts(p.view.Snapshot, op.Path)
		for _, part := range parts {
			if key, ok := part.(metabase.AddKey); ok {
				p.makes(key.Path, "")
			}
		}
		return append([]metabase.Op{op}, parts...), err
	case metabase.Set:
		return []metabase.Op{p.ourFolder(ctx, op)}, nil
	}
	return []metabase.Op{op}, nil
}

// ourFolder maps a folder that only Windows has as an import does, and tells the
// caller.
func (p *lineParser) ourFolder(ctx context.Context, op metabase.Set) metabase.Set {
	prop, known := p.Schema.ByID(op.Property.ID)
	if !known || prop.Syntax != schema.FilePath && prop.ID != settings.RouteActionString {
		return op
	}
	old := op.Property.Value.Str()
	if disk.CheckHere(old) == nil {
		return op
	}
	folder := iisimport.Options(p.Schema).Folder(op.Path, prop.Name, old)
	op.Property.Value = metabase.String(folder)
	api.Note(ctx, string(op.Path.Join(prop.Name)), fmt.Sprintf("%s is a folder of Windows; here it is %s", old, folder))
	return op
}
