package counter

import (
	"maps"
	"slices"
	"testing"

	"github.com/stretchr/testify/require"
	"pgregory.net/rapid"
)

// The counter beside the contributions is always their sum, whatever happens to them.
func TestCounterIsTheSumOfItsContributions(t *testing.T) {
	rapid.Check(t, func(rt *rapid.T) {
		var c Cell
		model := make(map[int16]int64)
		pending := int64(0)
		for range rapid.IntRange(1, 60).Draw(rt, "steps") {
			id := int16(rapid.IntRange(-2, 5).Draw(rt, "bucket"))
			n := rapid.Int64Range(-9, 9).Draw(rt, "n")
			switch rapid.IntRange(0, 4).Draw(rt, "op") {
			case 0, 1:
				c.SetBucket(id, n)
				model[id] = n
			case 2:
				c.RemoveBucket(id)
				delete(model, id)
			case 3:
				c.AddPending(n)
				pending += n
			case 4:
				if n == 0 {
					c.RemoveBuckets()
					clear(model)
				}
			}
			sum := pending
			for _, v := range model {
				sum += v
			}
			require.Equal(rt, sum, c.Counter)
			require.Equal(rt, pending, c.Pending)
			ids := slices.Sorted(maps.Keys(model))
			require.Len(rt, c.Buckets(), len(ids))
			for i, b := range c.Buckets() {
				require.Equal(rt, ids[i], b.ID)
				require.Equal(rt, model[b.ID], b.Value)
			}
		}
	})
}

func TestClonesShareNothing(t *testing.T) {
	a := NewCell(5, 1, Bucket{ID: 300, Value: -2}, Bucket{ID: 7, Value: 4})
	require.EqualValues(t, 3, a.Counter)
	b := a.Clone()
	require.True(t, a.Equal(&b))
	b.SetBucket(7, 9)
	require.False(t, a.Equal(&b))
	v, ok := a.Bucket(7)
	require.True(t, ok)
	require.EqualValues(t, 4, v)
}
