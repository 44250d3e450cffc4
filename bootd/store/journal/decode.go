package journal

import (
	"encoding/binary"
	"errors"
	"fmt"

	"bootd.internal/bootd/store"
)

// errEnd says that a payload ends inside a field.
var errEnd = errors.New("record ends inside a field")

// payloadKind splits the head of a payload from its body; cutFrame has seen to its length.
func payloadKind(p []byte) (k kind, count uint32, body []byte) {
	return kind(p[0]), binary.LittleEndian.Uint32(p[1:]), p[payloadHead:]
}

// decodeBatch hands each op of count transactions to apply. The values share memory with body.
func decodeBatch(body []byte, count uint32, apply func(store.Op)) error {
	if count == 0 {
		return errors.New("batch without a transaction")
	}
	for range count {
		n, rest, err := uvarint(body, maxBatch)
		if err != nil {
			return err
		}
		if body, err = decodeOps(rest, n, apply); err != nil {
			return err
		}
	}
	return finished(body)
}

// decodeChunk hands each op of a snapshot's chunk to apply.
func decodeChunk(body []byte, count uint32, apply func(store.Op)) error {
	rest, err := decodeOps(body, uint64(count), apply)
	if err != nil {
		return err
	}
	return finished(rest)
}

func finished(rest []byte) error {
	if len(rest) > 0 {
		return fmt.Errorf("%d octets behind the last record", len(rest))
	}
	return nil
}

func decodeOps(b []byte, n uint64, apply func(store.Op)) ([]byte, error) {
	for range n {
		op, rest, err := decodeOp(b)
		if err != nil {
			return nil, err
		}
		apply(op)
		b = rest
	}
	return b, nil
}

// decodeOp reads one op. It refuses what Op.Check refuses, so a journal cannot bring in what Update would not.
func decodeOp(b []byte) (store.Op, []byte, error) {
	if len(b) < 2 {
		return store.Op{}, nil, errEnd
	}
	op, action := store.Op{Key: store.Key{Table: store.Table(b[0])}}, b[1]
	if !op.Key.Table.Valid() {
		return store.Op{}, nil, fmt.Errorf("table %d does not exist", b[0])
	}
	id, b, err := field(b[2:], store.MaxID)
	if err != nil {
		return store.Op{}, nil, err
	}
	op.Key.ID = string(id)
	switch action {
	case actionDelete:
		return op, b, nil
	case actionPut:
		op.Value, b, err = field(b, store.MaxValue)
		return op, b, err
	}
	return store.Op{}, nil, fmt.Errorf("action %d does not exist", action)
}

// field cuts a length and so many octets off b. The octets are never nil.
func field(b []byte, most uint64) (f, rest []byte, err error) {
	n, b, err := uvarint(b, most)
	if err != nil {
		return nil, nil, err
	}
	if n > uint64(len(b)) {
		return nil, nil, errEnd
	}
	return b[:n:n], b[n:], nil
}

func uvarint(b []byte, most uint64) (uint64, []byte, error) {
	v, n := binary.Uvarint(b)
	if n <= 0 {
		return 0, nil, errEnd
	}
	if v > most {
		return 0, nil, fmt.Errorf("length %d where at most %d is allowed", v, most)
	}
	return v, b[n:], nil
}
