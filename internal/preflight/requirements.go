package preflight

import (
	"context"

	"github.com/awa-counterd/awa-counterd/checkpoint"
)

// Requirement is something that the daemon needs, or is better off with.
type Requirement struct {
	Name    string   // of its checks as doctor prints them, or what they begin with
	Also    []string // how else a look at it may be called
	Means   string   // what becomes of a daemon without it
	Refuses bool     // start-up refuses without it

	tables bool // it is about awa's tables: where these are not known there is nothing to look at
	look   looking
	// turn is when setup does something about it, counted from 1; 0 for never. plan says what.
	turn int
	plan planning
}

// Planned reports that setup brings it about, or says who can.
func (r Requirement) Planned() bool { return r.turn > 0 }

// looking looks at one requirement. Without findings it does not apply.
type looking func(ctx context.Context, v *visit) []Finding

// planning is what setup does about it. An error that is a *pg.Refusal says what a person has to do first.
type planning func(ctx context.Context, v *visit) ([]Step, error)

// Requirements is the table, in the order in which they are looked at.
func Requirements() []Requirement {
	return []Requirement{
		{Name: "server version", Means: "before 14 the server sends no messages in the stream, and no transaction before its end", Refuses: true, look: version},
		{Name: "failover slots", Means: "`--slot-lifetime failover` has nothing to rest on before 17 (`doctor` does not know that flag, and does not ask)", Refuses: true, look: failover},
		{Name: "primary", Means: "a standby takes no correction", Refuses: true, look: primary},
		{Name: "wal_level", Means: "below `logical` there is nothing to read", Refuses: true, look: walLevel},
		{Name: "replication slot free", Means: "the daemon needs one, and cannot create it", look: slotFree},
		{Name: "walsender free", Means: "the daemon needs one: else the server refuses the stream", look: walsenderFree},
		{Name: "WAL bounded", Means: "without `max_slot_wal_keep_size` a replication slot that nobody reads fills the disk", look: walBounded},
		{Name: "REPLICATION right", Also: []string{"role"}, Means: "the server refuses the stream", Refuses: true, look: streamRight, turn: 3, plan: planStreamRight},
		{Name: "functions", Means: "somebody took EXECUTE on a function of the server's from PUBLIC, and the daemon calls it", Refuses: true, look: functions},
		{Name: "awa's tables", Also: []string{"awa's migrations", "replica identities", "trust marker"}, Means: "the daemon waits for awa's migrations, and refuses a shape that it does not know and a leaf whose changes are not all streamed; without the marker's column readers never use the counters", look: findTables},
		{Name: "right: ", Means: "a statement of the daemon's would fail; `awa-counterd setup --role NAME --print-sql` prints all of them", tables: true, Refuses: true, look: rights, turn: 4, plan: planRights},
		{Name: "schema " + checkpoint.SchemaName, Means: "the books are stored in it; somebody else's may have triggers that would run with the daemon's rights", tables: true, Refuses: true, look: ownSchema, turn: 1, plan: planOwnSchema},
		{Name: "rights on schema " + checkpoint.SchemaName, Means: "the daemon can neither lead nor store its books", tables: true, look: ownRights, turn: 5, plan: planOwnRights},
		{Name: "row level security", Means: "hidden rows would make counters wrong", tables: true, Refuses: true, look: rowSecurity},
		{Name: "triggers and rules", Means: "awa has none on these tables; under somebody else's corrections may be undone or changed", tables: true, look: triggersAndRules},
		{Name: "queue-leading index", Means: "awa's reads of one queue scan every counter", tables: true, look: queueIndex},
		{Name: "publication ", Also: []string{"may create publication "}, Means: "changes are missing from the stream; the daemon creates it if its role owns awa's tables, repairs it after awa's migrations, and refuses one that publishes something else", tables: true, look: publications, turn: 2, plan: planPublications},
		{Name: "other publications", Means: "somebody else's may make awa's own statements fail, or those of finish and reconcile", tables: true, look: otherPublications},
		{Name: "counter rows for corrections", Means: "corrections go to counter rows of bucket 300, which no release of awa uses", tables: true, Refuses: true, look: bucket},
		{Name: "trust marker is justified", Means: "the marker is set and no daemon is alive: readers use counters that old binaries may have made wrong", tables: true, look: marker},
		{Name: "replication slot", Means: "if it is lost, the daemon scans all rows", look: ownSlot},
		{Name: "other slots", Means: "the server keeps more than 1 GiB of WAL for a replication slot that nobody reads", look: otherSlots},
		{Name: "wal_level after a restart", Means: "if a configuration file lowers it, the server does not start as long as a logical replication slot exists; a role that may not read `pg_file_settings` sees that only after a reload", look: walLevelAfterRestart},
		{Name: "long transactions", Means: "creating the replication slot waits for them", look: longTransactions},
		{Name: "forgotten transactions", Means: "while one is open no vacuum takes away what was updated or deleted since, and reads and writes of it become slow", look: forgottenTransactions},
		{Name: "prepared transactions", Means: "creating the replication slot waits for them", look: preparedTransactions},
	}
}
