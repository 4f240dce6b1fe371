package decoder

import "maps"

// streamed is a transaction that the server sends while it is still running (protocol 2). Each
// stretch of changes by one (sub)transaction is folded by itself, so that a rollback to a
// savepoint takes out exactly what it undid, and the rest keeps its order.
type streamed struct {
	xid       uint32
	parts     []part               // in the order of the stream; one that was rolled back has no fold
	of        map[uint32][]int     // which of them are a subtransaction's
	gone      int                  // how many were rolled back
	relations map[uint32]*relation // as this transaction sees them
}

type part struct {
	subxid uint32
	fold   *fold
}

func (s *streamed) fold(subxid uint32) *fold {
	if n := len(s.parts); n > 0 && s.parts[n-1].subxid == subxid && s.parts[n-1].fold != nil {
		return s.parts[n-1].fold
	}
	if s.of == nil {
		s.of = make(map[uint32][]int)
	}
	s.of[subxid] = append(s.of[subxid], len(s.parts))
	s.parts = append(s.parts, part{subxid: subxid, fold: new(fold)})
	return s.parts[len(s.parts)-1].fold
}

// undo takes out what a subtransaction did. It looks at its own parts only: a transaction may have a
// hundred thousand others.
func (s *streamed) undo(subxid uint32) {
	for _, i := range s.of[subxid] {
		s.parts[i].fold = nil
		s.gone++
	}
	delete(s.of, subxid)
	for n := len(s.parts); n > 0 && s.parts[n-1].fold == nil; n-- {
		s.parts = s.parts[:n-1]
		s.gone--
	}
	if s.gone > 64 && s.gone > len(s.parts)/4 {
		s.compact()
	}
}

// compact gives back what was rolled back.
func (s *streamed) compact() {
	kept := make([]part, 0, len(s.parts)-s.gone)
	clear(s.of)
	for _, p := range s.parts {
		if p.fold != nil {
			s.of[p.subxid] = append(s.of[p.subxid], len(kept))
			kept = append(kept, p)
		}
	}
	s.parts, s.gone = kept, 0
}

func (s *streamed) describe(oid uint32, rel *relation) {
	if s.relations == nil {
		s.relations = make(map[uint32]*relation)
	}
	s.relations[oid] = rel
}

func (d *Decoder) streamStart(r *reader) error {
	if d.InTransaction() {
		return &MessageError{Type: 'S', Reason: nested}
	}
	xid, first := r.uint32(), r.uint8() == 1
	if r.failed {
		return nil
	}
	s, known := d.streams[xid]
	switch {
	case first: // also when it comes again: the server then sends it from its beginning
		s = &streamed{xid: xid}
		d.streams[xid] = s
	case !known:
		return &MessageError{Type: 'S', Reason: "goes on with a transaction that was never begun"}
	}
	d.current = s
	return nil
}

func (d *Decoder) streamStop() error {
	if d.current == nil {
		return &MessageError{Type: 'E', Reason: "without a stream start"}
	}
	d.current = nil
	return nil
}

func (d *Decoder) streamCommit(r *reader) (Tx, bool, error) {
	if d.InTransaction() {
		return Tx{}, false, &MessageError{Type: 'c', Reason: nested}
	}
	xid := r.uint32()
	r.uint8() // flags, unused
	tx := Tx{XID: xid, Commit: r.lsn(), End: r.lsn(), CommitTime: r.time()}
	if r.failed {
		return Tx{}, false, nil
	}
	s, known := d.streams[xid]
	if !known {
		return Tx{}, false, &MessageError{Type: 'c', Reason: "of a transaction that was never begun"}
	}
	delete(d.streams, xid)
	maps.Copy(d.relations, s.relations)
	var all fold
	for _, p := range s.parts {
		if p.fold != nil {
			all.append(p.fold)
		}
	}
	tx.Effect, tx.Tokens = all.effect(&d.room), cloneOrNil(all.tokens)
	return tx, true, nil
}

// streamAbort undoes a subtransaction, or the whole when the two ids are the same. The server also
// reports subtransactions that it had sent nothing of.
func (d *Decoder) streamAbort(r *reader) error {
	if d.InTransaction() {
		return &MessageError{Type: 'A', Reason: nested}
	}
	xid, subxid := r.uint32(), r.uint32()
	if r.failed {
		return nil
	}
	s, known := d.streams[xid]
	if !known {
		return nil
	}
	if xid == subxid {
		delete(d.streams, xid)
		return nil
	}
	s.undo(subxid)
	return nil
}
