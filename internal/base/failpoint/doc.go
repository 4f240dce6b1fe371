// Package failpoint names the instants at which a process may die that a random kill would hardly
// ever hit: between two steps that belong together. In every build but one it is nothing at all;
// under the build tag failpoints, which only `make chaos` and `make soak` use, a process kills itself
// with SIGKILL the nth time it reaches the point that AWACD_DIE_AT names ("persisted:2"), or the goroutine that gets there hangs
// for ever, if AWACD_HANG_AT names it.
package failpoint

// The points, in the order in which a session reaches them.
const (
	Claimed     = "claimed"      // the lead is claimed; nothing else is done yet
	Published   = "published"    // the publication is there, the replication slot is not
	SlotMade    = "slot-made"    // the replication slot is there, nothing was scanned
	Scanned     = "scanned"      // a scan was read, the books do not have it
	Applied     = "applied"      // corrections and their token are written, nothing is persisted
	Persisted   = "persisted"    // the checkpoint is written, the server was not told
	MarkerWrite = "marker-write" // the marker is about to be set or cleared
	MarkerDone  = "marker-done"  // it was, and the books do not know
)

// Turn is a turn of the loop that owns the books: to hang there. To die there is to die anywhere, so it is not in All.
const Turn = "turn"

// All lists the points to die at.
func All() []string {
	return []string{Claimed, Published, SlotMade, Scanned, Applied, Persisted, MarkerWrite, MarkerDone}
}
