package fleet

import (
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

// The oracle of every other test: what it must say of a drift, and of how long it stood.
func TestWatchJudgesDrift(t *testing.T) {
	k := Key{Slot: 1, Queue: "email", Priority: 1}
	off := func(rows, counter int64) []drift {
		return []drift{{Wrong: Wrong{k, rows, counter}}}
	}
	sum := func(rows, counter int64, age time.Duration) []drift {
		return []drift{{Wrong: Wrong{k, rows, counter}, summed: true, age: age}}
	}
	var right []drift
	type look struct {
		trusted bool
		seen    []drift
		apart   time.Duration // since the look before
	}
	const tick = 100 * time.Millisecond
	for _, c := range []struct {
		name      string
		looks     []look
		dishonest int
		oldest    time.Duration
	}{
		{"stands", []look{{true, off(10, 5), tick}, {true, off(11, 5), 2 * tick}, {true, off(12, 5), 2 * tick}, {true, off(13, 5), 2 * tick}}, 1, 6 * tick},
		{"stood before the marker was set", []look{{false, off(10, 5), tick}, {false, off(10, 5), 2 * tick}, {false, off(10, 5), 2 * tick}, {true, off(10, 5), 2 * tick}}, 1, 6 * tick},
		{"ends within grace", []look{{true, off(10, 5), tick}, {true, off(10, 5), 2 * tick}, {true, right, 2 * tick}, {true, off(10, 5), 2 * tick}}, 0, 2 * tick},
		{"is another one: it goes the other way", []look{{false, off(10, 0), tick}, {false, off(10, 0), 2 * tick}, {true, off(7, 10), 2 * tick}, {true, off(7, 10), 2 * tick}}, 0, 2 * tick},
		{"may be another one: the looks are far apart", []look{{true, off(10, 5), tick}, {true, off(10, 5), 2 * tick}, {true, off(10, 5), 3 * tick}, {true, off(10, 5), 2 * tick}}, 0, 2 * tick},
		{"is not trusted", []look{{false, off(10, 5), tick}, {false, off(10, 5), 2 * tick}, {false, off(10, 5), 2 * tick}, {false, off(10, 5), 2 * tick}}, 0, 0},
		{"is the sum of young writes", []look{{true, sum(10, 5, 14*tick), tick}, {true, sum(10, 5, 15*tick), tick}}, 0, 15 * tick},
		{"is the sum of writes, and was right after them", []look{{true, right, tick}, {true, sum(10, 5, 14*tick), tick}, {true, sum(10, 5, 15*tick), tick}}, 0, 2 * tick},
		{"is the sum of writes that grow old", []look{{true, sum(10, 5, 15*tick), tick}, {true, sum(10, 5, 17*tick), 2 * tick}, {true, sum(10, 5, 19*tick), 2 * tick}, {true, sum(10, 5, 21*tick), 2 * tick}, {true, sum(10, 5, 23*tick), 2 * tick}}, 1, 21 * tick},
		{"was right within the bound", []look{{true, right, tick}, {true, off(10, 5), 2 * tick}, {true, off(11, 5), 2 * tick}, {true, off(12, 5), 2 * tick}, {true, off(13, 5), 2 * tick}, {true, off(14, 5), 2 * tick}}, 0, 8 * tick},
		{"happens to be the sum of old writes", []look{{true, right, tick}, {true, sum(10, 5, 30*tick), tick}, {true, right, tick}}, 0, tick},
	} {
		t.Run(c.name, func(t *testing.T) {
			w := Watch{Bound: 2 * time.Second}
			now := time.Unix(1000, 0)
			for _, l := range c.looks {
				now = now.Add(l.apart)
				w.judge(now, l.trusted, l.seen)
			}
			require.Equal(t, c.dishonest, w.Dishonest)
			require.Equal(t, c.oldest, w.Oldest)
		})
	}
}
