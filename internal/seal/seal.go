// SPDX-License-Identifier: Apache-2.0

// Package seal encrypts small values under the key of a machine, which is a
// file that its owner alone may read. A sealed value opens for the use it was
// sealed for only, and with the very same key.
//
// The package knows nothing of what the values are, nor of where they are kept.
package seal

import (
	"crypto/aes"
	"crypto/cipher"
	"crypto/hmac"
	"crypto/rand"
	"crypto/sha256"
	"encoding/base64"
	"encoding/binary"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"strings"

	"restante/internal/disk"
)

// What errors.Is finds in the errors of this package; their texts say more.
var (
	ErrMissing = errors.New("no key file")
	ErrExists  = errors.New("a key file is there")
	ErrExposed = errors.New("others may read the key file")
	ErrDamaged = errors.New("not what was written") // a key file, or a sealed value
	ErrNoKey   = errors.New("no machine key")
)

// A reason is one of these errors told in words of its own.
type reason struct {
	is   error
	text string
}

func (r reason) Error() string        { return r.text }
func (r reason) Is(target error) bool { return target == r.is }

func because(is error, format string, args ...any) error {
	return reason{is, fmt.Sprintf(format, args...)}
}

// A Key is the key of a machine. It opens every value that it sealed; what
// it sealed is lost without it. The zero Key opens nothing.
type Key struct {
	aead    cipher.AEAD
	derived [sha256.Size]byte // what Derive begins with
}

// String shows nothing of the key.
func (Key) String() string { return "(machine key)" }

// GoString shows nothing of the key either.
func (Key) GoString() string { return "(machine key)" }

// IsZero says that k is no key at all.
func (k Key) IsZero() bool { return k.aead == nil }

const keyLine = "restante-machine-key-1 "

// New makes a key that is kept nowhere: for tests.
func New() Key {
	k, _ := newKey()
	return k
}

func newKey() (Key, []byte) {
	raw := make([]byte, 32)
	rand.Read(raw) // never returns an error, see its documentation
	k, err := keyOf(raw)
	if err != nil {
		panic("seal: " + err.Error()) // AES takes 32 octets
	}
	return k, raw
}

func keyOf(raw []byte) (Key, error) {
	block, err := aes.NewCipher(raw)
	if err != nil {
		return Key{}, err
	}
	aead, err := cipher.NewGCM(block)
	return Key{aead, hmac256(raw, "derived keys")}, err
}

// Derive returns a key for another use, the same each time. It tells nothing of k
// nor of the key of a third use.
func (k Key) Derive(use string) []byte {
	key := hmac256(k.derived[:], use)
	return key[:]
}

func hmac256(key []byte, text string) [sha256.Size]byte {
	h := hmac.New(sha256.New, key)
	h.Write([]byte(text))
	return [sha256.Size]byte(h.Sum(nil))
}

// Create makes a key and keeps it in file, which must not exist, else the
// error is ErrExists, and is readable by its owner only. When Create returns
// nil the key is on stable storage.
func Create(file string) (Key, error) {
	k, raw := newKey()
	text := keyLine + base64.StdEncoding.EncodeToString(raw) + "\n"
	err := disk.CreateFile(nil, file, 0o600, disk.Bytes([]byte(text)))
	if errors.Is(err, fs.ErrExist) {
		return Key{}, because(ErrExists, "%s", file)
	}
	if err != nil {
		return Key{}, err
	}
	return k, nil
}

// Read reads the key that Create kept in file. The error is ErrMissing when
// there is no such file, ErrExposed when others may read it, and ErrDamaged
// when it holds no key.
func Read(file string) (Key, error) {
	if _, err := os.Stat(file); errors.Is(err, fs.ErrNotExist) {
		return Key{}, because(ErrMissing, "%s: put the key's file back from where it is kept; without it the secure properties are lost", file)
	} else if err != nil {
		return Key{}, err
	}
	if err := disk.CheckSecret(file); err != nil {
		return Key{}, because(ErrExposed, "%v", err)
	}
	text, err := os.ReadFile(file)
	if err != nil {
		return Key{}, err
	}
	encoded, ok := strings.CutPrefix(strings.TrimSpace(string(text)), keyLine)
	raw, err := base64.StdEncoding.DecodeString(encoded)
	if !ok || err != nil || len(raw) != 32 {
		return Key{}, because(ErrDamaged, "%s holds no machine key", file)
	}
	return keyOf(raw)
}

// Seal encrypts plain for a use, with a fresh nonce in front. The zero Key
// can't.
func (k Key) Seal(plain []byte, use uint32) []byte {
	nonce := make([]byte, k.aead.NonceSize(), k.aead.NonceSize()+len(plain)+k.aead.Overhead())
	rand.Read(nonce) // never returns an error
	return k.aead.Seal(nonce, nonce, plain, bound(use))
}

// Open decrypts what Seal gave for the same use. The error is ErrNoKey of the
// zero Key, else ErrDamaged.
func (k Key) Open(sealed []byte, use uint32) ([]byte, error) {
	if k.aead == nil {
		return nil, because(ErrNoKey, "a secure value needs the machine key")
	}
	n := k.aead.NonceSize()
	if len(sealed) < n {
		return nil, because(ErrDamaged, "a secure value is cut short")
	}
	plain, err := k.aead.Open(nil, sealed[:n], sealed[n:], bound(use))
	if err != nil {
		return nil, because(ErrDamaged, "a secure value does not open: it is damaged, or sealed by another machine key")
	}
	return plain, nil
}

// bound is what binds a sealed value to its use.
func bound(use uint32) []byte { return binary.BigEndian.AppendUint32(nil, use) }

// Prove makes what a store keeps to know its key again.
func (k Key) Prove() []byte { return k.Seal([]byte("restante metabase"), 0) }

// Fits says that k made the proof.
func (k Key) Fits(proof []byte) bool {
	_, err := k.Open(proof, 0)
	return err == nil
}
