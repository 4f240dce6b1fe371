package main

import (
	"fmt"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

// lived is a week without anything to find fault with.
func lived() *world {
	w := &world{o: options{length: time.Hour}, daemons: []*daemon{{number: 1, log: account{said: make(map[saying]int)}}}}
	for n := range nightsAWeek {
		w.nights = append(w.nights, night{
			number: n + 1, lasted: 10 * time.Second, memory: []int64{40 << 20}, goroutines: []int64{30}, files: []int64{20}, connections: []int64{14}, retained: []int64{1 << 20}, tables: []int64{1 << 20},
			after: logged{lines: 10, bytes: 1000, statusLines: 10, statusBytes: 1000},
		})
	}
	return w
}

// Each bound is one that can be broken, by what leaks.
func TestJudge(t *testing.T) {
	require.NoError(t, lived().judge())
	for want, leak := range map[string]func(w *world){
		"memory of a daemon":  func(w *world) { w.nights[6].memory = []int64{80 << 20} },
		"goroutines":          func(w *world) { w.nights[6].goroutines = []int64{40} },
		"open files":          func(w *world) { w.nights[6].files = []int64{40} },
		"connections":         func(w *world) { w.nights[4].connections = []int64{14, 20} },
		"WAL kept":            func(w *world) { w.nights[4].retained = []int64{1 << 30} },
		"tables of schema":    func(w *world) { w.nights[6].tables = []int64{10 << 20} },
		"the marker at night": func(w *world) { w.nights[1].unset = 1 },
		"a quiet day's log":   func(w *world) { w.nights[0].after.statusBytes = 100_000 },
		"quiet day's log, at": func(w *world) {
			w.nights[0].after.statusLines, w.nights[0].after.lines, w.nights[0].after.statusBytes = 1000, 1000, 100_000
		},
		"lines beside":         func(w *world) { w.nights[0].after.lines = 100 },
		"said 2 times: oh":     func(w *world) { w.daemons[0].log.said[saying{"noon", "oh"}] = 2 },
		"to its end":           func(w *world) { w.nights = w.nights[:3] },
		"no password in a log": func(w *world) { w.daemons[0].log.take("noon", fmt.Appendf(nil, `{"msg":"x %s-1"}`+"\n", planted)) },
	} {
		w := lived()
		leak(w)
		require.ErrorContains(t, w.judge(), want)
	}
}

// What is said of each queue, and of each change of the marker, may be said often; the status line is apart.
func TestAccount(t *testing.T) {
	a := account{said: make(map[saying]int)}
	a.take("noon", []byte(`{"msg":"status","lag":"1ms"}
{"msg":"a pre-#290 binary writes to this queue without counting","queue":"email","kind":"rows"}
{"msg":"trust: marker set"}
not JSON
`))
	require.Equal(t, 4, a.lines)
	require.EqualValues(t, 1, a.status.lines)
	require.Equal(t, map[saying]int{{"noon", "a pre-#290 binary writes to this queue without counting queue=email kind=rows"}: 1, {"noon", "trust: marker set"}: 1, {"noon", "not JSON"}: 1}, a.said)
	require.True(t, often("a pre-#290 binary writes to this queue without counting queue=email kind=rows"))
	require.False(t, often("session failed; starting the next one"))
}
