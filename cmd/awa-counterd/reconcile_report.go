package main

import (
	"fmt"
	"io"
	"slices"
	"strings"
	"time"

	"github.com/jedib0t/go-pretty/v6/table"

	"github.com/awa-counterd/awa-counterd/internal/awa"
	"github.com/awa-counterd/awa-counterd/reconcile"
)

// reconcileReport is the documented shape of `reconcile --json`; fields are only ever added.
type reconcileReport struct {
	Schema      string       `json:"schema"`
	Mode        string       `json:"mode"` // check, correct or trust
	Started     time.Time    `json:"started"`
	Seconds     float64      `json:"seconds"`
	Leaves      int          `json:"leaves"`
	Rows        int64        `json:"rows"`
	Groups      int          `json:"groups"`
	Wrong       int          `json:"groups_wrong"` // as found
	Corrected   int          `json:"groups_corrected"`
	Moved       int          `json:"counter_rows_moved"` // right as a sum before, and now right by themselves
	Locked      int          `json:"groups_locked"`      // put off: somebody held the counter row
	Left        int          `json:"groups_left_wrong"`
	Misplaced   int          `json:"counter_rows_misplaced"` // by --check, where no daemon goes on with them: right as a sum, and not what awa itself would hold
	MarkerSet   bool         `json:"marker_set"`
	Queues      []queueDrift `json:"queues"`
	Worst       []groupDrift `json:"worst"`                      // at most ten
	MisplacedOn []string     `json:"queues_misplaced,omitempty"` // on which queues counter_rows_misplaced are
	Notes       []string     `json:"notes,omitempty"`
	Next        string       `json:"next_step"`

	marked  bool // the marker is set, by this or by somebody else
	remains bool // this has set it, and a daemon that is dead has left something
}

type queueDrift struct {
	Queue  string `json:"queue"`
	Groups int    `json:"groups_wrong"`
	Drift  int64  `json:"drift"` // rows − counter, summed
}

type groupDrift struct {
	Slot     int32  `json:"ready_slot"`
	Queue    string `json:"queue"`
	Priority int16  `json:"priority"`
	Shard    int16  `json:"enqueue_shard"`
	Rows     int64  `json:"rows"`
	Counter  int64  `json:"counter"`
	Drift    int64  `json:"drift"`
}

const worstGroups = 10

func (r *reconcileReport) fill(res reconcile.Result) {
	r.Leaves, r.Rows, r.Groups, r.Wrong = res.Leaves, res.Rows, res.Groups, len(res.Drifts)
	r.Corrected, r.Locked = res.Corrected, len(res.Locked)
	if r.Mode == modeCheck {
		r.Misplaced = res.UnevenRows()
		for _, u := range res.Uneven {
			if !slices.Contains(r.MisplacedOn, u.Queue) {
				r.MisplacedOn = append(r.MisplacedOn, u.Queue)
			}
		}
		slices.Sort(r.MisplacedOn)
	} else {
		r.Moved = res.UnevenRows()
	}
	r.Queues, r.Worst = []queueDrift{}, []groupDrift{}
	for i, d := range res.Drifts {
		at := slices.IndexFunc(r.Queues, func(q queueDrift) bool { return q.Queue == d.Queue })
		if at < 0 {
			at = len(r.Queues)
			r.Queues = append(r.Queues, queueDrift{Queue: d.Queue})
		}
		r.Queues[at].Groups++
		r.Queues[at].Drift += d.Off()
		if i < worstGroups {
			r.Worst = append(r.Worst, groupDrift{d.Slot, d.Queue, d.Priority, d.Shard, d.Rows, d.Counter, d.Off()})
		}
	}
	slices.SortFunc(r.Queues, func(a, b queueDrift) int { return strings.Compare(a.Queue, b.Queue) })
}

// mostVersions is how many versions of old runtimes are named.
const mostVersions = 5

