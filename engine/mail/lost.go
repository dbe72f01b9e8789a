// SPDX-License-Identifier: Apache-2.0

package mail

import "errors"

// ErrLost is found in an error about a message that can never be read again:
// it is damaged, or not where it was stored.
var ErrLost = errors.New("the message is lost")
