package sim

import (
	"unsafe"

	"github.com/awa-counterd/awa-counterd/applier"
)

// rule says how a field is written, if not as its type is.
type rule struct {
	skip  bool
	while string  // only while this field beside it is not zero: it is looked at at no other time
	set   bool    // a slice whose order says nothing
	as    writing // in this way
}

// rules are by type and field. One that skips needs a reason; TestCanonRules looks whether they all have a field.
func rules() map[string]rule {
	skip := rule{skip: true}
	id, ids, seq := rule{as: byXID}, rule{as: xids}, rule{as: bySeq}
	past := rule{as: noOlder(0)} // over or not
	return map[string]rule{
		"applier.Core.cfg":     skip, // the same in the whole world, but for the instance
		"applier.Core.notices": skip, // words for operators
		"applier.Core.insert":  skip, // a figure for operators
		// Figures for operators; those that tell of an error are looked at in every state. The lag is counted from the start
		// until the first token is back.
		"applier.Core.totals": {as: func(p unsafe.Pointer, c *canon) {
			start := (*applier.Totals)(p).Start
			noOlder(doubtful)(unsafe.Pointer(&start), c)
		}},

		"applier.tokens.seq":       seq,
		"applier.tokens.awaited":   seq,
		"applier.tokens.sent":      {while: "awaited"},
		"applier.tokens.all":       {while: "open"},
		"applier.tokens.flushing":  {while: "open"},
		"applier.tokens.failed":    {while: "open"},
		"applier.tokens.roundTrip": {while: "open"},
		"applier.tokens.seen":      skip, // a figure for operators
		"applier.tokens.again":     skip, // decides how loud a line of the log is
		"applier.tokens.provenAt":  {as: noOlder(doubtful)},
		"applier.tokens.prompt":    {as: noMore(prompt)},
		"applier.tokens.lastFlush": {as: noOlder(quantum)},
		"applier.tokens.lastSent":  {as: noOlder(quantum)},
		"applier.tokens.pause":     past,

		"applier.marker.want":    {while: "busy"},
		"applier.marker.seq":     {while: "behind", as: bySeq},
		"applier.marker.reason":  {as: said}, // has durations in it
		"applier.marker.foreign": {as: said},
		"applier.marker.retryAt": past,

		"applier.checkpointing.pending": {while: "busy"},
		"applier.checkpointing.last":    {as: noOlder(quantum)},
		"applier.checkpointing.retryAt": past,
		"applier.checkpointing.groups":  {while: "busy"},
		"applier.checkpointing.sources": skip, // given back to what operators read

		"applier.scans.lastAudit": past, // was there one; the next is an hour off
		"applier.scans.retryAt":   past,

		"applier.staleness.settleAt": {while: "settling"},

		"applier.effects.vain":   skip, // when to say a word
		"applier.effects.warned": skip,

		"applier.journal.bytes":       skip, // follows from the entries
		"applier.journal.pushed":      skip, // for a word
		"applier.journal.size":        skip, // the same in the whole world
		"applier.journal.lost":        {as: xidSet},
		"applier.journalEntry.xid":    id,
		"applier.journalEntry.drifts": {set: true},

		"applier.Books.order":    skip, // the same in the whole world
		"applier.Books.touched":  skip, // empty between transactions
		"applier.Books.affected": skip,
		"applier.Books.changes":  skip,
		"applier.Books.names":    skip, // the tables have them
		"applier.unit.dirty":     skip, // the tables have a mark for it
		"applier.unit.listed":    skip, // follows from the drifts
		"applier.unit.from":      skip, // of more than one flush takes
		"applier.unitView.touch": skip, // tells the main view, which is known
		"applier.unitView.snap":  {while: "open"},
		"applier.unitView.bound": {while: "open"},

		"applier.uncounted.dirty":        skip, // what operators read
		"applier.uncounted.total":        skip,
		"applier.uncounted.last":         past, // was there one; it counts for a minute
		"applier.uncounted.lastQ":        skip,
		"applier.uncounted.watch":        skip, // less than a minute, all in all
		"applier.uncounted.before":       skip,
		"applier.uncounted.beforeAt":     skip,
		"applier.uncounted.by":           skip, // empty between transactions
		"applier.Uncounted.Transactions": skip,
		"applier.Uncounted.PerSecond":    skip,
		"applier.Uncounted.LastAt":       skip,
		"applier.Uncounted.LastLSN":      skip,

		"applier.Write.Seq":            seq,
		"applier.WriteResult.Seq":      seq,
		"applier.WriteResult.Insert":   skip, // see Core.insert
		"applier.WriteResult.Written":  skip, // a figure
		"applier.WriteResult.Err":      {as: failed},
		"applier.SetMarker.Seq":        seq,
		"applier.SetMarker.Reason":     skip,
		"applier.SetMarker.Until":      past,
		"applier.Checkpoint.Unseen":    ids,
		"applier.Checkpoint.Token":     skip, // the rest is for operators
		"applier.Checkpoint.Quiet":     skip,
		"applier.Checkpoint.Trusted":   skip,
		"applier.Checkpoint.Reason":    skip,
		"applier.Checkpoint.LastAudit": skip,

		"sim.markerFlight.err": {as: late},
		"sim.ghost.instance":   skip, // not the one that leads

		"sim.tables.pending": skip, // follow from the rest
		"sim.tables.drifts":  skip,
		"sim.worldTx.xid":    id,
		"sim.worldTx.short":  skip, // tallied when it committed
		"sim.worldTx.lost":   skip,
		"sim.record.noise":   skip, // it is decoded already
		"sim.record.commit":  skip, // just before end
	}
}
