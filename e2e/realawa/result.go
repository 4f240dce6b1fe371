package main

import (
	"cmp"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"
)

// cell is what is kept of a plan: both trials, once they are over.
type cell struct {
	Plan    plan    `json:"plan"`
	Control *result `json:"control,omitempty"`
	With    *result `json:"with,omitempty"`
}

// result is that of one trial.
type result struct {
	At     time.Time     `json:"at"`
	Commit string        `json:"commit"`
	Server string        `json:"server"`
	Took   time.Duration `json:"took"`

	Impossible string    `json:"impossible,omitempty"` // why awa itself cannot be upgraded so; then nothing else is set
	Migrate    migration `json:"migrate"`
	Stream     books     `json:"stream"`
	Watch      verdict   `json:"watch"`

	Stopped  comparison     `json:"stopped"` // the old ones gone and everybody quiet
	TwoLaps  comparison     `json:"two_laps"`
	Laps     float64        `json:"laps"`                  // after finish, made
	Acted    *int           `json:"acted,omitempty"`       // jobs that operators did something with after finish; nil: it was not tried
	Actions  map[string]int `json:"actions,omitempty"`     // the same by what they did; nil: it was not looked at
	Folds    *int64         `json:"folds_after,omitempty"` // made after finish; nil: it was not looked at
	Holds    []hold         `json:"holds"`                 // of new workers, after finish; nil: it was not looked at
	MixHolds []hold         `json:"mix_holds"`             // of all workers, side by side; nil: the same
	Ghosts   int            `json:"ghosts,omitempty"`      // ready rows of jobs that had ended elsewhere, taken out of the ring's way after finish
	Stands   string         `json:"stands,omitempty"`      // where the ring did, when it had not turned twice after finish
	MixLaps  float64        `json:"mix_laps"`              // of the ring, side by side
	Turns    []int64        `json:"turns"`                 // of the ring, side by side, twice a second
	LedByOld float64        `json:"led_by_old"`            // share of the looks at the leader side by side
	Naive    int64          `json:"naive"`                 // by how much +1/−1 was wrong when everybody was quiet
	Doubled  int64          `json:"doubled"`               // the same on top of what awa counts

	JobsOld  tally          `json:"jobs_old"`
	JobsNew  tally          `json:"jobs_new"`
	Errors   map[string]int `json:"errors"` // of awa's workers, from the server's log, by kind
	Prunes   prunes         `json:"prunes"`
	Daemon   *daemonResult  `json:"sidecar,omitempty"` // the name that kept results have
	Problems []string       `json:"problems,omitempty"`
}

type migration struct {
	Attempts  int     `json:"attempts"`
	Deadlocks int     `json:"deadlocks"` // of the migrator
	Fleet     string  `json:"fleet"`     // what the old workers did in the end: live, paused, stopped
	Seconds   float64 `json:"seconds"`

	Ours []string `json:"ours,omitempty"` // deadlocks, of anybody's, that a session of awa-counterd was in
}

type comparison struct {
	Groups  int     `json:"groups"`
	Wrong   int     `json:"wrong"`
	Jobs    int64   `json:"jobs"`    // that they are wrong by
	Apart   int64   `json:"apart"`   // by how much awa's two readings differ, over queues
	Seconds float64 `json:"seconds"` // from everybody quiet to everything right
	Set     bool    `json:"set"`
	First   string  `json:"first,omitempty"`
}

type prunes struct {
	FailedOld int  `json:"failed_old"`
	FailedNew int  `json:"failed_new"`
	WeBlocked int  `json:"we_blocked"`       // failed prunes of new leaders with a session of awa-counterd in the way
	Logged    bool `json:"logged,omitempty"` // the server's log was asked for them as well, which has the time of each statement of the daemon's
	Waits     int  `json:"waits"`            // looks at which anybody of awa's waited for us
	Looks     int  `json:"looks"`
	Pinned    int  `json:"pinned"`                      // looks at which a session of awa-counterd held a snapshot
	Horizon   int  `json:"horizon"`                     // looks at which anybody did, the test's own sessions among them
	Others    *int `json:"horizon_of_others,omitempty"` // looks at which anybody but these did; nil: it was not looked at
}

