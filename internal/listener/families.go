package listener

import (
	"runtime"
	"slices"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/awa-counterd/awa-counterd/applier"
	"github.com/awa-counterd/awa-counterd/internal/daemon"
)

const (
	counter = prometheus.CounterValue
	gauge   = prometheus.GaugeValue

	queueLabel = "queue"
	kindLabel  = "kind"
)

// families lists what is read from views, in the order of docs/metrics.md.
func families() []family {
	var all []family
	for _, some := range [][]family{roles(), trusts(), streams(), books(), work(), queueFamilies(), ours()} {
		all = append(all, some...)
	}
	return all
}

func roles() []family {
	return []family{
		{
			"role", gauge, always,
			[]string{"role"},
			"1 for the daemon's current role: leading, standby, starting, waiting (for awa's migration) or failing (between two sessions); 0 for the others.",
			func(r *reading, add func(float64, ...string)) {
				for _, p := range daemon.Phases() {
					add(bit(p == r.Phase), string(p))
				}
			},
		},
		{
			"role_since_timestamp_seconds", gauge, always, nil, "When the daemon took this role, as Unix time.",
			func(r *reading, add func(float64, ...string)) { add(unix(r.Since)) },
		},
		{
			"leader_heartbeat_age_seconds", gauge, standby, nil, "How old the leader's last sign of life is, as a standby sees it.",
			func(r *reading, add func(float64, ...string)) {
				if r.Leader != nil && r.Leader.Instance != "" {
					add(r.heartbeat().Seconds())
				}
			},
		},
		{
			"sessions_total", counter, always, nil, "Sessions in which this daemon led and began to read the stream.",
			func(r *reading, add func(float64, ...string)) { add(float64(r.Sessions)) },
		},
		{
			"session_faults_total", counter, always, nil, "Sessions that failed or could not begin; the daemon began another one after each.",
			func(r *reading, add func(float64, ...string)) { add(float64(r.Faults)) },
		},
		{
			"loop_overdue_seconds", gauge, always, nil, "For how long the daemon's main loop has been overdue; 0 while all is well.",
			func(r *reading, add func(float64, ...string)) { add(r.Overdue(r.now).Seconds()) },
		},
	}
}

func trusts() []family {
	return []family{
		{
			"trusted", gauge, active, nil, "1 while the trust marker is set and the daemon vouches for it.",
			func(r *reading, add func(float64, ...string)) { add(bit(r.doubt() == "")) },
		},
		{
			"untrusted", gauge, active,
			[]string{"reason"},
			"1 for the reason why readers do not use the counters; 0 for the other reasons, and for all of them while readers do.",
			func(r *reading, add func(float64, ...string)) {
				now := r.doubt()
				for _, reason := range reasons() {
					add(bit(reason == now), reason)
				}
			},
		},
		{
			"marker_changes_total", counter, always,
			[]string{"to"},
			"How often the trust marker was set and cleared.",
			func(r *reading, add func(float64, ...string)) {
				add(float64(r.Totals.Trusted), "set")
				add(float64(r.Totals.Distrusted), "cleared")
			},
		},
		{
			"marker_changed_timestamp_seconds", gauge, leading, nil, "When the trust marker was set or cleared last, as Unix time.",
			func(r *reading, add func(float64, ...string)) { add(unix(r.Status.MarkerSince)) },
		},
		{
			"staleness_bound_seconds", gauge, always, nil, "--max-staleness: while trusted, no uncounted write older than this is missing from the counters.",
			func(r *reading, add func(float64, ...string)) { add(r.config.Bound.Seconds()) },
		},
	}
}

func streams() []family {
	return []family{
		{
			"lag_seconds", gauge, leading, nil, "How far the books may be behind, at most: the age of the newest token that came back.",
			func(r *reading, add func(float64, ...string)) { add(r.Lag(r.now).Seconds()) },
		},
		{
			"lag_bytes", gauge, leading, nil, "WAL between the position and the server's end of it, at the last token.",
			func(r *reading, add func(float64, ...string)) { add(float64(r.Status.LagBytes)) },
		},
		{
			"token_round_trip_seconds", gauge, leading, nil, "How long the last token took from its commit to its return through the stream.",
			func(r *reading, add func(float64, ...string)) { add(r.Status.RoundTrip.Seconds()) },
		},
		{
			"position_bytes", gauge, leading, nil, "Position: commit-end LSN of the last transaction in the books, in bytes from the beginning of the WAL.",
			func(r *reading, add func(float64, ...string)) { add(float64(r.Status.Position)) },
		},
		{
			"persisted_position_bytes", gauge, leading, nil, "The position of the last checkpoint, likewise.",
			func(r *reading, add func(float64, ...string)) { add(float64(r.Status.Persisted)) },
		},
		{
			"retained_wal_bytes", gauge, leading, nil, "WAL that the replication slot keeps on the server's disk.",
			func(r *reading, add func(float64, ...string)) { add(float64(max(r.Slot.Retained, 0))) },
		},
		{
			"retained_wal_limit_bytes", gauge, always, nil, "--max-retained-wal: past half of it the daemon clears the trust marker, past it the daemon drops the replication slot; 0 for no limit.",
			func(r *reading, add func(float64, ...string)) { add(float64(r.config.MaxRetained)) },
		},
		{
			"catalog_xmin_age_transactions", gauge, leading, nil, "Transactions since the replication slot's catalog_xmin: dead rows of catalogs that are younger stay, in every database of the cluster.",
			func(r *reading, add func(float64, ...string)) { add(float64(r.Slot.CatalogAge)) },
		},
		{
			"transactions_total", counter, always, nil, "Transactions taken from the stream.",
			func(r *reading, add func(float64, ...string)) { add(float64(r.Totals.Transactions)) },
		},
		{
			"rows_total", counter, always, nil, "Rows of done_entries inserted or deleted, as the stream told; a TRUNCATE counts none.",
			func(r *reading, add func(float64, ...string)) { add(float64(r.Totals.Rows)) },
		},
	}
}

