package decoder

import (
	"errors"
	"fmt"
)

// relation is a Table with what the walk over its tuples needs.
type relation struct {
	Table
	fields []field // what each column means, by ordinal, up to the last one wanted
}

// field names the columns that are read; everything else is walked over.
type field uint8

const (
	skipped field = iota
	slotField
	queueField
	priorityField
	shardField
	bucketField
	valueField
	failedField
	fieldCount
)

func (d *Decoder) relation(r *reader) error {
	oid := r.uint32()
	namespace, name := string(r.cstring()), string(r.cstring())
	r.uint8() // replica identity
	n := int(r.int16())
	if n < 0 {
		return &MessageError{Type: 'R', Reason: "negative number of columns"}
	}
	var columns []string
	var keys []bool
	for range n {
		keys = append(keys, r.uint8()&1 != 0)
		columns = append(columns, string(r.cstring()))
		r.uint32() // type
		r.uint32() // type modifier
		if r.failed {
			return nil
		}
	}
	if r.failed {
		return nil
	}
	table, err := d.catalog.Table(oid, namespace, name, columns)
	if err != nil {
		return err
	}
	if i := table.unidentified(keys); i >= 0 {
		return fmt.Errorf("%s.%s, column %s: %w", namespace, name, columns[i], ErrIdentity)
	}
	rel := &relation{Table: table}
	rel.want(slotField, table.Slot)
	rel.want(queueField, table.Queue)
	rel.want(priorityField, table.Priority)
	rel.want(shardField, table.Shard)
	rel.want(bucketField, table.Bucket)
	rel.want(valueField, table.Value)
	rel.want(failedField, table.Failed)
	if d.current != nil { // may yet be rolled back together with the DDL that caused it
		d.current.describe(oid, rel)
		return nil
	}
	d.relations[oid] = rel
	return nil
}

// leaf reports a relation whose rows are all of one slot.
func (rel *relation) leaf() bool { return rel.Kind == Rows || rel.Kind == Ledger }

func (rel *relation) want(f field, ordinal int) {
	if rel.Kind == Ignored || ordinal < 0 || (rel.leaf() && f == slotField) {
		return // the slot of a leaf is known; its rows need not be asked
	}
	for len(rel.fields) <= ordinal {
		rel.fields = append(rel.fields, skipped)
	}
	rel.fields[ordinal] = f
}

// tuple is what was read of one row: the wanted columns, pointing into the message.
type tuple struct {
	data [fieldCount][]byte
	kind [fieldCount]byte // 't' text, 'n' null, 'u' unchanged; 0 not there
}

// read walks a tuple. When last is true the rest of the message is of no interest, and the walk
// ends with the last wanted column.
func (t *tuple) read(r *reader, rel *relation, last bool) error {
	n := int(r.int16())
	for i := range n {
		if last && i >= len(rel.fields) {
			return nil
		}
		kind := r.uint8()
		var data []byte
		switch kind {
		case 't':
			data = r.take(int(r.int32()))
		case 'n', 'u':
		default:
			if r.failed {
				return nil
			}
			return errors.New("column in a format that was not asked for")
		}
		if i < len(rel.fields) && rel.fields[i] != skipped {
			f := rel.fields[i]
			t.data[f], t.kind[f] = data, kind
		}
	}
	return nil
}

func (d *Decoder) row(kind byte, r *reader, f *fold) error {
	rel, err := d.lookUp(r.uint32())
	if r.failed {
		return nil
	}
	if err != nil {
		return err
	}
	if rel.Kind == Ignored {
		return nil
	}
	var before, after tuple
	hasBefore, hasAfter := false, false
	for !r.failed && !hasAfter {
		part := r.uint8()
		switch {
		case r.failed:
			return nil
		case part == 'N' && kind != 'D':
			hasAfter = true
			err = after.read(r, rel, true)
		case (part == 'K' || part == 'O') && kind != 'I' && !hasBefore:
			hasBefore = true
			err = before.read(r, rel, kind == 'D')
		default:
			return &MessageError{Type: kind, Reason: "unexpected tuple"}
		}
		if err != nil {
			return &MessageError{Type: kind, Reason: err.Error()}
		}
		if kind == 'D' {
			break
		}
	}
	if r.failed {
		return nil
	}
	if hasBefore && hasAfter {
		after.fill(&before)
	}
	c := rowChange{kind: kind, f: f, hasBefore: hasBefore, before: &before, after: &after}
	if err := d.apply(rel, c); err != nil {
		return &MessageError{Type: kind, Reason: err.Error()}
	}
	return nil
}
