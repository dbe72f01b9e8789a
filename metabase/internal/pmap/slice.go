// SPDX-License-Identifier: Apache-2.0

package pmap

// Replace gives s with v at i, without room to spare.
func Replace[T any](s []T, i int, v T) []T {
	out := make([]T, len(s))
	copy(out, s)
	out[i] = v
	return out
}

// Insert gives s with v before what is at i, without room to spare.
func Insert[T any](s []T, i int, v T) []T {
	out := make([]T, len(s)+1)
	copy(out, s[:i])
	out[i] = v
	copy(out[i+1:], s[i:])
	return out
}

// Remove gives s without what is at i and room to spare; nil when nothing is left.
func Remove[T any](s []T, i int) []T {
	if len(s) == 1 {
		return nil
	}
	out := make([]T, len(s)-1)
	copy(out, s[:i])
	copy(out[i:], s[i+1:])
	return out
}
