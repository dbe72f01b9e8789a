// SPDX-License-Identifier: Apache-2.0

// Package segment has the files of a trace: segments, to which events are appended, and
// the index that a full one gets.
package segment

import (
	"bufio"
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"hash/crc32"
	"io"
	"math/bits"
	"os"
	"slices"
	"strconv"
	"strings"
	"time"

	"restante/internal/disk"
)

// A record of a segment is: the length of what follows the checksum, the CRC-32C
// of that, the number of keys, their hashes, and the event.
const (
	recordHead = 8
	maxKeys    = 16 << 10
	maxRecord  = 256 << 10
)

var castagnoli = crc32.MakeTable(crc32.Castagnoli)

// Append encodes e. One that is too large loses its last attributes and keys.
func Append(b []byte, e *Event) []byte {
	at := len(b)
	keys := e.Keys[:min(len(e.Keys), maxKeys)]
	b = append(b, make([]byte, recordHead)...)
	b = binary.LittleEndian.AppendUint16(b, uint16(len(keys)))
	for _, k := range keys {
		b = binary.LittleEndian.AppendUint64(b, hash(k))
	}
	b = appendEvent(b, e)
	if len(b)-at > maxRecord {
		half := *e
		half.Attrs = e.Attrs[:len(e.Attrs)/2]
		return Append(b[:at], &half)
	}
	binary.LittleEndian.PutUint32(b[at:], uint32(len(b)-at-recordHead))
	binary.LittleEndian.PutUint32(b[at+4:], crc32.Checksum(b[at+recordHead:], castagnoli))
	return b
}

// ErrDamaged means that octets of a file are not those that were written.
var ErrDamaged = errors.New("is damaged")

// bodyOf is what the checksum of a whole record covers.
func bodyOf(raw []byte) []byte { return raw[recordHead:] }

// keysIn is the number of keys of a record.
func keysIn(body []byte) int { return int(binary.LittleEndian.Uint16(body)) }

// Verify says whether a whole record is as it was written.
func Verify(raw []byte) error {
	body := bodyOf(raw)
	if len(body) < 2 || 2+8*keysIn(body) > len(body) || crc32.Checksum(body, castagnoli) != binary.LittleEndian.Uint32(raw[4:]) {
		return ErrDamaged
	}
	return nil
}

// EventIn decodes a whole record after it has verified it.
func EventIn(raw []byte) (*Event, error) {
	if err := Verify(raw); err != nil {
		return nil, err
	}
	body := bodyOf(raw)
	return decodeEvent(body[2+8*keysIn(body):])
}

// Scan calls do with each record from an offset on that reads, until it is false. Where
// one is damaged its length may be, too: the next one is then searched for octet by
// octet. Damaged is the number of places behind which Scan went on. It reads no further
// than the file's size at the start: a record that is being appended is not damaged.
func Scan(f *os.File, from int64, do func(at int64, raw []byte) bool) (damaged int, err error) {
	st, err := f.Stat()
	if err != nil {
		return 0, err
	}
	r := bufio.NewReaderSize(io.NewSectionReader(f, from, max(0, st.Size()-from)), recordHead+maxRecord)
	for at, end := from, from; ; {
		raw, err := peek(r)
		if err == io.EOF {
			return damaged, nil
		}
		if err != nil {
			return damaged, err
		}
		if raw == nil {
			at++
			_, _ = r.Discard(1) // it was peeked at
			continue
		}
		if at > end {
			damaged++
		}
		if !do(at, raw) {
			return damaged, nil
		}
		at += int64(len(raw))
		end = at
		_, _ = r.Discard(len(raw)) // it was peeked at
	}
}

// peek gives the record at the begin of r, or nil where none reads.
func peek(r *bufio.Reader) ([]byte, error) {
	head, err := r.Peek(recordHead)
	if err != nil {
		return nil, err
	}
	n := int(binary.LittleEndian.Uint32(head))
	if n < 2 || n > maxRecord {
		return nil, nil
	}
	raw, err := r.Peek(recordHead + n)
	if err == io.EOF || err == nil && Verify(raw) != nil {
		return nil, nil
	}
	return raw, err
}

