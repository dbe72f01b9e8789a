// SPDX-License-Identifier: Apache-2.0

// Package mbxml writes the tree as MetaBase.xml, in the format of IIS, and reads
// such files: its own and those of IIS 6 to 10.
//
// The file is a flat list of elements, one for each key, named by the key's class
// and placed by its Location. A property that is as the schema has it is an
// attribute; any other is a Custom element with id, type, user type and
// attributes, so that nothing is lost.
//
// Secure values are written empty; volatile and LOCAL_MACHINE_ONLY properties are
// neither written nor changed. A file that is written, read into an empty store
// and written again is the same to the byte.
//
// An own file is imported whole or, with every problem and its line, not at all.
// Of a foreign one, unreadable parts are left out and reported.
package mbxml

import (
	"restante/metabase"
)

// A Prop is the part of a property's definition that the format depends on.
type Prop struct {
	Name     string
	ID       metabase.ID
	Type     metabase.Type
	Attr     metabase.Attr
	UserType metabase.UserType
	Bool     bool   // a DWORD written as TRUE and FALSE
	Flags    []Flag // a DWORD written as names, each for a mask
	Folder   bool   // names a folder of the machine
	IPList   bool   // a BINARY of IIS's IPSECLIST form
}

// A Flag is one name of a flag property.
type Flag struct {
	Name string
	Mask uint32
}

// A Schema defines properties. Names are compared without case.
type Schema interface {
	// ByID finds a property by its id; ok is false where the id has no name.
	ByID(id metabase.ID) (p Prop, ok bool)

	// ByName finds a property of any class.
	ByName(name string) (p Prop, ok bool)

	// Holds reports whether a key of the class may hold the property.
	Holds(class string, id metabase.ID) bool

	// Class returns the spelling of a class; ok is false for an unknown one.
	Class(name string) (spelled string, ok bool)
}

// localAttrs are the attributes of properties that are in no file.
const localAttrs = metabase.Volatile | metabase.LocalMachineOnly

// Names of IIS in the file.
const (
	namespace   = "urn:microsoft-catalog:XML_Metabase_V64_0"
	noClass     = "IIsConfigObject"  // the element of a key without a class
	anyClass    = "IIsObject"        // a class that any key can have
	unknownName = "UnknownName_"     // and the number: a property without a name
	noUserType  = "UNKNOWN_UserType" // IIS's word for 0
	schemaPath  = "/Schema"
	origin      = "Restante" // marks own files
)

var userTypes = map[metabase.UserType]string{
	metabase.UTServer: "IIS_MD_UT_SERVER",
	metabase.UTFile:   "IIS_MD_UT_FILE",
	metabase.UTWAM:    "IIS_MD_UT_WAM",
	metabase.UTApp:    "ASP_MD_UT_APP",
}
