package applier

import (
	"time"

	"github.com/jackc/pglogrepl"

	"github.com/awa-counterd/awa-counterd/internal/base/counter"
	"github.com/awa-counterd/awa-counterd/internal/base/pgsnap"
)

// TrustMode says when the marker may be set (docs/design.md §7).
type TrustMode string

// The trust modes.
const (
	TrustLive  TrustMode = "live"  // while the counters are kept right, whoever writes
	TrustQuiet TrustMode = "quiet" // only after a time without uncounted writes
	TrustOff   TrustMode = "off"   // the marker is never touched
)

// Config is what a Core needs to know from the start. All durations are positive.
type Config struct {
	Instance  string  // random, new for every session: fences us against the daemon's own past
	Leaves    []int32 // slots that have a leaf
	HasMarker bool    // the ring state has the marker column
	Shape     Shape

	DryRun             bool // follow and report only: no correction is asked for, and the marker is not touched
	Trust              TrustMode
	QuietPeriod        time.Duration // TrustQuiet: how long without uncounted writes; also what "recent" means at stop
	MaxStaleness       time.Duration // promise P2
	FlushInterval      time.Duration // shortest time between two flushes under load
	CheckpointInterval time.Duration
	AuditInterval      time.Duration

	JournalSize int // bytes; 0 for the default. Small in tests.
}

// Shape is what the protocol needs to know of the form that awa's counters have (docs/design.md §12).
type Shape struct {
	Ledger   bool // who counts appends to a ledger
	Receipts bool // prunes fold more than rows, and carry rows on
	// OwnBucket is the bucket that corrections go to, and nobody else; 0 where a group has one counter row,
	// which is awa's.
	OwnBucket int16
}

// Start is where a Core begins.
type Start struct {
	Position pglogrepl.LSN
	Resumes  bool           // there are books at Position; else all has to be scanned
	Groups   counter.Packed // these books
	// Unseen are transactions up to Position that may not have been visible then: those that the
	// checkpoint's journal had, or, behind a new slot, those that were running when it was made. One
	// of these may have been committed in the WAL just before the slot begins, so that it is never
	// streamed, and yet wait to become visible (synchronous replication). No scan is taken in that
	// does not see them all, unless they are streamed.
	Unseen    []uint64
	Uncounted map[Source]Uncounted
	Pruned    time.Time       // when a leaf was emptied last by a binary that does not count; zero for never
	Quiet     time.Duration   // for so long old binaries had been quiet under these books
	Snapshot  pgsnap.Snapshot // any recent one: gives the stream's ids their epoch
	MarkerSet bool
}

// The timing rules that follow from MaxStaleness. A distrust at half the bound leaves the other
// half for the statement that clears the marker.
func (c *Config) doubtAfter() time.Duration    { return c.MaxStaleness / 2 }
func (c *Config) promptWithin() time.Duration  { return c.MaxStaleness / 4 }
func (c *Config) tokenInterval() time.Duration { return min(c.MaxStaleness/4, slowestToken) }

// ChunkSize is how many corrections go into one transaction: counter rows stay locked for about a ms.
const ChunkSize = 64

const (
	slowestToken    = 7 * time.Second        // tokens are the heartbeat that operators and standbys look at: two within checkpoint.AliveWithin
	promptTokens    = 3                      // tokens in a row that must come back promptly before trust
	maxScans        = 2                      // at a time; more would crowd awa out of the buffer cache
	longestPause    = time.Second            // between two scans beside a ledger
	patientScans    = 5                      // locks in a row that a scan may meet before a word is said
	retryPause      = 100 * time.Millisecond // before a refused or failed scan or marker write is tried again
	keptPause       = time.Second            // before a marker is cleared again that a trigger keeps set
	idlePersist     = 10 * time.Second       // shortest time between checkpoints that only move the position
	idlePersistMove = 64 << 10               // bytes of WAL; the daemon's own tokens and checkpoints write less in that time
	mostRollups     = 1 << 14                // (queue, priority) whose rollup is remembered
	mostSources     = 1 << 13                // queues and kinds whose uncounted writes are remembered
	maxFlush        = 8192                   // corrections a flush
	mostPatient     = 2                      // corrections of a flush that may wait for a locked row for long
)
