// SPDX-License-Identifier: Apache-2.0

package luahost

import (
	"errors"
	"fmt"
	"slices"
	"strings"

	lua "github.com/yuin/gopher-lua"

	adsi "restante/adsi-compat"
)

// A member is what an object answers to, by a name of ADSI, .NET's DirectoryEntry,
// WMI or Restante.
type member struct {
	name, from string
	is         string // the member that it is another name for; "" for none
}

// members are all names of objects. docs/lua/members.md is made of them.
var members = []member{
	{"Name", "ADSI", ""}, {"Class", "ADSI", ""}, {"ADsPath", "ADSI", ""}, {"Parent", "ADSI", ""}, {"Schema", "ADSI", ""}, {"GUID", "ADSI", ""},
	{"Get", "ADSI", ""}, {"GetEx", "ADSI", ""}, {"Put", "ADSI", ""}, {"PutEx", "ADSI", ""}, {"SetInfo", "ADSI", ""}, {"GetInfo", "ADSI", ""},
	{"GetDataPaths", "ADSI", ""}, {"GetPropertyAttribObj", "ADSI", ""}, {"Count", "ADSI", ""}, {"Filter", "ADSI", ""},
	{"Create", "ADSI", ""}, {"Delete", "ADSI", ""}, {"GetObject", "ADSI", ""}, {"CopyHere", "ADSI", ""}, {"MoveHere", "ADSI", ""},
	{"Start", "ADSI", ""}, {"Stop", "ADSI", ""}, {"Pause", "ADSI", ""}, {"Continue", "ADSI", ""}, {"Status", "ADSI", ""},
	{"Backup", "ADSI", ""}, {"BackupWithPassword", "ADSI", ""}, {"Restore", "ADSI", ""}, {"RestoreWithPassword", "ADSI", ""},
	{"EnumBackups", "ADSI", ""}, {"DeleteBackup", "ADSI", ""}, {"Export", "ADSI", ""}, {"Import", "ADSI", ""}, {"SaveData", "ADSI", ""},
	{"Children", ".NET", ""}, {"Properties", ".NET", ""}, {"psbase", ".NET", ""}, {"Close", ".NET", ""}, {"DeleteTree", ".NET", ""},
	{"Invoke", ".NET", ""}, {"InvokeGet", ".NET", ""}, {"InvokeSet", ".NET", ""},
	{"Path", ".NET", "ADsPath"}, {"SchemaClassName", ".NET", "Class"}, {"CommitChanges", ".NET", "SetInfo"}, {"RefreshCache", ".NET", "GetInfo"},
	{"Dispose", ".NET", "Close"}, {"psadapted", ".NET", "psbase"}, {"NativeObject", ".NET", "psbase"},
	{"Put_", "WMI", "SetInfo"}, {"Refresh_", "WMI", "GetInfo"}, {"Delete_", "WMI", "DeleteTree"}, {"Path_", "WMI", "ADsPath"}, {"Properties_", "WMI", "Properties"},
	{"QueuedMessages", "Restante", ""}, {"HeldMessages", "Restante", ""}, {"CurrentSessions", "Restante", ""}, {"TerminateAll", "Restante", ""},
}

var (
	aliases     = map[string]string{} // canonical names by their others, in lower case
	memberNames []string
)

func init() {
	for _, m := range members {
		memberNames = append(memberNames, m.name)
		if m.is != "" && !isProperty(m.name) {
			aliases[strings.ToLower(m.name)] = strings.ToLower(m.is)
		}
	}
}

// isProperty reports whether a class has a property of the name: Path is that of a
// virtual directory, and elsewhere the ADsPath.
func isProperty(name string) bool { return strings.EqualFold(name, "Path") }

// canonical is the name, in lower case, of the member that a name means.
func canonical(name string) string {
	name = strings.ToLower(name)
	if is, ok := aliases[name]; ok {
		return is
	}
	return name
}

