package main

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/jackc/pgx/v5/pgxpool"
)

// processor is the processor time that a living process has had, with its threads: to the nanosecond where the
// kernel keeps that, else to its ticks. It is 0 for a process that is gone.
func processor(pid int) time.Duration {
	tasks, _ := filepath.Glob(fmt.Sprintf("/proc/%d/task/*/schedstat", pid))
	var sum time.Duration
	for _, t := range tasks {
		b, err := os.ReadFile(t)
		if err != nil {
			continue
		}
		first, _, _ := strings.Cut(string(b), " ")
		ns, err := strconv.ParseInt(first, 10, 64)
		if err == nil {
			sum += time.Duration(ns)
		}
	}
	if sum > 0 {
		return sum
	}
	b, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
	if err != nil {
		return 0
	}
	return ticks(string(b))
}

// ticks reads utime and stime out of a line of /proc/PID/stat; the name of the program in it may have blanks.
func ticks(stat string) time.Duration {
	const utime, stime, tick = 11, 12, 10 * time.Millisecond
	fields := strings.Fields(stat[strings.LastIndex(stat, ")")+1:])
	if len(fields) <= stime {
		return 0
	}
	u, _ := strconv.ParseInt(fields[utime], 10, 64)
	s, _ := strconv.ParseInt(fields[stime], 10, 64)
	return time.Duration(u+s) * tick
}

// senders watches the walsender of a slot while it serves, and returns how to end that and learn what it took.
func (d *base) senders(ctx context.Context, slot string) func() time.Duration {
	ctx, cancel := context.WithCancel(ctx)
	var wg sync.WaitGroup
	var took time.Duration
	wg.Go(func() {
		pid, last := 0, time.Duration(0)
		tick := time.NewTicker(50 * time.Millisecond)
		defer tick.Stop()
		for {
			select {
			case <-ctx.Done():
				return
			case <-tick.C:
			}
			if pid == 0 {
				pid, _ = one[int](ctx, d.pool, `select coalesce(max(active_pid), 0) from pg_replication_slots where slot_name = $1`, slot)
				continue
			}
			if now := processor(pid); now > 0 {
				took += now - last
				last = now
			} else {
				pid, last = 0, 0
			}
		}
	})
	return func() time.Duration {
		cancel()
		wg.Wait()
		return took
	}
}

// backends sums up the processor time of sessions, by a condition on pg_stat_activity.
func backends(ctx context.Context, pool *pgxpool.Pool, where string) (count int, sum time.Duration, err error) {
	rows, err := pool.Query(ctx, `select pid from pg_stat_activity where `+where)
	if err != nil {
		return 0, 0, err
	}
	defer rows.Close()
	for rows.Next() {
		var pid int
		if err := rows.Scan(&pid); err != nil {
			return 0, 0, err
		}
		count++
		sum += processor(pid)
	}
	return count, sum, rows.Err()
}
