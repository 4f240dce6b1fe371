package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"strings"
	"time"

	"github.com/dustin/go-humanize"
	"github.com/jackc/pgx/v5"
	"github.com/jedib0t/go-pretty/v6/table"

	"github.com/awa-counterd/awa-counterd/applier"
	"github.com/awa-counterd/awa-counterd/checkpoint"
	"github.com/awa-counterd/awa-counterd/internal/awa"
	"github.com/awa-counterd/awa-counterd/internal/provision"
	"github.com/awa-counterd/awa-counterd/internal/status"
)

type statusCmd struct {
	database `embed:""`
	slotName `embed:""`

	QuietPeriod time.Duration `default:"10m" help:"Time without uncounted writes after which the old binaries count as gone."`
	Watch       bool          `env:"-" help:"Refresh in place, every two seconds, until interrupted."`
	JSON        bool          `env:"-" help:"Print the status as JSON."`
}

// Validate is called by the flag parser.
func (c *statusCmd) Validate() error { return c.validate() }

const watchEvery = 2 * time.Second

// Run is called by the flag parser.
func (c *statusCmd) Run(ctx context.Context, s streams) error {
	_, conn, l, err := c.open(ctx)
	if err != nil {
		return err
	}
	defer func() { _ = conn.Close(context.WithoutCancel(ctx)) }()
	for {
		st, err := c.read(ctx, conn, l)
		locked, passes := errors.AsType[*awa.LockedError](err)
		switch {
		case ctx.Err() != nil:
			return nil // interrupted: that is how --watch ends
		case passes && c.Watch:
			err = c.watching(s.out, locked)
		case err != nil:
			return err
		case c.JSON:
			err = encode(s.out, st)
		default:
			var text strings.Builder
			renderStatus(&text, st)
			err = c.show(s.out, text.String())
		}
		if err != nil || !c.Watch {
			return err
		}
		timer := time.NewTimer(watchEvery)
		select {
		case <-ctx.Done():
			timer.Stop()
			return nil
		case <-timer.C:
		}
	}
}

// show writes a status; with --watch in the place of the last one.
func (c *statusCmd) show(w io.Writer, text string) error {
	if c.Watch {
		text = "\x1b[H\x1b[2J" + text // home, clear
	}
	_, err := io.WriteString(w, text)
	return err
}

// watching says that there is no status at this moment; the next look may find one.
func (c *statusCmd) watching(w io.Writer, locked *awa.LockedError) error {
	text := "could not be read: " + locked.Error()
	if c.JSON {
		return encode(w, map[string]string{"error": text})
	}
	return c.show(w, "status    "+text+"\n")
}

func (c *statusCmd) read(ctx context.Context, conn *pgx.Conn, l *awa.Layout) (*status.Status, error) {
	n, stored, err := inUse(ctx, conn, l.Schema, provision.Names{Slot: c.Slot})
	if err != nil {
		return nil, err
	}
	st, err := status.Read(ctx, conn, l, n.Slot, c.QuietPeriod)
	if err == nil && st.Slot != nil {
		st.Slot.Stored = stored
	}
	return st, err
}

func renderStatus(b *strings.Builder, st *status.Status) {
	line := func(name, format string, args ...any) {
		fmt.Fprintf(b, "%-9s %s\n", name, fmt.Sprintf(format, args...))
	}
	line("schema", "%s", st.Schema)
	leaderLines(line, st)
	slotLine(line, st.Slot)
	switch {
	case st.MarkerSet:
		line("trust", "marker set %s: readers use the counters", ago(st.MarkerAge))
	case st.Reason == "":
		line("trust", "marker not set, readers scan")
	default:
		line("trust", "marker not set, readers scan; %s", st.Reason)
	}
	history(line, st)
	if st.Leader == nil || !st.Leader.Another {
		line("audit", "%s", ago(st.Audit))
	}
	queues(b, st)
	if st.OldPrune != nil {
		line("prunes", "a pre-#290 leader emptied a ring slot %s", ago(st.OldPrune))
	}
	if st.OwnRows > 0 {
		moves := "finish"
		if !st.Led() { // which finish needs
			moves = "reconcile"
		}
		line("own rows", "%d counter rows hold corrections; awa-counterd %s moves them to awa's rows", st.OwnRows, moves)
	}
	for _, r := range st.Runtimes {
		old := ""
		if r.Old {
			old = ", pre-#290: does not count"
		}
		line("runtimes", "%d live of version %s%s", r.Live, r.Version, old)
	}
	if !st.Known {
		line("runtimes", "unknown: awa.runtime_instances does not exist, or this role may not read it")
	}
	if f := st.Forgotten; f != nil {
		line("snapshot", "process %d (application %q) has had a transaction open for %s: no vacuum takes away what was updated or deleted since", f.PID, f.Application, status.Ago(f.Age))
	}
	line("next", "%s", st.Next)
}