func books() []family {
	return []family{
		{
			"groups", gauge, leading, nil, "Groups in the books.",
			func(r *reading, add func(float64, ...string)) { add(float64(r.Status.Groups)) },
		},
		{
			"drifting_groups", gauge, leading, nil, "Groups whose counter is wrong at this moment.",
			func(r *reading, add func(float64, ...string)) { add(float64(r.Status.DriftGroups)) },
		},
		{
			"oldest_drift_seconds", gauge, leading, nil, "Age of the oldest write that readers may not see corrected; 0 when there is none.",
			func(r *reading, add func(float64, ...string)) { add(r.Status.OldestDrift.Seconds()) },
		},
		{
			"slots", gauge, leading, nil, "Ring slots, and one for counter rows that belong to none.",
			func(r *reading, add func(float64, ...string)) { add(float64(r.Status.Units)) },
		},
		{
			"slots_ready", gauge, leading, nil, "Ring slots whose books are filled, so that corrections can be written.",
			func(r *reading, add func(float64, ...string)) { add(float64(r.Status.Settled)) },
		},
		{
			"journal_transactions", gauge, leading, nil, "Transactions that the daemon remembers because a coming scan might not see them.",
			func(r *reading, add func(float64, ...string)) { add(float64(r.Status.Journal)) },
		},
		{
			"audits_total", counter, always,
			[]string{"result"},
			"Ring slots compared with a scan. disagreed: the daemon took the scan's figures; should never happen.",
			func(r *reading, add func(float64, ...string)) {
				add(float64(r.Totals.AuditsAgreed), "agreed")
				add(float64(r.Totals.AuditsDisagreed), "disagreed")
			},
		},
		{
			"audit_rounds_total", counter, always, nil, "Rounds after which every ring slot had agreed with a scan.",
			func(r *reading, add func(float64, ...string)) { add(float64(r.Totals.Audits)) },
		},
		{
			"audit_mismatched_groups_total", counter, always, nil, "Groups in which the books disagreed with a scan; should never happen.",
			func(r *reading, add func(float64, ...string)) { add(float64(r.Totals.AuditMismatches)) },
		},
		{
			"last_audit_timestamp_seconds", gauge, leading, nil, "When the last such round ended, as Unix time; left out before the first.",
			func(r *reading, add func(float64, ...string)) {
				if !r.Status.LastAudit.IsZero() {
					add(unix(r.Status.LastAudit))
				}
			},
		},
		{
			"prunes_compared_total", counter, always, nil, "Folds of a queue and priority by awa's pruners, compared with the books.",
			func(r *reading, add func(float64, ...string)) { add(float64(r.Totals.Prunes)) },
		},
		{
			"prune_mismatches_total", counter, always, nil, "Of these, the ones with a different number of jobs; nothing was changed.",
			func(r *reading, add func(float64, ...string)) { add(float64(r.Totals.PruneMismatches)) },
		},
	}
}

func work() []family {
	return []family{
		{
			"corrections_total", counter, always, nil, "Groups corrected.",
			func(r *reading, add func(float64, ...string)) { add(float64(r.Totals.Corrections)) },
		},
		{
			"corrections_deferred_total", counter, always, nil, "Corrections postponed because somebody held the counter row locked.",
			func(r *reading, add func(float64, ...string)) { add(float64(r.Totals.Deferred)) },
		},
		{
			"flushes_total", counter, always, nil, "Flushes of corrections.",
			func(r *reading, add func(float64, ...string)) { add(float64(r.Totals.Flushes)) },
		},
		{
			"scans_total", counter, always, nil, "Scans of one ring slot that were taken in.",
			func(r *reading, add func(float64, ...string)) { add(float64(r.Totals.Scans)) },
		},
		{
			"rescans_total", counter, always, nil, "Ring slots that were scanned again because their books were wrong; should never happen.",
			func(r *reading, add func(float64, ...string)) { add(float64(r.Totals.Rescans)) },
		},
		{
			"checkpoints_total", counter, always, nil, "Checkpoints written.",
			func(r *reading, add func(float64, ...string)) { add(float64(r.Totals.Checkpoints)) },
		},
	}
}

