package listener

import (
	"fmt"

	"github.com/awa-counterd/awa-counterd/applier"
	"github.com/awa-counterd/awa-counterd/internal/daemon"
	"github.com/awa-counterd/awa-counterd/internal/status"
)

// The classes of what is shown, for the colours; each comes with a word that says the same.
const (
	good = "good"
	bad  = "bad"
	calm = "calm" // neither
)

// verdict is what a person sees first.
type verdict struct {
	Class  string
	Word   string // in capitals on the page
	Why    string
	Impact string // what it means for awa
	Do     string // what to do now
}

func (r *reading) verdict(st *status.Status) verdict {
	reason := r.doubt()
	switch {
	case r.Phase == daemon.Standby:
		return r.standbyVerdict(st)
	case reason == "":
		return verdict{
			Class: good, Word: "Trusted", Why: "The marker was set " + status.Ago(r.now.Sub(r.Status.MarkerSince).Seconds()) + " ago, and the daemon vouches for it.",
			Impact: "awa's readers use the counters.", Do: "Nothing.",
		}
	case reason == string(applier.DoubtDryRun):
		return dryVerdict(st)
	case reason == string(applier.DoubtOff), reason == string(applier.DoubtNoMarker):
		return verdict{
			Class: calm, Word: "Not marked", Why: upper(r.why()) + ". The daemon corrects the counters all the same.",
			Impact: "awa's readers are not told that they may use the counters.", Do: "Nothing.",
		}
	}
	v := verdict{
		Class: bad, Word: "Not trusted", Why: upper(r.why()) + ".", Do: advice(reason),
		Impact: "awa's readers scan the rows, not the counters: slower, but right.",
	}
	if r.Status == nil {
		v.Word = "Not working"
		if r.Phase != daemon.Failing {
			v.Class, v.Word = calm, "Not yet"
		}
	}
	if marked := st != nil && st.MarkerSet && r.Status == nil; marked {
		v.Impact = "The marker was still set when the database was last read: awa's readers may use counters that nobody vouches for."
		v.Do += " If it lasts, run awa-counterd distrust."
	}
	return v
}

// dryVerdict is that of a daemon that only follows.
func dryVerdict(st *status.Status) verdict {
	v := verdict{
		Class: calm, Word: "Dry run", Why: "Nothing is corrected, and the marker is neither set nor cleared. Drift is what would be corrected.",
		Impact: "awa's readers scan the rows, not the counters: slower, but right.", Do: "Nothing. Start it without --dry-run when you have seen enough.",
	}
	if st != nil && st.MarkerSet {
		v.Class, v.Impact = bad, "The marker is set, by somebody else: awa's readers use counters that nobody corrects."
		v.Do = "Start it without --dry-run, or run awa-counterd distrust."
	}
	return v
}

func (r *reading) standbyVerdict(st *status.Status) verdict {
	v := verdict{Class: calm, Word: "Standing by", Why: "Another daemon leads: " + r.leader() + ".", Do: "Nothing on this machine. Look at the leader's page."}
	switch {
	case r.Leader == nil || r.Leader.Instance == "":
	case r.Leader.Leaving: // its silence is no fault then, and the marker is the finish's own
		v.Why = "awa-counterd finish is completing the upgrade: the leader has given up the lead to it."
		v.Do = "Nothing. When finish has ended, this daemon ends too; if finish is interrupted, a daemon leads again."
	case r.heartbeat() > r.Leader.Silent():
		v.Class, v.Word = bad, "Leader silent"
		v.Why = "The leader does not answer: " + r.leader() + "."
		v.Do = "Look at its machine. This daemon takes over by itself when the leader's lock is free, or 15 s after its last sign of life."
	}
	switch {
	case st == nil:
		v.Impact = "This daemon does not know whether the marker is set."
	case st.MarkerSet:
		v.Impact = "The marker is set: awa's readers use the counters."
	default:
		v.Impact = "The marker is not set: awa's readers scan the rows, not the counters: slower, but right."
	}
	return v
}

// advice says what a person does about a reason for distrust, as docs/operations.md has it.
func advice(reason string) string {
	switch reason {
	case reasonStarting, reasonPending, string(applier.DoubtScanning), string(applier.DoubtAuditing), string(applier.DoubtFirstToken), string(applier.DoubtTokens):
		return "Wait: a start takes seconds, a scan of 20 million rows some more. After some minutes, read the log."
	case reasonWaiting:
		return "If awa's migration is running, wait. If not, run awa migrate."
	case reasonFailing:
		return "The daemon tries again by itself, at least every 10 s. Check whether the database is up; if it is, run awa-counterd doctor."
	case reasonOverdue:
		return "The daemon hangs, or its machine is overloaded: look at the machine, and restart the daemon if it stays like this. A standby takes over."
	case string(applier.DoubtUnlooked):
		return "Somebody holds a lock on a table that the daemon reads once a second, awa.runtime_storage_backends or one of its own most likely: see pg_locks."
	case string(applier.DoubtRetained):
		return "Something holds the replication slot back, most often a long transaction: see pg_stat_activity.xact_start and pg_prepared_xacts. " +
			"At --max-retained-wal the daemon drops the replication slot and creates a new one."
	case string(applier.DoubtOpen):
		return "Wait for these transactions to end, or end them: see pg_stat_activity.xact_start and pg_prepared_xacts."
	case string(applier.DoubtLag):
		return "Check whether the server or this machine is saturated, or one huge transaction is being decoded; the daemon catches up by itself. " +
			"If drift grows as well, somebody holds counter rows locked: see pg_locks on queue_terminal_live_counts."
	case string(applier.DoubtDrift):
		return "Somebody holds a counter row locked: see pg_locks on queue_terminal_live_counts. If nobody does, awa-counterd doctor looks for triggers."
	case string(applier.DoubtHidden):
		return "Synchronous replication waits for a standby: see pg_stat_replication."
	case string(applier.DoubtUncounted):
		return "Replace the pre-#290 binaries that write the queues below."
	case string(applier.DoubtStopping):
		return "The daemon is being stopped. Start it again, or run awa-counterd finish when the upgrade is over."
	}
	return "Read the log."
}

// upper makes a sentence of a reason.
func upper(s string) string {
	if s == "" || s[0] < 'a' || s[0] > 'z' {
		return s
	}
	return string(s[0]-'a'+'A') + s[1:]
}

// spoken is what a screen reader says when it changes: the word and the reason, without figures that tick.
func (v *verdict) spoken(reason string) string {
	if reason == "" || reason == reasonStandby {
		return v.Word
	}
	return fmt.Sprintf("%s: %s", v.Word, reason)
}
