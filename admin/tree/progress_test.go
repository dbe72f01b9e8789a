// SPDX-License-Identifier: Apache-2.0

package tree

import (
	"context"
	"testing"

	"restante/admin/admintest"
	"restante/admin/api"
	"restante/internal/progress"
)

// TestProgress checks that the calls that read or write the whole tree tell how
// much of it is done, and come to the end of it.
func TestProgress(t *testing.T) {
	d, _ := admintest.New(t, nil)
	Register(d)
	c := d.Direct(admintest.Admin())
	var xml []byte
	calls := []struct {
		name string
		call func(context.Context) error
	}{
		{"export", func(ctx context.Context) error {
			a, _, err := api.MbExport.Call(ctx, c, api.ExportRequest{})
			xml = a.XML
			return err
		}},
		{"import", func(ctx context.Context) error {
			_, _, err := api.MbImport.Call(ctx, c, api.ImportRequest{XML: xml})
			return err
		}},
		{"backup", func(ctx context.Context) error {
			_, _, err := api.MbBackup.Call(ctx, c, api.BackupRequest{Name: "b"})
			return err
		}},
		{"restore", func(ctx context.Context) error {
			_, _, err := api.MbRestore.Call(ctx, c, api.RestoreRequest{Name: "b", Version: -1})
			return err
		}},
		{"verify", func(ctx context.Context) error {
			_, _, err := api.MbVerify.Call(ctx, c, struct{}{})
			return err
		}},
	}
	for _, tt := range calls {
		var m progress.Meter
		if err := tt.call(progress.With(t.Context(), &m)); err != nil {
			t.Fatalf("%s: %v", tt.name, err)
		}
		if done, total := m.Count(); total < 2 || done != total {
			t.Errorf("%s: counted %d of %d", tt.name, done, total)
		}
	}
}
