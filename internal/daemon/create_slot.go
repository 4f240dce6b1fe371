package daemon

import (
	"context"

	"github.com/jackc/pglogrepl"
	"go.uber.org/zap"

	"github.com/awa-counterd/awa-counterd/checkpoint"
	"github.com/awa-counterd/awa-counterd/internal/base/failpoint"
	"github.com/awa-counterd/awa-counterd/internal/base/pg"
	"github.com/awa-counterd/awa-counterd/replication"
)

// recreateSlot gives the session a new replication slot. The publication is committed already.
func (s positioned) recreateSlot(ctx context.Context, old bool) (pglogrepl.LSN, error) {
	if err := s.store.Forget(ctx); err != nil {
		return 0, err
	}
	s.d.super.Alive()
	if old {
		if err := replication.Drop(ctx, s.control, s.slot); err != nil {
			return 0, err
		}
	}
	failpoint.Reach(failpoint.Published)
	position, err := s.makeSlot(ctx)
	if err != nil {
		return 0, err
	}
	failpoint.Reach(failpoint.SlotMade)
	s.d.broken = ""
	s.log.Info("replication slot created", zap.String("replication_slot", s.slot), zap.Stringer("position", position), zap.Bool("temporary", s.d.opts.Temporary), zap.Bool("failover", s.d.opts.Failover))
	return position, nil
}

func (s positioned) makeSlot(ctx context.Context) (pglogrepl.LSN, error) {
	m := replication.SlotCreation{Name: s.slot, Observer: s.control, Failover: s.d.opts.Failover, MostRetained: s.d.opts.MaxRetained, Waiting: s.reportBlockers(ctx)}
	if s.d.opts.Temporary {
		m.PID = s.stream.PID()
		return m.Temporary(ctx, s.stream)
	}
	maker, err := s.d.open(ctx, pg.Settings{Role: "slot", LockTimeout: pg.SlotLockWait})
	if err != nil {
		return 0, err
	}
	defer func() { _ = maker.Close(context.WithoutCancel(ctx)) }()
	m.PID = maker.PgConn().PID()
	return m.Permanent(ctx, maker)
}

// reportBlockers tells once for whom the making of the replication slot waits, and stays alive in the eyes of a standby.
func (s positioned) reportBlockers(ctx context.Context) func([]replication.Blocker) error {
	type who struct {
		pid      int32
		prepared string
	}
	told := make(map[who]struct{})
	return func(blockers []replication.Blocker) error {
		s.d.show(Starting, "creating the replication slot: waiting for open transactions to end")
		s.d.super.Ready() // the lead is ours, and nothing is left to refuse; whom it waits for may take hours
		for _, b := range blockers {
			one := who{b.PID, b.Prepared}
			if _, known := told[one]; known {
				continue
			}
			told[one] = struct{}{}
			if b.Prepared != "" {
				s.log.Info("creating the replication slot: PostgreSQL waits for a prepared transaction to end", zap.String("gid", b.Prepared),
					zap.String("database", b.Database), zap.String("user", b.User), zap.Duration("age", b.Since))
				continue
			}
			s.log.Info("creating the replication slot: PostgreSQL waits for a transaction to end", zap.Int32("pid", b.PID), zap.String("database", b.Database),
				zap.String("user", b.User), zap.Duration("age", b.Since))
		}
		// For as long as it waits, it alone answers for the marker: a rebuild of awa's may set it, and old binaries write.
		if err := s.clearMarker(ctx); err != nil {
			return err
		}
		return checkpoint.StampHeartbeat(ctx, s.control, string(s.layout.Schema), s.instance, "creating the replication slot")
	}
}
