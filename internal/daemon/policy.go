package daemon

import (
	"time"

	"github.com/awa-counterd/awa-counterd/internal/base/pg"
)

// Policy that nobody sets by a flag: how long things are waited for, and how often they are looked at. What belongs to one
// file only stands there.
const (
	// statementTimeout is the server's bound of a statement: far longer than any of the daemon's takes, but not for ever.
	statementTimeout = 30 * time.Second
	// statementWithin bounds, by the daemon's own clock, what the server bounds by statementTimeout, or does not bound: behind a
	// half-open connection no timeout of the server's is ever heard of.
	statementWithin = statementTimeout + pg.AnswerWithin
	// answerWithin bounds a look by the daemon's own clock: nothing that is looked at takes the server long.
	answerWithin = pg.AnswerWithin

	// lockWait is for locks on the daemon's own tables and the catalog's: whoever holds one of them does so for an instant.
	lockWait = 5 * time.Second
	// rowLockWait is for awa's rows, until a transaction of corrections sets its own: well below deadlock_timeout (1 s).
	rowLockWait = 250 * time.Millisecond

	// rowRetryPause is between two tries at the marker's row when the process is about to end.
	rowRetryPause = 50 * time.Millisecond

	// standbyPause is between two attempts to lead; standbyJitter at most comes on top, so that several standbys do not ask in step.
	standbyPause  = 300 * time.Millisecond
	standbyJitter = 200 * time.Millisecond
	// deposedPause is for who has just ended the leader's session: the lock is about to be free.
	deposedPause = 20 * time.Millisecond

	// lookEvery is the pause between two looks at what others change: tables, replication slot, migrations.
	lookEvery = time.Second
	// aliveEvery is the pause between two signs of life to a supervisor.
	aliveEvery = time.Second
	// longestStep bounds what liveWhile vouches for: a connection that is being made, to one address after the other.
	longestStep = 5 * time.Minute

	// lastWordWithin bounds each statement at the end of a session, on connections of which some are likely to be dead.
	lastWordWithin = time.Second
	// stopWithin bounds a graceful stop; supervisors commonly kill after 10 s.
	stopWithin = 8 * time.Second

	// firstRetryPause and longestRetryPause are between two sessions, of which the first was ended by a fault. A session that
	// lasted longer than longestRetryPause has the pauses begin again.
	firstRetryPause   = 200 * time.Millisecond
	longestRetryPause = 10 * time.Second

	// mostScans is how many scans may be under way at a time.
	mostScans = 2
)

// startLockWait is lockWait until the lead is claimed: a marker that is found set is cleared when the start fails, and must not stand
// until then.
func startLockWait(bound time.Duration) time.Duration {
	return min(lockWait, max(rowLockWait, bound/2))
}
