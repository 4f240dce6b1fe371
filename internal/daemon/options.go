package daemon

import (
	"time"

	"go.uber.org/zap"

	"github.com/awa-counterd/awa-counterd/applier"
	"github.com/awa-counterd/awa-counterd/internal/pg"
)

// Options is what a Daemon needs. All durations are positive.
type Options struct {
	Source      *pg.Source
	Schema      string // empty: ask awa
	Slot        string // empty: made from database and schema
	Publication string // empty: made from the schema
	NoSetup     bool   // make neither publication nor schema

	Trust              applier.TrustMode
	QuietPeriod        time.Duration
	MaxStaleness       time.Duration
	FlushInterval      time.Duration
	CheckpointInterval time.Duration
	AuditInterval      time.Duration
	StatusInterval     time.Duration

	Version string
	Log     *zap.Logger
}
