// SPDX-License-Identifier: Apache-2.0

//go:build !windows

// Package winetest runs the tests of other packages, and programs, built for
// Windows under Wine.
package winetest

import (
	"bytes"
	"encoding/binary"
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"testing"
)

// Wine runs programs of Windows in a prefix of its own.
type Wine struct {
	// Umask is that of the programs: under Wine a new file has no access list of its
	// folder, but the mode that this leaves.
	Umask  string
	prefix string
}

// New makes a prefix that is removed after the test. It has no more than a
// program of Go needs: a whole one takes 700 MB and a quarter of a minute.
func New(t testing.TB) *Wine {
	t.Helper()
	if testing.Short() {
		t.Skip("left out by -short: runs programs under Wine")
	}
	if _, err := exec.LookPath("wine"); err != nil || runtime.GOARCH != "amd64" {
		t.Skip("needs Wine on amd64, which make test does not install for its 700 MB (as root: apt-get install wine)")
	}
	w := &Wine{Umask: "022", prefix: t.TempDir()}
	system := filepath.Join(w.prefix, "drive_c", "windows", "system32")
	devices := filepath.Join(w.prefix, "dosdevices")
	err := errors.Join(os.MkdirAll(system, 0o700), os.MkdirAll(devices, 0o700),
		os.Symlink("../drive_c", filepath.Join(devices, "c:")), os.Symlink("/", filepath.Join(devices, "z:")),
		os.WriteFile(filepath.Join(system, "bcryptprimitives.dll"), forwarder("bcryptprimitives.dll", "ProcessPrng", "advapi32.SystemFunction036"), 0o600))
	err = errors.Join(err, os.WriteFile(filepath.Join(w.prefix, ".update-timestamp"), []byte("disable\n"), 0o600)) // nothing is installed
	for _, hive := range []string{"system.reg", "user.reg", "userdef.reg"} {
		err = errors.Join(err, os.WriteFile(filepath.Join(w.prefix, hive), []byte("WINE REGISTRY Version 2\n\n#arch=win64\n"), 0o600))
	}
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		_ = w.command(exec.Command("wineserver", "-k")).Run() // best effort: it ends soon after its last program
		_ = w.command(exec.Command("wineserver", "-w")).Run()
	})
	return w
}

// Command is that of a program under Wine.
func (w *Wine) Command(t testing.TB, program string, args ...string) *exec.Cmd {
	return w.command(exec.CommandContext(t.Context(), "sh", append([]string{"-c", "umask " + w.Umask + `; exec wine "$0" "$@"`, program}, args...)...))
}

func (w *Wine) command(cmd *exec.Cmd) *exec.Cmd {
	// In its bootstrap mode Wine takes its libraries from where it is installed.
	cmd.Env = append(os.Environ(), "WINEPREFIX="+w.prefix, "WINEDEBUG=-all", "WINEBOOTSTRAPMODE=1", "TMP="+w.prefix, "TEMP="+w.prefix)
	return cmd
}

// RunTests runs the tests of the package in the current folder, those of matching
// names where run is not "".
func RunTests(t *testing.T, run string) {
	t.Helper()
	wine := New(t)
	out, err := wine.Command(t, Build(t, "test", "-c"), "-test.v", "-test.run="+run).CombinedOutput()
	if err != nil {
		t.Errorf("under Wine: %v\n%s", err, out)
	}
}

// Build has go build or test -c, by args, make a program for Windows of the package
// in the current folder.
func Build(t testing.TB, args ...string) (program string) {
	t.Helper()
	program = filepath.Join(t.TempDir(), "test.exe")
	// The tag and the flag are for winetest_windows.go.
	args = append(args, "-o", program, "-tags=wine", "-ldflags=-checklinkname=0 -w")
	cmd := exec.CommandContext(t.Context(), "go", args...)
	cmd.Env = append(os.Environ(), "GOOS=windows", "GOARCH=amd64", "CGO_ENABLED=0")
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Fatalf("go %v: %v\n%s", args, err, out)
	}
	return program
}

// forwarder makes a library of Windows, for amd64, with one function, which is
// another library's. Go needs ProcessPrng, which Wine has from version 9 on.
func forwarder(library, function, target string) []byte {
	const at, align, strings = 0x1000, 0x200, 40 + 4 + 4 + 2
	var exports, file bytes.Buffer
	write := func(to *bytes.Buffer, values ...any) {
		for _, v := range values {
			_ = binary.Write(to, binary.LittleEndian, v) // a bytes.Buffer takes all
		}
	}
	nameAt := uint32(at + strings + len(library) + 1)
	targetAt := nameAt + uint32(len(function)+1)
	write(&exports, []uint32{0, 0, 0, at + strings, 1, 1, 1, at + 40, at + 44, at + 48, targetAt, nameAt}, uint16(0))
	exports.WriteString(library + "\x00" + function + "\x00" + target + "\x00")

	file.WriteString("MZ")
	file.Write(make([]byte, 58))
	write(&file, uint32(64))
	file.WriteString("PE\x00\x00")
	write(&file, uint16(0x8664), uint16(1), [3]uint32{}, uint16(240), uint16(0x2022)) // amd64, one section, a library
	write(&file, uint16(0x20b), uint16(0), [5]uint32{}, uint64(0x180000000), [2]uint32{at, align}, [6]uint16{6, 0, 0, 0, 6, 0},
		[4]uint32{0, 2 * at, align, 0}, uint16(3), uint16(0x100), [4]uint64{1 << 20, 4096, 1 << 20, 4096}, [2]uint32{0, 16},
		[2]uint32{at, uint32(exports.Len())}, [15][2]uint32{})
	file.WriteString(".edata\x00\x00")
	write(&file, [8]uint32{uint32(exports.Len()), at, align, align, 0, 0, 0, 0x40000040})
	file.Write(make([]byte, align-file.Len()))
	file.Write(exports.Bytes())
	file.Write(make([]byte, 2*align-file.Len()))
	return file.Bytes()
}
