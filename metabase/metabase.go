// SPDX-License-Identifier: Apache-2.0

// Package metabase keeps a tree of typed settings in one durable store.
//
// A setting is named by a [Path] and a property id: /LM/SMTPSVC/1 and 1014.
// Readers take a [Snapshot], which never changes under them and costs no lock.
// Writers submit a whole [Batch], which is checked, and then applied
// completely or not at all, and moves the store to its next revision. A reader that
// needs to know of changes takes a [Watch]: it is told that there is something
// newer, and reads the newest snapshot.
//
// The package knows nothing of mail and of no property but those that say what
// a key is and who may touch it. What a property is called, what it may hold,
// and what its default is, is the business of package schema.
package metabase
