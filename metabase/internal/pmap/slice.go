// SPDX-License-Identifier: Apache-2.0

package pmap

// Replace returns a copy of s with v at i and no spare capacity.
func Replace[T any](s []T, i int, v T) []T {
	out := make([]T, len(s))
	copy(out, s)
	out[i] = v
	return out
}

// Insert returns a copy of s with v before index i and no spare capacity.
func Insert[T any](s []T, i int, v T) []T {
	out := make([]T, len(s)+1)
	copy(out, s[:i])
	out[i] = v
	copy(out[i+1:], s[i:])
	return out
}

// Remove returns a copy of s without index i and no spare capacity; nil if it is empty.
func Remove[T any](s []T, i int) []T {
	if len(s) == 1 {
		return nil
	}
	out := make([]T, len(s)-1)
	copy(out, s[:i])
	copy(out[i:], s[i+1:])
	return out
}
