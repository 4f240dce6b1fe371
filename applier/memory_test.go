package applier

import (
	"fmt"
	"runtime"
	"testing"
	"time"
	"unsafe"

	"github.com/stretchr/testify/require"

	"github.com/awa-counterd/awa-counterd/internal/base/counter"
	"github.com/awa-counterd/awa-counterd/internal/base/pgsnap"
)

// heap is how many bytes are in use after what build makes, and were not before.
func heap[T any](build func() T) (T, float64) {
	var before, after runtime.MemStats
	runtime.GC()
	runtime.ReadMemStats(&before)
	made := build()
	runtime.GC()
	runtime.ReadMemStats(&after)
	return made, float64(after.HeapAlloc) - float64(before.HeapAlloc)
}

// Where the memory goes, by the group: what a resumed daemon holds, what groups that are wrong take besides, and a checkpoint of all. The
// bounds are what it takes today, and a tenth.
func TestMemoryOfAGroup(t *testing.T) {
	const groups, slots = 400_000, 16
	now := time.Unix(1_000_000, 0)
	snapshot, err := pgsnap.Parse("900:900:")
	require.NoError(t, err)
	leaves := make([]int32, slots)
	queues := make([]string, 1000)
	for i := range queues {
		queues[i] = fmt.Sprint("queue-", i)
	}
	for i := range leaves {
		leaves[i] = int32(i)
	}
	resumed := func(counted int64, buckets int) (*Core, float64, float64) {
		stored, packed := heap(func() counter.Packed {
			var all counter.Packed
			for i := range groups / buckets {
				of := make([]counter.Bucket, buckets)
				for j := range of {
					of[j] = counter.Bucket{ID: int16(j), Value: counted}
				}
				all.Add(&counter.GroupCell{
					Group: counter.Group{Slot: leaves[i%slots], Queue: queues[i/slots%len(queues)], Priority: int16(1 + i/slots/len(queues))},
					Cell:  counter.NewCell(int64(buckets), 0, of...),
				})
			}
			return all
		})
		core, held := heap(func() *Core {
			core, err := New(Config{
				Instance: "me", Leaves: leaves, HasMarker: true, Trust: TrustLive, QuietPeriod: time.Minute, Shape: Shape{Ledger: true, OwnBucket: 300},
				MaxStaleness: 2 * time.Second, FlushInterval: 100 * time.Millisecond, CheckpointInterval: 5 * time.Second, AuditInterval: time.Hour,
			}, Start{Position: 1000, Resumes: true, Snapshot: snapshot, Groups: stored}, now)
			require.NoError(t, err)
			return core
		})
		runtime.KeepAlive(stored)
		return core, packed / groups, held / groups
	}
	right, packed, held := resumed(1, 1)
	runtime.KeepAlive(right)
	_, _, wrong := resumed(2, 1)
	_, _, buckets := resumed(1, 256)
	entry, bucket := float64(unsafe.Sizeof(counter.Entry{})), float64(unsafe.Sizeof(counter.Bucket{}))
	t.Logf("by the group: %.0f bytes, of which %.0f are the entry with its counter row, and %.0f the index; %.0f more while it is wrong; %.0f in a checkpoint. "+
		"By the counter row, 256 a group: %.0f, of which %.0f are the row", held, entry, held-entry, wrong-held, packed, buckets, bucket)
	require.Less(t, held, 75.)
	require.Less(t, wrong-held, 10.)
	require.Less(t, packed, 35.) // grown by appending
	require.Less(t, buckets, 20.)
}
