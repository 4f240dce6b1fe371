package e2e

import (
	"errors"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"
	"github.com/stretchr/testify/require"

	"github.com/awa-counterd/awa-counterd/e2e/cluster"
	"github.com/awa-counterd/awa-counterd/e2e/fleet"
	"github.com/awa-counterd/awa-counterd/e2e/proxy"
)

// on moves an environment to another server with the same database.
func (e *env) on(c *cluster.Cluster) *env {
	e.t.Helper()
	o := &env{t: e.t, server: c, db: e.db, layout: e.layout}
	var err error
	o.pool, err = pgxpool.New(e.t.Context(), c.Socket(e.db))
	require.NoError(e.t, err)
	e.t.Cleanup(o.pool.Close)
	return o
}

func (e *env) insert(n int) {
	e.t.Helper()
	e.do(false, func(tx pgx.Tx, w fleet.Writer) error {
		return w.Insert(e.t.Context(), tx, fleet.Key{Slot: 1, Queue: "q", Priority: 1}, n, "failed", "")
	})
}

// The primary dies and its standby is promoted, behind the same address: another timeline, no slot, and
// perhaps a checkpoint that is older than what the daemon remembers.
func TestStandbyIsPromoted(t *testing.T) {
	t.Parallel()
	primary := ownServer(t)
	e := newEnvOn(t, primary, fleet.Layout{})
	replica, err := primary.Copy(t.Context(), true)
	require.NoError(t, err)
	t.Cleanup(func() { _ = replica.Close() })
	require.NoError(t, replica.Up(t.Context()))
	p, err := proxy.New(primary.Address())
	require.NoError(t, err)
	t.Cleanup(p.Close)

	f := e.fleet(steady)
	d := start(t, nil, "run", "--database-url", "postgres://postgres@"+p.Addr()+"/"+e.db+"?sslmode=disable", "--checkpoint-interval", "200ms")
	e.marker(true, 15*time.Second)
	e.wait(time.Second)
	require.NoError(t, primary.Down(t.Context(), "immediate"))
	f.Stop()
	require.NoError(t, replica.Promote(t.Context()))
	p.Retarget(replica.Address())
	p.Cut()
	p.Heal()

	n := e.on(replica)
	g := n.fleet(steady)
	require.NotNil(t, d.logged("is gone", 20*time.Second))
	d.logged("replication slot created", 20*time.Second)
	n.marker(true, 20*time.Second)
	n.wait(time.Second)
	g.Stop()
	n.balanced(2 * time.Second)
	n.noMismatch(d)
	require.Empty(t, g.Errors())
	require.Zero(t, d.stop())
}

// The database is put back to an older base backup, slot and all its WAL gone: the stored checkpoint
// agrees with nothing any more, and everything is scanned afresh. Trust that came with the backup falls.
func TestOlderBackupIsRestored(t *testing.T) {
	c := ownServer(t)
	e := newEnvOn(t, c, fleet.Layout{Slots: 4})
	d := e.daemon("--checkpoint-interval", "200ms")
	e.marker(true, 10*time.Second)
	e.insert(5)
	e.balanced(2 * time.Second)
	backup, err := c.Copy(t.Context(), false)
	require.NoError(t, err)
	t.Cleanup(func() { _ = backup.Close() })
	e.insert(7)
	e.balanced(2 * time.Second)
	require.Zero(t, d.stop())
	require.NoError(t, c.Down(t.Context(), "fast"))

	require.NoError(t, backup.Up(t.Context()))
	o := e.on(backup)
	o.marker(true, 0) // as it was when the backup was made
	o.insert(3)       // and an old writer is back
	d = o.daemon("--checkpoint-interval", "200ms")
	require.Contains(t, d.logged("trust: marker cleared", 10*time.Second)["reason"], "no daemon vouches")
	require.Contains(t, d.logged("scanning afresh", 10*time.Second)["reason"], "is gone")
	d.logged("marker set", 10*time.Second)
	o.balanced(2 * time.Second)
	o.noMismatch(d)
	require.EqualValues(t, 8, o.scalar(`select sum(live_terminal_count)::bigint from awa.queue_terminal_live_counts`))
}

// Another database has taken the name of the one that the URL meant. The slot is still the other one's.
func TestAnotherDatabaseUnderTheURL(t *testing.T) {
	e := newEnv(t, fleet.Layout{Slots: 4})
	d := e.daemon("--checkpoint-interval", "200ms")
	e.marker(true, 10*time.Second)
	require.Zero(t, d.stop())
	e.disconnected()
	other := newEnv(t, fleet.Layout{Slots: 4})
	e.pool.Close()
	other.pool.Close()
	admin, err := server.Connect(t.Context(), "postgres")
	require.NoError(t, err)
	defer func() { _ = admin.Close(t.Context()) }()
	rename := func(from, to string) {
		_, err := admin.Exec(t.Context(), `alter database `+from+` rename to `+to)
		require.NoError(t, err)
	}
	rename(e.db, e.db+"_old")
	rename(other.db, e.db)
	t.Cleanup(func() { // so that both are found by who drops them
		ctx, cancel := contextWithin(10 * time.Second)
		defer cancel()
		c, err := server.Connect(ctx, "postgres")
		if err != nil {
			return
		}
		_, _ = c.Exec(ctx, `select pg_drop_replication_slot(slot_name) from pg_replication_slots where database like $1 || '%' and not active`, e.db)
		_, _ = c.Exec(ctx, `drop database if exists `+e.db+`_old with (force)`)
		_ = c.Close(ctx)
	})
	refuses(t, refused, e.url(), nil, `belongs to database "`+e.db+`_old", not "`+e.db+`"`, "give another name with --slot, or drop it")
	o := e.on(server)
	o.insert(4)
	d = e.daemon("--slot", "another")
	d.logged("marker set", 10*time.Second)
	o.balanced(2 * time.Second)
	require.Zero(t, d.stop())
}

