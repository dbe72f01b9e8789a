// SPDX-License-Identifier: Apache-2.0

//go:build !unix

package ports

// setBacklog does nothing: Windows takes the number with the first listen alone, and
// that is net's.
func (l *listener) setBacklog(int) {}
