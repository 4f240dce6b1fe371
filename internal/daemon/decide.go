package daemon

import (
	"fmt"
	"slices"
	"time"

	"github.com/dustin/go-humanize"
	"github.com/jackc/pglogrepl"

	"github.com/awa-counterd/awa-counterd/checkpoint"
	"github.com/awa-counterd/awa-counterd/replication"
)

// found is everything that decides how a session begins (docs/design.md §8).
type found struct {
	stored   *checkpoint.Stored // nil: no checkpoint
	slot     *replication.Slot  // nil: no slot
	identity checkpoint.Identity
	end      pglogrepl.LSN // the server's end of WAL
	broken   string        // the last session could not read on, and why
	rows     int64         // the planner's idea of how many rows there are to scan
	most     int64         // WAL, in bytes, that the slot may keep; 0 for no bound
}

// freshReason says why the checkpoint cannot be resumed from; "" when it can. Then the slot is made
// anew and everything is scanned.
func freshReason(f found) string {
	s, id := f.stored, f.identity
	switch {
	case s == nil:
		return "there is no checkpoint yet"
	case f.slot == nil:
		return fmt.Sprintf("replication slot %s is gone", id.Slot)
	case s.Slot != id.Slot:
		return fmt.Sprintf("the checkpoint belongs to slot %s", s.Slot)
	case f.slot.Lost() && f.slot.Invalidation != "":
		return fmt.Sprintf("replication slot %s was invalidated (%s); raise max_slot_wal_keep_size if this happens again", id.Slot, f.slot.Invalidation)
	case f.slot.Lost():
		return fmt.Sprintf("replication slot %s has lost its WAL; raise max_slot_wal_keep_size if this happens again", id.Slot)
	case f.slot.Temporary:
		return fmt.Sprintf("replication slot %s is temporary and belongs to another session", id.Slot)
	case f.most > 0 && f.slot.Retained > f.most:
		return fmt.Sprintf("replication slot %s keeps %s of WAL, more than --max-retained-wal=%s",
			id.Slot, humanize.IBytes(uint64(f.slot.Retained)), humanize.IBytes(uint64(f.most))) //nolint:gosec // both are positive
	case f.broken != "":
		return "the last session ended so that this slot is of no use: " + f.broken
	case f.slot.HalfMade():
		return fmt.Sprintf("replication slot %s was never finished", id.Slot)
	case f.slot.Confirmed > s.Position:
		return fmt.Sprintf("somebody else moved slot %s to %s, past the checkpoint at %s", id.Slot, f.slot.Confirmed, s.Position)
	case s.SystemIdentifier != id.SystemIdentifier:
		return "this is another database cluster than the checkpoint was made in"
	case s.Timeline != id.Timeline:
		return fmt.Sprintf("the server is on timeline %d, the checkpoint on %d: there was a failover or a restore", id.Timeline, s.Timeline)
	case s.Position > f.end:
		return fmt.Sprintf("the server's WAL ends at %s, before the checkpoint at %s: a backup was restored", f.end, s.Position)
	case s.PublicationOID != id.PublicationOID:
		return "the publication was made anew"
	case !slices.Equal(s.Relations, id.Relations):
		return "awa's tables were made anew"
	}
	if backlog := f.end - s.Position; decodeTime(backlog) > scanTime(f.rows) {
		return fmt.Sprintf("the backlog of %d MB would take longer to decode than the tables to scan", backlog>>20)
	}
	return ""
}

// Rates of a small machine (docs/design.md §14): what matters is their ratio.
const (
	decodeBytesPerSecond = 60 << 20
	scanRowsPerSecond    = 2_000_000
)

func decodeTime(backlog pglogrepl.LSN) time.Duration {
	return time.Duration(float64(backlog) / decodeBytesPerSecond * float64(time.Second))
}

// scanTime includes what a new slot costs besides: it waits for running transactions, and trust has
// to be earned again.
func scanTime(rows int64) time.Duration {
	return 20*time.Second + time.Duration(rows)*time.Second/scanRowsPerSecond
}