// ReadAt reads the record at an offset.
func ReadAt(f io.ReaderAt, at int64) (*Event, error) {
	raw := make([]byte, 512) // as most are shorter
	got, err := f.ReadAt(raw, at)
	if err != nil && err != io.EOF {
		return nil, err
	}
	if got < recordHead {
		return nil, ErrDamaged
	}
	n := int(binary.LittleEndian.Uint32(raw))
	if n < 2 || n > maxRecord {
		return nil, ErrDamaged
	}
	if size := recordHead + n; size > got {
		raw = make([]byte, size)
		if _, err := f.ReadAt(raw, at); err == io.EOF {
			return nil, ErrDamaged
		} else if err != nil {
			return nil, err
		}
	}
	return EventIn(raw[:recordHead+n])
}

// Hashes are the numbers under which keys are found.
func Hashes(keys []string) map[uint64]bool {
	out := make(map[uint64]bool, len(keys))
	for _, k := range keys {
		out[hash(k)] = true
	}
	return out
}

// HasKey reports whether the record has one of the hashes.
func HasKey(raw []byte, keys map[uint64]bool) bool {
	body := bodyOf(raw)
	for i := range min(keysIn(body), (len(body)-2)/8) {
		if keys[binary.LittleEndian.Uint64(body[2+8*i:])] {
			return true
		}
	}
	return false
}

// Name and IndexName name the files of segment n.
func Name(n int) string      { return fmt.Sprintf("%08d.events", n) }
func IndexName(n int) string { return fmt.Sprintf("%08d.index", n) }

// List lists the numbers of the segments in a folder, in order.
func List(f *disk.Folder) ([]int, error) {
	names, err := f.Names()
	if err != nil {
		return nil, err
	}
	var out []int
	for _, e := range names {
		if stem, ok := strings.CutSuffix(e.Name(), ".events"); ok {
			if n, err := strconv.Atoi(stem); err == nil && Name(n) == e.Name() {
				out = append(out, n)
			}
		}
	}
	slices.Sort(out)
	return out, nil
}

// A Summary is what a whole segment comes to.
type Summary struct {
	Events      int
	Damaged     int    // places that do not read
	End         int64  // of the last record that reads
	First, Last *Event // of a segment without events, the time alone
	postings    []posting
}

// A posting says that the record at an offset has a key.
type posting struct {
	hash   uint64
	offset uint32
}

// Summarize reads a segment.
func Summarize(f *os.File) (s Summary, err error) {
	st, err := f.Stat()
	if err != nil {
		return s, err
	}
	var last []byte
	s.Damaged, err = Scan(f, 0, func(at int64, raw []byte) bool {
		if s.Events == 0 {
			s.First, _ = EventIn(raw)
		}
		s.Events++
		s.End, last = at+int64(len(raw)), append(last[:0], raw...)
		body := bodyOf(raw)
		for i := range keysIn(body) {
			s.postings = append(s.postings, posting{binary.LittleEndian.Uint64(body[2+8*i:]), uint32(at)})
		}
		return true
	})
	if s.End < st.Size() {
		s.Damaged++ // what follows does not read
	}
	if s.Events > 0 {
		s.Last, _ = EventIn(last)
	}
	if s.First == nil || s.Last == nil {
		s.First, s.Last = &Event{At: st.ModTime()}, &Event{At: st.ModTime()}
	}
	return s, err
}

// An index is a table of buckets, by the first bits of a hash, and behind it the
// postings in the order of the hashes. Each bucket has a checksum, the head has that of
// itself and of the table.
const (
	indexMagic  = "RSTRACE1"
	indexHead   = 48
	bucketSize  = 8  // the end of a bucket, in postings, and its checksum
	postingSize = 12 // hash and offset
	perBucket   = 64 // postings, as a rule
)

