package counter

import (
	"math"
	"slices"
	"testing"

	"github.com/stretchr/testify/require"
	"pgregory.net/rapid"
)

// What is packed comes out as it went in: every number to its limits, buckets and names included.
func TestPackedGivesBackWhatItGot(t *testing.T) {
	rapid.Check(t, func(rt *rapid.T) {
		var in []GroupCell
		for range rapid.IntRange(0, 20).Draw(rt, "groups") {
			h := GroupCell{Group: Group{
				Queue: rapid.SampledFrom([]string{"", "a", "email", "\x00\xff", "email "}).Draw(rt, "queue"),
				Slot:  rapid.Int32().Draw(rt, "slot"), Priority: rapid.Int16().Draw(rt, "priority"), Shard: rapid.Int16().Draw(rt, "shard"),
			}}
			ids := rapid.SliceOfNDistinct(rapid.Int16(), 0, 6, rapid.ID[int16]).Draw(rt, "buckets")
			var buckets []Bucket
			for _, id := range ids {
				buckets = append(buckets, Bucket{ID: id, Value: rapid.Int64Range(math.MinInt32, math.MaxInt32).Draw(rt, "value")})
			}
			h.Cell = NewCell(rapid.Int64().Draw(rt, "rows"), rapid.Int64Range(math.MinInt32, math.MaxInt32).Draw(rt, "pending"), buckets...)
			in = append(in, h)
		}
		p := Pack(len(in))
		for i := range in {
			p.Add(&in[i])
		}
		require.Equal(rt, len(in), p.Len())
		slots := make(map[int32]int)
		for _, h := range in {
			slots[h.Slot]++
		}
		require.Equal(rt, slots, p.Slots())
		out := slices.Collect(p.All())
		require.Equal(rt, in, out)
		for range p.All() {
			break // and one may stop early
		}
	})
}
