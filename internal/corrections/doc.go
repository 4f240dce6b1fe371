// Package corrections carries out what the Core asks to be written to awa's tables (applier.Write, applier.SetMarker):
// corrections, the tokens behind them, and the trust marker (docs/design.md §5, §7).
//
// OfLeader, OfDryRun and OfOneShot are the one place where the SQL for it is put together, of awa's tables (internal/awa) and
// of what it has to hold for (checkpoint); which parameter carries what is agreed on here and there only.
//
// Invariants:
//   - A transaction is one round trip. Between taking a row lock and letting go of it the server needs nothing from us, so
//     that a daemon that is stopped in its tracks holds no lock.
//   - Each begins with a message in the WAL, by which the stream knows it again, and with its own limits.
//   - What a daemon sends takes effect only while its instance leads (checkpoint.Guard), whenever it arrives; a command to set
//     the marker only until its term. Where the guard has to wait, the marker is cleared under the leader's locks instead
//     (checkpoint.HoldsLock).
//   - The marker is cleared when the transaction that clears it has seen that it is not set (applier.ErrKept): a trigger may keep it.
//   - A dry run has no statement that writes anything of awa's.
//   - The history of the marker keeps nothing from being written to the marker itself.
//   - Nothing waits for an answer without a bound by this process's own clock.
package corrections
