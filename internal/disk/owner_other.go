// SPDX-License-Identifier: Apache-2.0

//go:build !unix

package disk

// MakePrivate does nothing: the modes of files protect nothing on this system.
func MakePrivate() {}

// CheckPrivate does nothing: see MakePrivate.
func CheckPrivate(string) error { return nil }

// ActAsOwner does nothing: a file belongs to the user that makes it.
func ActAsOwner(string) (restore func(), err error) { return func() {}, nil }

// HandOver reports false: see ActAsOwner.
func HandOver(string, int, int) (bool, error) { return false, nil }
