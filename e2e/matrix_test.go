package e2e

import (
	"bytes"
	"context"
	"fmt"
	"hash/fnv"
	"os"
	"os/exec"
	"slices"
	"strings"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/stretchr/testify/require"

	"github.com/awa-counterd/awa-counterd/e2e/fleet"
	"github.com/awa-counterd/awa-counterd/e2e/proxy"
)

// action is a command that is crossed with every situation, and about how often it speaks to the server.
type action struct {
	args  []string
	steps int
}

func (a action) String() string {
	return strings.TrimLeft(strings.Join(a.args[:min(2, len(a.args))], " "), "-")
}

var actions = []action{
	{[]string{"status"}, 8},
	{[]string{"doctor"}, 25},
	{[]string{"setup"}, 25},
	{[]string{"reconcile", "--check"}, 30},
	{[]string{"reconcile", "--json"}, 35},
	{[]string{"reconcile", "--trust", "--observe", "1s"}, 60},
	{[]string{"distrust"}, 5},
	{[]string{"distrust", "--after-stop"}, 5},
	{[]string{"finish", "--quiet-period", "1s", "--timeout", "8s"}, 70},
	{[]string{"teardown"}, 30},
	{[]string{"run", "--checkpoint-interval", "200ms"}, 90},
}

// TestCommandsInEveryState crosses every command of awa-counterd with every state that an installation can be in, and kills the
// command when it says its nth word to the server, which then hears that word or does not. Whatever is left, the next
// daemon and the next finish find their way: nobody lies for longer than the bound, nothing has to be repaired by hand,
// and no trace stays. AWACD_MATRIX=all goes through every word of every command; otherwise each pair is killed once, and
// AWACD_MATRIX=7 has other words than AWACD_MATRIX=8.
func TestCommandsInEveryState(t *testing.T) {
	choice := os.Getenv("AWACD_MATRIX")
	var kills atomic.Int64
	t.Cleanup(func() { // when all have been run
		t.Logf("killed %d times", kills.Load())
		require.Greater(t, kills.Load(), int64(len(situations)*len(actions)*2/3), "most commands came to their end: their steps are fewer now")
	})
	for _, s := range situations {
		for _, a := range actions {
			t.Run(fmt.Sprintf("%s/%s", s.name, a), func(t *testing.T) {
				t.Parallel()
				if choice == "all" {
					everyStatement(t, s, a, &kills)
					return
				}
				h := fnv.New32a()
				_, _ = fmt.Fprint(h, s.name, a, choice)
				word := int(h.Sum32())
				(&crossing{situation: s, action: a, word: 1 + word/2%a.steps, heard: word%2 == 0, kills: &kills}).run(t)
			})
		}
	}
}

func everyStatement(t *testing.T, s situation, a action, kills *atomic.Int64) {
	ended := false
	for n := 1; !ended && n <= 3*a.steps; n++ {
		for _, heard := range []bool{false, true} {
			t.Run(fmt.Sprintf("%d heard %v", n, heard), func(t *testing.T) {
				c := crossing{situation: s, action: a, word: n, heard: heard, kills: kills}
				c.run(t)
				ended = c.ended
			})
		}
	}
	require.True(t, ended || a.args[0] == "run", "there are more words than that")
}

// crossing is a command in a state, and where it is killed.
type crossing struct {
	situation
	action

	word  int
	heard bool
	ended bool          // the command came to its end before that word
	kills *atomic.Int64 // counts those that did not
}

func (c *crossing) run(t *testing.T) {
	e := newEnv(t, fleet.Layout{Slots: 4, Shape: fleet.Ledger})
	before := e.catalogs()
	e.insertAt(0, "q", 5, true)
	e.insertAt(1, "q", 4, false)
	daemons, undo := c.prepare(e)
	liars := e.watchFalseTrust()
	if c.mute {
		liars.excuse(true)
	}
	e.insertAt(2, "late", 3, false)
	was := e.ours()
	said := c.kill(e)
	undo()
	if was && !e.ours() {
		e.daemonsGoOn(daemons)
	}

	next := e.daemon("--checkpoint-interval", "200ms")
	liars.excuse(false)
	e.insertAt(3, "after", 2, false)
	e.balanced(20 * time.Second)
	e.marker(true, 30*time.Second)
	code, out, errs := e.command("finish", "--quiet-period", "1s", "--timeout", "30s")
	require.Zero(t, code, "after %s\n%s%s", said, out, errs)
	for _, d := range append(daemons, next) {
		if !d.wasKilled() {
			require.Zero(t, d.wait(15*time.Second), "after %s", said)
		}
	}
	e.balanced(0)
	liars.require()
	t.Log(said)
	require.NotContains(t, said, "panic:")
	require.Equal(t, strings.ReplaceAll(before, "marker false", "marker true"), e.catalogs(), "after %s: a trace is left", said)
}

