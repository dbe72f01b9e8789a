// SPDX-License-Identifier: Apache-2.0

//go:build !unix

package site

import "testing"

func endless(*testing.T) []string { return nil }
