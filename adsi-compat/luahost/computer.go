// SPDX-License-Identifier: Apache-2.0

package luahost

import (
	"errors"
	"os"
	"slices"
	"strings"
	"time"

	lua "github.com/yuin/gopher-lua"

	adsi "restante/adsi-compat"
	"restante/adsi-compat/luahost/system"
)

// Versions and flags, as IIS numbers them.
const (
	nextVersion    = -1 // 0xFFFFFFFF
	highestVersion = -2

	fileInherited = 1
	fileNodeOnly  = 2
	fileMerge     = 4
)

const defaultBackup = "MDBackUp" // of IIS

// backupArgs reads [password,] location, version, as the method has them.
func backupArgs(vm *lua.LState, withPassword bool) (password, name string, version int) {
	at := 2
	name = vm.OptString(at, "")
	if at++; withPassword { // IIS has it last
		password = vm.CheckString(vm.GetTop())
	}
	version = int(int32(uint32(int64(vm.OptNumber(at, nextVersion)))))
	if name == "" {
		name = defaultBackup
	}
	return password, name, version
}

// backup is Backup(location, version, flags) and
// BackupWithPassword(location, version, flags, password).
func (h *host) backup(vm *lua.LState, o *adsi.Object) int {
	password, name, version := backupArgs(vm, vm.GetTop() > 4)
	b, err := o.Backups("Backup")
	check(vm, err)
	var old []adsi.Backup
	switch version {
	case nextVersion:
	case highestVersion: // takes the place of the newest
		all, err := b.Backups(h.ctx)
		check(vm, o.Finish("Backup", err))
		old = newest(all, name)
	default:
		vm.RaiseError("Backup: versions are counted here: give MD_BACKUP_NEXT_VERSION (0x80070057)")
	}
	check(vm, o.Finish("Backup", b.Backup(h.ctx, name, password)))
	for _, f := range old {
		check(vm, o.Finish("Backup", b.DeleteBackup(h.ctx, f.Name, f.Version)))
	}
	return 0
}

// newest gives the newest backup of a name, if there is one.
func newest(all []adsi.Backup, name string) (out []adsi.Backup) {
	for _, b := range all {
		if strings.EqualFold(b.Name, name) && (len(out) == 0 || b.Version > out[0].Version) {
			out = []adsi.Backup{b}
		}
	}
	return out
}

// ofVersion is the version of a backup that exists.
func ofVersion(version int) int {
	if version < 0 {
		return adsi.NewestBackup
	}
	return version
}

// restore is Restore(location, version, flags) and
// RestoreWithPassword(location, version, flags, password).
func (h *host) restore(vm *lua.LState, o *adsi.Object) int {
	password, name, version := backupArgs(vm, vm.GetTop() > 4)
	b, err := o.Backups("Restore")
	check(vm, err)
	check(vm, o.Finish("Restore", b.Restore(h.ctx, name, ofVersion(version), password)))
	return 0
}

// enumBackups is EnumBackups(location, index), which returns what IIS gives in its
// parameters: location, version and time. Past the last it is an error, as there.
func (h *host) enumBackups(vm *lua.LState, o *adsi.Object) int {
	name, i := vm.OptString(2, ""), vm.CheckInt(3)
	b, err := o.Backups("EnumBackups")
	check(vm, err)
	all, err := b.Backups(h.ctx)
	check(vm, o.Finish("EnumBackups", err))
	if name != "" {
		all = slices.DeleteFunc(all, func(b adsi.Backup) bool { return !strings.EqualFold(b.Name, name) })
	}
	if i < 0 || i >= len(all) {
		vm.RaiseError("EnumBackups: there are %d: no more items (0x80070103)", len(all))
	}
	vm.Push(lua.LString(all[i].Name))
	vm.Push(lua.LNumber(all[i].Version))
	vm.Push(lua.LString(all[i].Time.UTC().Format(time.RFC3339)))
	return 3
}

// deleteBackup is DeleteBackup(location, version).
func (h *host) deleteBackup(vm *lua.LState, o *adsi.Object) int {
	_, name, version := backupArgs(vm, false)
	b, err := o.Backups("DeleteBackup")
	check(vm, err)
	check(vm, o.Finish("DeleteBackup", b.DeleteBackup(h.ctx, name, ofVersion(version))))
	return 0
}

