package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"slices"
	"strings"
	"time"
	"unicode"

	"github.com/jackc/pgx/v5"
	"golang.org/x/term"

	"github.com/awa-counterd/awa-counterd/checkpoint"
	"github.com/awa-counterd/awa-counterd/internal/awa"
	"github.com/awa-counterd/awa-counterd/internal/base/pg"
	"github.com/awa-counterd/awa-counterd/internal/status"
	"github.com/awa-counterd/awa-counterd/reconcile"
)

// waiting is what finish waits with.
type waiting struct {
	conn   *pgx.Conn
	layout *awa.Layout
	slot   string
	open   func() (*reconcile.OneShot, error)
	one    *reconcile.OneShot // nil until nothing that the daemon knows stands in the way
	until  time.Time
	known  bool // awa's runtimes could be read

	migrated time.Time // awa migrated until then
}

// wait goes on until nothing speaks against finishing. No daemon, no evidence: that is refused at once, as all is that waiting does not mend.
// Behind awa's migration a daemon that has waited for its end has a moment to lead again.
func (c *finishCmd) wait(ctx context.Context, out io.Writer, w *waiting) error {
	late := time.NewTimer(c.Timeout)
	defer late.Stop()
	w.until = time.Now().Add(c.Timeout)
	tick := time.NewTicker(time.Second)
	defer tick.Stop()
	f, ok := out.(*os.File)
	live := ok && term.IsTerminal(int(f.Fd()))
	last := ""
	for {
		reason, err := c.inTheWay(ctx, w)
		if err != nil {
			return err
		}
		if last == "" && reason != "" && w.one == nil {
			w.warn(ctx, out)
		}
		switch {
		case live:
			_, _ = fmt.Fprintf(out, "\r\x1b[K%s", reason)
		case reason != "" && wordsOf(reason) != wordsOf(last):
			_, _ = fmt.Fprintf(out, "finish: waiting: %s\n", reason)
		}
		if reason == "" {
			for _, what := range status.Unseen(w.known) { // now, while nothing is changed yet
				_, _ = fmt.Fprintf(out, "finish: %s\n", what)
			}
			return nil
		}
		last = reason
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-late.C:
			return c.late(reason)
		case <-tick.C:
		}
	}
}

// inTheWay says what speaks against finishing at this moment, "" for nothing. Somebody's lock passes.
func (c *finishCmd) inTheWay(ctx context.Context, w *waiting) (string, error) {
	st, err := status.Read(ctx, w.conn, w.layout, w.slot, c.QuietPeriod)
	if err != nil {
		return passing(err)
	}
	if st.AwaitsMigration() {
		w.migrated = time.Now()
	}
	switch problem, remedy := st.Never(c.QuietPeriod); {
	case problem != "" && !st.Led() && time.Since(w.migrated) < checkpoint.AliveWithin:
		return "awa's migration has ended, and no daemon leads yet", nil
	case problem != "":
		return "", pg.Refuse(remedy, "not finished: %s", problem)
	}
	w.known = st.Known
	if reason := st.Unfinished(c.QuietPeriod); reason != "" {
		return reason, nil
	}
	if w.one == nil {
		if w.one, err = w.open(); err != nil {
			return passing(err)
		}
	}
	for _, look := range []func(context.Context, *reconcile.OneShot) (string, error){stale, wrong} {
		w.one.Patient(time.Until(w.until))
		reason, err := look(ctx, w.one)
		if pg.IsBusy(err) {
			err = c.late(err.Error())
		}
		if err != nil || reason != "" {
			return reason, err
		}
	}
	return "", nil
}

// passing makes a reason to wait of somebody's lock.
func passing(err error) (string, error) {
	if _, locked := errors.AsType[*awa.LockedError](err); locked {
		return err.Error(), nil
	}
	return "", err
}

func (c *finishCmd) late(reason string) error {
	return pg.Refuse("run it again later, or with a longer --timeout", "not finished within %s: %s", c.Timeout, reason)
}

// stale says what awa has yet to drop from ledgers, where something bars taking it out.
func stale(ctx context.Context, one *reconcile.OneShot) (string, error) {
	u, err := one.Stale(ctx)
	return barred(u), err
}

func barred(u *reconcile.StaleLedgers) string {
	if u == nil || u.May() {
		return ""
	}
	return u.Barred("finish")
}

// warn says at once what may be in the way when all else has passed, and does not pass where awa's ring stands. It is a hint: a look that
// fails is repeated when it decides.
func (w *waiting) warn(ctx context.Context, out io.Writer) {
	if u, err := reconcile.StaleNow(ctx, w.conn, w.layout); err == nil && barred(u) != "" {
		_, _ = fmt.Fprintf(out, "finish: %s\n", barred(u))
	}
}

// wordsOf is what stays of a reason while its figures change, and which queue was written last.
func wordsOf(reason string) string {
	words := strings.FieldsFunc(reason, func(r rune) bool { return unicode.IsDigit(r) || strings.ContainsRune(" ,;.", r) })
	slices.Sort(words)
	return strings.Join(words, " ")
}

// wrong says which counters are. Where a daemon corrects, that passes: awa's first new leader drops what an old one left in ledgers,
// one ring slot after the other.
func wrong(ctx context.Context, one *reconcile.OneShot) (string, error) {
	r, err := one.Run(ctx, false, nil)
	return wrongIn(r, "are wrong", "are wrong", ""), err
}

// wrongIn says what was found wrong: groups, or else counter rows that add up to what is right.
func wrongIn(r reconcile.Result, groups, rows, when string) string {
	switch {
	case len(r.Drifts) > 0:
		return fmt.Sprintf("the counters of %d groups %s%s, the first on queue %s", len(r.Drifts), groups, when, r.Drifts[0].Queue)
	case len(r.Uneven) > 0:
		return fmt.Sprintf("%d counter rows %s that add up to what is right%s, the first on queue %s", r.UnevenRows(), rows, when, r.Uneven[0].Queue)
	}
	return ""
}
