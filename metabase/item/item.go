// SPDX-License-Identifier: Apache-2.0

// Package item has what a key of the metabase holds: properties, which are typed
// values with an ID and attributes.
//
// A [Value] and a [List] never change. No verb of package fmt, and no encoder,
// shows the value of a secure property.
//
// The package knows nothing of trees, batches and stores. What a property is
// called, and what it may hold, is the business of package schema.
package item
