package fleet

import (
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

// The oracle of every other test: what it must say of a drift that no logged write explains.
func TestWatchJudgesUnexplainedDrift(t *testing.T) {
	k := Key{Slot: 1, Queue: "email", Priority: 1}
	off := func(rows, counter int64) map[Key]Wrong {
		return map[Key]Wrong{k: {Key: k, Rows: rows, Counter: counter}}
	}
	right := map[Key]Wrong{}
	type look struct {
		trusted bool
		seen    map[Key]Wrong
		apart   time.Duration // since the look before
	}
	const tick = 100 * time.Millisecond
	for _, c := range []struct {
		name      string
		looks     []look
		dishonest int
	}{
		{"stands", []look{{true, off(10, 5), tick}, {true, off(11, 5), 2 * tick}, {true, off(12, 5), 2 * tick}, {true, off(13, 5), 2 * tick}}, 1},
		{"stood before the marker was set", []look{{false, off(10, 5), tick}, {false, off(10, 5), 2 * tick}, {false, off(10, 5), 2 * tick}, {true, off(10, 5), 2 * tick}}, 1},
		{"ends within grace", []look{{true, off(10, 5), tick}, {true, off(10, 5), 2 * tick}, {true, right, 2 * tick}, {true, off(10, 5), 2 * tick}}, 0},
		{"is another one: it goes the other way", []look{{false, off(10, 0), tick}, {false, off(10, 0), 2 * tick}, {true, off(7, 10), 2 * tick}, {true, off(7, 10), 2 * tick}}, 0},
		{"may be another one: the looks are far apart", []look{{true, off(10, 5), tick}, {true, off(10, 5), 2 * tick}, {true, off(10, 5), 3 * tick}, {true, off(10, 5), 2 * tick}}, 0},
		{"is not trusted", []look{{false, off(10, 5), tick}, {false, off(10, 5), 2 * tick}, {false, off(10, 5), 2 * tick}, {false, off(10, 5), 2 * tick}}, 0},
	} {
		t.Run(c.name, func(t *testing.T) {
			w := Watch{Bound: 2 * time.Second}
			now := time.Unix(1000, 0)
			for _, l := range c.looks {
				now = now.Add(l.apart)
				w.judge(now, l.trusted, 0, l.seen)
			}
			require.Equal(t, c.dishonest, w.Dishonest)
		})
	}
}
