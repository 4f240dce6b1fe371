package decoder

import (
	"errors"
	"fmt"
	"math"
)

// rowChange is one INSERT, UPDATE or DELETE. An INSERT has no before, a DELETE no after; an UPDATE
// has a before only when the replica identity changed or is FULL.
type rowChange struct {
	kind          byte
	f             *fold
	hasBefore     bool
	before, after *tuple
}

func (d *Decoder) apply(rel *relation, c rowChange) error {
	switch rel.Kind {
	case Rows:
		return d.applyRows(rel, c)
	case Counters:
		return d.applyCounter(rel, c)
	case Ledger:
		return d.applyPending(rel, c)
	case Rollups, RollupDeltas:
		if c.kind == 'D' {
			return nil
		}
		return d.applyRollup(rel, c)
	case Ring:
		if c.kind != 'D' && c.after.kind[valueField] != 'u' {
			c.f.e.Marker = MarkerChange{Seen: true, Set: c.after.kind[valueField] == 't'}
		}
	}
	return nil
}

// applyRows counts one row. An UPDATE without a before leaves the key, and so the group, alone.
func (d *Decoder) applyRows(rel *relation, c rowChange) error {
	if c.kind == 'U' && !c.hasBefore {
		return nil
	}
	if c.hasBefore {
		k, err := c.before.key(rel)
		if err != nil {
			return err
		}
		c.f.rows.add(k, -1, &d.names)
	}
	if c.kind == 'D' {
		return nil
	}
	k, err := c.after.key(rel)
	if err != nil {
		return err
	}
	c.f.rows.add(k, 1, &d.names)
	return nil
}

// applyCounter takes the new value as it is: row locks order the updates of a counter row exactly
// as commits order them, so no old value is needed (docs/design.md §3).
func (d *Decoder) applyCounter(rel *relation, c rowChange) error {
	if c.hasBefore {
		row, err := d.counterRow(rel, c.before)
		if err != nil {
			return err
		}
		row.Gone = true
		c.f.setCounter(row)
	}
	if c.kind == 'D' {
		return nil
	}
	row, err := d.counterRow(rel, c.after)
	if err != nil {
		return err
	}
	if row.Value, err = c.after.integer(valueField, math.MinInt64, math.MaxInt64); err != nil {
		return err
	}
	c.f.setCounter(row)
	return nil
}

// counterRow reads which counter row a tuple is of.
func (d *Decoder) counterRow(rel *relation, t *tuple) (CounterChange, error) {
	k, err := t.key(rel)
	if err != nil {
		return CounterChange{}, err
	}
	row := CounterChange{Group: d.names.group(k)}
	if rel.Bucket >= 0 {
		bucket, err := t.integer(bucketField, math.MinInt16, math.MaxInt16)
		if err != nil {
			return CounterChange{}, err
		}
		row.Bucket = int16(bucket) //nolint:gosec // bounded above
	}
	return row, nil
}

// applyPending adds a row of the ledger, whatever its generation: readers ignore that as well. The
// ledger has no key, so nothing but INSERT and TRUNCATE is published of it.
func (d *Decoder) applyPending(rel *relation, c rowChange) error {
	if c.kind != 'I' {
		return errors.New("a change of the ledger other than INSERT; does the wrong publication list it?")
	}
	k, err := c.after.key(rel)
	if err != nil {
		return err
	}
	n, err := c.after.integer(valueField, math.MinInt64, math.MaxInt64)
	if err != nil {
		return err
	}
	c.f.pending.add(k, n, &d.names)
	return nil
}

func (d *Decoder) applyRollup(rel *relation, c rowChange) error {
	queue, err := c.after.text(queueField)
	if err != nil {
		return err
	}
	priority, err := c.after.integer(priorityField, math.MinInt16, math.MaxInt16)
	if err != nil {
		return err
	}
	change := RollupChange{Queue: d.names.name(queue), Priority: int16(priority), Fresh: c.kind == 'I'} //nolint:gosec // bounded above
	if change.Completed, err = c.after.integer(valueField, math.MinInt64, math.MaxInt64); err != nil {
		return err
	}
	if rel.Failed >= 0 {
		if change.Failed, err = c.after.integer(failedField, math.MinInt64, math.MaxInt64); err != nil {
			return err
		}
	}
	if rel.Kind == RollupDeltas {
		c.f.addFolded(change)
		return nil
	}
	c.f.setRollup(change)
	return nil
}

// fill gives columns that the server sent as "unchanged" (TOAST) their old value, where it is known.
func (t *tuple) fill(before *tuple) {
	for f := range t.kind {
		if t.kind[f] == 'u' {
			t.kind[f], t.data[f] = before.kind[f], before.data[f]
		}
	}
}

func (t *tuple) key(rel *relation) (key, error) {
	k := key{slot: rel.LeafSlot}
	var err error
	if k.queue, err = t.text(queueField); err != nil {
		return key{}, err
	}
	if !rel.leaf() {
		slot, err := t.integer(slotField, math.MinInt32, math.MaxInt32)
		if err != nil {
			return key{}, err
		}
		k.slot = int32(slot) //nolint:gosec // bounded above
	}
	priority, err := t.integer(priorityField, math.MinInt16, math.MaxInt16)
	if err != nil {
		return key{}, err
	}
	shard, err := t.integer(shardField, math.MinInt16, math.MaxInt16)
	if err != nil {
		return key{}, err
	}
	k.priority, k.shard = int16(priority), int16(shard) //nolint:gosec // bounded above
	return k, nil
}

func (t *tuple) text(f field) ([]byte, error) {
	if t.kind[f] != 't' {
		return nil, fmt.Errorf("no value for %s; does the replica identity or a column list leave it out?", f)
	}
	return t.data[f], nil
}

var errNoInteger = errors.New("not an integer of its type")

// integer reads PostgreSQL's text form of int2, int4 or int8 within bounds.
func (t *tuple) integer(f field, lowest, highest int64) (int64, error) {
	b, err := t.text(f)
	if err != nil {
		return 0, err
	}
	v, ok := parseInt(b)
	if !ok || v < lowest || v > highest {
		return 0, fmt.Errorf("%s %q: %w", f, b, errNoInteger)
	}
	return v, nil
}

// parseInt is strconv.ParseInt for bytes, without the copy into a string.
func parseInt(b []byte) (int64, bool) {
	negative := len(b) > 0 && b[0] == '-'
	if negative {
		b = b[1:]
	}
	if len(b) == 0 || len(b) > 19 {
		return 0, false
	}
	var v uint64
	for _, c := range b {
		if c < '0' || c > '9' {
			return 0, false
		}
		v = v*10 + uint64(c-'0')
	}
	switch {
	case negative && v <= 1<<63:
		return -int64(v), true
	case !negative && v <= math.MaxInt64:
		return int64(v), true
	}
	return 0, false
}

func (f field) String() string {
	switch f {
	case slotField:
		return "the slot"
	case queueField:
		return "the queue"
	case priorityField:
		return "the priority"
	case shardField:
		return "the shard"
	case bucketField:
		return "the bucket"
	case valueField:
		return "the count"
	case failedField:
		return "the count of failed jobs"
	default:
		return "a column"
	}
}
