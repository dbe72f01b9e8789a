// SPDX-License-Identifier: Apache-2.0

package settings

import (
	"go/ast"
	"go/parser"
	"go/token"
	"io/fs"
	"path/filepath"
	"reflect"
	"strings"
	"testing"
	"time"

	"restante/metabase"
	"restante/metabase/schema"
)

// A field has the name of its property, and each property is in one row.
func TestFieldsHaveTheNamesOfTheirProperties(t *testing.T) {
	var s Site
	var d Domain
	for _, table := range []struct {
		in   any
		rows []field
	}{{&s, s.fields()}, {&d, d.fields()}} {
		names := fieldNames(reflect.ValueOf(table.in).Elem(), map[any]string{})
		seen := map[metabase.ID]bool{}
		for _, row := range table.rows {
			prop, _ := schema.IIS().ByID(row.id)
			if got := names[row.to]; got != prop.Name || seen[row.id] {
				t.Errorf("%T: the row of %s points to the field %q; in two rows: %v", table.in, prop.Name, got, seen[row.id])
			}
			seen[row.id] = true
		}
	}
}

// fieldNames maps the address of each field, also of those in structs, to the
// field's name.
func fieldNames(v reflect.Value, names map[any]string) map[any]string {
	for f, value := range v.Fields() {
		if !f.IsExported() {
			continue
		}
		names[value.Addr().Interface()] = f.Name
		if value.Kind() == reflect.Struct {
			fieldNames(value, names)
		}
	}
	return names
}

// Each row can hold what the schema lets its property be: the property's type
// fits the variable's.
func TestFieldsHaveTheTypesOfTheirProperties(t *testing.T) {
	var s Site
	var d Domain
	types := map[metabase.Type][]reflect.Type{
		metabase.DWordType: {
			reflect.TypeFor[*bool](), reflect.TypeFor[*int](), reflect.TypeFor[*int64](), reflect.TypeFor[*uint16](),
			reflect.TypeFor[*Action](), reflect.TypeFor[*time.Duration](),
		},
	}
	for _, row := range append(s.fields(), d.fields()...) {
		prop, _ := schema.IIS().ByID(row.id)
		isNumber := false
		for _, one := range types[metabase.DWordType] {
			isNumber = isNumber || reflect.TypeOf(row.to) == one
		}
		_, isTime := row.to.(*time.Duration)
		_, isBool := row.to.(*bool)
		switch {
		case isNumber != (prop.Type == metabase.DWordType):
			t.Errorf("%s is a %s in the schema and a %T here", prop.Name, prop.Type, row.to)
		case isTime != (isNumber && (prop.Unit == "s" || prop.Unit == "min" || prop.Unit == "days")):
			t.Errorf("%s has the unit %q in the schema and is a %T here", prop.Name, prop.Unit, row.to)
		case isBool != (prop.Syntax == schema.Boolean) && row.id != RelayForAuth: // IIS stores -1 for true there
			t.Errorf("%s is %s in the schema and a %T here", prop.Name, prop.Syntax, row.to)
		}
		if prop.Attr&metabase.Secure != 0 {
			t.Errorf("%s is a secret: it is read where it is used", prop.Name)
		}
	}
	// An unknown type would panic here.
	newReader(newTree(t).store.Snapshot(), SitePath(1)).read(append(s.fields(), d.fields()...)...)
}

// Each property that the table marks as acted on is used by the program.
func TestActedPropertiesAreUsed(t *testing.T) {
	used := map[string]bool{}
	for _, root := range []string{"..", "../../cmd", "../../admin", "../../internal"} {
		err := filepath.WalkDir(root, func(path string, d fs.DirEntry, err error) error {
			if err != nil || !strings.HasSuffix(path, ".go") || strings.HasSuffix(path, "_test.go") || path == "../settings/properties.go" {
				return err
			}
			file, err := parser.ParseFile(token.NewFileSet(), path, nil, parser.SkipObjectResolution)
			if err != nil {
				return err
			}
			ast.Inspect(file, func(n ast.Node) bool {
				if id, ok := n.(*ast.Ident); ok {
					used[id.Name] = true
				}
				return true
			})
			return nil
		})
		if err != nil {
			t.Fatal(err)
		}
	}
	used["AccessList"] = true // by metabase itself
	for prop := range schema.IIS().Props() {
		if prop.Acted && prop.Syntax != schema.Flag && prop.Name != "" && !used[prop.Name] {
			t.Errorf("%s is marked as acted on, and no code uses it", prop.Name)
		}
	}
}

// The masks of flags are those of the schema.
func TestFlagsOfTheSchema(t *testing.T) {
	for id, bits := range map[metabase.ID]map[string]uint32{
		RouteAction: {
			"drop": uint32(Drop), "smarthost": uint32(SmartRoute), "alias": uint32(Alias), "deliver": uint32(Deliver), "default": uint32(Default),
			"etrn_cmd": uint32(Hold), "domain_relay": uint32(DomainRelay), "disable_etrn": uint32(NoETRN), "ssl": uint32(NeedTLS),
			"sasl": uint32(SignInAny), "auth_ntlm": uint32(SignInCram), "auth_cleartext": uint32(SignInPlain),
			"disable_pipeline": uint32(NoPipeline), "disable_dsn": uint32(NoDSN), "disable_chunk": uint32(NoChunk), "disable_bmime": uint32(NoBinary), "use_helo": uint32(Helo),
		},
		SmtpInboundCommandSupportOptions: {
			"dsn": verbDSN, "etrn": verbETRN, "turn": verbTURN, "enhanced_status_codes": verbEnhancedCodes,
			"chunking": verbChunking, "eight_bit_mime": verbEightBit, "binary_mime": verbBinary,
		},
		SmtpOutboundCommandSupportOptions: {"dsn": verbDSN, "eight_bit_mime": verbEightBit, "chunking": verbChunking, "binary_mime": verbBinary},
		AuthFlags:                         {"auth_anonymous": authAnonymous, "auth_basic": authBasic, "auth_ntlm": authChallenge},
		AccessSSLFlags:                    {"access_ssl": accessTLS},
	} {
		prop, _ := schema.IIS().ByID(id)
		for _, f := range prop.Flags {
			if mask, used := bits[f.Name]; used && mask != f.Mask {
				t.Errorf("%s %s is 0x%x in the schema and 0x%x here", prop.Name, f.Name, f.Mask, mask)
			}
			if _, used := bits[f.Name]; f.Acted && !used && f.Name != "access_ssl128" { // which TLS always has
				t.Errorf("%s %s is marked as acted on, and no code uses it", prop.Name, f.Name)
			}
			delete(bits, f.Name)
		}
		for name := range bits {
			t.Errorf("%s has no flag %s in the schema", prop.Name, name)
		}
	}
}
