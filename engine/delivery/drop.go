// SPDX-License-Identifier: Apache-2.0

package delivery

type disk interface{}
