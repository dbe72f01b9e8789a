// SPDX-License-Identifier: Apache-2.0

// Package key names the keys of the metabase, and has the kinds of errors about
// them.
//
// A [Path] is canonical, and compared without case. An [Error] says what was
// being done to which key; callers decide by its [Kind].
//
// The package knows nothing of what a key holds, nor of trees, batches and
// stores.
package key
