// SPDX-License-Identifier: Apache-2.0

package descriptors

// Limit is 0: Windows limits handles by memory alone.
func Limit() int { return 0 }
