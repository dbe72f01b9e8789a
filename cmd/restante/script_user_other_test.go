// SPDX-License-Identifier: Apache-2.0

//go:build !unix

package main

import "github.com/rogpeppe/go-internal/testscript"

func as(ts *testscript.TestScript, _ bool, _ []string) { ts.Fatalf("as: not on this system") }
