package applier

import (
	"errors"
	"time"

	"github.com/jackc/pglogrepl"

	"github.com/awa-counterd/awa-counterd/internal/base/counter"
	"github.com/awa-counterd/awa-counterd/internal/base/pgsnap"
)

// Command is something the Core wants done; Next returns them, and nothing else does. Of each kind but Scan at most one is
// under way; each but Acknowledge is answered by exactly one event.
type Command interface{ command() }

// Write asks for corrections, each chunk in a transaction of its own, and then for a token. It is
// answered by Core.Written.
type Write struct {
	Seq    uint64
	Chunks []Chunk
	Holds  bool // no corrections until somebody else has done with the counters: see Core.HoldCorrections
}

// StartScan asks for a fenced scan of a unit. It is answered by Core.Scanned.
type StartScan struct {
	Unit int32
}

// Persist asks for a checkpoint. It is answered by Core.Persisted.
type Persist struct {
	Checkpoint Checkpoint
}

// Checkpoint is what has to be stored in one transaction (docs/design.md §6).
type Checkpoint struct {
	Before    pglogrepl.LSN // the position stored last; 0 for the first
	Position  pglogrepl.LSN
	Groups    counter.Packed // those that changed since; an empty cell removes the group
	Unseen    []uint64
	Uncounted map[Source]Uncounted // what changed since
	Pruned    time.Time            // when a leaf was emptied last by a binary that does not count; zero for never
	Quiet     time.Duration        // for so long, at least, old binaries have been quiet while a daemon watched
	Token     uint64               // the last token seen
	Trusted   bool
	Reason    string
	LastAudit time.Time // zero: never
}

// SetMarker asks for the trust marker to be set or cleared. It is answered by Core.MarkerWritten.
type SetMarker struct {
	Seq    uint64
	Set    bool
	Reason string
	Until  time.Time // when setting it would come too late, by the server's clock; zero for never
}

// ErrTooLate answers a SetMarker that came when what it rests on was old; nothing was set.
var ErrTooLate = errors.New("the command to set the trust marker arrived too late to be valid")

// ErrKept answers a SetMarker that was to clear the marker, and was carried out: it is set all the same. A trigger does that.
var ErrKept = errors.New("the marker is set although it was cleared")

// Acknowledge reports a position to the server. It needs no answer.
type Acknowledge struct {
	Position pglogrepl.LSN
}

func (Write) command()       {}
func (StartScan) command()   {}
func (Persist) command()     {}
func (SetMarker) command()   {}
func (Acknowledge) command() {}

// WriteResult answers Write.
type WriteResult struct {
	Seq      uint64
	Sent     time.Time       // our clock, before the token's statement was sent
	Server   time.Time       // the server's clock, in the token's transaction
	Snapshot pgsnap.Snapshot // of the token's transaction
	Insert   pglogrepl.LSN   // WAL insert position in that transaction
	Marker   bool            // the marker is set, as that transaction saw it
	Blind    bool            // it did not look at the marker
	Written  int             // corrections that were committed
	Deferred []counter.Group
	Passed   []counter.Group // those of them that were not even tried
	Err      error           // the token may not have been written
}

// Notice is something an operator should read once.
type Notice struct {
	Warn    bool
	Message string
	Fields  []any // key, value, key, value …
}
