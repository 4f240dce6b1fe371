package status

import (
	"cmp"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/awa-counterd/awa-counterd/applier"
	"github.com/awa-counterd/awa-counterd/internal/awa"
)

// NextStep says in one line what an operator would do now.
func (s *Status) NextStep(quiet time.Duration) string {
	if s.Migrator != 0 {
		return s.migrating()
	}
	if problem, remedy := s.withoutDaemon(); problem != "" {
		return problem + "; " + remedy
	}
	if s.Leader.Another {
		return fmt.Sprintf("%s pid %d leads, of version %s, which has its tables in another form: ask that version for more, or stop it and start this one", s.Leader.Host, s.Leader.PID, s.Leader.Version)
	}
	if s.Leader.DryRun {
		return s.afterDryRun()
	}
	recent := s.Observed < quiet.Seconds() // by a clock that nobody sets; the ages of single writes are by the server's
	if active, last := s.active(quiet); recent && len(active) > 0 {
		text := fmt.Sprintf("pre-#290 writers still active on queue %s; last %s ago", strings.Join(active, ", "), Ago(last))
		if s.Deletes { // what it takes away looks like their work, whoever asks for it
			text += "; or they are gone, and " + DeletesUncounted
		}
		return text
	}
	if ago, ok := s.oldPrune(); recent && ok && ago < quiet.Seconds() {
		return fmt.Sprintf("a pre-#290 worker did awa's maintenance %s ago, and emptied a ring slot: replace it", Ago(ago))
	}
	if live := s.oldLive(); live != "" {
		return live + ": replace them"
	}
	if s.Deletes {
		return DeletesUncounted
	}
	if s.trustIsOff() {
		return "the daemon runs with --trust off: readers scan until it is started without"
	}
	if !s.MarkerSet {
		return "wait until the counters can be trusted: " + s.Reason
	}
	if !s.Fresh {
		return fmt.Sprintf("the figures are %s old, and the daemon did not answer: see its log", s.age())
	}
	if recent {
		return fmt.Sprintf("no uncounted write in the %s for which the daemon has watched; wait until that is %s", Ago(s.Observed), quiet)
	}
	return fmt.Sprintf("safe to finish: no uncounted write for %s; producers, command lines and psql do not register with awa, so make sure that no old one is left", quiet)
}

// mostVersions is how many old versions are named, the last of which may stand for the rest.
const mostVersions = 5

// oldVersions names the versions of old binaries that are live: of the first how many, and the first with the rest.
func oldVersions(all []Runtime) (live int, versions string) {
	old := slices.DeleteFunc(slices.Clone(all), func(r Runtime) bool { return !r.Old })
	if len(old) == 0 {
		return 0, ""
	}
	named := []string{old[0].Version}
	for i, r := range old[1:] {
		if left := old[1+i:]; len(named) == mostVersions-1 && len(left) > 1 {
			n := 0
			for _, r := range left {
				n += r.Live
			}
			named = append(named, fmt.Sprintf("%d of %d more versions", n, len(left)))
			break
		}
		named = append(named, fmt.Sprintf("%d of version %s", r.Live, r.Version))
	}
	if last := len(named) - 1; last > 0 {
		named = []string{strings.Join(named[:last], ", ") + " and " + named[last]}
	}
	return old[0].Live, named[0]
}

// DeletesUncounted is why nobody can vouch for the counters from here on, though no old binary is left.
const DeletesUncounted = "migrate() of an old release has put back its awa.delete_job_compat, with which DELETE FROM awa.jobs does not count: run awa migrate of the new release, with awa-counterd run beside it"

// afterDryRun says what is to be done while a daemon only follows and reports.
func (s *Status) afterDryRun() string {
	if s.MarkerSet {
		return "a dry run corrects nothing, and the marker is set: start awa-counterd run without --dry-run, or run awa-counterd distrust"
	}
	var queues []string
	drift := int64(0)
	for _, q := range s.Queues {
		if q.Drift != 0 {
			queues, drift = append(queues, q.Queue), drift+max(q.Drift, -q.Drift)
		}
	}
	const then = "start awa-counterd run without --dry-run when you have seen enough"
	if drift == 0 {
		return "a dry run, which has nothing to correct at this moment: " + then
	}
	return fmt.Sprintf("a dry run, which would correct a drift of %d now, on queue %s: %s", drift, strings.Join(queues, ", "), then)
}

