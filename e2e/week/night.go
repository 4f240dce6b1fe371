package main

import (
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"slices"
	"time"

	"github.com/dustin/go-humanize"
	"github.com/prometheus/common/expfmt"
	"github.com/prometheus/common/model"
)

const samplesANight = 10

// night is what was seen while nobody wrote. Of each figure it keeps every sample.
type night struct {
	number        int
	began         time.Time
	lasted        time.Duration
	before, after logged

	memory      []int64 // bytes resident, of the daemon that has more
	goroutines  []int64 // likewise
	files       []int64 // open descriptors, likewise
	connections []int64 // of both together
	retained    []int64 // bytes of WAL that the slot keeps
	tables      []int64 // bytes of our schema, indexes included
	unset       int     // samples without the marker
}

// logged is what both daemons have logged until a moment.
type logged struct{ lines, bytes, statusLines, statusBytes int64 }

func (w *world) logged() (sum logged) {
	for _, d := range w.daemons {
		sum.lines += int64(d.log.lines)
		sum.bytes += d.log.bytes
		sum.statusLines += d.log.status.lines
		sum.statusBytes += d.log.status.bytes
	}
	return sum
}

func (a logged) since(b logged) logged {
	return logged{a.lines - b.lines, a.bytes - b.bytes, a.statusLines - b.statusLines, a.statusBytes - b.statusBytes}
}

func median(of []int64) int64 {
	if len(of) == 0 {
		return 0
	}
	s := slices.Sorted(slices.Values(of))
	return s[len(s)/2]
}

func (n *night) String() string {
	return fmt.Sprintf("%s resident, %d goroutines, %d files, %d connections, %s of WAL kept, tables of %s", size(median(n.memory)), median(n.goroutines),
		median(n.files), median(n.connections), size(median(n.retained)), size(median(n.tables)))
}

func size(n int64) string { return humanize.IBytes(uint64(max(n, 0))) }

// sample looks at everything once.
func (w *world) sample(ctx context.Context, n *night) error {
	var memory, goroutines, files int64
	for _, d := range w.daemons {
		d.hear(w.phase)
		values, err := d.metrics(ctx)
		if err != nil {
			return fmt.Errorf("daemon %d: %w", d.number, err)
		}
		memory = max(memory, int64(values["process_resident_memory_bytes"]))
		goroutines, files = max(goroutines, int64(values["go_goroutines"])), max(files, int64(values["process_open_fds"]))
	}
	n.memory, n.goroutines, n.files = append(n.memory, memory), append(n.goroutines, goroutines), append(n.files, files)
	var connections, retained, tables int64
	var set bool
	err := w.pool.QueryRow(ctx, `select (select count(*) from pg_stat_activity where usename = $1),
		coalesce((select max(pg_wal_lsn_diff(pg_current_wal_lsn(), restart_lsn)) from pg_replication_slots), 0)::int8,
		(select coalesce(sum(pg_total_relation_size(oid)), 0) from pg_class where relnamespace = 'awa_counterd'::regnamespace and relkind = 'r')::int8,
		(select terminal_counter_trusted_at is not null from awa.queue_ring_state)`, role).Scan(&connections, &retained, &tables, &set)
	if err != nil {
		return err
	}
	n.connections, n.retained, n.tables = append(n.connections, connections), append(n.retained, retained), append(n.tables, tables)
	if !set {
		n.unset++
	}
	return nil
}

// metrics reads the values of the daemon's metrics that have no labels.
func (d *daemon) metrics(ctx context.Context) (map[string]float64, error) {
	a, err := d.ask(ctx, "metrics")
	if err != nil {
		return nil, err
	}
	defer func() { _ = a.Body.Close() }()
	parser := expfmt.NewTextParser(model.UTF8Validation)
	families, err := parser.TextToMetricFamilies(a.Body)
	if err != nil {
		return nil, err
	}
	values := make(map[string]float64)
	for name, f := range families {
		if m := f.GetMetric(); len(m) == 1 && len(m[0].GetLabel()) == 0 {
			values[name] = m[0].GetGauge().GetValue() + m[0].GetCounter().GetValue()
		}
	}
	return values, nil
}

func (d *daemon) ask(ctx context.Context, path string) (*http.Response, error) {
	q, err := http.NewRequestWithContext(ctx, http.MethodGet, "http://"+d.address+"/"+path, http.NoBody)
	if err != nil {
		return nil, err
	}
	return http.DefaultClient.Do(q)
}

// ready reports whether the daemon leads and is trusted, or stands by.
func (d *daemon) ready(ctx context.Context) (bool, error) {
	if !d.alive() {
		return false, fmt.Errorf("daemon %d has ended", d.number)
	}
	a, err := d.ask(ctx, "readyz")
	if err != nil {
		return false, err
	}
	defer func() { _ = a.Body.Close() }()
	var answer struct {
		Ready bool   `json:"ready"`
		Role  string `json:"role"`
	}
	if err := json.NewDecoder(a.Body).Decode(&answer); err != nil {
		return false, err
	}
	return answer.Ready, nil
}
