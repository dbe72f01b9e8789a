// SPDX-License-Identifier: Apache-2.0

// Package procgroup has a program end with the programs that it has started, where the
// system has process groups.
package procgroup
