// SPDX-License-Identifier: Apache-2.0

// Package badgerkv keeps a [kv.DB] in Badger. When Commit returns nil, the
// operations are synced to the log; an index of any size opens again after a
// crash with all acknowledged commits and no half of any other.
//
// Badger tolerates damage that loses data, so Open checks every table and log
// before Badger does. Commits are refused before the disk is full.
package badgerkv
