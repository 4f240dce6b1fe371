package applier

import (
	"cmp"
	"slices"

	"github.com/awa-counterd/awa-counterd/internal/base/counter"
)

// Chunk is a set of corrections of one slot and one sign, in key order, to be written in one small transaction.
type Chunk struct {
	Corrections []Correction
	// Alone: a single correction whose row was found locked before. When a write has waited in vain for long
	// enough it is passed over, and tried in the next one.
	Alone bool
	// Patient: it may wait longer, since nothing else is locked meanwhile. Only a few of a write are.
	Patient bool
}

// AppendGroups appends the groups of a chunk.
func (c *Chunk) AppendGroups(to []counter.Group) []counter.Group {
	for _, d := range c.Corrections {
		to = append(to, d.Group)
	}
	return to
}

// Correction is the change to one counter.
type Correction struct {
	counter.Group
	Delta int64 // never 0
	Ends  bool  // it brings the daemon's own counter row to 0, which is then deleted
}

// compare orders corrections so that those of one transaction stand together: by slot, by sign, and then in
// the order in which awa's writers lock counter rows.
func (c Correction) compare(o Correction) int {
	if d := cmp.Compare(c.Slot, o.Slot); d != 0 {
		return d
	}
	if c.Delta < 0 != (o.Delta < 0) {
		return cmp.Compare(o.Delta, c.Delta)
	}
	return c.Compare(o.Group)
}

// sameStatement reports that two corrections may be written by one statement.
func (c Correction) sameStatement(o Correction) bool {
	return c.Slot == o.Slot && c.Delta < 0 == (o.Delta < 0)
}

// SplitIntoChunks makes transactions of corrections: small, of one slot and one sign each, in key order, and what is to
// be written alone by itself. It sorts due.
func SplitIntoChunks(due []Correction, alone func(counter.Group) bool) (chunks []Chunk) {
	slices.SortFunc(due, Correction.compare)
	var chunk []Correction
	end := func() {
		if len(chunk) > 0 {
			chunks = append(chunks, Chunk{Corrections: chunk})
			chunk = nil
		}
	}
	for _, d := range due {
		if alone(d.Group) {
			chunks = append(chunks, Chunk{Corrections: []Correction{d}, Alone: true, Patient: true})
			continue
		}
		if len(chunk) == ChunkSize || (len(chunk) > 0 && !chunk[0].sameStatement(d)) {
			end()
		}
		chunk = append(chunk, d)
	}
	end()
	return chunks
}