// Unseen says what no look at the database can tell of old binaries. known is whether awa's runtimes could be read.
func Unseen(known bool) (out []string) {
	if !known {
		out = append(out, "awa.runtime_instances does not exist, or this role may not read it, so old workers cannot be seen")
	}
	return append(out, "producers, command lines and psql do not register with awa: make sure yourself that no old one is left")
}

// NeedsFresh reports that nothing stands in the way of the next step but that the figures are not of this moment.
func (s *Status) NeedsFresh(quiet time.Duration) bool {
	fresh := *s
	fresh.Fresh = true
	return s.NextStep(quiet) != fresh.NextStep(quiet)
}

// age is how old the figures are.
func (s *Status) age() string {
	if s.Persisted == nil {
		return "infinitely"
	}
	return Ago(*s.Persisted)
}

// Unfinished says why the upgrade cannot be finished yet; "" when it can.
func (s *Status) Unfinished(quiet time.Duration) string {
	drift := int64(0)
	for _, q := range s.Queues {
		drift += max(q.Drift, -q.Drift)
	}
	switch next := s.NextStep(quiet); {
	case s.Leader == nil || !s.Leader.Alive || !strings.HasPrefix(next, "safe to finish"):
		return next
	case drift != 0:
		return fmt.Sprintf("a drift of %d jobs is still to be corrected", drift)
	}
	return ""
}

// Never says why the upgrade cannot be finished, and what has to be done, where waiting does not help; "" where it may.
func (s *Status) Never(quiet time.Duration) (problem, remedy string) {
	if s.AwaitsMigration() {
		return "", ""
	}
	if problem, remedy := s.withoutDaemon(); problem != "" {
		return problem, remedy
	}
	switch {
	case s.Leader.Another:
		return s.NextStep(quiet), "then run it again, of the version that leads"
	case s.Leader.DryRun:
		return s.NextStep(quiet), "then run it again"
	case s.trustIsOff():
		problem, remedy = "the daemon runs with --trust off, and finish needs one that vouches for the counters", "start it again without --trust off"
		if old := s.old(); old != "" {
			return problem, remedy + "; " + old
		}
		return problem, remedy + ", or stop it and " + endsWithoutDaemon
	}
	return "", ""
}

// What ends an upgrade where no daemon is, in this order: teardown clears the marker, whoever has set it.
const (
	alone             = "awa-counterd reconcile --trust ends an upgrade without a daemon"
	endsWithoutDaemon = "run awa-counterd teardown; after that " + alone
)

// old says why reconcile --trust would refuse to end the upgrade now; "" where nothing is known against it.
func (s *Status) old() string {
	if live := s.oldLive(); live != "" || !s.Deletes {
		return live
	}
	return DeletesUncounted
}

// oldLive says which old binaries are live; "" for none.
func (s *Status) oldLive() string {
	live, versions := oldVersions(s.Runtimes)
	if live == 0 {
		return ""
	}
	return fmt.Sprintf("%d %s of version %s are live", live, cmp.Or(s.registrants, awa.OldRuntimes), versions)
}

// migrating is what is to be done while awa migrates. A daemon that waits for its end keeps the marker cleared, as far as its role may.
func (s *Status) migrating() string {
	text := fmt.Sprintf("awa's migration is running (process %d), and a daemon that runs waits until it has ended: nothing to do but wait; should a worker have left that session behind, the daemon's log says so", s.Migrator)
	if s.MarkerSet && !s.Led() {
		text += "; the marker is set, so if none runs, start awa-counterd run, or run awa-counterd distrust"
	}
	return text
}

// AwaitsMigration reports that awa migrates where awa-counterd is: a daemon that runs goes on when that has ended.
func (s *Status) AwaitsMigration() bool { return s.Migrator != 0 && (s.Leader != nil || s.Installed) }

// Led reports that a daemon leads at this moment.
func (s *Status) Led() bool { return s.Leader != nil && s.Leader.Alive }

// waits is said where no daemon leads: one that waits has nothing open on the server between two attempts to begin, and may not be
// called dead.
const waits = "one that runs says in its log what it waits for, and awa-counterd doctor --role what its role lacks; if none runs, start "

