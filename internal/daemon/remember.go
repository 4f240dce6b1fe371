package daemon

import (
	"context"
	"os"

	"github.com/jackc/pgx/v5"
	"go.uber.org/zap"

	"github.com/awa-counterd/awa-counterd/checkpoint"
	"github.com/awa-counterd/awa-counterd/internal/awa"
)

// The history of the marker is written by the statements that write the marker; what is here is for changes by other means.
// It is history: when it cannot be written, nothing is lost but that.

// saysCleared says that the marker was cleared without a command of a Core's, and counts it.
func (d *Daemon) saysCleared(reason string, fields ...zap.Field) {
	d.views.cleared.Add(1)
	d.log.Warn("trust: marker cleared", append([]zap.Field{zap.String("reason", reason)}, fields...)...)
}

// noteCleared remembers that the marker was cleared by a statement that does not remember it itself.
func (d *Daemon) noteCleared(ctx context.Context, c *pgx.Conn, l *awa.Layout, reason string) {
	host, _ := os.Hostname()
	who := checkpoint.Leader{Host: host, PID: os.Getpid()}.Process()
	d.forgets(checkpoint.NoteMarker(ctx, c, string(l.Schema), false, reason, who))
}

// settleMarker remembers what somebody else has done to the marker. It is false where that could not be found out.
func (c claimed) settleMarker(ctx context.Context) bool {
	if !c.layout.HasMarker || !c.recalls {
		return true
	}
	ctx, cancel := context.WithTimeout(ctx, answerWithin)
	defer cancel()
	err := checkpoint.SettleMarker(ctx, c.control, string(c.layout.Schema), c.instance, c.layout.MarkerIsSet(), c.layout.MarkerSince())
	c.d.forgets(err)
	return err == nil
}

func (d *Daemon) forgets(err error) {
	if err != nil {
		d.log.Debug("a change of the marker is not remembered", zap.Error(err))
	}
}
