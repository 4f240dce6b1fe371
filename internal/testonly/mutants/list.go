package mutants

import "slices"

// Mutant is one deliberate mistake: in File, Old (which stands there exactly once) becomes New, and
// Test of Package must fail.
type Mutant struct {
	Name    string
	File    string
	Old     string
	New     string
	Package string
	Test    string
}

// All are the mutants of the rules of docs/design.md, and those that bugs of this project have taught.
func All() []Mutant {
	return slices.Concat(ofProtocol(), ofLeaving(), ofOutside(), ofCommands(), ofRooms())
}

// ofProtocol are those of the rules that the whole daemon keeps.
func ofProtocol() []Mutant {
	return []Mutant{
		{
			"fence off", "applier/unitview.go", "return l.open && l.snap.Sees(xid)", "return false",
			"./internal/testonly/sim", "TestSimulation",
		},
		{
			"journal off", "applier/journal.go", "	if j.seen.Sees(e.xid) {", "	if true {",
			"./internal/testonly/sim", "TestSimulation",
		},
		{
			"gaps in the journal overlooked", "applier/fence.go", "if j.missing(s.Snapshot) > 0 {", "if false {",
			"./applier", "TestScanIsRefusedWhenTheJournalHasAGap",
		},
		{
			"a locked slot scanned first", "applier/audit.go", "for _, slot := range c.scanOrder() {", "for _, slot := range c.books.order {",
			"./applier", "TestALockedSlotIsScannedLast",
		},
		{
			"marker left alone by a daemon that waits", "internal/daemon/migration.go", "if d.left.layout == nil || d.left.layout.Ring == 0 {", "if false {",
			"./e2e", "TestMarkerIsKeptClearedByADaemonThatStartsDuringAMigration",
		},
		{
			"a server that is not there yet ends the daemon", "internal/daemon/daemon.go", " && !pg.MayPass(err)", "",
			"./e2e", "TestServerThatComesLater",
		},
		{
			"token off", "applier/flush.go", "if t.busy() || now.Before(t.pause) {", "if t.writing || now.Before(t.pause) {",
			"./internal/testonly/sim", "TestSimulation",
		},
		{
			"no token before the first correction", "applier/flush.go", "return c.tokens.first && !c.holding && c.settledDrift()",
			"return !c.holding && c.settledDrift()", "./internal/testonly/sim", "TestDeafStream",
		},
		{
			"token 0 taken for an answer", "applier/flush.go", "if t.awaited == 0 || seq != t.awaited {", "if seq != t.awaited {",
			"./applier", "TestTokenZeroIsNoAnswer",
		},
		{
			"TRUNCATE ignored by the books", "applier/books.go", "l.truncateRows(s)", "_ = s",
			"./internal/testonly/sim", "TestSimulation",
		},
		{
			"TRUNCATE ignored by the decoder", "decoder/decoder.go", "f.truncate(rel.LeafSlot)", "_ = rel",
			"./internal/testonly/sim", "TestSimulation",
		},
		{
			"own writes counted as uncounted", "applier/core.go", "if !own {", "if true {",
			"./internal/testonly/sim", "TestOwnWritesAreNobodysFault",
		},
		{
			"a token hides whatever its transaction did", "applier/core.go", "return own && tx.Effect.OnlyCorrects(), mine", "return own, mine",
			"./applier", "TestATokenHidesNoOldBinary",
		},
		{
			"a token that was never sent makes a transaction ours", "applier/core.go", "if !ok || (instance == c.cfg.Instance && seq > c.tokens.seq) {", "if !ok {",
			"./applier", "TestATokenHidesNoOldBinary",
		},
		{
			"time that nobody watched counts as quiet", "applier/watch.go", "if !w.since.IsZero() && at.After(w.since) {", "if at.After(w.since) {",
			"./applier", "TestQuietIsWatched",
		},
		{
			"an old binary does not end the quiet", "applier/watch.go", "	w.quiet = 0\n", "",
			"./applier", "TestQuietIsWatched",
		},
		{
			"quiet by the server's clock", "applier/trust.go", "c.uncounted.watch.quiet < d", "c.serverNow(c.tokens.provenAt).Sub(c.uncounted.lastOldBinary()) < d",
			"./applier", "TestQuietIsWatched",
		},
		{
			"a write that the clock calls new makes finish wait", "internal/status/next_step.go", "recent && len(active) > 0", "len(active) > 0",
			"./internal/status", "TestClocksThatAreSetDecideNothing",
		},
		{
			"in-band writes counted again", "applier/books.go", "l.setCounter(c)", "_ = c",
			"./internal/testonly/sim", "TestCountedFleet",
		},
		{
			"transactions that come again counted again", "applier/core.go", "if tx.End <= c.books.position {", "if false {",
			"./applier", "TestTransactionsAreCountedOnce",
		},
		{
			"acknowledged before persisted", "applier/persist.go", "return append(out, Persist{Checkpoint: cp})",
			"return append(out, Acknowledge{Position: cp.Position}, Persist{Checkpoint: cp})", "./internal/testonly/sim", "TestSimulation",
		},
		{
			"negative correction creates a row", "internal/corrections/writer.go", "if chunk.Corrections[0].Delta < 0 {", "if false {",
			"./internal/testonly/sim", "TestSimulation",
		},
		{
			"a chunk may hold its rows for ever", "internal/corrections/writer.go", "return limits{3 * time.Millisecond, 7 * time.Millisecond, patience}",
			"return limits{3 * time.Millisecond, time.Minute, patience}", "./e2e", "TestChunkIsBoundedAsAWhole",
		},
		{
			"clamp in the books", "applier/unitview.go", "e.Rows += c.N", "e.Rows = max(0, e.Rows+c.N)",
			"./internal/testonly/sim", "TestFalsifiedBooks",
		},
		{
			"marker set before the audit", "applier/trust.go", "case !c.audited():", "case false:",
			"./internal/testonly/sim", "TestSimulation",
		},
		{
			"marker kept on lag", "applier/trust.go", "lag > c.cfg.doubtAfter()", "lag > 1000*c.cfg.doubtAfter()",
			"./internal/testonly/sim", "TestDeafStream",
		},
		{
			"correction trusted before readers can see it", "applier/staleness.go", "if oldestUnseen.IsZero() || oldestUnseen.After(a.settleAt) {", "if true {",
			"./applier", "TestSettledMeansSeen",
		},
		{
			"unfinished business at the end", "applier/core.go", "c.stopping && c.heardSinceStop() && ", "c.stopping && ",
			"./applier", "TestStopHearsOfEverythingBefore",
		},
		{
			"a stop vouches for buckets that only a daemon keeps right", "applier/trust.go", "case c.cfg.Shape.OwnBucket != 0:", "case false:",
			"./e2e", "TestStopVouchesForNoBucket",
		},
		{
			"publication via root accepted", "replication/publication.go", "case seen.ViaRoot:", "case false:",
			"./internal/testonly/sim", "TestPublicationViaRoot",
		},
		{
			"leaf outside the publication accepted", "replication/publication.go", "if len(missing) == 0 {", "if true {",
			"./e2e", "TestRefusesPublications",
		},
		{
			"Relation by ordinal", "decoder/row.go", "rel.want(queueField, table.Queue)", "rel.want(queueField, 2)",
			"./internal/testonly/sim", "TestSimulation",
		},
		{
			"subtransaction rollback counted", "decoder/stream.go", "		s.parts[i].fold = nil\n		s.gone++", "		_ = i",
			"./internal/testonly/sim", "TestSimulation",
		},
		{
			"resume after someone moved the slot", "internal/resume/resume.go", "case f.Slot.Confirmed > s.Position:", "case false:",
			"./internal/testonly/sim", "TestSlotMoved",
		},
		{
			"deposed leader writes on", "checkpoint/leader.go", "where g.awa_schema = $%d and g.instance = $%d for", "where g.awa_schema = $%d and g.instance <> '' || $%d for",
			"./e2e", "TestDeposedWritesNothing",
		},
		{
			"counters run ahead of their rows", "applier/invisible.go", "for e := range j.after(snap) {", "for e := range j.after(snap) {\n\t\tif e.xid > 0 {\n\t\t\tcontinue\n\t\t}",
			"./internal/testonly/sim", "TestStalledVisibility",
		},
		{
			"a promotion resumed past where it branched off", "internal/resume/resume.go", "f.Stored.Position <= f.Left }", "f.Left > 0 }",
			"./internal/resume", "TestFreshReason",
		},
		{
			"altered publication resumed from", "internal/resume/resume.go", "case s.PublicationState != id.PublicationState:", "case false:",
			"./internal/testonly/sim", "TestPublicationViaRoot",
		},
		{
			"counting prune blamed for our correction", "applier/uncounted.go", "|| kinds.countingPrune(c.Slot)", "",
			"./applier", "TestCountingPruneIsNotBlamed",
		},
		{
			"a new slot's blind spot overlooked", "internal/daemon/resume.go", "start.Unseen = start.Snapshot.Unseen(xid)", "_ = xid",
			"./e2e", "TestFirstSlotInAStall",
		},
		{
			"a silent stream waited for", "replication/stream.go", "silent > giveUpAfter {", "silent > 1000*giveUpAfter {",
			"./replication", "TestSilentStreamIsGivenUp",
		},
		{
			"pending kept on its TRUNCATE", "applier/books.go", "l.emptyLedger(s)", "_ = s",
			"./internal/testonly/sim", "TestSimulation",
		},
		{
			"TRUNCATE of the ledger ignored by the decoder", "decoder/decoder.go", "f.emptyLedger(rel.LeafSlot)", "_ = rel",
			"./internal/testonly/sim", "TestSimulation",
		},
		{
			"TRUNCATE of the counter clears pending", "applier/unitview.go", "l.change(id, func(*counter.Entry) { l.groups.RemoveBuckets(id) })",
			"l.change(id, func(e *counter.Entry) { e.Pending = 0; l.groups.RemoveBuckets(id) })",
			"./internal/testonly/sim", "TestMigrationsRunAgain",
		},
		{
			"absolute bucket value added", "applier/unitview.go", "l.groups.SetBucket(id, c.Bucket, c.Value)",
			"v, _ := l.groups.Bucket(id, c.Bucket)\n			l.groups.SetBucket(id, c.Bucket, v+c.Value)", "./internal/testonly/sim", "TestSimulation",
		},
		{
			"buckets taken for one", "decoder/apply.go", "row.Bucket = int16(bucket)", "_ = bucket",
			"./internal/testonly/sim", "TestSimulation",
		},
		{
			"the ledger's T ignored when an uncounted prune is told", "applier/uncounted.go", "return slices.Contains(k.e.CountingPrunes, slot)", "return false",
			"./internal/testonly/sim", "TestNewLeadersAreNotBlamed",
		},
		{
			"a new leader's prune kept as an old one's", "applier/uncounted.go", "if slices.Contains(tx.Effect.CountingPrunes, slot) {", "if slot < 0 {",
			"./internal/testonly/sim", "TestNewLeadersAreNotBlamed",
		},
		{
			"one T of two leaves taken for two", "decoder/decoder.go", "f.countingPrune(slot)", "_ = slot",
			"./internal/testonly/sim", "TestNewLeadersAreNotBlamed",
		},
		{
			"a fleet's clamps taken for old binaries, by the daemon", "applier/uncounted.go", "if s.Kind == KindCounter {", "if false {",
			"./internal/testonly/sim", "TestMigrationsRunAgain",
		},
		{
			"a fleet's clamps taken for old binaries, by finish", "internal/status/next_step.go", "|| u.Kind != string(applier.KindRows)", "|| u.Kind == string(applier.KindPrune)",
			"./internal/status", "TestClampsAreNoOldBinary",
		},
		{
			"queues that an old leader pruned called written by old binaries", "internal/status/next_step.go", "|| u.Kind != string(applier.KindRows)", "|| u.Kind == string(applier.KindCounter)",
			"./internal/status", "TestPrunesNameNoQueue",
		},
		{
			"corrections of two slots in one transaction", "applier/chunk.go", "return c.Slot == o.Slot && ", "return ",
			"./internal/testonly/sim", "TestSimulation",
		},
		{
			"corrections of two signs in one statement", "applier/chunk.go", " && c.Delta < 0 == (o.Delta < 0)", "",
			"./internal/testonly/sim", "TestSimulation",
		},
		{
			"own row at 0 not swept", "internal/corrections/writer.go", "if c.Ends {", "if false {",
			"./internal/testonly/sim", "TestSimulation",
		},
		{
			"correction written while held", "applier/flush.go", "return c.tokens.first && !c.holding && ", "return c.tokens.first && ",
			"./internal/testonly/sim", "TestHold",
		},
		{
			"held, and nobody told", "applier/flush.go", "Holds: c.holding", "Holds: false",
			"./internal/testonly/sim", "TestHold",
		},
		{
			"carried rows ignored by the audit", "applier/rollups.go", "folded[rollupKey{c.Queue, c.Priority}] += max(c.N, 0)", "_ = c",
			"./internal/testonly/sim", "TestCarriedRows",
		},
		{
			"compact batches called a mismatch", "applier/rollups.go", "(jobs > held[k] && !receipts)", "jobs > held[k]",
			"./internal/testonly/sim", "TestCarriedRows",
		},
		{
			"a prune's shortfall overlooked", "applier/rollups.go", "if jobs < held[k] || ", "if ",
			"./internal/testonly/sim", "TestPruneAudit",
		},
		{
			"resumed from books of another shape", "internal/resume/resume.go", "case s.Shape != id.Shape:", "case false:",
			"./internal/testonly/sim", "TestShapeChanges",
		},
		{
			"a packed group loses what is pending", "internal/base/counter/packed.go", "int64(k.shard), rows, pending} {", "int64(k.shard), rows, 0} {",
			"./internal/base/counter", "TestPackedGivesBackWhatItGot",
		},
		{
			"a group that is taken away hides those behind it", "internal/base/counter/table.go", "(at-home)&mask >= (at-gap)&mask {", "false && home > gap {",
			"./internal/base/counter", "TestATableIsAMapOfCells",
		},
		{
			"the name of a queue swept that has groups", "internal/base/counter/names.go", "case used[number]:", "case used[number] && number > 0:",
			"./internal/base/counter", "TestATableIsAMapOfCells",
		},
		{
			"an audit compares sums", "internal/base/counter/table_cells.go", "return slices.Equal(t.rows(a, &few), o.rows(b, &others))",
			"_, _ = t.rows(a, &few), o.rows(b, &others)\n	return a.Counter() == b.Counter()", "./internal/base/counter", "TestAnAuditComparesEachCounterRow",
		},
		{
			"a correction that has come right is planned", "applier/unit.go", "if id := u.listed[at]; u.main.groups.At(id).Drift() != 0 {",
			"if id := u.listed[at]; true {", "./applier", "TestSumOfDriftsIsKept",
		},
		{
			"counter rows of no leaf left by the one-shot", "internal/awa/redistribute.go", "`delete from %s where %s and", "`delete from %s where false and %s and",
			"./e2e", "TestReconcileTakesAwayWhatHasNoLeaf",
		},
		{
			"scans overlook what is pending of another generation", "internal/awa/scan.go", `deltaColumn, l.Schema.table(leaf.Ledger.Name)), "")`,
			`deltaColumn, l.Schema.table(leaf.Ledger.Name)+fmt.Sprintf(" where ready_generation = (select generation from %s where slot = %d)", l.Schema.table(ringSlotsTable), leaf.Slot)), "")`,
			"./e2e", "TestNoTrustOverAStaleLedger",
		},
		{
			"what was done to the ledger's publication overlooked", "internal/daemon/publish.go", "p.OIDs = append(p.OIDs, seen.OID)",
			"if len(p.OIDs) > 0 {\nreturn\n}\np.OIDs = append(p.OIDs, seen.OID)",
			"./e2e", "TestResumeRefusals/ledger's_publication_created_again",
		},
		{
			"updates and deletes of the ledger published", "replication/publication.go", "case p.AppendOnly && (seen.Update || seen.Delete):", "case false:",
			"./e2e", "TestRefusesTheLedgersPublication",
		},
		{
			"finish without redistribution", "cmd/awa-counterd/handover.go",
			"\t\tr, err := h.one.Run(ctx, true, nil)",
			"\t\tr, err := h.one.Run(ctx, false, nil)",
			"./e2e", "TestFinishLeavesNothingForAFoldToThrowAway",
		},
		{
			"finish takes a correction that is under way for the end", "cmd/awa-counterd/finish_wait.go", "{stale, wrong}", "{stale}",
			"./e2e", "TestFinishWaitsForCorrections",
		},
		{
			"what becomes wrong behind finish's move left to nobody", "cmd/awa-counterd/handover.go", "moveTries = 5", "moveTries = 1",
			"./e2e", "TestFinishMovesAgain",
		},
		{
			"what awa drops behind finish's move taken for the end", "internal/status/next_step.go", "return even.Passes(quiet) && !s.Passes(quiet)", "return false",
			"./e2e", "TestFinishMovesWhatComesBehindTheMove",
		},
		{
			"rare messages not gathered", "replication/direct_linux.go", "d.quick, d.rare, d.since = 0, min(d.rare+1, brisk), n", "d.quick, d.since = 0, n",
			"./replication", "TestDirectGathersWhatIsRare",
		},
		{
			"rare messages not gathered when a transaction has many", "replication/direct_linux.go", "d.quick == brisk && d.since >= much {", "d.quick == brisk {",
			"./replication", "TestDirectGathersWhatIsRare",
		},
		{
			"gathered after a pause", "replication/direct_linux.go", "d.quick == brisk && d.since >= much {", "false {",
			"./replication", "TestDirectGathersWhatIsRare",
		},
		{
			"gathered for no time", "replication/direct_linux.go", "d.parked.sleep(by, d.gather)", "d.parked.sleep(by, 1)",
			"./replication", "TestDirectGathersWhatIsRare",
		},
		{
			"a rest that nothing ends", "replication/direct_linux.go", "_ = d.parked.sleep(by, d.gather)", "_ = by; time.Sleep(d.gather)",
			"./replication", "TestDirectReadEnds",
		},
		{
			"a deadline of before ends a rest", "replication/direct_linux.go", "quiet(d.wake) // what", "// what",
			"./replication", "TestDirectGathersForItsTime",
		},
		{
			"what was waited for in vain ends a rest", "replication/parking_linux.go", "if err == nil && p.armed {", "if false {",
			"./replication", "TestDirectGathersForItsTime",
		},
		{
			"gathered where there is much", "replication/direct_linux.go", "d.quick, d.rare, d.since = brisk, 0, n", "d.quick = 0",
			"./replication", "TestDirectGathersWhatIsRare",
		},
		{
			"an old binary mended by finish on its way", "cmd/awa-counterd/handover.go", "reason, err = h.quiet(ctx)", "_, _ = h.quiet(ctx)",
			"./e2e", "TestFinishMovesAgain",
		},
		{
			"an old binary mended by finish when the daemons have left", "cmd/awa-counterd/handover.go", "\" when the daemons had left\"); why != \"\" {", "\" when the daemons had left\"); why == \"-\" {",
			"./e2e", "TestFinishSeesWhoWritesWhenDaemonsHaveLeft",
		},
		{
			"what leaves the ledger taken for a drift", "reconcile/redistribute.go", "counter += dropped.sum(g); ", "counter += 0; ",
			"./e2e", "TestNoTrustOverAStaleLedger",
		},
		{
			"finish refuses what passes", "cmd/awa-counterd/handover.go", "case byNobody:", "default:",
			"./cmd/awa-counterd", "TestQuietWaitsForWhatPasses",
		},
		{
			"changes of another generation left in the ledger", "reconcile/redistribute.go", "if o.Alone && o.layout", "if false && o.layout",
			"./e2e", "TestNoTrustOverAStaleLedger",
		},
		{
			"a scan locks the counters before the ledger", "internal/awa/scan.go", "group by 2, 3, 4%[5]s%[6]s`", "group by 2, 3, 4%[6]s%[5]s`",
			"./e2e", "TestLocksAreTakenInAwasOrder",
		},
		{
			"the one-shot locks the counters before the leaf", "internal/awa/redistribute.go", "with t as (select", "with first as (select from %[10]s), t as (select",
			"./e2e", "TestLocksAreTakenInAwasOrder",
		},
		{
			"the one-shot locks the ledger before the leaf", "reconcile/stale.go", "tx.Exec(ctx, o.layout.LockLeaf(leaf))", "tx.Exec(ctx, `select 1`)",
			"./e2e", "TestLocksAreTakenInAwasOrder",
		},
		{
			"the one-shot leaves what is too high", "internal/awa/redistribute.go", "from d where rows <> counter order", "from d where rows > counter order",
			"./e2e", "TestReconcileIsRightEachTime",
		},
		{
			"taken out of the ledger beside a daemon", "reconcile/redistribute.go", "if o.Alone && o.layout", "if o.layout",
			"./e2e", "TestNoTrustOverAStaleLedger",
		},
	}
}
