package applier

import (
	"fmt"
	"slices"
	"testing"
	"time"

	"github.com/jackc/pglogrepl"
	"github.com/stretchr/testify/require"

	"github.com/awa-counterd/awa-counterd/decoder"
	"github.com/awa-counterd/awa-counterd/internal/base/counter"
	"github.com/awa-counterd/awa-counterd/internal/base/pgsnap"
)

// A leaf's scan may outlast a great many transactions: the journal is as long as it takes, and short again when
// the scan is over.
func TestScanOutlastsManyTransactions(t *testing.T) {
	b := newBench(t)
	require.Contains(t, b.core.Next(b.now), Command(StartScan{Unit: 0}))
	const n = 100_000 // 20 s of 5,000 a second
	for i := range uint32(n) {
		b.core.Transactions(b.now, []decoder.Tx{b.tx(101+i, decoder.Effect{Rows: []decoder.Change{{Group: g0, N: 1}}})})
	}
	ids := len(b.core.journal.unseenIDs())
	b.core.Written(b.now, WriteResult{Snapshot: snap(t, "100101:100101:"), Sent: b.now, Server: b.now})
	require.Equal(t, n, ids)
	require.Empty(t, b.core.journal.unseenIDs(), "what everybody sees is no business of the checkpoint's")
	b.core.Scanned(b.now, 0, Scan{
		Unit: 0, Groups: tableOf(g0, counter.NewCell(7, 0)), Snapshot: snap(t, "101:101:"), Bound: pglogrepl.LSN(b.lsn),
	}, nil)
	cell, settled := b.core.Cell(g0)
	require.True(t, settled, "the scan was refused")
	require.EqualValues(t, n+7, cell.Rows)
	b.core.Scanned(b.now, NoLeaf, Scan{Unit: NoLeaf, Snapshot: snap(t, "101:101:"), Bound: pglogrepl.LSN(b.lsn)}, nil)
	require.Empty(t, b.core.journal.entries)
}

// One that outlasts the journal's memory is put off, and that is said as it is.
func TestScanThatOutlastsTheJournal(t *testing.T) {
	b := newBench(t)
	b.core.journal.size = 10_000
	b.core.Next(b.now)
	for i := range uint32(100) {
		b.core.Transactions(b.now, []decoder.Tx{b.tx(101+i, decoder.Effect{Rows: []decoder.Change{{Group: g0, N: 1}}})})
	}
	b.core.Scanned(b.now.Add(time.Minute), 0, Scan{Unit: 0, Snapshot: snap(t, "101:101:"), Bound: pglogrepl.LSN(b.lsn)}, nil)
	_, settled := b.core.Cell(g0)
	require.False(t, settled)
	i := slices.IndexFunc(b.core.Notices(), func(n Notice) bool { return n.Warn })
	require.GreaterOrEqual(t, i, 0, "nobody was told")
	require.Positive(t, b.core.journal.pushed)
	b.core.journal.forget(snap(t, "1000:1000:"))
	require.Zero(t, b.core.journal.pushed)
	require.Zero(t, b.core.journal.missing(pgsnap.Snapshot{}))
}

// The journal lists what a snapshot does not see, in commit order, whatever it has looked at before.
func TestJournalGoesOn(t *testing.T) {
	j := newJournal(1<<20, nil)
	for xid := range uint64(10) {
		j.add(journalEntry{xid: 10 - xid, drifts: []drift{{Group: g0, by: 1}}})
	}
	list := func(text string) (out []uint64) {
		for e := range j.unseen(snap(t, text)) {
			out = append(out, e.xid)
		}
		return out
	}
	require.True(t, j.oldestUnseen(snap(t, "3:11:3,8")).IsZero())
	v := j.invisible(snap(t, "3:11:3,8"))
	require.EqualValues(t, 2, v.drifts[g0])
	require.Equal(t, []uint64{8, 3}, list("3:11:3,8"))
	require.Equal(t, []uint64{10, 9, 8, 7, 6}, list("6:6:"), "an older scan needs more")
	v = j.invisible(snap(t, "3:11:3"))
	require.EqualValues(t, 1, v.drifts[g0])
	j.forget(snap(t, "3:11:3"))
	require.Equal(t, []uint64{3}, list("1:1:"))
}

// Names that come and go do not pile up.
func TestMapsShrink(t *testing.T) {
	u := newUncounted(nil, time.Time{})
	b := filled(t, 0)
	at := time.Unix(1_000_000, 0)
	for i := range 4 * mostSources {
		g := g0
		g.Queue = fmt.Sprint(i)
		tx := decoder.Tx{CommitTime: at.Add(time.Duration(i)), Effect: decoder.Effect{Rows: []decoder.Change{{Group: g, N: 1}}}}
		u.note(time.Time{}, &tx, []change{{Group: g, after: 1}}, Shape{})
		u.takeChanged(at)
		b.folded(&decoder.Effect{Rollups: []decoder.RollupChange{{Queue: g.Queue, Fresh: true}}})
	}
	require.LessOrEqual(t, len(u.sources), mostSources)
	require.LessOrEqual(t, len(u.before), mostSources)
	require.Contains(t, u.sources, Source{fmt.Sprint(4*mostSources - 1), KindRows}, "the newest stay")
	require.LessOrEqual(t, len(b.rollups), mostRollups)
}
