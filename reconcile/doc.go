// Package reconcile looks at awa's tables from the outside: the fenced scan that fills and audits
// the books (docs/design.md §4), and the one-shot that needs no stream (§11).
//
// Invariants:
//
//   - One statement under READ COMMITTED returns rows, counters and the snapshot they are true
//     under. Its relation locks come before its snapshot, so no TRUNCATE sits between the two.
//
//   - The bound is the WAL insert position read after that statement: whatever the snapshot sees had
//     its commit record by then.
//
//   - Every lock is gone at the end of the statement; a pruner waits for one leaf's scan at most.
//
//   - A one-shot that is stopped holds no lock that awa waits for, for longer than idleWithLocks, and corrects nothing by what it saw
//     while it held it.
//
//   - The one-shot adds a drift as a delta while nothing can truncate the leaf or the counters. It
//     leaves nothing half done: each of its transactions is right by itself.
package reconcile
