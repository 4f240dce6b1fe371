// Package decoder turns pgoutput messages into transactions: what each one did to the rows and to
// the counters of awa, in the order of the stream (docs/design.md §3).
//
// Invariants:
//   - Pure: bytes in, transactions out. No I/O, no clock, no goroutine, and no knowledge of awa's
//     names, which come in through Catalog.
//   - Rows are never kept: a transaction is folded group by group while it arrives, so its cost in
//     memory is its number of groups. Streamed transactions (protocol 2) are folded per
//     subtransaction, because one that is rolled back must leave nothing behind.
//   - Columns are found by name through the Relation message, never by ordinal: on databases that
//     began as an alpha enqueue_shard is the last column (docs/design.md §9).
//   - No input makes it panic. What it cannot read is an error, and the caller must then start the
//     stream afresh from its last position; a Decoder that has returned an error is spent.
package decoder
