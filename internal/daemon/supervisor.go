package daemon

import (
	"context"
	"fmt"
	"strings"
	"time"

	"go.uber.org/zap"
	"go.uber.org/zap/zapcore"
)

// Supervisor starts the process again when it gives no sign of life: systemd, say. Its methods must not wait.
type Supervisor interface {
	// Alive is called at every turn by whoever has the daemon's work in hand: the loop that owns the books, or before there
	// are any, the goroutine that brings a session about. It comes at least once a second but for single steps, which are bounded
	// by the server's clock and ours (docs/operations.md).
	Alive()
	// Ready is called, possibly again and again, when the daemon leads, stands by or waits for what only others can bring.
	Ready()
	// Status says in one line what the daemon is at.
	Status(text string)
	// Stopping says that the daemon has been asked to end, or ends by itself.
	Stopping()
}

// nobody wants to know.
type nobody struct{}

func (nobody) Alive()        {}
func (nobody) Ready()        {}
func (nobody) Status(string) {}
func (nobody) Stopping()     {}

// report tells the supervisor of a phase.
func (d *Daemon) report(phase Phase, detail string) {
	d.phase = phase
	if d.opts.Supervisor == nil {
		return
	}
	switch phase {
	case Standby, Waiting, Leading:
		d.super.Ready()
	}
	d.super.Status(strings.TrimSuffix(fmt.Sprintf("%s: %s", phase, detail), ": "))
	d.super.Alive()
}

// rest waits, and is alive meanwhile. It is false when ctx ended.
func (d *Daemon) rest(ctx context.Context, pause time.Duration) bool {
	over := time.NewTimer(pause)
	defer over.Stop()
	tick := time.NewTicker(aliveEvery)
	defer tick.Stop()
	for {
		d.super.Alive()
		select {
		case <-ctx.Done():
			return false
		case <-over.C:
			return true
		case <-tick.C:
		}
	}
}

// liveWhile carries out what may wait for another machine, and is alive meanwhile; but not for ever.
func (d *Daemon) liveWhile(step func()) {
	done := make(chan struct{})
	go func() {
		defer close(done)
		step()
	}()
	tick := time.NewTicker(aliveEvery)
	defer tick.Stop()
	for began := time.Now(); ; {
		if time.Since(began) < longestStep {
			d.super.Alive()
		}
		select {
		case <-done:
			return
		case <-tick.C:
		}
	}
}

// statusText is the status line for a supervisor.
func statusText(fields []zap.Field) string {
	values := zapcore.NewMapObjectEncoder()
	var text strings.Builder
	text.WriteString(string(Leading) + ":")
	for _, f := range fields {
		f.AddTo(values)
		fmt.Fprintf(&text, " %s=%v", f.Key, values.Fields[f.Key])
	}
	return text.String()
}
