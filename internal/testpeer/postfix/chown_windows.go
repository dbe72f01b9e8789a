// SPDX-License-Identifier: Apache-2.0

package postfix

import "errors"

func chownTo(string, string) error { return errors.New("there is no Postfix on Windows") }
