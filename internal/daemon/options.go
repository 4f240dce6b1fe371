package daemon

import (
	"time"

	"go.uber.org/zap"

	"github.com/awa-counterd/awa-counterd/applier"
	"github.com/awa-counterd/awa-counterd/internal/base/pg"
)

// Options is what a Daemon needs. All durations are positive.
type Options struct {
	Source      *pg.Source
	Schema      string // empty: ask awa
	Slot        string // empty: made from database and schema
	Publication string // empty: made from the schema
	NoSetup     bool   // make neither publication nor schema
	Temporary   bool   // the replication slot goes with the session that made it
	Failover    bool   // the replication slot is carried to standbys that synchronize such; PostgreSQL 17 or later
	// MaxRetained bounds the WAL, in bytes, that the replication slot may keep: past half of it trust ends, past it
	// the replication slot is dropped and everything scanned afresh. 0 for no bound.
	MaxRetained int64

	// DryRun follows and reports only: nothing of awa's is written. Trust is as if it were off then.
	DryRun bool

	Trust              applier.TrustMode
	QuietPeriod        time.Duration
	MaxStaleness       time.Duration
	FlushInterval      time.Duration
	CheckpointInterval time.Duration
	AuditInterval      time.Duration
	StatusInterval     time.Duration

	Version string
	Log     *zap.Logger
	// Supervisor is told how the daemon is; nil for nobody who wants to know.
	Supervisor Supervisor
	// Meter is told how long things took, and has the daemon keep its View up to date; nil for nobody who looks.
	Meter Meter
}
