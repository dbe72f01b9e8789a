// SPDX-License-Identifier: Apache-2.0

package disk

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"unsafe"

	"golang.org/x/sys/windows"
)

// MakePrivate does nothing: a file has the access list of its folder.
func MakePrivate() {}

// ActAsOwner does nothing: what is made in a folder has the folder's access list,
// whichever user makes it.
func ActAsOwner(string) (restore func(), err error) { return func() {}, nil }

// HandOver reports false: see ActAsOwner.
func HandOver(string, int, int) (bool, error) { return false, nil }

const (
	localSystem    = "S-1-5-18" // the account of the system
	administrators = "S-1-5-32-544"
	creatorOwner   = "S-1-3-0" // in an entry: who makes the file
	ownerRights    = "S-1-3-4" // in an entry: who has the file

	allowed         = 0 // the types of entries
	denied          = 1
	allowedCallback = 9
	deniedCallback  = 10

	// Rights that show neither the content of a folder or file nor change it.
	harmless = windows.FILE_READ_ATTRIBUTES | windows.FILE_READ_EA | windows.FILE_TRAVERSE | windows.READ_CONTROL | windows.SYNCHRONIZE
)

// Mkdir makes a folder whose perm gives others nothing to read for this user, the
// system and the administrators alone, unless it inherits that from the folder
// above it.
func hasOtherName(os.FileInfo) bool { return false }

func (system) Mkdir(dir string, perm fs.FileMode) error {
	if perm&0o066 != 0 || CheckPrivate(filepath.Dir(dir)) == nil {
		return os.Mkdir(dir, perm)
	}
	fail := func(err error) error { return &os.PathError{Op: "mkdir", Path: dir, Err: err} }
	me, err := self()
	if err != nil {
		return fail(err)
	}
	sd, err := windows.SecurityDescriptorFromString("D:P" +
		"(A;OICI;FA;;;" + localSystem + ")(A;OICI;FA;;;" + administrators + ")(A;OICI;FA;;;" + me + ")")
	if err != nil {
		return fail(err)
	}
	name, err := windows.UTF16PtrFromString(dir)
	if err != nil {
		return fail(err)
	}
	sa := windows.SecurityAttributes{SecurityDescriptor: sd}
	sa.Length = uint32(unsafe.Sizeof(sa))
	if err := windows.CreateDirectory(name, &sa); err != nil {
		return fail(err)
	}
	return nil
}

// self is the SID of this process's user.
func self() (string, error) {
	u, err := windows.GetCurrentProcessToken().GetTokenUser()
	if err != nil {
		return "", err
	}
	return u.User.Sid.String(), nil
}

// CheckPrivate returns an error, with the command that mends it, if users other
// than this one, the system and the administrators can read or change what is in
// a folder, or own it.
func CheckPrivate(dir string) error { return checkAccess(dir, `:(OI)(CI)F`) }

// CheckParents does nothing: the lists of the folders above are not judged on Windows.
func CheckParents(string) error { return nil }

// CheckSecret is CheckPrivate for a file.
func CheckSecret(file string) error { return checkAccess(file, `:F`) }

func checkAccess(name, full string) error {
	sd, err := windows.GetNamedSecurityInfo(name, windows.SE_FILE_OBJECT, windows.OWNER_SECURITY_INFORMATION|windows.DACL_SECURITY_INFORMATION)
	if err != nil {
		return &os.PathError{Op: "read the access list of", Path: name, Err: err}
	}
	me, err := self()
	if err != nil {
		return err
	}
	owner, others, err := exposed(sd, me)
	if err != nil {
		return &os.PathError{Op: "read the access list of", Path: name, Err: err}
	}
	if owner != "" {
		return fmt.Errorf(`%s belongs to another user (%s): run this as that user, or: icacls "%s" /setowner *%s /T`, name, account(owner), name, administrators)
	}
	if len(others) == 0 {
		return nil
	}
	var names, remove strings.Builder
	for i, sid := range others {
		if i > 0 {
			names.WriteString(", ")
		}
		names.WriteString(account(sid))
		remove.WriteString(" *" + sid)
	}
	return fmt.Errorf(`%s can be read or changed by other users (%s): icacls "%s" /inheritance:r /remove:g%s /grant:r *%s%s *%s%s *%s%s`,
		name, &names, name, &remove, localSystem, full, administrators, full, me, full)
}

// exposed returns the owner of sd if it is another user than me, and whom its list
// lets read or change something besides. The system, the administrators and the
// account of a service that has the folder are trusted.
func exposed(sd *windows.SECURITY_DESCRIPTOR, me string) (owner string, others []string, err error) {
	sid, _, err := sd.Owner()
	if err != nil {
		return "", nil, err
	}
	trusted := map[string]bool{me: true, localSystem: true, administrators: true, creatorOwner: true, ownerRights: true}
	if owner = sid.String(); isService(owner) {
		trusted[owner] = true
	}
	if trusted[owner] {
		owner = ""
	}
	dacl, _, err := sd.DACL()
	if errors.Is(err, windows.ERROR_OBJECT_NOT_FOUND) || err == nil && dacl == nil { // no list: everybody may do everything
		return owner, []string{"S-1-1-0"}, nil
	}
	if err != nil {
		return "", nil, err
	}
	for i := range uint32(dacl.AceCount) {
		var ace *windows.ACCESS_ALLOWED_ACE
		if err := windows.GetAce(dacl, i, &ace); err != nil {
			return "", nil, err
		}
		switch ace.Header.AceType {
		case denied, deniedCallback:
			continue
		case allowed, allowedCallback:
		default:
			return "", nil, fmt.Errorf("has an entry of the unknown type %d", ace.Header.AceType)
		}
		who := (*windows.SID)(unsafe.Pointer(&ace.SidStart)).String()
		if ace.Mask&^harmless != 0 && !trusted[who] {
			trusted[who] = true // told once
			others = append(others, who)
		}
	}
	return owner, others, nil
}

// isService reports whether sid is an account of services, which only an
// administrator can have a program run as.
func isService(sid string) bool {
	const each = "S-1-5-80-"
	return sid == "S-1-5-19" || sid == "S-1-5-20" || strings.HasPrefix(sid, each) && sid != each+"0"
}

// account is the name of a SID, or the SID where the system knows no name.
func account(sid string) string {
	id, err := windows.StringToSid(sid)
	if err != nil {
		return sid
	}
	name, domain, _, err := id.LookupAccount("")
	switch {
	case err != nil:
		return sid
	case domain == "":
		return name
	}
	return domain + `\` + name
}
