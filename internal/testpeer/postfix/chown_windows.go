// SPDX-License-Identifier: Apache-2.0

package testpeer

import "errors"

func chownTo(string, string) error { return errors.New("there is no Postfix on Windows") }
