// SPDX-License-Identifier: Apache-2.0

// Package tree has the keys of the metabase as a persistent tree: a changed tree
// is another one, and shares with the first all but the way to what was changed.
//
// It finds the differences of two trees and undoes them. The package knows nothing
// of revisions, rights and the store.
package tree
