// SPDX-License-Identifier: Apache-2.0

package w3clog

import (
	"fmt"
	"regexp"
	"strconv"
	"time"
)

// A Period says when a new file begins, by the numbers of LogFilePeriod.
type Period uint32

// The periods. All begin in UTC. A week begins on Sunday, and anew with each
// month.
const (
	BySize Period = iota
	Daily
	Weekly
	Monthly
	Hourly
)

// file is the name of the file for lines of that time; "" of one by size.
func (p Period) file(at time.Time) string {
	at = at.UTC()
	switch p {
	case Hourly:
		return at.Format("ex06010215.log")
	case Daily:
		return at.Format("ex060102.log")
	case Weekly:
		first := at.AddDate(0, 0, 1-at.Day()).Weekday()
		return at.Format("ex0601") + fmt.Sprintf("%02d.log", (at.Day()-1+int(first))/7+1)
	case Monthly:
		return at.Format("ex0601.log")
	}
	return ""
}

// sizeFile is the name of the nth file by size.
func sizeFile(n int) string { return fmt.Sprintf("extend%d.log", n) }

var sizeFileName = regexp.MustCompile(`^extend([0-9]{1,9})\.log$`)

// sizeNumber is n of sizeFile, 0 for another name.
func sizeNumber(name string) int {
	m := sizeFileName.FindStringSubmatch(name)
	if m == nil {
		return 0
	}
	n, _ := strconv.Atoi(m[1])
	return n
}
