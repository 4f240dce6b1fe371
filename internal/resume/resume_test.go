package resume

import (
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/awa-counterd/awa-counterd/checkpoint"
	"github.com/awa-counterd/awa-counterd/replication"
)

func resumable() Found {
	id := checkpoint.Identity{Slot: "s", Publications: []uint32{7}, SystemIdentifier: "1", Timeline: 1, Relations: []uint32{1, 2}}
	return Found{
		Stored:   &checkpoint.Stored{Identity: id, Position: 1000},
		Slot:     &replication.Slot{Name: "s", Plugin: replication.Plugin, Confirmed: 900, Status: "reserved"},
		Identity: id,
		End:      2000,
	}
}

func TestFreshReason(t *testing.T) {
	require.Empty(t, RescanReason(resumable()))
	for want, change := range map[string]func(*Found){
		"no checkpoint":                     func(f *Found) { f.Stored = nil },
		"slot s is gone":                    func(f *Found) { f.Slot = nil },
		"belongs to replication slot other": func(f *Found) { f.Stored.Slot = "other" },
		"has lost its WAL":                  func(f *Found) { f.Slot.Status = "lost" },
		"has lost its WAL; raise max_slot_wal_keep_size if this happens again": func(f *Found) { f.Slot.Status, f.Slot.Invalidation = "lost", "wal_removed" },
		"idle_replication_slot_timeout":                                        func(f *Found) { f.Slot.Status, f.Slot.Invalidation = "lost", "idle_timeout" },
		"useless: x":                                                           func(f *Found) { f.Broken = "x" },
		"never completely created":                                             func(f *Found) { f.Slot.Confirmed = 0 },
		"somebody else advanced replication slot s":                            func(f *Found) { f.Slot.Confirmed = 1001 },
		"another database cluster":                                             func(f *Found) { f.Identity.SystemIdentifier = "2" },
		"timeline 2":                                                           func(f *Found) { f.Identity.Timeline = 2 },
		"a backup was restored":                                                func(f *Found) { f.End = 999 },
		"publication was dropped and created again":                            func(f *Found) { f.Identity.Publications = []uint32{8} },
		"have changed what its tables mean":                                    func(f *Found) { f.Identity.Shape = "x" },
		"was altered":                                                          func(f *Found) { f.Identity.PublicationState = "x" },
		"--slot-lifetime is temporary":                                         func(f *Found) { f.Temporary = true },
		"temporary and belongs":                                                func(f *Found) { f.Slot.Temporary = true },
		"more than --max-retained-wal=1.0 KiB":                                 func(f *Found) { f.Most, f.Slot.Retained = 1024, 4096 },
		"tables were dropped and created again":                                func(f *Found) { f.Identity.Relations = []uint32{1, 3} },
		"longer than scanning":                                                 func(f *Found) { f.End = 1000 + 4<<30 },
	} {
		f := resumable()
		change(&f)
		require.Contains(t, RescanReason(f), want)
	}
	// A replication slot that came through a promotion, and a checkpoint from before it.
	for want, change := range map[string]func(*Found){
		"":           func(*Found) {},
		"timeline 2": func(f *Found) { f.Slot.Synced = false },
		"on timeline 2, the checkpoint is from timeline 1": func(f *Found) { f.Left = 999 },
		"the checkpoint is from timeline 1: there was":     func(f *Found) { f.Left = 0 },
		"somebody else advanced replication slot s":        func(f *Found) { f.Slot.Confirmed = 1001 },
	} {
		f := resumable()
		f.Identity.Timeline, f.Left, f.Slot.Synced = 2, 1000, true
		change(&f)
		if want == "" {
			require.Empty(t, RescanReason(f))
		} else {
			require.Contains(t, RescanReason(f), want)
		}
	}
	big := resumable()
	big.End, big.Rows = 1000+4<<30, 500_000_000
	require.Empty(t, RescanReason(big), "scanning would take longer still")
	big.Rows = 1 << 40
	require.Empty(t, RescanReason(big), "more rows than nanoseconds can be counted for")
}
