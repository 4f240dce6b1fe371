// Package replication owns what lives on the server for the stream (the publication and the replication slot)
// and the one connection that reads it (docs/design.md §8, §9).
//
// Invariants:
//   - The publication is made and committed before the replication slot: a stretch of WAL without its publication
//     makes a replication slot unusable, or on PostgreSQL 18 silently loses the changes.
//   - Leaves are published, never the root: under publish_via_partition_root a TRUNCATE of a leaf,
//     which is how rows leave, is not sent at all.
//   - The stream never starts at, nor acknowledges, a position past the server's end of WAL: both are
//     accepted and leave the replication slot deaf for good.
//   - One goroutine owns the connection; it answers the server every second even while nobody takes
//     what it has read.
//   - A server that says nothing for 15 s, though asked, is given up: behind a half-open connection a read
//     waits for ever and a write succeeds.
//   - What is acknowledged is what the caller said; the stream by itself acknowledges nothing.
package replication