type daemonResult struct {
	Kills      int      `json:"kills"`
	Asked      []answer `json:"asked,omitempty"` // what doctor and status said on the way; nil in results from before that was judged
	Named      []string `json:"named,omitempty"` // queues on which status saw uncounted writes of any kind, in those results
	Finish     int      `json:"finish_exit"`
	Said       string   `json:"finish_said"`
	Tries      int      `json:"finish_tries"`             // 0 in results from before it was run again
	Refused    []string `json:"finish_refused,omitempty"` // what those said that were
	DaemonExit int      `json:"daemon_exit"`
	Left       []string `json:"left,omitempty"`
	Errors     []string `json:"errors,omitempty"` // what the daemon logged as errors, by kind
	Audits     int      `json:"audits_disagreed"`
	Prunes     int      `json:"prunes_disagreed"`    // with the books, by the daemon's audit of prunes
	Deadlocks  []string `json:"deadlocks,omitempty"` // that a session of awa-counterd was in
}

// jobs is how many jobs were handled.
func (r *result) jobs() int { return r.JobsOld.Made["handled"] + r.JobsNew.Made["handled"] }

func (r *result) produced() int { return r.JobsOld.Made["produced"] + r.JobsNew.Made["produced"] }

func (r *result) acted() int { return known(r.Acted) }

// known is a figure that older results do not have.
func known(n *int) int {
	if n == nil {
		return 0
	}
	return *n
}

// failures are the workers' errors without failed prunes, which are counted apart.
func (r *result) failures() (n int) {
	for _, k := range r.Errors {
		n += k
	}
	return n
}

func (r *result) per1000(n int) float64 { return 1000 * float64(n) / float64(max(1, r.jobs())) }

// mostOf lists what there is most of.
func mostOf(counts map[string]int, most int) []string {
	keys := slices.SortedFunc(maps.Keys(counts), func(a, b string) int { return cmp.Or(cmp.Compare(counts[b], counts[a]), strings.Compare(a, b)) })
	return keys[:min(most, len(keys))]
}

// kinds lists errors, most first, with how often they came.
func kinds(errs map[string]int, most int) (out []string) {
	for _, k := range mostOf(errs, most) {
		out = append(out, fmt.Sprintf("%d× %s", errs[k], k))
	}
	return out
}

