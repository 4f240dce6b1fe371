package decoder

// Kind is what a table means to the books.
type Kind uint8

// The kinds of table. A table that is none of them is ignored.
const (
	Ignored      Kind = iota
	Rows              // a leaf of done_entries
	Counters          // the counter table
	Ledger            // a leaf of the ledger: changes that are not in a counter yet
	Ring              // the singleton with the trust marker
	Rollups           // what pruners have folded away, as totals
	RollupDeltas      // the same, as changes that are not in a total yet
)

// Table is the meaning of a relation: its kind, and where its columns stand in the Relation
// message at hand. A column that the kind does not have is −1.
type Table struct {
	Kind     Kind
	LeafSlot int32 // Rows, Ledger: the slot of this leaf
	Slot     int   // Counters: ordinal of ready_slot
	Queue    int   // all but Ring
	Priority int   // all but Ring
	Shard    int   // Rows, Counters, Ledger
	Bucket   int   // Counters: the bucket; −1 where a group has one row
	Value    int   // the count, or the change of it; Ring: the marker
	Failed   int   // Rollups, RollupDeltas: failed jobs, where they are folded by themselves
}

// unidentified is the ordinal of a column that tells whose row it is and that the replica identity leaves out; −1 when there is
// none. An UPDATE of such a column comes without the row as it was, and passes for one that leaves the group alone. keys tells of
// each column whether the identity has it.
func (t Table) unidentified(keys []bool) int {
	var group []int
	switch t.Kind {
	case Rows:
		group = []int{t.Queue, t.Priority, t.Shard}
	case Counters:
		group = []int{t.Slot, t.Queue, t.Priority, t.Shard, t.Bucket}
	}
	for _, i := range group {
		if i >= 0 && i < len(keys) && !keys[i] {
			return i
		}
	}
	return -1
}

// Catalog knows which relation is which. It is asked once for every Relation message; an error
// (a leaf nobody knew of, a column that is missing) ends the stream.
type Catalog interface {
	Table(oid uint32, namespace, name string, columns []string) (Table, error)
}