// oldRuntimes names those that are live by version, of each the first. They come ordered by version.
func oldRuntimes(all []awa.Runtime) (out []string) {
	old := slices.DeleteFunc(slices.Clone(all), func(r awa.Runtime) bool { return !r.Old })
	for len(old) > 0 && len(out) < mostVersions {
		first, n := old[0], 1
		for n < len(old) && old[n].Version == first.Version {
			n++
		}
		name := first.ID
		if n > 1 {
			name += fmt.Sprintf(" and %d more", n-1)
		}
		out, old = append(out, fmt.Sprintf("%s (%s)", name, first.Version)), old[n:]
	}
	if len(old) > 0 {
		out = append(out, fmt.Sprintf("and %d of other versions", len(old)))
	}
	return out
}

// next says what an operator would do now.
func (r *reconcileReport) next(l *awa.Layout) string {
	switch {
	case r.MarkerSet && r.remains:
		return "the counters are right, and readers use them; what a daemon has left is still here, and awa-counterd teardown clears the marker: run that, and then this again, unless a daemon is to go on"
	case r.MarkerSet:
		return "nothing to do: the counters are right, and readers use them"
	case r.Mode == modeCheck && r.Wrong > 0:
		return "run awa-counterd reconcile to correct this, or awa-counterd run as long as pre-#290 writers are active"
	case r.Misplaced > 0:
		return "run awa-counterd reconcile to move what stands in other counter rows than awa's own, or awa-counterd run as long as pre-#290 writers are active: the counters are right, and awa's next changes can make them wrong"
	case r.Left > 0:
		return "old binaries still write, or somebody holds a counter row locked: run awa-counterd reconcile again, or awa-counterd run as long as pre-#290 writers are active"
	case !l.HasMarker:
		return "the counters are right; this awa has no trust marker"
	case r.Mode == "trust":
		return "see the reason below; the counters were right at the last look"
	case r.marked:
		return "the counters are right, and the marker is set: readers use them; awa-counterd run keeps them right as long as pre-#290 writers are active"
	}
	return "the counters are right; awa-counterd reconcile --trust lets readers use them, once no pre-#290 writer is left"
}

func (r *reconcileReport) print(w io.Writer, asJSON bool) error {
	if asJSON {
		return encode(w, r)
	}
	var b strings.Builder
	fmt.Fprintf(&b, "schema %s: %d leaves, %d rows, %d groups compared in %.1f s\n", r.Schema, r.Leaves, r.Rows, r.Groups, r.Seconds)
	fmt.Fprintf(&b, "wrong: %d", r.Wrong)
	if r.Mode != modeCheck {
		fmt.Fprintf(&b, ", corrected: %d, skipped because somebody held the counter row locked: %d, still wrong at the second look: %d", r.Corrected, r.Locked, r.Left)
	}
	if r.Moved > 0 {
		fmt.Fprintf(&b, ", counter rows moved that were right as a sum only: %d", r.Moved)
	}
	b.WriteString("\n")
	if r.Misplaced > 0 {
		fmt.Fprintf(&b, "counter rows that are right as a sum only, and not what awa itself would hold: %d, on queue %s\n", r.Misplaced, strings.Join(r.MisplacedOn, ", "))
	}
	if len(r.Queues) > 0 {
		t := table.NewWriter()
		t.SetStyle(table.StyleLight)
		t.AppendHeader(table.Row{"queue", "groups wrong", "drift"})
		for _, q := range r.Queues {
			t.AppendRow(table.Row{q.Queue, q.Groups, fmt.Sprintf("%+d", q.Drift)})
		}
		b.WriteString(t.Render() + "\nworst groups:\n")
		t = table.NewWriter()
		t.SetStyle(table.StyleLight)
		t.AppendHeader(table.Row{"slot", "queue", "priority", "shard", "rows", "counter", "drift"})
		for _, g := range r.Worst {
			t.AppendRow(table.Row{g.Slot, g.Queue, g.Priority, g.Shard, g.Rows, g.Counter, fmt.Sprintf("%+d", g.Drift)})
		}
		b.WriteString(t.Render() + "\n")
	}
	for _, n := range r.Notes {
		fmt.Fprintf(&b, "note: %s\n", n)
	}
	fmt.Fprintf(&b, "next: %s\n", r.Next)
	_, err := io.WriteString(w, b.String())
	return err
}