// ago is how long ago something was, if it ever was.
func ago(v *float64) string {
	if v == nil {
		return "never"
	}
	return status.Ago(*v) + " ago"
}

// leaderLines say who leads, and what is known of the checkpoint.
func leaderLines(line func(name, format string, args ...any), st *status.Status) {
	l := st.Leader
	if l == nil {
		line("leader", "none: %s", map[bool]string{true: "no daemon has led here yet, or none since a teardown or a finish", false: "no daemon has run here, or everything of it was removed"}[st.Installed])
		return
	}
	life := "alive"
	if !l.Alive {
		life = "SILENT"
	}
	if l.DryRun {
		life += ", DRY RUN: corrects nothing"
	}
	line("leader", "%s pid %d, version %s, %s, heartbeat %s ago", l.Host, l.PID, l.Version, life, status.Ago(l.Heartbeat))
	switch {
	case l.Another:
		line("position", "not known to this version: the tables in schema %s are those of version %s", checkpoint.SchemaName, l.Version)
	case st.Fresh:
		line("position", "%s, checkpoint %s: written just now, on request", orDash(st.Position), ago(st.Persisted))
	default:
		line("position", "%s, checkpoint %s: the daemon did not answer; everything below is as old as that", orDash(st.Position), ago(st.Persisted))
	}
}

func slotLine(line func(name, format string, args ...any), sl *status.Slot) {
	if sl == nil {
		line("slot", "none")
		return
	}
	reader, state := "read", sl.Status
	if !sl.Active {
		reader = "NOT READ"
	}
	if sl.Loss != "" {
		state += " (it " + sl.Loss + ")"
	}
	name := sl.Name
	if sl.Stored {
		name += " (named by the checkpoint)"
	}
	line("slot", "%s, %s, %s, lag %s, retained WAL %s, catalog_xmin %s transactions old", name, reader, state,
		humanize.IBytes(unsigned(sl.Lag)), humanize.IBytes(unsigned(sl.Retained)), humanize.Comma(sl.CatalogAge))
}

// mostShown is how many changes of the marker are shown; --json has more.
const mostShown = 5

// history says when the marker was set and cleared of late.
func history(line func(name, format string, args ...any), st *status.Status) {
	if st.Forgot != "" {
		line("history", "not known: %s", st.Forgot)
	}
	changes := st.Changes
	if len(changes) == 0 {
		return
	}
	line("history", "%s", status.Cleared(changes))
	for _, m := range changes[:min(len(changes), mostShown)] {
		line("", "%s", status.ChangeText(m))
	}
	if more := len(changes) - mostShown; more > 0 {
		line("", "and %d more: --json has them", more)
	}
}

// queues is one table of what the checkpoint has of each queue.
func queues(b *strings.Builder, st *status.Status) {
	if len(st.Queues) == 0 && len(st.Uncounted) == 0 {
		return
	}
	uncounted := make(map[string]status.Uncounted)
	byRows, byPrune, byCounter := make(map[string]int64), make(map[string]int64), make(map[string]int64)
	for _, u := range st.Uncounted { // newest first
		sum, known := uncounted[u.Queue]
		if !known {
			sum = status.Uncounted{Queue: u.Queue, Last: u.Last}
		}
		switch applier.Kind(u.Kind) {
		case applier.KindPrune:
			byPrune[u.Queue] += u.Rows
		case applier.KindCounter:
			byCounter[u.Queue] += u.Rows
		default:
			byRows[u.Queue] += u.Rows
		}
		sum.PerSecond += u.PerSecond
		uncounted[u.Queue] = sum
	}
	t := table.NewWriter()
	t.SetStyle(table.StyleLight)
	t.AppendHeader(table.Row{"queue", "rows", "counter", "drift", "uncounted", "by prunes", "else", "per second", "last"})
	row := func(q status.Queue) {
		u, ok := uncounted[q.Queue]
		delete(uncounted, q.Queue)
		if !ok {
			t.AppendRow(table.Row{q.Queue, q.Rows, q.Counter, q.Drift, 0, 0, 0, "–", "never"})
			return
		}
		t.AppendRow(table.Row{q.Queue, q.Rows, q.Counter, q.Drift, byRows[q.Queue], byPrune[q.Queue], byCounter[q.Queue], fmt.Sprintf("%.1f", u.PerSecond), status.Ago(u.Last) + " ago"})
	}
	for _, q := range st.Queues {
		row(q)
	}
	for _, u := range st.Uncounted {
		if _, left := uncounted[u.Queue]; left {
			row(status.Queue{Queue: u.Queue})
		}
	}
	b.WriteString(t.Render() + "\n")
}

func orDash(s string) string {
	if s == "" {
		return "–"
	}
	return s
}

func unsigned(n int64) uint64 { return uint64(max(n, 0)) }
