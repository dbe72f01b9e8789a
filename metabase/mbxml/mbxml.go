// SPDX-License-Identifier: Apache-2.0

// Package mbxml writes the tree as MetaBase.xml, in the shape that IIS gives
// it, and reads such files: its own and those of IIS 6 to 10.
//
// The file is a flat list of elements, one for each key, named for the key's
// class and placed by its Location. What the schema of the class says about a
// property stands as an attribute; everything else as a Custom element with
// id, type, user type and attributes, so that nothing is lost on the way.
//
// Some things do not travel: secure values, which are written empty, and what
// is volatile or LOCAL_MACHINE_ONLY, which is left out and left alone. A file
// that is written, read into an empty store and written again is the same to
// the byte.
//
// A file of ours is taken whole or, with every problem and its line, not at
// all. Of a foreign one, what does not read is left out and told.
package mbxml

import (
	"restante/metabase"
)

// A Prop is what the writer and the reader need to know of a property.
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

// A Schema names properties. Names are compared without case.
type Schema interface {
	// ByID gives the property; ok is false where the id has no name.
	ByID(id metabase.ID) (p Prop, ok bool)

	// ByName finds a property of any class.
	ByName(name string) (p Prop, ok bool)

	// Holds says whether a key of the class may hold the property.
	Holds(class string, id metabase.ID) bool

	// Class gives the class' own spelling; ok is false when there is none.
	Class(name string) (spelled string, ok bool)
}

// staying are the attributes of properties that are in no file.
const staying = metabase.Volatile | metabase.LocalMachineOnly

// Names of IIS that stand in the file.
const (
	namespace   = "urn:microsoft-catalog:XML_Metabase_V64_0"
	noClass     = "IIsConfigObject"  // the element of a key without a class
	anyClass    = "IIsObject"        // a class, which says nothing of the key
	unknownName = "UnknownName_"     // and the number: a property without a name
	noUserType  = "UNKNOWN_UserType" // IIS's word for 0
	schemaPath  = "/Schema"
	origin      = "Restante" // what our own files say of themselves
)

var userTypes = map[metabase.UserType]string{
	metabase.UTServer: "IIS_MD_UT_SERVER",
	metabase.UTFile:   "IIS_MD_UT_FILE",
	metabase.UTWAM:    "IIS_MD_UT_WAM",
	metabase.UTApp:    "ASP_MD_UT_APP",
}
