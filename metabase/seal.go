// SPDX-License-Identifier: Apache-2.0

package metabase

import (
	"crypto/aes"
	"crypto/cipher"
	"crypto/rand"
	"encoding/base64"
	"encoding/binary"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"runtime"
	"strings"
)

// A MachineKey encrypts the secure properties of a store. Whoever has it and
// the store can read them; a store without its key has lost them. The zero
// MachineKey opens no store.
type MachineKey struct{ aead cipher.AEAD }

// String shows nothing of the key.
func (MachineKey) String() string { return "(machine key)" }

// GoString shows nothing of the key either.
func (MachineKey) GoString() string { return "(machine key)" }

const keyLine = "restante-machine-key-1 "

// NewMachineKey makes a key that is kept nowhere: for tests.
func NewMachineKey() MachineKey {
	k, _ := newMachineKey()
	return k
}

func newMachineKey() (MachineKey, []byte) {
	raw := make([]byte, 32)
	rand.Read(raw) // never returns an error, see its documentation
	k, err := keyOf(raw)
	if err != nil {
		panic("metabase: " + err.Error()) // AES takes 32 octets
	}
	return k, raw
}

func keyOf(raw []byte) (MachineKey, error) {
	block, err := aes.NewCipher(raw)
	if err != nil {
		return MachineKey{}, err
	}
	aead, err := cipher.NewGCM(block)
	return MachineKey{aead}, err
}

// CreateMachineKey makes a key and keeps it in file, which must not exist and
// is readable by its owner only. When it returns nil the key is on stable
// storage.
func CreateMachineKey(file string) (k MachineKey, err error) {
	k, raw := newMachineKey()
	text := keyLine + base64.StdEncoding.EncodeToString(raw) + "\n"
	f, err := os.OpenFile(file, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o600)
	if errors.Is(err, fs.ErrExist) {
		return MachineKey{}, &Error{Op: "machine key", Kind: Exists, Err: errors.New(file)}
	}
	if err != nil {
		return MachineKey{}, fmt.Errorf("machine key: %w", err)
	}
	defer func() {
		if err != nil {
			_ = os.Remove(file)
			k = MachineKey{}
		}
	}()
	_, err = f.WriteString(text)
	if err = errors.Join(err, f.Sync(), f.Close()); err != nil {
		return k, fmt.Errorf("machine key: %w", err)
	}
	if err = syncDir(filepath.Dir(file)); err != nil {
		return k, fmt.Errorf("machine key: %w", err)
	}
	return k, nil
}

// ReadMachineKey reads the key that CreateMachineKey kept in file. The error
// is NotFound when there is no such file, Invalid when others may read it, and
// Damaged when it holds no key.
func ReadMachineKey(file string) (MachineKey, error) {
	bad := func(kind Kind, format string, args ...any) (MachineKey, error) {
		return MachineKey{}, &Error{Op: "machine key", Kind: kind, Err: fmt.Errorf(format, args...)}
	}
	info, err := os.Stat(file)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return bad(NotFound, "%s: put the key's file back from where it is kept; without it the secure properties are lost", file)
	case err != nil:
		return MachineKey{}, fmt.Errorf("machine key: %w", err)
	case runtime.GOOS != "windows" && info.Mode().Perm()&0o077 != 0:
		return bad(Invalid, "%s may be read by others (mode %#o): chmod 600 %s", file, info.Mode().Perm(), file)
	}
	text, err := os.ReadFile(file)
	if err != nil {
		return MachineKey{}, fmt.Errorf("machine key: %w", err)
	}
	encoded, ok := strings.CutPrefix(strings.TrimSpace(string(text)), keyLine)
	raw, err := base64.StdEncoding.DecodeString(encoded)
	if !ok || err != nil || len(raw) != 32 {
		return bad(Damaged, "%s holds no machine key", file)
	}
	return keyOf(raw)
}

// seal encrypts plain for property id, with a fresh nonce in front.
func (k MachineKey) seal(plain []byte, id ID) []byte {
	nonce := make([]byte, k.aead.NonceSize(), k.aead.NonceSize()+len(plain)+k.aead.Overhead())
	rand.Read(nonce) // never returns an error
	return k.aead.Seal(nonce, nonce, plain, sealedFor(id))
}

// open decrypts what seal gave for the same id.
func (k MachineKey) open(sealed []byte, id ID) ([]byte, error) {
	if k.aead == nil {
		return nil, because(Invalid, "a secure value needs the machine key")
	}
	n := k.aead.NonceSize()
	if len(sealed) < n {
		return nil, because(Damaged, "a secure value is cut short")
	}
	plain, err := k.aead.Open(nil, sealed[:n], sealed[n:], sealedFor(id))
	if err != nil {
		return nil, because(Damaged, "a secure value does not open: it is damaged, or sealed by another machine key")
	}
	return plain, nil
}

// sealedFor binds a sealed value to its property.
func sealedFor(id ID) []byte { return binary.BigEndian.AppendUint32(nil, uint32(id)) }

// prove makes what a store keeps to know its key again.
func (k MachineKey) prove() []byte { return k.seal([]byte("restante metabase"), 0) }

func (k MachineKey) fits(proof []byte) bool {
	_, err := k.open(proof, 0)
	return err == nil
}