func queueFamilies() []family {
	uncounted := func(n func(daemon.Count) int64) func(r *reading, add func(float64, ...string)) {
		return func(r *reading, add func(float64, ...string)) {
			for _, q := range r.queues() {
				for _, k := range []applier.Kind{applier.KindRows, applier.KindPrune, applier.KindCounter} {
					add(float64(n(q.Uncounted[k])), q.Name, string(k))
				}
			}
		}
	}
	return []family{
		{
			"drift_rows", gauge, leading,
			[]string{queueLabel},
			"By how much the counters of a queue are wrong at this moment: the sum over its groups. " +
				"While more than 10,000 groups are wrong, (others) alone is there, with the sum of all queues.",
			func(r *reading, add func(float64, ...string)) {
				for _, q := range r.queues() {
					if !r.Undivided || q.Name == daemon.Others {
						add(float64(q.Drift), q.Name)
					}
				}
			},
		},
		{
			"uncounted_rows_total", counter, always,
			[]string{queueLabel, kindLabel},
			"Rows by which writes made counters wrong. rows and prune: a pre-#290 binary; counter: a clamp, a rebuild, a migration or a person.",
			uncounted(func(c daemon.Count) int64 { return c.Rows }),
		},
		{
			"uncounted_transactions_total", counter, always,
			[]string{queueLabel, kindLabel},
			"Transactions that made counters wrong, by the same kinds.",
			uncounted(func(c daemon.Count) int64 { return c.Transactions }),
		},
		{
			"last_uncounted_write_timestamp_seconds", gauge, always,
			[]string{queueLabel},
			"When the last uncounted write on a queue was, by the server's clock, as Unix time; left out if there was none.",
			func(r *reading, add func(float64, ...string)) {
				for _, q := range r.queues() {
					if !q.Last.IsZero() {
						add(unix(q.Last), q.Name)
					}
				}
			},
		},
		{
			"last_old_prune_timestamp_seconds", gauge, leading, nil, "When a pre-#290 leader last emptied a ring slot, as Unix time; left out if none did.",
			func(r *reading, add func(float64, ...string)) {
				if !r.Status.OldPrune.IsZero() {
					add(unix(r.Status.OldPrune))
				}
			},
		},
	}
}

func ours() []family {
	return []family{
		{
			"http_connections", gauge, always, nil, "Open connections to this listener.",
			func(r *reading, add func(float64, ...string)) { open, _ := r.conns.count(); add(float64(open)) },
		},
		{
			"http_connections_shut_total", counter, always, nil, "Connections to this listener that were closed because there were too many.",
			func(r *reading, add func(float64, ...string)) { _, shut := r.conns.count(); add(float64(shut)) },
		},
		{
			"build_info", gauge, always,
			[]string{"version", "revision", "goversion"},
			"Always 1; the labels name the build.",
			func(r *reading, add func(float64, ...string)) {
				add(1, r.config.Version, r.config.Revision, runtime.Version())
			},
		},
	}
}

// queues lists those that are told apart, and the rest.
func (r *reading) queues() []daemon.Queue {
	return append(slices.Clone(r.Queues), r.Rest)
}

// heartbeat is how old the leader's last sign of life is by now.
func (r *reading) heartbeat() time.Duration { return r.Leader.Heartbeat + r.now.Sub(r.At) }

// The reasons that the Core does not have.
const (
	reasonStarting = "starting"
	reasonWaiting  = "waiting_for_awa"
	reasonFailing  = "no_session"
	reasonStandby  = "standby"
	reasonOverdue  = "loop_overdue"
	reasonPending  = "pending" // the marker is about to be set, or somebody holds its row
)

// reasons lists what doubt may return beside "".
func reasons() []string {
	out := []string{reasonStarting, reasonWaiting, reasonFailing, reasonOverdue, reasonPending}
	for _, k := range applier.DoubtKinds() {
		out = append(out, string(k))
	}
	return out
}

// doubt is why readers cannot trust the counters because of this daemon; "" when they can.
func (r *reading) doubt() string {
	switch {
	case r.Phase == daemon.Standby:
		return reasonStandby
	case r.Phase == daemon.Starting:
		return reasonStarting
	case r.Phase == daemon.Waiting:
		return reasonWaiting
	case r.Status == nil:
		return reasonFailing
	case r.Overdue(r.now) > r.config.Bound:
		return reasonOverdue
	case r.Status.Doubt != applier.DoubtNone:
		return string(r.Status.Doubt)
	case !r.Status.MarkerSet:
		return reasonPending
	}
	return ""
}

func bit(on bool) float64 {
	if on {
		return 1
	}
	return 0
}

// unix is a time in seconds, as Prometheus has it.
func unix(t time.Time) float64 { return float64(t.UnixNano()) / float64(time.Second) }
