package journal

import (
	"encoding/binary"
	"errors"
	"fmt"
	"hash/crc32"
	"math"

	"bootd.internal/bootd/store"
)

// A file is a header and then frames. A frame is what one sync made durable: in a journal all transactions that
// waited together, in a snapshot a run of records. One checksum covers the whole frame, because the disk may write
// the sectors of an unsynced frame in any order: with a checksum for each transaction, a power cut could leave a
// valid one behind a torn one, which nobody can tell from damage to what was promised. The journal that is written to ends
// with zeros, the room for the next frames; no frame begins with so many.
//
//	header  magic 8 | version 4 | crc 4 | gen 8 | base 8 | prev 8 | salt 8        all little endian
//	frame   length 4 | crc 4 | seq 8 | payload of length octets
//	batch   kind 1 | transactions 4 | { ops uvarint | op... }...
//	op      table 1 | action 1 | id length uvarint | id | put only: value length uvarint | value
//	chunk   kind 1 | ops 4 | op...
//	end     kind 1 | records 4
//
// The checksum of a frame starts with the file's random salt, so that octets a client chose can never pass for a frame.
const (
	headerSize      = 48
	frameHeaderSize = 16
	payloadHead     = 5 // kind and count
	formatVersion   = 1

	// maxBatch is where a batch takes no further transaction, and the most one transaction may hold.
	maxBatch = 16 << 20
	// maxPayload is the largest payload of a frame that is not damaged.
	maxPayload = 2*maxBatch + payloadHead
)

const (
	magicJournal  = "bootdjnl"
	magicSnapshot = "bootdsnp"
)

// kind says what a payload holds. Numbers are written to disk.
type kind uint8

const (
	kindBatch kind = 1
	kindChunk kind = 2
	kindEnd   kind = 3
)

// Actions of an op. Numbers are written to disk.
const (
	actionPut    = 1
	actionDelete = 2
)

// castagnoli gives the CRC-32C table, which the hash package builds once.
func castagnoli() *crc32.Table { return crc32.MakeTable(crc32.Castagnoli) }

// header begins each file.
type header struct {
	magic string
	// gen counts the journals. In a snapshot it names the journal that goes on where the snapshot ends.
	gen uint64
	// base is the last transaction before the file's first frame; in a snapshot, the last that it holds.
	base uint64
	// prev is how many octets of the journal before this one count: what is behind them was never promised.
	prev uint64
	salt [8]byte
}

func (h header) encode() []byte {
	b := make([]byte, 0, headerSize)
	b = append(b, h.magic...)
	b = binary.LittleEndian.AppendUint32(b, formatVersion)
	b = binary.LittleEndian.AppendUint32(b, 0)
	b = binary.LittleEndian.AppendUint64(b, h.gen)
	b = binary.LittleEndian.AppendUint64(b, h.base)
	b = binary.LittleEndian.AppendUint64(b, h.prev)
	b = append(b, h.salt[:]...)
	binary.LittleEndian.PutUint32(b[12:], crc32.Checksum(b, castagnoli()))
	return b
}

// parseHeader reads the header of a file that must begin with magic.
func parseHeader(b []byte, magic string) (header, error) {
	if len(b) < headerSize {
		return header{}, fmt.Errorf("file ends inside its header, after %d of %d octets", len(b), headerSize)
	}
	if string(b[:8]) != magic {
		return header{}, fmt.Errorf("file begins with %q, not %q", b[:8], magic)
	}
	var z [headerSize]byte
	copy(z[:], b)
	clear(z[12:16])
	if crc32.Checksum(z[:], castagnoli()) != binary.LittleEndian.Uint32(b[12:]) {
		return header{}, errors.New("checksum of the file header does not match")
	}
	if v := binary.LittleEndian.Uint32(b[8:]); v != formatVersion {
		return header{}, fmt.Errorf("format %d was written by another version of bootd, this one reads format %d", v, formatVersion)
	}
	h := header{
		magic: magic,
		gen:   binary.LittleEndian.Uint64(b[16:]),
		base:  binary.LittleEndian.Uint64(b[24:]),
		prev:  binary.LittleEndian.Uint64(b[32:]),
	}
	copy(h.salt[:], b[40:])
	return h, nil
}

// checksum is that of a frame: over salt, length, seq and payload.
func checksum(salt [8]byte, frame []byte) uint32 {
	c := crc32.Update(0, castagnoli(), salt[:])
	c = crc32.Update(c, castagnoli(), frame[:4])
	return crc32.Update(c, castagnoli(), frame[8:])
}

// beginFrame appends room for the head of a frame and of its payload to an empty b.
func beginFrame(b []byte) []byte {
	return append(b, make([]byte, frameHeaderSize+payloadHead)...)
}

// sealFrame fills in the heads of a frame that holds count of k.
func sealFrame(frame []byte, salt [8]byte, seq uint64, k kind, count int) {
	binary.LittleEndian.PutUint32(frame, uint32(len(frame)-frameHeaderSize))
	binary.LittleEndian.PutUint64(frame[8:], seq)
	frame[frameHeaderSize] = byte(k)
	binary.LittleEndian.PutUint32(frame[frameHeaderSize+1:], uint32(count))
	binary.LittleEndian.PutUint32(frame[4:], checksum(salt, frame))
}

// errFrame says that there is no whole valid frame at the start of the data.
var errFrame = errors.New("no valid frame")

// cutFrame splits the frame at the start of b from what follows. It fails with errFrame unless length, seq and
// checksum are right.
func cutFrame(b []byte, salt [8]byte, seq uint64) (payload, rest []byte, err error) {
	if len(b) < frameHeaderSize+payloadHead {
		return nil, nil, errFrame
	}
	size := binary.LittleEndian.Uint32(b)
	if size < payloadHead || size > maxPayload || int64(size) > int64(len(b)-frameHeaderSize) {
		return nil, nil, errFrame
	}
	frame := b[:frameHeaderSize+int(size)]
	if binary.LittleEndian.Uint64(b[8:]) != seq || checksum(salt, frame) != binary.LittleEndian.Uint32(b[4:]) {
		return nil, nil, errFrame
	}
	return frame[frameHeaderSize:], b[len(frame):], nil
}

// findFrame looks for a valid frame anywhere in b whose seq is at least from, and returns its offset, or -1. The seq
// is the filter that keeps this linear: other octets pass for a plausible one once in 2^32 offsets.
func findFrame(b []byte, salt [8]byte, from uint64) int {
	for i := 0; i+frameHeaderSize+payloadHead <= len(b); i++ {
		seq := binary.LittleEndian.Uint64(b[i+8:])
		if seq < from || seq-from > math.MaxUint32 {
			continue
		}
		if _, _, err := cutFrame(b[i:], salt, seq); err == nil {
			return i
		}
	}
	return -1
}

// appendTx appends one transaction to a batch.
func appendTx(b []byte, ops []store.Op) []byte {
	b = binary.AppendUvarint(b, uint64(len(ops)))
	for _, op := range ops {
		b = appendOp(b, op)
	}
	return b
}

func appendOp(b []byte, op store.Op) []byte {
	action := byte(actionPut)
	if op.Value == nil {
		action = actionDelete
	}
	b = append(b, byte(op.Key.Table), action)
	b = binary.AppendUvarint(b, uint64(len(op.Key.ID)))
	b = append(b, op.Key.ID...)
	if op.Value == nil {
		return b
	}
	b = binary.AppendUvarint(b, uint64(len(op.Value)))
	return append(b, op.Value...)
}
