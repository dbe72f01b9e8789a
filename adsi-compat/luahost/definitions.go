// SPDX-License-Identifier: Apache-2.0

package luahost

import (
	"fmt"
	"maps"
	"slices"
	"strings"
)

// signatures are the types of members and of functions, as the Lua language server has
// them. A member that is another name for one has its type.
var signatures = map[string]string{
	"Name": "string", "Class": "string", "ADsPath": "string", "Parent": "string", "Schema": "string", "GUID": "string",
	"Count": "integer", "Filter": "string[]", "Children": "restante.Children", "Properties": "restante.Properties", "psbase": "restante.Object",
	"QueuedMessages": "integer", "HeldMessages": "integer", "CurrentSessions": "integer",

	"Get": "fun(self, name: string): any", "GetEx": "fun(self, name: string): any[]", "Put": "fun(self, name?: string, value?: any)",
	"PutEx":   "fun(self, operation: integer, name: string, values?: any)",
	"SetInfo": "fun(self)", "GetInfo": "fun(self)", "Close": "fun(self)", "DeleteTree": "fun(self)", "TerminateAll": "fun(self)", "SaveData": "fun(self)",
	"GetDataPaths":         "fun(self, name: string, flag?: integer): string[]",
	"GetPropertyAttribObj": "fun(self, name: string): restante.Described",
	"Create":               "fun(self, class: string, name: string): restante.Object", "GetObject": "fun(self, class: string, name: string): restante.Object",
	"Delete": "fun(self, class: string, name: string)", "CopyHere": "fun(self, from: string, to: string): restante.Object",
	"MoveHere": "fun(self, from: string, to: string): restante.Object",
	"Start":    "fun(self)", "Stop": "fun(self)", "Pause": "fun(self)", "Continue": "fun(self)", "Status": "fun(self): integer",
	"Invoke": "fun(self, method: string, ...: any): any", "InvokeGet": "fun(self, name: string): any", "InvokeSet": "fun(self, name: string, value: any)",
	"Backup":              "fun(self, name?: string, version?: integer, flags?: integer)",
	"BackupWithPassword":  "fun(self, name: string, version: integer, flags: integer, password: string)",
	"Restore":             "fun(self, name?: string, version?: integer, flags?: integer)",
	"RestoreWithPassword": "fun(self, name: string, version: integer, flags: integer, password: string)",
	"EnumBackups":         "fun(self, name: string, index: integer): string, integer, string", "DeleteBackup": "fun(self, name: string, version?: integer)",
	"Export": "fun(self, password: string, file: string, path: string, flags?: integer)",
	"Import": "fun(self, password: string, file: string, from: string, to?: string, flags?: integer)",
}

const classes = `
---@class restante.Children
---@field Count integer
---@field Find fun(self, name: string, class?: string): restante.Object
---@field Add fun(self, name: string, class: string): restante.Object
---@field Remove fun(self, child: restante.Object)
---@field [integer] restante.Object
---@operator call: restante.Object

---@class restante.Properties
---@field PropertyNames string[]
---@field Contains fun(self, name: string): boolean
---@field Item fun(self, name: string): restante.Property
---@field [string] restante.Property

---@class restante.Property
---@field Name string
---@field Value any
---@field Count integer
---@field Add fun(self, value: string)
---@field Remove fun(self, value: string)
---@field Clear fun(self)
---@field Contains fun(self, value: string): boolean

---@class restante.Described
---@field [string] any

---@class restante.IPList
---@field GrantByDefault boolean
---@field IPGrant string[]
---@field IPDeny string[]
---@field DomainGrant string[]
---@field DomainDeny string[]

---@class restante.WScript
---@field Echo fun(...: any)
---@field Sleep fun(milliseconds: number)
---@field Quit fun(code?: integer)
---@field Arguments any
---@field ScriptName string
WScript = {}

---@type string[]
arg = {}

---@param path string
---@return restante.Object
function GetObject(path) end

---@param path string
---@return restante.Object
function DirectoryEntry(path) end

---@param name string
function CreateObject(name) end

---@param on boolean
function strict(on) end

---@generic T
---@param f fun(): T
---@return T
function transaction(f) end

---@param seconds number
function sleep(seconds) end

json = {null = nil}

---@param value any
---@param pretty? boolean
---@return string
function json.encode(value, pretty) end

---@param text string
---@return any
function json.decode(text) end

---@return table
function json.array() end

csv = {}

---@param text string
---@param ... string
---@return string[][]
function csv.rows(text, ...) end

bit = {}

---@return integer
function bit.band(...) end

---@return integer
function bit.bor(...) end

---@return integer
function bit.bxor(...) end

---@param x integer
---@return integer
function bit.bnot(x) end

---@param x integer
---@param n integer
---@return integer
function bit.lshift(x, n) end

---@param x integer
---@param n integer
---@return integer
function bit.rshift(x, n) end
`

// Definitions describes objects and functions for the Lua language server. properties
// has the type of each property.
func Definitions(properties map[string]string) string {
	var b strings.Builder
	b.WriteString("---@class restante.Object\n")
	for _, m := range members {
		name := m.name
		if m.is != "" {
			name = m.is
		}
		fmt.Fprintf(&b, "---@field %s %s\n", m.name, signatures[name])
	}
	for _, name := range slices.Sorted(maps.Keys(properties)) {
		if !slices.Contains(memberNames, name) {
			fmt.Fprintf(&b, "---@field %s %s\n", name, properties[name])
		}
	}
	b.WriteString("---@field [string] any\n---@operator call: restante.Object\n" + classes + "\n")
	for _, name := range slices.Sorted(maps.Keys(constants)) {
		fmt.Fprintf(&b, "%s = %d\n", name, constants[name])
	}
	return b.String()
}
