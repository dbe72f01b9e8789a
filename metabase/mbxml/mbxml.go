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
	"restante/metabase/schema"
)

// A Schema defines classes and properties; [*schema.Schema] is one. Names are
// compared without case.
type Schema interface {
	ByID(id metabase.ID) (p schema.Prop, ok bool)
	Property(name string) (p schema.Prop, ok bool)
	Class(name string) (c schema.Class, ok bool)
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
