package cluster

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
)

// Copy makes a cluster of its own from a base backup of this one, not started yet. As a standby it
// follows this one; otherwise it is what a restored backup is. It is made by pg_backup_start and copying,
// since the servers that Fetch brings have no pg_basebackup.
func (c *Cluster) Copy(ctx context.Context, standby bool) (*Cluster, error) {
	dir, err := os.MkdirTemp("", "awacd")
	if err != nil {
		return nil, fmt.Errorf("copy a cluster: %w", err)
	}
	o := &Cluster{Dir: dir, bin: c.bin, cred: c.cred}
	if err := o.copyFrom(ctx, c, standby); err != nil {
		_ = os.RemoveAll(dir)
		return nil, fmt.Errorf("copy a cluster: %w", err)
	}
	return o, nil
}

func (c *Cluster) copyFrom(ctx context.Context, from *Cluster, standby bool) error {
	if err := c.Own(c.Dir); err != nil {
		return err
	}
	if err := os.Chmod(c.Dir, 0o755); err != nil {
		return err
	}
	var err error
	if c.Port, err = freePort(); err != nil {
		return err
	}
	if err := c.backUp(ctx, from); err != nil {
		return err
	}
	settings := fmt.Sprintf("port = '%d'\nunix_socket_directories = '%s'\n", c.Port, c.Dir)
	if standby {
		// The database is for the slots that are synchronized, on 17 and later.
		settings += fmt.Sprintf("primary_conninfo = '%s'\n", from.Socket("postgres"))
		if err := c.place("standby.signal", nil); err != nil {
			return err
		}
	}
	return c.append("postgresql.conf", settings)
}

// backUp copies another cluster's data directory while that one is at work.
func (c *Cluster) backUp(ctx context.Context, from *Cluster) error {
	conn, err := from.Connect(ctx, "postgres")
	if err != nil {
		return err
	}
	defer func() { _ = conn.Close(context.WithoutCancel(ctx)) }()
	begin, end := `pg_backup_start('copy', true)`, `pg_backup_stop(false)`
	var version int
	if err := conn.QueryRow(ctx, `select current_setting('server_version_num')::int`).Scan(&version); err != nil {
		return err
	}
	if version < 150000 {
		begin, end = `pg_start_backup('copy', true, false)`, `pg_stop_backup(false, false)`
	}
	// The slot goes with the session, and keeps the WAL that the copy begins with.
	if _, err := conn.Exec(ctx, fmt.Sprintf(`select pg_create_physical_replication_slot('copy_%d', true, true)`, os.Getpid())); err != nil {
		return err
	}
	var first, last, label string
	if err := conn.QueryRow(ctx, `select pg_walfile_name(`+begin+`)`).Scan(&first); err != nil {
		return err
	}
	if err := c.copyTree(from.data()); err != nil {
		return err
	}
	err = conn.QueryRow(ctx, `select pg_walfile_name(lsn), labelfile from `+end).Scan(&last, &label)
	if err != nil {
		return err
	}
	if err := c.place("backup_label", []byte(label)); err != nil {
		return err
	}
	return c.copyWAL(from.data(), first, last)
}

// emptied are the directories of which a backup has no use for what is in them.
func emptied() []string {
	return []string{"pg_wal", "pg_replslot", "pg_dynshmem", "pg_notify", "pg_serial", "pg_snapshots", "pg_stat_tmp", "pg_subtrans"}
}

// copyTree copies a data directory, but for what belongs to the running server. Files may go meanwhile.
func (c *Cluster) copyTree(from string) error {
	return filepath.WalkDir(from, func(path string, entry fs.DirEntry, err error) error {
		switch {
		case errors.Is(err, fs.ErrNotExist):
			return nil
		case err != nil:
			return err
		}
		name, err := filepath.Rel(from, path)
		if err != nil {
			return err
		}
		switch {
		case strings.HasPrefix(entry.Name(), "pgsql_tmp"), slices.Contains([]string{"postmaster.pid", "postmaster.opts", "pg_internal.init"}, entry.Name()):
			if entry.IsDir() {
				return fs.SkipDir
			}
			return nil
		case slices.Contains(emptied(), strings.Split(name, "/")[0]) && !entry.IsDir():
			return nil
		case strings.HasPrefix(name, "pg_replslot/"):
			return fs.SkipDir
		case entry.IsDir():
			if err := os.Mkdir(filepath.Join(c.data(), name), 0o700); err != nil {
				return err
			}
			return c.Own(filepath.Join(c.data(), name))
		}
		return c.copyFile(path, name)
	})
}

// copyWAL copies the segments that recovery of the copy needs, and the history of the timeline.
func (c *Cluster) copyWAL(from, first, last string) error {
	files, err := os.ReadDir(filepath.Join(from, "pg_wal"))
	if err != nil {
		return err
	}
	for _, f := range files {
		segment := len(f.Name()) == len(first) && f.Name() >= first && f.Name() <= last
		if segment || strings.HasSuffix(f.Name(), ".history") {
			if err := c.copyFile(filepath.Join(from, "pg_wal", f.Name()), "pg_wal/"+f.Name()); err != nil {
				return err
			}
		}
	}
	return nil
}

func (c *Cluster) copyFile(from, name string) error {
	in, err := os.Open(from)
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil {
		return err
	}
	defer func() { _ = in.Close() }()
	out, err := os.OpenFile(filepath.Join(c.data(), name), os.O_CREATE|os.O_EXCL|os.O_WRONLY, 0o600)
	if err != nil {
		return err
	}
	_, err = io.Copy(out, in)
	return errors.Join(err, out.Close(), c.Own(out.Name()))
}

// place makes a file of the data directory.
func (c *Cluster) place(name string, content []byte) error {
	path := filepath.Join(c.data(), name)
	return errors.Join(os.WriteFile(path, content, 0o600), c.Own(path))
}
