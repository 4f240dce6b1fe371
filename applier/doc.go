// Package applier keeps the books and decides what to do about them: which corrections to write,
// when to scan, persist and acknowledge, and whether the trust marker may stand
// (docs/design.md §3 to §7).
//
// Core is the whole protocol as a state machine without I/O and without a clock: events go in with
// the time they happened, commands come out of Next. One goroutine owns it. That is what lets the
// simulation (internal/testonly/sim) drive the same code through a crash at every step. Who carries the commands
// out is elsewhere: internal/corrections writes (Write, SetMarker), reconcile scans, checkpoint stores.
//
// Invariants:
//   - The books are state, not deltas: a correction is the difference of two observed states, so a
//     repeated, lost, clamped or wiped correction shows up as drift again.
//   - Nothing in the books is clamped. Rows below 0 while no fence is open mean that the books are
//     wrong; the slot is scanned again and the marker cleared.
//   - No correction is planned while a token is on its way, or before the first one came back.
//   - A position is acknowledged only after it was persisted.
//   - The journal holds every streamed effect that some snapshot still to come might not see; what
//     it had to let go of is remembered by id, and a scan that does not see all of those is refused.
//
// Why the fenced scan is exact: let S be the scan's snapshot and p the position when its result is
// taken in. A committed transaction is in S or not, and streamed by p or not. In S: it is in the
// result; if it is streamed later, the fence skips it. Not in S and streamed after p: applied on
// top. Not in S and streamed by p: the journal has it, and it is folded in, in commit order. So
// every transaction counts once. A TRUNCATE ignores snapshots, but the scan holds ACCESS SHARE from
// before its snapshot to its end, so the truncating transaction is wholly before or wholly after.
// The fence may go once the position passes the WAL insert position read after the scan: whatever S
// sees had its commit record by then.
//
// Why a new slot's blind spot is closed: a commit that is never streamed was in the WAL before the slot
// begins. It is visible to the snapshot S0 that is read once the slot is there, or it is not. Visible: so
// it is to every scan, which all come later. Not visible: then it has an id below the next one to be given
// out, which S0's own statement draws, and it is among those that S0 does not see; no scan is taken in
// before a snapshot sees them all. One that was merely running is streamed when it commits, and then the
// journal has it.
//
// Why counters never run ahead of their rows: let c be a correction of g, planned when the newest known
// snapshot was S. The drift of g in the books is the sum of what every streamed transaction did to it; c
// is that sum without those that S does not see. Leaving them out is exact although they need not be the
// last: numbers of rows add up in any order, and of two writers of one counter row, or of a truncate and
// whoever else uses its leaf, the second waits until the first is visible. If S sees the second it sees
// the first. So what c covers is visible before c is written; and visibility, once had, stays.
package applier
