// Package pgsnap reads pg_current_snapshot() and answers one question about it: would a statement
// under this snapshot see the effects of that transaction? It is the fence of docs/design.md §4.
//
// Invariants: pure; a Snapshot never changes after Parse. Transaction ids are 64 bit here; the
// stream's 32-bit ids are widened against the snapshot they are compared with.
package pgsnap
