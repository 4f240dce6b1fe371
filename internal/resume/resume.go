package resume

import (
	"fmt"
	"slices"
	"time"

	"github.com/dustin/go-humanize"
	"github.com/jackc/pglogrepl"

	"github.com/awa-counterd/awa-counterd/checkpoint"
	"github.com/awa-counterd/awa-counterd/replication"
)

// Found is everything that decides how a session begins (docs/design.md §8).
type Found struct {
	Stored    *checkpoint.Stored // nil: no checkpoint
	Slot      *replication.Slot  // nil: no replication slot
	Identity  checkpoint.Identity
	End       pglogrepl.LSN // the server's end of WAL
	Broken    string        // the last session could not read on, and why
	Rows      int64         // the planner's idea of how many rows there are to scan
	Most      int64         // WAL, in bytes, that the replication slot may keep; 0 for no bound
	Temporary bool          // the replication slot is to be a temporary one
	Left      pglogrepl.LSN // where the server's history left the checkpoint's timeline; 0 when it never was on it
}

// RescanReason says why the checkpoint cannot be resumed from; "" when it can. Then the replication slot is made
// again and everything is scanned.
func RescanReason(f Found) string {
	s, id := f.Stored, f.Identity
	switch {
	case s == nil:
		return "there is no checkpoint yet"
	case f.Slot == nil:
		return fmt.Sprintf("replication slot %s is gone", id.Slot)
	case s.Slot != id.Slot:
		return fmt.Sprintf("the checkpoint belongs to replication slot %s", s.Slot)
	case f.Slot.Lost():
		what, remedy := f.Slot.Loss()
		return fmt.Sprintf("replication slot %s %s; %s if this happens again", id.Slot, what, remedy)
	case f.Temporary:
		return fmt.Sprintf("replication slot %s is permanent, but --slot-lifetime is temporary", id.Slot)
	case f.Slot.Temporary:
		return fmt.Sprintf("replication slot %s is temporary and belongs to another session", id.Slot)
	case f.Most > 0 && f.Slot.Retained > f.Most:
		return fmt.Sprintf("replication slot %s keeps %s of WAL, more than --max-retained-wal=%s",
			id.Slot, humanize.IBytes(uint64(f.Slot.Retained)), humanize.IBytes(uint64(f.Most))) //nolint:gosec // both are positive
	case f.Broken != "":
		return "the last session ended in a way that makes this replication slot useless: " + f.Broken
	case f.Slot.Incomplete():
		return fmt.Sprintf("replication slot %s was never completely created", id.Slot)
	case f.Slot.Confirmed > s.Position:
		return fmt.Sprintf("somebody else advanced replication slot %s to %s, past the checkpoint at %s", id.Slot, f.Slot.Confirmed, s.Position)
	case s.SystemIdentifier != id.SystemIdentifier:
		return "the checkpoint is from another database cluster"
	case s.Timeline != id.Timeline && !f.followed():
		return fmt.Sprintf("the server is on timeline %d, the checkpoint is from timeline %d: there was a failover or a restore", id.Timeline, s.Timeline)
	case s.Position > f.End:
		return fmt.Sprintf("the server's WAL ends at %s, before the checkpoint at %s: a backup was restored", f.End, s.Position)
	case !slices.Equal(s.Publications, id.Publications):
		return "a publication was dropped and created again"
	case !slices.Equal(s.Relations, id.Relations):
		return "awa's tables were dropped and created again"
	case s.Shape != id.Shape:
		return "awa's migrations have changed what its tables mean"
	case s.PublicationState != id.PublicationState:
		return "a publication or a table was altered, and some changes may not have been streamed"
	}
	if backlog := f.End - s.Position; decodeTime(backlog) > scanTime(f.Rows) {
		return fmt.Sprintf("decoding the backlog of %d MB would take longer than scanning the tables", backlog>>20)
	}
	return ""
}

// followed reports a promotion that the replication slot has come through: it was synchronized to the standby that was promoted, and
// the checkpoint is from before the promotion. It is part of the standby's own WAL then, as is all that it was made of.
func (f Found) followed() bool { return f.Slot.Synced && f.Stored.Position <= f.Left }

// Rates of a small machine: what matters is their ratio.
const (
	decodeBytesPerSecond = 60 << 20
	scanRowsPerSecond    = 2_000_000
)

func decodeTime(backlog pglogrepl.LSN) time.Duration {
	return time.Duration(float64(backlog) / decodeBytesPerSecond * float64(time.Second))
}

// scanTime includes what a new replication slot costs besides: it waits for running transactions, and trust has
// to be earned again.
func scanTime(rows int64) time.Duration {
	return 20*time.Second + time.Duration(float64(rows)/scanRowsPerSecond*float64(time.Second))
}
