// SPDX-License-Identifier: Apache-2.0

package disk

import (
	"errors"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"golang.org/x/sys/windows"
)

func TestAccessLists(t *testing.T) {
	const me = "S-1-5-21-1-2-3-1001"
	const service = "S-1-5-80-1-2-3-4-5"
	for _, c := range []struct {
		sddl, owner string
		others      []string
	}{
		{sddl: "O:" + me + "D:P(A;OICI;FA;;;SY)(A;OICI;FA;;;BA)(A;OICI;FA;;;" + me + ")"},
		{sddl: "O:BAD:P(A;OICI;FA;;;SY)(A;;FA;;;" + me + ")"},
		{sddl: "O:SYD:(A;OICIIO;GA;;;CO)(A;;FA;;;OW)"},
		{sddl: "O:" + me + "D:"},
		{sddl: "O:" + me + "D:(A;;0x1000a0;;;WD)"},                                                     // may pass through
		{sddl: "O:" + me + "D:(D;;FA;;;WD)(A;;FA;;;" + me + ")"},                                       // is denied
		{sddl: "O:" + service + "D:P(A;;FA;;;" + service + ")(A;;FA;;;BA)"},                            // an administrator looks at it
		{sddl: "O:NSD:P(A;;FA;;;NS)"},                                                                  // the network service's
		{sddl: "O:" + me + "D:(A;;FA;;;" + service + ")", others: []string{service}},                   // and another service's
		{sddl: "O:S-1-5-80-0D:(A;;FA;;;BA)", owner: "S-1-5-80-0"},                                      // all services
		{sddl: "O:S-1-5-21-1-2-3-1002D:(A;;FA;;;BA)", owner: "S-1-5-21-1-2-3-1002"},                    // somebody else's
		{sddl: "O:BUD:(A;;FA;;;WD)", owner: "S-1-5-32-545", others: []string{"S-1-1-0"}},               // both
		{sddl: "O:" + me + "D:(A;OICI;FR;;;BU)(A;CI;0x6;;;BU)", others: []string{"S-1-5-32-545"}},      // as below ProgramData
		{sddl: "O:" + me + "D:(A;OICIIO;GR;;;WD)", others: []string{"S-1-1-0"}},                        // the files in it
		{sddl: "O:" + me + "D:(A;;0x40;;;AU)(A;;WD;;;AN)", others: []string{"S-1-5-11", "S-1-5-7"}},    // removes; changes the list
		{sddl: "O:" + me + "D:(A;;FA;;;SY)(A;;WO;;;S-1-5-4)", others: []string{"S-1-5-4"}},             // takes it
		{sddl: "O:" + me + "D:AI(A;OICIID;0x1301bf;;;AU)(A;ID;FA;;;SY)", others: []string{"S-1-5-11"}}, // as below C:\
	} {
		sd, err := windows.SecurityDescriptorFromString(c.sddl)
		if err != nil {
			t.Errorf("%s: %v", c.sddl, err)
			continue
		}
		owner, others, err := exposed(sd, me)
		if err != nil || owner != c.owner || !slices.Equal(others, c.others) {
			t.Errorf("%s: owner %q, others %q, %v; want %q, %q", c.sddl, owner, others, err, c.owner, c.others)
		}
	}
	sd, err := windows.NewSecurityDescriptor()
	if err != nil {
		t.Fatal(err)
	}
	sid, err := windows.StringToSid(me)
	if err != nil {
		t.Fatal(err)
	}
	if err := errors.Join(sd.SetOwner(sid, false), sd.SetDACL(nil, true, false)); err != nil {
		t.Fatal(err)
	}
	if owner, others, err := exposed(sd, me); err != nil || owner != "" || !slices.Equal(others, []string{"S-1-1-0"}) {
		t.Errorf("without a list: owner %q, others %q, %v", owner, others, err)
	}
}

// A folder that others can read is named with the command that mends it. Below it,
// one that is made for its owner has a list of its own.
func TestPrivateFolder(t *testing.T) {
	open := filepath.Join(t.TempDir(), "open")
	everyone, err := windows.SecurityDescriptorFromString("D:P(A;OICI;FA;;;SY)(A;OICI;FA;;;BA)(A;OICI;FA;;;OW)(A;OICI;GRGX;;;WD)")
	if err != nil {
		t.Fatal(err)
	}
	private, err := windows.SecurityDescriptorFromString("D:P(A;;FA;;;SY)(A;;FA;;;BA)(A;;FA;;;OW)")
	if err != nil {
		t.Fatal(err)
	}
	if err := os.Mkdir(open, 0o777); err != nil {
		t.Fatal(err)
	}
	setList(t, open, everyone)
	err = CheckPrivate(open)
	if err == nil || !strings.Contains(err.Error(), `icacls "`+open+`" /inheritance:r /remove:g *S-1-1-0 /grant:r *S-1-5-18:(OI)(CI)F`) {
		t.Errorf("CheckPrivate = %v", err)
	}
	for _, perm := range []os.FileMode{0o700, 0o711} {
		dir := filepath.Join(open, perm.String())
		if err := MkdirAll(nil, dir, perm); err != nil {
			t.Fatal(err)
		}
		if err := CheckPrivate(dir); err != nil {
			t.Errorf("made with %v: %v", perm, err)
		}
		key := filepath.Join(dir, "key")
		if err := WriteFile(nil, key, 0o600, Bytes([]byte("k"))); err != nil {
			t.Fatal(err)
		}
		setList(t, key, private) // Windows does so by itself, Wine does not
		if err := CheckSecret(key); err != nil {
			t.Error(err)
		}
		setList(t, key, everyone)
		if err := CheckSecret(key); err == nil || !strings.Contains(err.Error(), "/grant:r *S-1-5-18:F") {
			t.Errorf("CheckSecret = %v", err)
		}
	}
	if err := CheckPrivate(filepath.Join(open, "none")); !os.IsNotExist(err) {
		t.Errorf("of no folder: %v", err)
	}
}

func setList(t *testing.T, name string, sd *windows.SECURITY_DESCRIPTOR) {
	t.Helper()
	dacl, _, err := sd.DACL()
	if err == nil {
		err = windows.SetNamedSecurityInfo(name, windows.SE_FILE_OBJECT, windows.DACL_SECURITY_INFORMATION|windows.PROTECTED_DACL_SECURITY_INFORMATION, nil, nil, dacl, nil)
	}
	if err != nil {
		t.Fatal(err)
	}
}
