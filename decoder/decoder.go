package decoder

import (
	"errors"
	"fmt"
	"slices"
)

// ErrUnknownRelation says that a change came for a relation that no Relation message described.
var ErrUnknownRelation = errors.New("change for a relation that was never described")

// ErrIdentity says that a table's replica identity leaves out a column that tells a row's group: what was done to its rows
// while that is so is not known.
var ErrIdentity = errors.New("the replica identity leaves out a column of the group; run ALTER TABLE … REPLICA IDENTITY DEFAULT")

// MessageError is a pgoutput message that could not be read: cut short, of an unknown type, or
// with a value that does not fit its column. The stream has to be started afresh.
type MessageError struct {
	Type   byte
	Reason string
}

func (e *MessageError) Error() string {
	return fmt.Sprintf("pgoutput message %q: %s", e.Type, e.Reason)
}

// Decoder reads one replication stream (pgoutput, protocol 1 or 2, text format, with messages).
// It is not safe for concurrent use.
type Decoder struct {
	catalog Catalog
	prefix  string // of the daemon's own messages

	relations map[uint32]*relation // never evicted: the server describes a relation only once
	names     names

	room room

	open  bool   // between Begin and Commit
	xid   uint32 // of the open plain transaction
	plain fold

	streams map[uint32]*streamed // by top-level xid, while in progress
	current *streamed            // between Stream Start and Stream Stop
}

const nested = "inside another transaction"

// New makes a decoder for a fresh connection. Messages (pg_logical_emit_message) under prefix
// become Tokens; all others are ignored.
func New(catalog Catalog, prefix string) *Decoder {
	return &Decoder{
		catalog:   catalog,
		prefix:    prefix,
		relations: make(map[uint32]*relation),
		streams:   make(map[uint32]*streamed),
	}
}

// InTransaction reports whether the last message left a transaction, or a chunk of a streamed one,
// unfinished. A keepalive that comes then says nothing about the position.
func (d *Decoder) InTransaction() bool { return d.open || d.current != nil }

// Decode reads one message. It returns the transaction that the message completed, and false when
// it completed none. The data is not kept.
func (d *Decoder) Decode(data []byte) (Tx, bool, error) {
	if len(data) == 0 {
		return Tx{}, false, &MessageError{Reason: "empty"}
	}
	kind := data[0]
	r := reader{buf: data[1:]}
	tx, done, err := d.message(kind, &r)
	if err == nil && r.failed {
		err = &MessageError{Type: kind, Reason: "cut short"}
	}
	if err != nil {
		return Tx{}, false, err
	}
	return tx, done, nil
}

func (d *Decoder) message(kind byte, r *reader) (Tx, bool, error) {
	switch kind {
	case 'I', 'U', 'D', 'T', 'R', 'M', 'Y':
		return Tx{}, false, d.change(kind, r)
	case 'B':
		return Tx{}, false, d.beginPlain(r)
	case 'C':
		return d.commitPlain(r)
	case 'O': // where the transaction came from: not our question
		return Tx{}, false, nil
	case 'S':
		return Tx{}, false, d.streamStart(r)
	case 'E':
		return Tx{}, false, d.streamStop()
	case 'c':
		return d.streamCommit(r)
	case 'A':
		return Tx{}, false, d.streamAbort(r)
	default:
		return Tx{}, false, &MessageError{Type: kind, Reason: "unknown type; this build reads protocol versions 1 and 2"}
	}
}

// change handles what may stand inside a transaction; inside a streamed one each such message
// starts with the id of the (sub)transaction that did it.
func (d *Decoder) change(kind byte, r *reader) error {
	f := &d.plain
	if d.current != nil {
		f = d.current.fold(r.uint32())
	}
	switch kind {
	case 'R':
		return d.relation(r)
	case 'Y': // a type's name; keys are plain types
		return nil
	case 'M':
		return d.emitted(r, f)
	}
	if !d.InTransaction() {
		return &MessageError{Type: kind, Reason: "outside a transaction"}
	}
	if kind == 'T' {
		return d.truncate(r, f)
	}
	return d.row(kind, r, f)
}

func (d *Decoder) beginPlain(r *reader) error {
	if d.InTransaction() {
		return &MessageError{Type: 'B', Reason: nested}
	}
	r.lsn()
	r.time()
	d.xid = r.uint32()
	d.open = true
	d.plain.reset()
	return nil
}

func (d *Decoder) commitPlain(r *reader) (Tx, bool, error) {
	if !d.open {
		return Tx{}, false, &MessageError{Type: 'C', Reason: "without a begin"}
	}
	r.uint8() // flags, unused
	tx := Tx{XID: d.xid, Commit: r.lsn(), End: r.lsn(), CommitTime: r.time()}
	tx.Effect, tx.Tokens = d.plain.effect(&d.room), cloneOrNil(d.plain.tokens)
	d.open = false
	return tx, !r.failed, nil
}

func (d *Decoder) emitted(r *reader, f *fold) error {
	transactional := r.uint8()&1 == 1
	r.lsn()
	prefix := r.cstring()
	content := r.take(int(r.int32()))
	if r.failed || !transactional || string(prefix) != d.prefix {
		return nil
	}
	if !d.InTransaction() {
		return &MessageError{Type: 'M', Reason: "transactional, outside a transaction"}
	}
	f.tokens = append(f.tokens, Token{Content: string(content)})
	return nil
}

func (d *Decoder) truncate(r *reader, f *fold) error {
	n := int(r.int32())
	r.uint8() // CASCADE, RESTART IDENTITY
	var leaves, ledgers []int32
	for range n {
		oid := r.uint32()
		if r.failed {
			return nil
		}
		rel, err := d.lookUp(oid)
		if err != nil {
			return err
		}
		switch rel.Kind {
		case Rows:
			f.truncate(rel.LeafSlot)
			leaves = append(leaves, rel.LeafSlot)
		case Ledger:
			f.emptyLedger(rel.LeafSlot)
			ledgers = append(ledgers, rel.LeafSlot)
		case Counters:
			f.resetCounters()
		case Rollups:
			f.resetRollups()
		}
	}
	for _, slot := range leaves {
		if slices.Contains(ledgers, slot) {
			f.countingPrune(slot)
		}
	}
	return nil
}

func (d *Decoder) lookUp(oid uint32) (*relation, error) {
	if d.current != nil {
		if rel, ok := d.current.relations[oid]; ok {
			return rel, nil
		}
	}
	rel, ok := d.relations[oid]
	if !ok {
		return nil, fmt.Errorf("relation %d: %w", oid, ErrUnknownRelation)
	}
	return rel, nil
}
