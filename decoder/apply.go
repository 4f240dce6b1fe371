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
	case Rollups:
		if c.kind == 'D' {
			return nil
		}
		return d.applyRollup(c)
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
		c.f.addRows(k, -1, &d.names)
	}
	if c.kind == 'D' {
		return nil
	}
	k, err := c.after.key(rel)
	if err != nil {
		return err
	}
	c.f.addRows(k, 1, &d.names)
	return nil
}

// applyCounter takes the new value as it is: row locks order the updates of a counter row exactly
// as commits order them, so no old value is needed (docs/design.md §3).
func (d *Decoder) applyCounter(rel *relation, c rowChange) error {
	if c.hasBefore {
		k, err := c.before.key(rel)
		if err != nil {
			return err
		}
		c.f.setCounter(CounterChange{Group: d.names.group(k), Gone: true})
	}
	if c.kind == 'D' {
		return nil
	}
	k, err := c.after.key(rel)
	if err != nil {
		return err
	}
	value, err := c.after.integer(valueField, math.MinInt64, math.MaxInt64)
	if err != nil {
		return err
	}
	c.f.setCounter(CounterChange{Group: d.names.group(k), Value: value})
	return nil
}

func (d *Decoder) applyRollup(c rowChange) error {
	queue, err := c.after.text(queueField)
	if err != nil {
		return err
	}
	priority, err := c.after.integer(priorityField, math.MinInt16, math.MaxInt16)
	if err != nil {
		return err
	}
	value, err := c.after.integer(valueField, math.MinInt64, math.MaxInt64)
	if err != nil {
		return err
	}
	c.f.setRollup(RollupChange{
		Queue: d.names.name(queue), Priority: int16(priority), Value: value, Fresh: c.kind == 'I', //nolint:gosec // bounded above
	})
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
	if rel.Kind != Rows {
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
	case valueField:
		return "the count"
	default:
		return "a column"
	}
}