// nearestMember adds to an error about an unknown property the member that was
// meant.
func nearestMember(err error, name string) error {
	var e *adsi.Error
	if !errors.As(err, &e) || e.Code != adsi.CodeUnknownProp || strings.Contains(e.Err.Error(), "a key of class") {
		return err
	}
	text := fmt.Sprintf("there is no method and no property %q", name)
	if near := adsi.Suggest(name, memberNames); near != "" {
		text += near
	} else if _, near, ok := strings.Cut(e.Err.Error(), ";"); ok {
		text += ";" + near
	}
	return &adsi.Error{Code: e.Code, Op: e.Op, On: e.On, Err: errors.New(text)}
}

// noMember raises the error of a name that a value does not know: the nearest one, or
// what there is.
func noMember(vm *lua.LState, what, name string, known []string) {
	near := adsi.Suggest(name, known)
	if near == "" {
		slices.Sort(known)
		near = "; there are " + strings.Join(known, ", ")
	}
	vm.RaiseError("%s has no %s%s (0x80005006)", what, name, near)
}

// cannotSet raises the error of a member that can only be read.
func cannotSet(vm *lua.LState, name, what string) {
	vm.RaiseError("%s of %s cannot be set (0x80070057)", name, what)
}

// wrong raises the error of a value that is not taken.
func wrong(vm *lua.LState, format string, args ...any) {
	vm.RaiseError("%s (0x80070057)", fmt.Sprintf(format, args...))
}

// constants are those of IIS and ADSI.
var constants = map[string]int{
	"ADS_PROPERTY_CLEAR": adsi.OpClear, "ADS_PROPERTY_UPDATE": adsi.OpUpdate,
	"ADS_PROPERTY_APPEND": adsi.OpAppend, "ADS_PROPERTY_DELETE": adsi.OpDelete,
	"MD_BACKUP_NEXT_VERSION": nextVersion, "MD_BACKUP_HIGHEST_VERSION": highestVersion,
	"MD_BACKUP_OVERWRITE": 1, "MD_BACKUP_SAVE_FIRST": 2, "MD_BACKUP_FORCE_BACKUP": 4,
	"MD_EXPORT_INHERITED": fileInherited, "MD_EXPORT_NODE_ONLY": fileNodeOnly,
	"MD_IMPORT_INHERITED": fileInherited, "MD_IMPORT_NODE_ONLY": fileNodeOnly, "MD_IMPORT_MERGE": fileMerge,
	"IIS_ANY_PROPERTY": 0, "IIS_INHERITABLE_ONLY": 1,
}

// foreign says what to use in the place of objects of Windows, by the beginning of
// their names.
var foreign = []struct{ prefix, use string }{
	{"Scripting.FileSystemObject", "use io.open, io.lines, os.rename and os.remove"},
	{"Scripting.Dictionary", "use a table: local d = {}"},
	{"ADODB.", "write what is wanted to a file of lines or JSON, and read it by io.lines or json.decode"},
	{"Event.", "there are no event sinks; properties of the site and of its domains say what becomes of mail"},
	{"WScript.Shell", "use os.execute, io.popen and os.getenv"},
	{"WScript.Network", "use os.getenv"},
	{"WScript.", "use arg, print, sleep and os.exit, or WScript.Echo and WScript.Arguments"},
	{"MSXML", "use Export and Import of IIS://LocalHost"},
	{"CDO.", "hand mail in by SMTP, or as a file in the Pickup folder"},
	{"CDONTS.", "hand mail in by SMTP, or as a file in the Pickup folder"},
	{"WbemScripting.", `use GetObject("IIS://LocalHost/SMTPSVC/1"), which knows WMI's names`},
	{"winmgmts:", `use GetObject("IIS://LocalHost/SMTPSVC/1"), which knows WMI's names`},
	{"WinNT:", "accounts are keys: restante account list"},
	{"LDAP:", "the directory is not asked: restante account list"},
}

// refuseForeign raises an error for an object of Windows that has something in its
// place here.
func refuseForeign(vm *lua.LState, op, name string) {
	for _, f := range foreign {
		if len(name) >= len(f.prefix) && strings.EqualFold(name[:len(f.prefix)], f.prefix) {
			vm.RaiseError("%s: %s is an object of Windows: %s (0x800401F3)", op, name, f.use)
		}
	}
}