// withoutDaemon says what is the matter where no daemon leads, and what ends the upgrade then. Where nobody has led, or everything was
// removed, and the marker is set, nobody can tell whether that is the end of an upgrade, or awa's migration that has begun one.
func (s *Status) withoutDaemon() (problem, remedy string) {
	old, none, start := s.old(), "awa-counterd has never run here, or was removed", "start awa-counterd run"
	if s.Installed {
		none, start = "no daemon has led here yet, or none since a teardown or a finish", waits+"awa-counterd run"
	}
	switch {
	case s.Leader == nil && !s.MarkerSet:
		return none + ": " + start, cmp.Or(old, alone)
	case s.Leader == nil && old == DeletesUncounted:
		return "the marker is set", old
	case s.Leader == nil && old != "":
		return "the marker is set, and " + old + ": " + start, "or run awa-counterd distrust"
	case s.Leader == nil && s.Installed:
		return none + ", and the marker is set: nothing to do if awa-counterd reconcile --trust has set it", "if awa's migration has, " + start + ", or run awa-counterd distrust"
	case s.Leader == nil:
		return "nothing of awa-counterd's is here, and the marker is set: nothing to do if awa-counterd reconcile --trust has set it, or awa-counterd finish", "if awa's migration has, start awa-counterd run, or run awa-counterd distrust"
	case s.Leader.Alive:
		return "", ""
	}
	silent := fmt.Sprintf("no daemon leads (the last was %s, %s ago): %sit", s.Leader.Host, Ago(s.Leader.Heartbeat), waits)
	switch {
	case s.MarkerSet:
		return "the marker is set, but " + silent + ", or run awa-counterd distrust", cmp.Or(old, "or "+endsWithoutDaemon)
	case old != "":
		return silent, old
	}
	return silent + ", or remove everything with awa-counterd teardown", "after that " + alone
}

// trustIsOff reports that the daemon that leads never sets the marker, and that nobody else has.
func (s *Status) trustIsOff() bool { return s.Leader.State == applier.TrustIsOff && !s.MarkerSet }

// Passes reports that what stands in the way of finishing passes by itself, even while corrections are held back: the daemon has yet to
// answer, or to prove that it may be trusted. That an old binary wrote stays true for quiet, and a drift stays while nobody corrects it.
func (s *Status) Passes(quiet time.Duration) bool {
	if s.Migrator != 0 { // whatever else is so, nothing is done before that has ended
		return true
	}
	later := *s
	if !later.Fresh { // nobody knows what the figures will say
		later.Queues = nil
		ago, pruned := s.oldPrune()
		if active, _ := s.active(quiet); len(active) == 0 && !(pruned && ago < quiet.Seconds()) {
			later.Observed = quiet.Seconds()
		}
	}
	later.Fresh, later.MarkerSet = true, true
	return later.Unfinished(quiet) == ""
}

// OnlyDrift reports that all that stands in the way of finishing, but for what passes by itself, is a drift.
func (s *Status) OnlyDrift(quiet time.Duration) bool {
	even := *s
	even.Queues = nil
	return even.Passes(quiet) && !s.Passes(quiet)
}

// active lists the queues that old binaries wrote within quiet, newest first, and how long ago the last was.
// Prunes by an old leader drive queues wrong that no old binary writes, and what drove counters wrong without a row
// is no sign of one: a fleet that counts may do it for ever.
func (s *Status) active(quiet time.Duration) (out []string, last float64) {
	for _, u := range s.Uncounted {
		if u.Last >= quiet.Seconds() || u.Kind != string(applier.KindRows) {
			continue
		}
		if len(out) == 0 {
			last = u.Last
		}
		if !slices.Contains(out, u.Queue) {
			out = append(out, u.Queue)
		}
	}
	return out, last
}

// oldPrune is how long ago an old leader emptied a ring slot last, in seconds.
func (s *Status) oldPrune() (ago float64, ok bool) {
	if s.OldPrune != nil {
		ago, ok = *s.OldPrune, true
	}
	for _, u := range s.Uncounted {
		if u.Kind == string(applier.KindPrune) && (!ok || u.Last < ago) {
			ago, ok = u.Last, true
		}
	}
	return ago, ok
}

// Ago renders an age in seconds for people.
func Ago(seconds float64) string {
	d := time.Duration(seconds * float64(time.Second))
	switch {
	case d < 10*time.Second:
		return fmt.Sprintf("%.1f s", d.Seconds())
	case d < time.Minute:
		return fmt.Sprintf("%.0f s", d.Seconds())
	case d < time.Hour:
		return fmt.Sprintf("%.0f min", d.Minutes())
	case d < 48*time.Hour:
		return fmt.Sprintf("%.1f h", d.Hours())
	}
	return fmt.Sprintf("%.0f days", d.Hours()/24)
}
