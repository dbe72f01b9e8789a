// SPDX-License-Identifier: Apache-2.0

// Package stored defines how the tree and its history are stored in an ordered
// map: the keys of the map, and the records at them.
//
// A record is a sequence of uvarints and length-prefixed strings, and begins with
// the number of its form. Secure values are sealed under the machine key. A record
// that cannot be decoded is key.Damaged, never a panic.
//
// The package reads and writes no map: that is done by package metabase.
package stored
