// SPDX-License-Identifier: Apache-2.0

package disk

import "fmt"

// spare is what records leave of a disk: they must not take the room of the mail. Of a
// small disk it is a twentieth.
const spare = 128 << 20

// CheckSpare returns an error where the disk of a folder has no room but for the mail.
func CheckSpare(dir string) error {
	free, total, err := Free(dir)
	if err != nil || total == 0 {
		return err
	}
	if least := min(spare, total/20); free < least {
		return fmt.Errorf("%s: the disk has %d MiB left, which are for the mail", dir, free>>20)
	}
	return nil
}
