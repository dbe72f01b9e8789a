// SPDX-License-Identifier: Apache-2.0

package disk

import (
	"errors"
	"fmt"
	"path/filepath"
	"regexp"
	"runtime"
	"strings"
	"unicode"
	"unicode/utf8"
)

const (
	maxPath    = 1000 // octets; what follows it must fit into the system's limit
	maxElement = 255
)

// Locate returns the path on this system of a file or folder that is named by
// text; "" stays. A backslash is a slash. A path that is not absolute begins at
// dir, and so does one with a drive on a system without drives. What is checked
// and what is opened is the result of this function.
func Locate(dir, text string) string {
	p := native(text)
	switch {
	case text == "":
		return ""
	case filepath.IsAbs(p):
		return filepath.Clean(p)
	case IsAbs(text): // the root of a drive of Windows
		return filepath.Clean(filepath.VolumeName(dir) + p)
	}
	return filepath.Join(dir, p)
}

// IsAbs reports whether Locate leaves its folder out.
func IsAbs(text string) bool {
	p := native(text)
	return filepath.IsAbs(p) || strings.HasPrefix(p, string(filepath.Separator))
}

// IsLocal reports whether text is not absolute and stays in the folder that it
// begins at.
func IsLocal(text string) bool {
	rel := Locate(".", text)
	return !IsAbs(text) && rel != ".." && !strings.HasPrefix(rel, ".."+string(filepath.Separator))
}

func native(text string) string { return filepath.FromSlash(slashed(text)) }

func slashed(text string) string { return strings.ReplaceAll(text, `\`, "/") }

// CheckPath returns an error unless text names one and the same file or folder on
// every system: Windows has two names for some, and devices in the place of
// others.
func CheckPath(text string) error {
	p := slashed(text)
	switch {
	case len(text) > maxPath:
		return fmt.Errorf("is longer than %d octets", maxPath)
	case strings.HasPrefix(p, "//?/"), strings.HasPrefix(p, "//./"), strings.HasPrefix(p, "/??/"):
		return errors.New(`begins with a name of Windows's own for devices: leave out \\?\`)
	}
	if len(p) > 1 && p[1] == ':' && isLetter(p[0]) {
		if p = p[2:]; !strings.HasPrefix(p, "/") {
			return fmt.Errorf(`begins at the current folder of a drive: write %s\ for the drive's root`, text[:2])
		}
	}
	for element := range strings.SplitSeq(p, "/") {
		if element == "" || element == "." || element == ".." {
			continue
		}
		if err := CheckName(element); err != nil {
			if element != text {
				err = fmt.Errorf("has the name %q, which %w", clip(element), err)
			}
			return err
		}
	}
	return nil
}

var (
	windowsRoot     = regexp.MustCompile(`^([a-zA-Z]:|//[^/]+)(/|$)`)
	windowsVariable = regexp.MustCompile(`^%[^%/]+%`)
)

// CheckHere returns an error if text is a path that this system does not have: one
// that begins with a %VARIABLE% of Windows, as nothing replaces it, or elsewhere
// than on Windows with a drive or a share.
func CheckHere(text string) error {
	p := slashed(text)
	switch {
	case windowsVariable.MatchString(p):
		return fmt.Errorf("begins with the variable %s, which nothing replaces: write a path without it", windowsVariable.FindString(p))
	case runtime.GOOS != "windows" && windowsRoot.MatchString(p):
		return errors.New("is on a drive or a share of Windows: write a path of this machine")
	}
	return nil
}

// clip shortens a name for a message.
func clip(name string) string {
	if len(name) > 40 {
		return name[:40] + "..."
	}
	return name
}

func isLetter(c byte) bool { return c|0x20 >= 'a' && c|0x20 <= 'z' }

// CheckName is CheckPath for the name of one file or folder, without slashes.
func CheckName(name string) error {
	switch {
	case name == "":
		return errors.New("is empty")
	case len(name) > maxElement:
		return fmt.Errorf("is longer than %d octets", maxElement)
	case !utf8.ValidString(name):
		return errors.New("is not valid UTF-8")
	case strings.IndexFunc(name, unicode.IsControl) >= 0:
		return errors.New("has a control character")
	case strings.ContainsAny(name, `/\<>:"|?*`):
		return errors.New(`has one of the characters < > : " | ? *, which no file's name has on Windows`)
	case strings.TrimRight(name, ". ") != name:
		return errors.New("ends with a dot or a blank, which Windows leaves out")
	case isDevice(name):
		return fmt.Errorf("is the device %s of Windows", name)
	}
	return nil
}

// isDevice reports whether the name is a device on Windows, with any text after its
// first dot.
func isDevice(name string) bool {
	base, _, _ := strings.Cut(strings.ToLower(name), ".")
	base = strings.TrimRight(base, " ")
	switch base {
	case "con", "prn", "aux", "nul", "conin$", "conout$":
		return true
	}
	port, ok := strings.CutPrefix(base, "com")
	if !ok {
		port, ok = strings.CutPrefix(base, "lpt")
	}
	return ok && utf8.RuneCountInString(port) == 1 && strings.Contains("0123456789¹²³", port)
}