// IndexOf is the index of a segment.
func IndexOf(s Summary) []byte {
	slices.SortFunc(s.postings, func(a, b posting) int {
		if a.hash != b.hash {
			if a.hash < b.hash {
				return -1
			}
			return 1
		}
		return int(a.offset) - int(b.offset)
	})
	log2 := bits.Len(uint(len(s.postings) / perBucket))
	var list, table []byte
	for at, bucket := 0, 0; bucket < 1<<log2; bucket++ {
		begin := len(list)
		for ; at < len(s.postings) && bucketOf(s.postings[at].hash, log2) == bucket; at++ {
			list = binary.LittleEndian.AppendUint64(list, s.postings[at].hash)
			list = binary.LittleEndian.AppendUint32(list, s.postings[at].offset)
		}
		table = binary.LittleEndian.AppendUint32(table, uint32(at))
		table = binary.LittleEndian.AppendUint32(table, crc32.Checksum(list[begin:], castagnoli))
	}
	head := append(make([]byte, 0, indexHead), indexMagic...)
	head = binary.LittleEndian.AppendUint32(head, uint32(log2))
	head = binary.LittleEndian.AppendUint32(head, uint32(s.Events))
	head = binary.LittleEndian.AppendUint32(head, uint32(s.Damaged))
	head = binary.LittleEndian.AppendUint64(head, uint64(s.First.At.UnixNano()))
	head = binary.LittleEndian.AppendUint64(head, uint64(s.Last.At.UnixNano()))
	head = append(head, make([]byte, indexHead-4-len(head))...)
	sum := crc32.Update(crc32.Checksum(head, castagnoli), castagnoli, table)
	head = binary.LittleEndian.AppendUint32(head, sum)
	return slices.Concat(head, table, list)
}

func bucketOf(hash uint64, log2 int) int { return int(hash >> 1 >> (63 - log2)) }

// An Index is that of a closed segment, open for reading. Close it after use.
type Index struct {
	file            *os.File
	log2            int
	Events, Damaged int
	First, Last     time.Time
	table           []byte
}

// OpenIndex opens the index of segment n. The error is fs.ErrNotExist where the segment
// has none yet.
func OpenIndex(f *disk.Folder, n int) (*Index, error) {
	file, err := f.Open(IndexName(n))
	if err != nil {
		return nil, err
	}
	x := &Index{file: file}
	if err := x.readHead(); err != nil {
		return nil, errors.Join(fmt.Errorf("%s: %w", IndexName(n), err), file.Close())
	}
	return x, nil
}

func (x *Index) readHead() error {
	head := make([]byte, indexHead)
	if _, err := x.file.ReadAt(head, 0); err != nil && err != io.EOF {
		return err
	}
	number := func(at int) int { return int(binary.LittleEndian.Uint32(head[at:])) }
	if !bytes.HasPrefix(head, []byte(indexMagic)) || number(8) > 18 {
		return ErrDamaged
	}
	x.log2, x.Events, x.Damaged = number(8), number(12), number(16)
	at := func(at int) time.Time { return time.Unix(0, int64(binary.LittleEndian.Uint64(head[at:]))).UTC() }
	x.First, x.Last = at(20), at(28)
	x.table = make([]byte, bucketSize<<x.log2)
	if _, err := x.file.ReadAt(x.table, indexHead); err != nil && err != io.EOF {
		return err
	}
	if sum := crc32.Update(crc32.Checksum(head[:indexHead-4], castagnoli), castagnoli, x.table); sum != uint32(number(indexHead-4)) {
		return ErrDamaged
	}
	return nil
}

// Find adds the offsets of the records that have the hash.
func (x *Index) Find(hash uint64, to []uint32) ([]uint32, error) {
	bucket, begin := bucketOf(hash, x.log2), 0
	if bucket > 0 {
		begin = int(binary.LittleEndian.Uint32(x.table[(bucket-1)*bucketSize:]))
	}
	end := int(binary.LittleEndian.Uint32(x.table[bucket*bucketSize:]))
	list := make([]byte, max(0, end-begin)*postingSize)
	if _, err := x.file.ReadAt(list, int64(indexHead+len(x.table)+begin*postingSize)); err != nil && err != io.EOF {
		return to, err
	}
	if crc32.Checksum(list, castagnoli) != binary.LittleEndian.Uint32(x.table[bucket*bucketSize+4:]) {
		return to, ErrDamaged
	}
	for ; len(list) > 0; list = list[postingSize:] {
		if binary.LittleEndian.Uint64(list) == hash {
			to = append(to, binary.LittleEndian.Uint32(list[8:]))
		}
	}
	return to, nil
}

func (x *Index) Close() { _ = x.file.Close() } // it was only read
