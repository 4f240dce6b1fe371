package daemon

import (
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/awa-counterd/awa-counterd/checkpoint"
	"github.com/awa-counterd/awa-counterd/internal/pg"
	"github.com/awa-counterd/awa-counterd/replication"
)

func resumable() found {
	id := checkpoint.Identity{Slot: "s", PublicationOID: 7, SystemIdentifier: "1", Timeline: 1, Relations: []uint32{1, 2}}
	return found{
		stored:   &checkpoint.Stored{Identity: id, Position: 1000},
		slot:     &replication.Slot{Name: "s", Plugin: replication.Plugin, Confirmed: 900, Status: "reserved"},
		identity: id,
		end:      2000,
	}
}

func TestFreshReason(t *testing.T) {
	require.Empty(t, freshReason(resumable()))
	for want, change := range map[string]func(*found){
		"no checkpoint":              func(f *found) { f.stored = nil },
		"slot s is gone":             func(f *found) { f.slot = nil },
		"belongs to slot other":      func(f *found) { f.stored.Slot = "other" },
		"has lost its WAL":           func(f *found) { f.slot.Status = "lost" },
		"invalidated (wal_removed)":  func(f *found) { f.slot.Status, f.slot.Invalidation = "lost", "wal_removed" },
		"of no use":                  func(f *found) { f.broken = "x" },
		"never finished":             func(f *found) { f.slot.Confirmed = 0 },
		"somebody else moved slot s": func(f *found) { f.slot.Confirmed = 1001 },
		"another database cluster":   func(f *found) { f.identity.SystemIdentifier = "2" },
		"timeline 2":                 func(f *found) { f.identity.Timeline = 2 },
		"a backup was restored":      func(f *found) { f.end = 999 },
		"publication was made anew":  func(f *found) { f.identity.PublicationOID = 8 },
		"tables were made anew":      func(f *found) { f.identity.Relations = []uint32{1, 3} },
		"longer to decode":           func(f *found) { f.end = 1000 + 4<<30 },
	} {
		f := resumable()
		change(&f)
		require.Contains(t, freshReason(f), want)
	}
	big := resumable()
	big.end, big.rows = 1000+4<<30, 500_000_000
	require.Empty(t, freshReason(big), "scanning would take longer still")
}

func TestServerVerdict(t *testing.T) {
	require.NoError(t, serverVerdict(140000, "14.0", "logical", false, true, "u"))
	for want, err := range map[string]error{
		"PostgreSQL 13.14 is too old": serverVerdict(130014, "13.14", "logical", false, true, "u"),
		"is a standby":                serverVerdict(150000, "15", "logical", true, true, "u"),
		`wal_level is "replica"`:      serverVerdict(150000, "15", "replica", false, true, "u"),
		`ALTER ROLE "u" REPLICATION`:  serverVerdict(150000, "15", "logical", false, false, "u"),
	} {
		var refusal *pg.Refusal
		require.ErrorAs(t, err, &refusal)
		require.Contains(t, err.Error(), want)
	}
}
