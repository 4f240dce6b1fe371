package corrections

import (
	"fmt"

	"github.com/awa-counterd/awa-counterd/checkpoint"
	"github.com/awa-counterd/awa-counterd/internal/awa"
)

// Statements is the SQL of a Writer. What is "" there is nothing for: neither the one-shot nor a dry run has all of them.
type Statements struct {
	awaSchema string
	guard     string // a condition on $1, the awa schema, and $2, the instance

	// Add, Subtract and DeleteZeroRows take arrays of slot, queue, priority, shard and delta, $1 to $5. $6 and $7 of the first
	// two are the awa schema and the instance.
	Add, Subtract, DeleteZeroRows string
	// Beat takes schema, instance, the state in words, and whether corrections are held back. It yields the server's clock, a
	// snapshot, whether the marker is set, the WAL insert position, and the id of its own transaction.
	Beat string
	// BlindBeat is Beat without a look at the marker, which it takes for not set.
	BlindBeat string
	// Set and Clear take schema and instance; Set also until when it may set the marker, or null, and yields whether it is set.
	Set, Clear Change
	// Note takes schema, instance and reason, and remembers a change of the marker that is not remembered yet.
	Note string
	// Withdraw takes schema and instance, and clears the marker without waiting for whoever holds the leader's row.
	Withdraw string
	// StillSet yields whether the marker is set. It follows what clears it, in one transaction: a trigger may keep it.
	StillSet string
}

// Change writes the marker in one direction.
type Change struct {
	Alone string
	Noted string // remembers it as well; the reason is its last parameter
}

// OfLeader are the statements of a daemon that corrects; each takes effect only while its instance leads. history: this role
// can write the marker's history (checkpoint.Remembers).
func OfLeader(l *awa.Layout, history bool) Statements {
	s := build(l, checkpoint.Guard)
	s.Beat, s.BlindBeat = beat(l.MarkerIsSet()), beat("false")
	if history && l.HasMarker {
		leads := checkpoint.Guard(1, 2)
		s.Set.Noted = l.SetMarkerUntilNoting(leads, checkpoint.NoteOwn(true, 4))
		s.Clear.Noted = l.ClearMarkerNoting(leads, checkpoint.NoteOwn(false, 3))
		s.Note = checkpoint.NoteOwnState(l.MarkerIsSet())
	}
	if l.HasMarker {
		s.Withdraw = l.SetMarker(false, checkpoint.HoldsLock(1, 2))
		s.StillSet = `select ` + l.MarkerIsSet()
	}
	return s
}

// OfDryRun are those of one that only follows and reports: whatever it is asked for, it has nothing to write with but tokens.
func OfDryRun(l *awa.Layout) Statements {
	all := build(l, checkpoint.Guard)
	return Statements{awaSchema: all.awaSchema, guard: all.guard, Beat: beat(l.MarkerIsSet()), BlindBeat: beat("false")}
}

// OfOneShot are those of a command that corrects without a stream, whoever leads. It has no token of its own to write. while is
// what has to hold besides when a statement arrives, a condition without parameters.
func OfOneShot(l *awa.Layout, while string) Statements {
	return build(l, func(schemaParam, instanceParam int) string {
		return fmt.Sprintf("$%d::text is not null and $%d::text is not null and %s", schemaParam, instanceParam, while)
	})
}

// build spells what all of them have in common. guard makes a condition of the numbers of the parameters that carry schema and
// instance.
func build(l *awa.Layout, guard func(schemaParam, instanceParam int) string) Statements {
	return Statements{
		awaSchema: string(l.Schema), guard: guard(1, 2),
		Add: l.AddCorrections(guard(6, 7)), Subtract: l.SubtractCorrections(guard(6, 7)), DeleteZeroRows: l.DeleteZeroRows(),
		Set: Change{Alone: l.SetMarkerUntil(guard(1, 2))}, Clear: Change{Alone: l.SetMarker(false, guard(1, 2))},
	}
}

func beat(markerIsSet string) string {
	return checkpoint.Heartbeat(fmt.Sprintf(`clock_timestamp(), pg_current_snapshot()::text, %s, pg_current_wal_insert_lsn()::text, pg_current_xact_id()::text`, markerIsSet))
}
