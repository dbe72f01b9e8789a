// SPDX-License-Identifier: Apache-2.0

// Package badgerkv keeps the ordered map of package kv in Badger. When Commit
// returns nil, the ops are synced to the log. After a crash the store opens with
// all acknowledged commits, and every other one whole or not at all.
//
// Badger tolerates damage that loses data, so Open checks every table and log
// before Badger does. Commits are refused before the disk is full.
package badgerkv
