package decoder

import (
	"bytes"
	"encoding/binary"
	"time"

	"github.com/jackc/pglogrepl"
)

// reader walks one message. After the first short read it stays failed and returns zeros, so that
// callers check once, at the end of what they read.
type reader struct {
	buf    []byte
	failed bool
}

func (r *reader) take(n int) []byte {
	if n < 0 || n > len(r.buf) {
		r.failed = true
		r.buf = nil
		return nil
	}
	b := r.buf[:n:n]
	r.buf = r.buf[n:]
	return b
}

func (r *reader) uint8() byte {
	if b := r.take(1); b != nil {
		return b[0]
	}
	return 0
}

func (r *reader) int16() int16 {
	if b := r.take(2); b != nil {
		return int16(binary.BigEndian.Uint16(b)) //nolint:gosec // two's complement on the wire
	}
	return 0
}

func (r *reader) uint32() uint32 {
	if b := r.take(4); b != nil {
		return binary.BigEndian.Uint32(b)
	}
	return 0
}

func (r *reader) int32() int32 { return int32(r.uint32()) } //nolint:gosec // two's complement on the wire

func (r *reader) lsn() pglogrepl.LSN {
	if b := r.take(8); b != nil {
		return pglogrepl.LSN(binary.BigEndian.Uint64(b))
	}
	return 0
}

// time reads microseconds since 2000-01-01 (PostgreSQL manual, 55.9).
func (r *reader) time() time.Time {
	const pgEpoch = 946684800 // 2000-01-01 in Unix seconds
	b := r.take(8)
	if b == nil {
		return time.Time{}
	}
	micros := int64(binary.BigEndian.Uint64(b)) //nolint:gosec // two's complement on the wire
	return time.Unix(pgEpoch, 0).Add(time.Duration(micros) * time.Microsecond)
}

// cstring reads up to the terminating zero byte, which is taken but not returned.
func (r *reader) cstring() []byte {
	i := bytes.IndexByte(r.buf, 0)
	if i < 0 {
		r.failed = true
		r.buf = nil
		return nil
	}
	s := r.buf[:i]
	r.buf = r.buf[i+1:]
	return s
}