// Transaction ids wrap around under the daemon: the stream's 32 bits go to 3 while snapshots go on.
func TestTransactionIDsWrapAround(t *testing.T) {
	t.Parallel()
	if _, err := cluster.Program(pgBin, "pg_resetwal"); err != nil {
		t.Skip(err)
	}
	c := ownServer(t)
	for _, db := range []string{"postgres", "template1"} { // else their catalogs would lie in the future
		conn, err := c.Connect(t.Context(), db)
		require.NoError(t, err)
		_, err = conn.Exec(t.Context(), `vacuum freeze`)
		require.NoError(t, err)
		require.NoError(t, conn.Close(t.Context()))
	}
	require.NoError(t, c.Down(t.Context(), "fast"))
	segment := filepath.Join(c.Data(), "pg_xact", "0FFF") // the one that the next transactions are in
	require.NoError(t, os.WriteFile(segment, make([]byte, 256<<10), 0o600))
	require.NoError(t, c.Own(segment))
	require.NoError(t, c.Run(t.Context(), "pg_resetwal", "-f", "-e", "3", "-x", "4294966500", c.Data()))
	require.NoError(t, c.Up(t.Context()))
	e := newEnvOn(t, c, fleet.Layout{})
	f := e.fleet(steady)
	d := e.daemon("--checkpoint-interval", "200ms", "--audit-interval", "1s")
	e.marker(true, 20*time.Second)
	before := e.scalar(`select pg_current_xact_id()::text::bigint`)
	ctx, cancel := contextWithin(30 * time.Second)
	defer cancel()
	e.until(ctx, func() bool {
		return e.scalar(`select pg_snapshot_xmax(pg_current_snapshot())::text::bigint`) > 4<<32+200
	},
		func() string { return "no wrap-around" })
	require.Less(t, before, int64(4)<<32)
	d.kill()
	d = e.daemon("--checkpoint-interval", "200ms", "--audit-interval", "1s")
	d.logged("marker set", 20*time.Second)
	e.wait(time.Second)
	f.Stop()
	e.balanced(2 * time.Second)
	e.noMismatch(d)
	require.Empty(t, f.Errors())
}

// The WAL device is full: the server goes down, and comes back when there is room.
func TestWALDeviceIsFull(t *testing.T) {
	c, err := cluster.Start(t.Context(), cluster.Options{Bin: pgBin, Settings: map[string]string{"max_wal_size": "48MB", "min_wal_size": "32MB"}})
	require.NoError(t, err)
	t.Cleanup(func() { _ = c.Close() })
	require.NoError(t, c.Down(t.Context(), "fast"))
	wal, device := filepath.Join(c.Data(), "pg_wal"), filepath.Join(c.Dir, "device")
	require.NoError(t, os.Mkdir(device, 0o700))
	if err := syscall.Mount("tmpfs", device, "tmpfs", 0, "size=160m"); err != nil {
		require.True(t, errors.Is(err, syscall.EPERM) || errors.Is(err, syscall.EACCES), err)
		t.Skip("no right to mount a device of its own: ", err)
	}
	t.Cleanup(func() { _ = syscall.Unmount(device, syscall.MNT_DETACH) })
	require.NoError(t, c.Own(device))
	require.NoError(t, os.CopyFS(filepath.Join(device, "wal"), os.DirFS(wal)))
	require.NoError(t, filepath.Walk(device, func(path string, _ os.FileInfo, err error) error { return errors.Join(err, c.Own(path)) }))
	require.NoError(t, os.Chmod(filepath.Join(device, "wal"), 0o700))
	require.NoError(t, os.RemoveAll(wal))
	require.NoError(t, os.Symlink(filepath.Join(device, "wal"), wal))
	require.NoError(t, c.Own(device))
	require.NoError(t, c.Up(t.Context()))

	e := newEnvOn(t, c, fleet.Layout{Slots: 4})
	d := e.daemon("--checkpoint-interval", "200ms")
	e.marker(true, 15*time.Second)
	e.insert(11)
	e.balanced(2 * time.Second)
	ballast := filepath.Join(device, "ballast")
	var stat syscall.Statfs_t
	require.NoError(t, syscall.Statfs(device, &stat))
	require.NoError(t, os.WriteFile(ballast, make([]byte, int64(stat.Bavail)*stat.Bsize-(4<<20)), 0o600))
	for range 40 {
		if _, err := e.pool.Exec(t.Context(), `select pg_logical_emit_message(true, 'filler', repeat('x', 4000000))`); err != nil {
			break
		}
	}
	require.Eventually(t, func() bool { return strings.Contains(c.Log(), "No space left on device") }, 20*time.Second, 50*time.Millisecond)
	e.wait(time.Second)
	_ = c.Down(t.Context(), "immediate")
	require.NoError(t, os.Remove(ballast))
	require.NoError(t, c.Up(t.Context()))
	e.pool.Reset()
	e.insert(13)
	e.balanced(30 * time.Second)
	e.marker(true, 30*time.Second)
	e.noMismatch(d)
	require.Zero(t, d.stop())
}