// kill runs the command through a proxy, kills it at its word, and tells what came of it.
func (c *crossing) kill(e *env) string {
	e.t.Helper()
	p, err := proxy.New(e.server.Address())
	require.NoError(e.t, err)
	defer p.Close()
	url := strings.Replace(e.url(), e.server.Address(), p.Addr(), 1)
	cmd := exec.Command(binary, append(slices.Clone(c.args), "--database-url", url)...)
	var out bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &out
	started, dead := make(chan struct{}), make(chan struct{})
	p.InterruptAt(c.word, func() bool {
		<-started
		_ = cmd.Process.Kill()
		<-dead
		return c.heard
	})
	require.NoError(e.t, cmd.Start())
	close(started)
	late := time.AfterFunc(12*time.Second, func() { _ = cmd.Process.Signal(syscall.SIGTERM) }) // run goes on for ever
	_ = cmd.Wait()
	late.Stop()
	close(dead)
	told := fmt.Sprintf("%s, which spoke %d times", c.action, p.Said())
	if p.Said() < c.word {
		c.ended = true
		require.Contains(e.t, []int{0, 1, 3, 4}, cmd.ProcessState.ExitCode(), out.String())
		return told + " and came to its end: " + out.String()
	}
	c.kills.Add(1)
	heard := "unheard"
	if c.heard {
		heard = "heard"
	}
	return told + " and was killed with the last of it " + heard + ": " + out.String()
}

// ours tells whether our schema is there.
func (e *env) ours() bool {
	e.t.Helper()
	return e.scalar(`select count(*) from pg_namespace where nspname = 'awa_counterd'`) > 0
}

// daemonsGoOn waits until what is left of a removal is done: where our schema is gone the daemons leave.
func (e *env) daemonsGoOn(daemons []*daemon) {
	e.t.Helper()
	for _, d := range daemons {
		if !d.wasKilled() {
			require.Zero(e.t, d.wait(15*time.Second))
		}
	}
}

// falseTrust is what a look in one snapshot, again and again, has against the marker.
type falseTrust struct {
	e       *env
	cancel  context.CancelFunc
	done    chan struct{}
	excused atomic.Bool
	worst   atomic.Int64
	looks   atomic.Int64
	said    atomic.Value
}

func (e *env) watchFalseTrust() *falseTrust {
	ctx, cancel := context.WithCancel(context.Background())
	l := &falseTrust{e: e, cancel: cancel, done: make(chan struct{})}
	e.t.Cleanup(func() { cancel(); <-l.done })
	go l.watch(ctx)
	return l
}

func (l *falseTrust) excuse(yes bool) { l.excused.Store(yes) }

func (l *falseTrust) watch(ctx context.Context) {
	defer close(l.done)
	tick := time.NewTicker(30 * time.Millisecond)
	defer tick.Stop()
	var since time.Time
	for {
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
		}
		var set bool
		var wrong []fleet.Wrong
		err := pgx.BeginTxFunc(ctx, l.e.pool, pgx.TxOptions{IsoLevel: pgx.RepeatableRead}, func(tx pgx.Tx) (err error) {
			if _, wrong, err = fleet.Compare(ctx, tx, l.e.layout.Schema); err != nil {
				return err
			}
			set, err = fleet.Trusted(ctx, tx, l.e.layout.Schema)
			return err
		})
		if err == nil {
			l.looks.Add(1)
		}
		switch {
		case err != nil:
		case !set || len(wrong) == 0 || l.excused.Load():
			since = time.Time{}
		case since.IsZero():
			since = time.Now()
		default:
			if d := int64(time.Since(since)); d > l.worst.Load() {
				l.worst.Store(d)
				l.said.Store(fmt.Sprintf("%+v", wrong))
			}
		}
	}
}

// require fails when the marker stood over the same wrong counters for longer than the default bound, and a little.
func (l *falseTrust) require() {
	l.e.t.Helper()
	l.cancel()
	<-l.done
	require.Greater(l.e.t, l.looks.Load(), int64(10), "nobody looked")
	require.LessOrEqual(l.e.t, time.Duration(l.worst.Load()), 2500*time.Millisecond, "the marker stood over %v", l.said.Load())
}
