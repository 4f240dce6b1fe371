package decoder

// Kind is what a table means to the books.
type Kind uint8

// The kinds of table. A table that is none of them is ignored.
const (
	Ignored  Kind = iota
	Rows          // a leaf of done_entries
	Counters      // the counter table
	Ring          // the singleton with the trust marker
	Rollups       // what pruners have folded away
)

// Table is the meaning of a relation: its kind, and where its columns stand in the Relation
// message at hand. A column that the kind does not have is −1.
type Table struct {
	Kind     Kind
	LeafSlot int32 // Rows: the slot of this leaf
	Slot     int   // Counters: ordinal of ready_slot
	Queue    int   // Rows, Counters, Rollups
	Priority int   // Rows, Counters, Rollups
	Shard    int   // Rows, Counters
	Value    int   // Counters, Rollups: the count; Ring: the marker
}

// Catalog knows which relation is which. It is asked once for every Relation message; an error
// (a leaf nobody knew of, a column that is missing) ends the stream.
type Catalog interface {
	Table(oid uint32, namespace, name string, columns []string) (Table, error)
}