// file gives the name of the file of Export and Import.
func (h *host) file(vm *lua.LState, op string) string {
	if h.sandbox {
		vm.RaiseError("%s: --sandbox keeps the script from files (0x80070005)", op)
	}
	if vm.OptString(2, "") != "" {
		vm.RaiseError("%s: a file has no secret values here, and takes no password: give \"\", or use BackupWithPassword (0x80070057)", op)
	}
	return vm.CheckString(3)
}

// export is Export(password, file, path, flags).
func (h *host) export(vm *lua.LState, o *adsi.Object) int {
	name, flags := h.file(vm, "Export"), vm.OptInt(5, 0)
	f, err := o.Files("Export")
	check(vm, err)
	if h.dryRun {
		system.RefuseDry(vm, "Export")
	}
	path, err := h.dir.Path(h.ctx, vm.CheckString(4))
	check(vm, err)
	xml, err := f.Export(h.ctx, path, flags&fileInherited != 0, flags&fileNodeOnly != 0)
	check(vm, o.Finish("Export", err))
	check(vm, o.Finish("Export", os.WriteFile(name, xml, 0o600)))
	return 0
}

// importFile is Import(password, file, from, to, flags).
func (h *host) importFile(vm *lua.LState, o *adsi.Object) int {
	name, flags := h.file(vm, "Import"), vm.OptInt(6, 0)
	f, err := o.Files("Import")
	check(vm, err)
	from, err := h.dir.Path(h.ctx, vm.CheckString(4))
	check(vm, err)
	to, err := h.dir.Path(h.ctx, vm.OptString(5, from))
	check(vm, err)
	xml, err := os.ReadFile(name)
	check(vm, o.Finish("Import", err))
	at := ""
	if !strings.EqualFold(from, to) {
		at = to
	}
	check(vm, o.Finish("Import", f.Import(h.ctx, xml, at, flags&fileMerge != 0, flags&fileNodeOnly != 0)))
	return 0
}

// waiting counts the messages of a site.
func (h *host) waiting(vm *lua.LState, o *adsi.Object, op string) (queued, held int) {
	live, site, err := o.Live(op)
	check(vm, err)
	queued, held, err = live.Waiting(h.ctx, site)
	check(vm, o.Finish(op, err))
	return queued, held
}

// sessions gives the sessions of a site as objects.
func (h *host) sessions(vm *lua.LState, o *adsi.Object, op string) []lua.LValue {
	live, site, err := o.Live(op)
	check(vm, err)
	list, err := live.Sessions(h.ctx, site)
	check(vm, o.Finish(op, err))
	out := make([]lua.LValue, len(list))
	for i, s := range list {
		out[i] = h.record(vm, false, map[string]any{
			"Name": s.ID, "Class": "IIsSmtpSession", "ADsPath": o.ADsPath() + "/" + s.ID, "Parent": o.ADsPath(),
			"User": s.User, "Address": s.Address, "Hello": s.Hello, "Activity": s.Activity, "TLS": s.TLS,
			"Since": s.Since.UTC().Format(time.RFC3339), "Seconds": int64(time.Since(s.Since) / time.Second),
		})
		out[i].(*lua.LUserData).Value.(*record).values["terminate"] = vm.NewFunction(func(vm *lua.LState) int {
			h.endSessions(vm, o, s.ID)
			return 0
		})
	}
	return out
}

// endSessions ends one session, "" for all.
func (h *host) endSessions(vm *lua.LState, o *adsi.Object, id string) {
	live, site, err := o.Live("Terminate")
	check(vm, err)
	check(vm, o.Finish("Terminate", live.EndSession(h.ctx, site, id)))
}

// invoke is Invoke(method, ...) of .NET.
func (h *host) invoke(vm *lua.LState, o *adsi.Object) int {
	name := vm.CheckString(2)
	m, ok := h.methods[canonical(name)]
	if !ok {
		check(vm, o.Finish("Invoke", errors.New("there is no method "+name+adsi.Suggest(name, memberNames))))
	}
	top := vm.GetTop()
	vm.Push(m)
	vm.Push(vm.Get(1))
	for i := 3; i <= top; i++ {
		vm.Push(vm.Get(i))
	}
	vm.Call(top-1, lua.MultRet)
	return vm.GetTop() - top
}

func (h *host) newIndexOf(vm *lua.LState, _ *adsi.Object) int { return h.newIndex(vm) }