// weigh lists what a trial has against it. control is the cell's; nil where it is not there.
func (r *result) weigh(p *plan, control *result) {
	r.Problems = nil // of a trial that was kept, by the rules of its day
	say := func(bad bool, format string, args ...any) {
		if bad {
			r.Problems = append(r.Problems, fmt.Sprintf(format, args...))
		}
	}
	if r.Impossible != "" {
		say(!p.impossible(r.Impossible), "these releases are not known for that: %s", r.Impossible)
		return
	}
	say(r.produced() < p.Jobs, "only %d jobs were made", r.produced())
	say(r.Stream.RowsUncounted < p.Rows, "old binaries wrote only %d rows", r.Stream.RowsUncounted)
	say(!p.led(r.LedByOld), "an old worker led in %.0f %% of the looks, and the cell is of %s", 100*r.LedByOld, p.Leads)
	if r.Daemon == nil {
		// Under a new leader whose ring turns, what was wrong is pruned away, in the end all of it.
		say(r.Stopped.Wrong == 0 && r.Watch.Lying < 1, "the control was never wrong for long: this cell proves nothing")
		return
	}
	say(r.Stopped.Wrong > 0, "%d groups wrong when everybody was quiet: %s", r.Stopped.Wrong, r.Stopped.First)
	say(r.TwoLaps.Wrong > 0, "%d groups wrong two laps after finish: %s", r.TwoLaps.Wrong, r.TwoLaps.First)
	say(!(p.turned(r.MixLaps) || p.Ring == turns && r.heldBeside(control)), "the ring turned %.1f times beside old workers, and the cell is of one that %s", r.MixLaps, p.Ring)
	say(p.laps() && r.Laps < 2 && !awaHolds(r.Holds, control), "the ring turned only %.1f times after finish, and no error of awa's that comes without awa-counterd as well held it to the end: %s", r.Laps, r.Stands)
	say(p.Jobs == 0 && r.Folds != nil && *r.Folds == 0 && (p.laps() || control != nil && control.Folds != nil && *control.Folds > 0), "awa folded nothing after finish")
	say(p.Jobs == 0 && r.Acted != nil && *r.Acted == 0, "operators did nothing after finish") // beside the backlog of a long run they get to nothing
	if p.Jobs == 0 && r.Actions != nil && control != nil {
		for _, what := range append(oneByOne(), ofBefore) {
			say(r.Actions[what] == 0 && control.Actions[what] > 0, "operators did nothing of kind %s after finish, and without awa-counterd they did", what)
		}
	}
	say(!r.TwoLaps.Set, "the marker is not set after finish")
	say(r.Watch.Judged != nil && *r.Watch.Judged < fewJudged, "the marker was set in hardly any look while the daemon lived")
	say(r.Watch.Dishonest > 0, "%d dishonest looks, the first: %s", r.Watch.Dishonest, r.Watch.First)
	say(len(r.Daemon.Deadlocks) > 0, "a session of awa-counterd was in %d deadlocks: %s", len(r.Daemon.Deadlocks), strings.Join(r.Daemon.Deadlocks, "; "))
	say(r.Prunes.WeBlocked > 0, "%d prunes of new leaders failed behind a session of awa-counterd", r.Prunes.WeBlocked)
	// A finish that refuses changes nothing, and everything is still there.
	refused := r.Daemon.Finish != 0
	r.Problems = append(r.Problems, r.Daemon.finished()...)
	say(!refused && r.Daemon.DaemonExit != 0, "the daemon exited %d", r.Daemon.DaemonExit)
	say(!refused && len(r.Daemon.Left) > 0, "left behind: %s", strings.Join(r.Daemon.Left, ", "))
	say(r.Daemon.Kills < p.Kills, "the daemon was killed %d times only", r.Daemon.Kills)
	say(r.Daemon.Audits > 0, "%d audits disagreed with the books", r.Daemon.Audits)
	say(r.Daemon.Prunes > 0, "%d healthy prunes of awa's were called wrong", r.Daemon.Prunes)
	say(r.Stopped.Apart+r.TwoLaps.Apart > 0, "awa's own two readings differed by %d jobs when everybody was quiet, and by %d two laps after finish", r.Stopped.Apart, r.TwoLaps.Apart)
	if r.Daemon.Asked == nil {
		say(len(r.Daemon.Named) == 0, "status named no queue")
	} else {
		r.Problems = append(r.Problems, advised(r.Daemon.Asked)...)
	}
}

// fewJudged are too few looks, of some five a second, to say of a daemon that it is honest: one that never sets the marker is.
const fewJudged = 10

// heldBeside reports that awa's errors kept the ring from turning side by side. Results from before that was looked at have only how
// many there were in all of the trial: that many times, in both halves, they came to the end.
func (r *result) heldBeside(control *result) bool {
	if r.MixHolds != nil || control == nil {
		return awaHolds(r.MixHolds, control)
	}
	for kind, n := range r.Errors {
		if (&complaint{who: kind, text: kind}).holds() && n >= manyCases && control.Errors[kind] >= manyCases {
			return true
		}
	}
	return false
}

func describe(g group, d int64, age time.Duration) string {
	return fmt.Sprintf("slot %d, queue %s, priority %d: rows − counter = %d for %s", g.Slot, g.Queue, g.Priority, d, age.Round(10*time.Millisecond))
}

// store keeps cells as files, so that a run that was broken off goes on where it was.
type store string

func (s store) file(name string) string { return filepath.Join(string(s), name+".json") }

// load fills what is kept under a name, and leaves what is not there.
func (s store) load(name string, into any) error {
	b, err := os.ReadFile(s.file(name))
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil {
		return err
	}
	if err := json.Unmarshal(b, into); err != nil {
		return fmt.Errorf("%s: %w", s.file(name), err)
	}
	return nil
}

// save writes aside first: a file that is there is whole.
func (s store) save(name string, what any) error {
	if err := os.MkdirAll(string(s), 0o755); err != nil {
		return err
	}
	b, err := json.MarshalIndent(what, "", " ")
	if err != nil {
		return err
	}
	if err := os.WriteFile(s.file(name)+".part", append(b, '\n'), 0o644); err != nil {
		return err
	}
	return os.Rename(s.file(name)+".part", s.file(name))
}
