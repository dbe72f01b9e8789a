// SPDX-License-Identifier: Apache-2.0

package main

import (
	"fmt"
	"io"
	"os"

	"restante/cmd/restante/internal/batch"
)

// input reads a text file; "" and "-" are standard input.
func (c *cli) input(name string) (string, error) {
	var b []byte
	var err error
	if name == "" || name == "-" {
		b, err = io.ReadAll(c.in)
		name = "standard input"
	} else {
		b, err = os.ReadFile(name)
	}
	if err != nil {
		return "", err
	}
	text, err := batch.DecodeText(string(b))
	if err != nil {
		return "", fmt.Errorf("%s: %w", name, err)
	}
	return text, nil
}
