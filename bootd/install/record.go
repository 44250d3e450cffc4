package install

import (
	"encoding/json"
	"fmt"

	"bootd.internal/bootd/store"
)

// ArmKey is where a host's arm lives.
func ArmKey(host string) store.Key { return store.Key{Table: store.TableArm, ID: host} }

// AttemptKey is where a host's latest attempt lives.
func AttemptKey(host string) store.Key { return store.Key{Table: store.TableAttempt, ID: host} }

// TokenKey is where the record of a token lives, by the SHA-256 of its secret in hex.
func TokenKey(hash string) store.Key { return store.Key{Table: store.TableToken, ID: hash} }

// BlobKey is where a rendered script or its answers live. The host is part of the key although the hash alone would name
// the content: two hosts may render the same text, and one of them drops its blobs first.
func BlobKey(host, hash string) store.Key {
	return store.Key{Table: store.TableBlob, ID: host + "/" + hash}
}

// ReadArm gives a host's arm. A record that cannot be read is an error and counts as no arm.
func ReadArm(v store.View, host string) (Arm, bool, error) { return read[Arm](v, ArmKey(host)) }

// ReadAttempt gives a host's latest attempt. A record that cannot be read is an error.
func ReadAttempt(v store.View, host string) (Attempt, bool, error) {
	return read[Attempt](v, AttemptKey(host))
}

func read[T any](v store.View, k store.Key) (T, bool, error) {
	var t T
	b, ok := v.Get(k)
	if !ok {
		return t, false, nil
	}
	if err := json.Unmarshal(b, &t); err != nil {
		var zero T
		return zero, false, fmt.Errorf("decoding record %s: %w", k, err)
	}
	return t, true, nil
}

func put(k store.Key, record any) store.Op {
	b, err := json.Marshal(record)
	if err != nil { // every field of every record marshals
		panic(err)
	}
	return store.Op{Key: k, Value: b}
}

func drop(k store.Key) store.Op { return store.Op{Key: k} }
