package mutants

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

// All are the mutants of the rules of docs/design.md, and those that our own bugs have taught us.
func All() []Mutant {
	return append(ofProtocol(), ofRooms()...)
}

// ofProtocol are those of the rules that the whole daemon keeps.
func ofProtocol() []Mutant {
	return []Mutant{
		{
			"fence off", "applier/unitview.go", "return l.open && l.snap.Sees(xid)", "return false",
			"./internal/sim", "TestSimulation",
		},
		{
			"journal off", "applier/journal.go", "	if j.seen.Sees(e.xid) {", "	if true {",
			"./internal/sim", "TestSimulation",
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
			"./internal/sim", "TestSimulation",
		},
		{
			"no token before the first correction", "applier/flush.go", "return c.tokens.first && !c.holding && c.settledDrift()",
			"return !c.holding && c.settledDrift()", "./internal/sim", "TestDeafStream",
		},
		{
			"token 0 taken for an answer", "applier/flush.go", "if t.awaited == 0 || seq != t.awaited {", "if seq != t.awaited {",
			"./applier", "TestTokenZeroIsNoAnswer",
		},
		{
			"TRUNCATE ignored by the books", "applier/books.go", "l.truncateRows(s)", "_ = s",
			"./internal/sim", "TestSimulation",
		},
		{
			"TRUNCATE ignored by the decoder", "decoder/decoder.go", "f.truncate(rel.LeafSlot)", "_ = rel",
			"./internal/sim", "TestSimulation",
		},
		{
			"own writes counted as uncounted", "applier/core.go", "if !own {", "if true {",
			"./internal/sim", "TestOwnWritesAreNobodysFault",
		},
		{
			"in-band writes counted again", "applier/books.go", "l.setCounter(c)", "_ = c",
			"./internal/sim", "TestCountedFleet",
		},
		{
			"transactions that come again counted again", "applier/core.go", "if tx.End <= c.books.position {", "if false {",
			"./applier", "TestTransactionsAreCountedOnce",
		},
		{
			"acknowledged before persisted", "applier/persist.go", "return append(out, Persist{Checkpoint: cp})",
			"return append(out, Acknowledge{Position: cp.Position}, Persist{Checkpoint: cp})", "./internal/sim", "TestSimulation",
		},
		{
			"negative correction creates a row", "applier/writer.go", "if chunk.Corrections[0].Delta < 0 {", "if false {",
			"./internal/sim", "TestSimulation",
		},
		{
			"a chunk may hold its rows for ever", "applier/writer.go", "return limits{3 * time.Millisecond, 7 * time.Millisecond, patience}",
			"return limits{3 * time.Millisecond, time.Minute, patience}", "./e2e", "TestChunkIsBoundedAsAWhole",
		},
		{
			"clamp in the books", "applier/unitview.go", "cell.Rows += c.N", "cell.Rows = max(0, cell.Rows+c.N)",
			"./internal/sim", "TestFalsifiedBooks",
		},
		{
			"marker set before the audit", "applier/trust.go", "case !c.audited():", "case false:",
			"./internal/sim", "TestSimulation",
		},
		{
			"marker kept on lag", "applier/trust.go", "lag > c.cfg.doubtAfter()", "lag > 1000*c.cfg.doubtAfter()",
			"./internal/sim", "TestDeafStream",
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
			"publication via root accepted", "replication/publication.go", "case seen.ViaRoot:", "case false:",
			"./internal/sim", "TestPublicationViaRoot",
		},
		{
			"leaf outside the publication accepted", "replication/publication.go", "if len(missing) == 0 {", "if true {",
			"./e2e", "TestRefusesPublications",
		},
		{
			"Relation by ordinal", "decoder/row.go", "rel.want(queueField, table.Queue)", "rel.want(queueField, 2)",
			"./internal/sim", "TestSimulation",
		},
		{
			"subtransaction rollback counted", "decoder/stream.go", "		s.parts[i].fold = nil\n		s.gone++", "		_ = i",
			"./internal/sim", "TestSimulation",
		},
		{
			"resume after someone moved the slot", "internal/resume/resume.go", "case f.Slot.Confirmed > s.Position:", "case false:",
			"./internal/sim", "TestSlotMoved",
		},
		{
			"deposed leader writes on", "checkpoint/leader.go", "where g.awa_schema = $%d and g.instance = $%d for", "where g.awa_schema = $%d and g.instance <> '' || $%d for",
			"./e2e", "TestDeposedWritesNothing",
		},
		{
			"counters run ahead of their rows", "applier/invisible.go", "for e := range j.after(snap) {", "for e := range j.after(snap) {\n\t\tif e.xid > 0 {\n\t\t\tcontinue\n\t\t}",
			"./internal/sim", "TestStalledVisibility",
		},
		{
			"a promotion resumed past where it branched off", "internal/resume/resume.go", "f.Stored.Position <= f.Left }", "f.Left > 0 }",
			"./internal/resume", "TestFreshReason",
		},
		{
			"altered publication resumed from", "internal/resume/resume.go", "case s.PublicationState != id.PublicationState:", "case false:",
			"./internal/sim", "TestPublicationViaRoot",
		},
		{
			"counting prune blamed for our correction", "applier/uncounted.go", "|| kinds.countingPrune(c.Slot)", "",
			"./applier", "TestCountingPruneIsNotBlamed",
		},
		{
			"a new slot's blind spot overlooked", "internal/daemon/lead.go", "start.Unseen = start.Snapshot.Unseen(xid)", "_ = xid",
			"./e2e", "TestFirstSlotInAStall",
		},
		{
			"a silent stream waited for", "replication/stream.go", "silent > giveUpAfter {", "silent > 1000*giveUpAfter {",
			"./replication", "TestSilentStreamIsGivenUp",
		},
		{
			"pending kept on its TRUNCATE", "applier/books.go", "l.emptyLedger(s)", "_ = s",
			"./internal/sim", "TestSimulation",
		},
		{
			"TRUNCATE of the ledger ignored by the decoder", "decoder/decoder.go", "f.emptyLedger(rel.LeafSlot)", "_ = rel",
			"./internal/sim", "TestSimulation",
		},
		{
			"TRUNCATE of the counter clears pending", "applier/unitview.go", "cell.RemoveBuckets()", "*cell = counter.Cell{Rows: cell.Rows}",
			"./internal/sim", "TestMigrationsRunAgain",
		},
		{
			"absolute bucket value added", "applier/unitview.go", "cell.SetBucket(c.Bucket, c.Value)",
			"v, _ := cell.Bucket(c.Bucket)\n			cell.SetBucket(c.Bucket, v+c.Value)", "./internal/sim", "TestSimulation",
		},
		{
			"buckets taken for one", "decoder/apply.go", "row.Bucket = int16(bucket)", "_ = bucket",
			"./internal/sim", "TestSimulation",
		},
		{
			"the ledger's T ignored when an uncounted prune is told", "applier/uncounted.go", "return slices.Contains(k.e.CountingPrunes, slot)", "return false",
			"./internal/sim", "TestNewLeadersAreNotBlamed",
		},
		{
			"a new leader's prune kept as an old one's", "applier/uncounted.go", "if !slices.Contains(tx.Effect.CountingPrunes, slot) && ", "if slot >= 0 && ",
			"./internal/sim", "TestNewLeadersAreNotBlamed",
		},
		{
			"one T of two leaves taken for two", "decoder/decoder.go", "f.countingPrune(slot)", "_ = slot",
			"./internal/sim", "TestNewLeadersAreNotBlamed",
		},
		{
			"a fleet's clamps taken for old binaries, by the daemon", "applier/uncounted.go", "if s.Kind == KindCounter {", "if false {",
			"./internal/sim", "TestMigrationsRunAgain",
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
			"./internal/sim", "TestSimulation",
		},
		{
			"corrections of two signs in one statement", "applier/chunk.go", " && c.Delta < 0 == (o.Delta < 0)", "",
			"./internal/sim", "TestSimulation",
		},
		{
			"own row at 0 not swept", "applier/writer.go", "if c.Ends {", "if false {",
			"./internal/sim", "TestSimulation",
		},
		{
			"correction written while held", "applier/flush.go", "return c.tokens.first && !c.holding && ", "return c.tokens.first && ",
			"./internal/sim", "TestHold",
		},
		{
			"held, and nobody told", "applier/flush.go", "Holds: c.holding", "Holds: false",
			"./internal/sim", "TestHold",
		},
		{
			"carried rows ignored by the audit", "applier/rollups.go", "folded[rollupKey{c.Queue, c.Priority}] += max(c.N, 0)", "_ = c",
			"./internal/sim", "TestCarriedRows",
		},
		{
			"compact batches called a mismatch", "applier/rollups.go", "(jobs > held[k] && !receipts)", "jobs > held[k]",
			"./internal/sim", "TestCarriedRows",
		},
		{
			"a prune's shortfall overlooked", "applier/rollups.go", "if jobs < held[k] || ", "if ",
			"./internal/sim", "TestPruneAudit",
		},
		{
			"resumed from books of another shape", "internal/resume/resume.go", "case s.Shape != id.Shape:", "case false:",
			"./internal/sim", "TestShapeChanges",
		},
		{
			"a packed group loses what is pending", "internal/counter/packed.go", "h.Rows, h.Pending}", "h.Rows, 0}",
			"./internal/counter", "TestPackedGivesBackWhatItGot",
		},
		{
			"finish without redistribution", "cmd/awa-counterd/handover.go",
			"h.one.Run(ctx, true, nil)",
			"h.one.Run(ctx, false, nil)",
			"./e2e", "TestFinishLeavesNothingForAFoldToThrowAway",
		},
		{
			"changes of another generation left in the ledger", "reconcile/redistribute.go", "if o.Alone && o.layout", "if false && o.layout",
			"./e2e", "TestNoTrustOverAStaleLedger",
		},
		{
			"taken out of the ledger beside a daemon", "reconcile/redistribute.go", "if o.Alone && o.layout", "if o.layout",
			"./e2e", "TestNoTrustOverAStaleLedger",
		},
		{
			"a session may be ended by the role's settings", "internal/pg/connect.go", "c.AfterConnect = pinNewer", "_ = pinNewer",
			"./e2e", "TestHostileRoleSettings/idle_session_timeout",
		},
		{
			"the same surprise in the stream read for ever", "internal/daemon/daemon.go", "\t\terrors.Is(err, awa.ErrLayoutChanged) ||\n", "",
			"./internal/daemon", "TestTablesThatMovedEndTheSlot",
		},
		{
			"the first error ends a session", "internal/pg/connect.go", `"exit_on_error": off,`, "",
			"./e2e", "TestEverySettingOfARole",
		},
		{
			"policies may hide rows", "internal/pg/connect.go", "\"row_security\": off, ", "",
			"./e2e", "TestRowLevelSecurity",
		},
		{
			"row level security overlooked", "internal/daemon/preflight.go", "if err := filtered(l.CheckRowSecurity(ctx, c), user); err != nil {", "if err := filtered(nil, user); err != nil {",
			"./e2e", "TestRowLevelSecurity",
		},
		{
			"unlogged leaf accepted", "internal/awa/layout.go", "case p.Unlogged:", "case false:",
			"./e2e", "TestRefusesUnloggedTables",
		},
		{
			"what was undone between two looks overlooked", "internal/awa/layout.go", " && l.State == o.State", "",
			"./e2e", "TestTablesChangeBetweenTwoLooks",
		},
		{
			"attached again taken for never detached", "internal/awa/table_marks.go", "i.inhparent, i.xmin,", "i.inhparent,",
			"./e2e", "TestTablesChangeBetweenTwoLooks",
		},
		{
			"a replica identity without the group accepted", "decoder/row.go", "i := table.unidentified(keys); i >= 0", "i := table.unidentified(keys); i > 99",
			"./e2e", "TestTablesChangeBetweenTwoLooks",
		},
		{
			"two leaves that swap names overlooked", "internal/awa/table_marks.go", "c.oid, c.relname, c.relnamespace", "c.oid, c.relnamespace",
			"./e2e", "TestLeavesSwapNames",
		},
		{
			"logged again taken for never unlogged", "internal/awa/table_marks.go", "c.reltoastrelid, ", "",
			"./e2e", "TestTablesChangeBetweenTwoLooks",
		},
		{
			"a known table in another schema ignored", "internal/awa/catalog.go", "if c.hasRelation(oid) {", "if false {",
			"./e2e", "TestTablesChangeBetweenTwoLooks",
		},
		{
			"marker sought under its old name", "internal/daemon/standby.go", "awa.ClearMarkerOf(ring)", "l.SetMarker(false, \"true\")",
			"./e2e", "TestSchemaIsRenamed",
		},
		{
			"the active schema asked for once only", "internal/daemon/monitor.go", "} else if schema != s.layout.Schema {", "} else if false {",
			"./e2e", "TestActiveSchemaSwitches",
		},
		{
			"what was left stays", "internal/daemon/monitor.go", "return slot, leader, s.removeOrphans(ctx)", "return slot, leader, nil",
			"./e2e", "TestActiveSchemaSwitches",
		},
		{
			"a slot under another name kept", "internal/daemon/lead.go", "if f.Stored != nil && f.Stored.Slot != s.slot && !s.d.opts.DryRun {", "if false {",
			"./e2e", "TestSlotIsRenamed",
		},
		{
			"a correction settled because it was written", "applier/flush.go", "!t.failed && effective)", "!t.failed && (effective || true))",
			"./applier", "TestCorrectionsWithoutEffectAge",
		},
		{
			"a correction's effect taken for granted", "applier/effect.go", "e.aims[ch.Group] += ch.after - ch.before", "e.aims[ch.Group] = 0",
			"./applier", "TestCorrectionsWithoutEffectAge",
		},
		{
			"somebody else's schema used", "internal/daemon/preflight.go", "if err := checkpoint.CheckOwner(ctx, c, l.Rows); err != nil {", "if err := error(nil); err != nil {",
			"./e2e", "TestRefusesASchemaThatSomebodyElseMade",
		},
		{
			"names of leaves not quoted", "internal/awa/schema.go", "pgx.Identifier{name}.Sanitize()", "strings.Trim(pgx.Identifier{name}.Sanitize(), `\"`)",
			"./e2e", "TestLeafNamesAreQuoted",
		},
		{
			"tables in schema accepted", "replication/publication.go", "case seen.Schemas:", "case false:",
			"./e2e", "TestWidePublicationsAreNamed",
		},
		{
			"marker left standing by a refusal", "internal/daemon/session.go", "s.d.left.layout = s.d.clearUnknownMarker(context.Background(), s.control)", "",
			"./e2e", "TestEveryRefusalClearsTheMarker",
		},
		{
			"a refusal does not wait for the marker's row", "internal/daemon/between.go", "&& !d.started && ctx.Err() == nil", "&& false",
			"./e2e", "TestRefusalWaitsForTheMarkersRow",
		},
		{
			"a dead daemon's fresh heartbeat taken for its life", "internal/daemon/standby.go", "leader.Leads && !leader.DryRun && leader.Heartbeat", "leader.Heartbeat",
			"./e2e", "TestRoleLosesReplicationWhileRunning",
		},
		{
			"a post-stop hook undoes a finish", "cmd/awa-counterd/distrust.go", "if l.HasMarker && !r.Finished {", "if l.HasMarker {",
			"./e2e", "TestPostStopHookKnowsAFinish",
		},
		{
			"a daemon ends when finish asks, not when it has finished", "internal/daemon/loop.go", "return errLeadRequested", "return errRemoved",
			"./e2e", "TestFinishDies",
		},
		{
			"a request to leave outlives the finish that asked", "checkpoint/leader.go", "leaving and held.finishing", "leaving",
			"./e2e", "TestFinishDies",
		},
		{
			"SIGHUP ends it without a stop", "cmd/awa-counterd/main.go", "if !signal.Ignored(syscall.SIGHUP) {", "if false {",
			"./e2e", "TestHangUpIsAStop",
		},
		{
			"a daemon that wakes after a teardown makes all anew", "internal/daemon/removed.go", "return err == nil && d.seen.since(now), err", "return err == nil && now.at == 0, err",
			"./e2e", "TestTeardownWhileADaemonWaits",
		},
		{
			"marker left when our schema is dropped", "internal/daemon/session.go", "if err != nil && (!errors.Is(err, applier.ErrNotLeading) || s.unclaimed()) {", "if false {",
			"./e2e", "TestSchemaIsDroppedByHand",
		},
		{
			"the leader's row deleted by hand taken for a finish", "internal/daemon/session.go", "(!isDeposed(err) || s.unclaimed())", "!isDeposed(err)",
			"./e2e", "TestLeadersRowIsDeletedByHand",
		},
		{
			"a command to set the marker never comes too late", "internal/awa/sql.go", "or clock_timestamp() < $3)", "or true)",
			"./e2e", "TestMarkerCommandThatComesTooLate",
		},
		{
			"the marker is set without a term", "applier/trust.go", "if want { // what", "if false { // what",
			"./internal/sim", "TestSimulation",
		},
		{
			"the term of a command to set the marker is not sent", "applier/writer.go", "append(args, orNull(cmd.Until))", "append(args, orNull(time.Time{}))",
			"./internal/sim", "TestWorlds/a_marker_that_comes_late",
		},
		{
			"a command to set the marker is good for the whole bound", "applier/trust.go", "c.serverNow(c.tokens.provenAt).Add(c.cfg.doubtAfter())", "c.serverNow(c.tokens.provenAt).Add(c.cfg.MaxStaleness)",
			"./internal/sim", "TestWorlds/a_marker_that_comes_late",
		},
		{
			"a deposed leader may set the marker", "internal/awa/sql.go", `l.SetMarker(true, guard+" and (`, `l.SetMarker(true, "true and (`,
			"./internal/sim", "TestWorlds/a_marker_that_comes_late",
		},
		{
			"a deposed leader may correct", "internal/awa/shape.go", "l.Shape.ownKey(), corrections, guard)", `l.Shape.ownKey(), corrections, "true")`,
			"./internal/sim", "TestWorlds/a_flush_that_comes_late",
		},
		{
			"patience with the marker's connection", "applier/writer.go", "time.Second, 500 * time.Millisecond}", "time.Second, patience}",
			"./e2e", "TestMarkerConnectionHangs",
		},
		{
			"a leader judged by the standby's own bound", "internal/daemon/standby.go", "leader.Heartbeat > leader.Silent()) //", "leader.Heartbeat > 2*d.opts.MaxStaleness) //",
			"./e2e", "TestStandbyGoesByTheLeadersBound",
		},
		{
			"a standby leads with the tables of when it began", "internal/daemon/standby.go", "!now.Equivalent(l)", "!now.Equivalent(now)",
			"./e2e", "TestStandbyLooksAtTheTablesAnew",
		},
		{
			"what the role had before is granted again, and revoked", "internal/provision/grants.go", "if len(out) == len(need.Parts) {", "if true {",
			"./e2e", "TestTeardownRevokesWhatWasGranted",
		},
		{
			"grants of no role in particular kept", "internal/provision/grants.go", "$2 in ('', g.role_name)", "$2 = g.role_name",
			"./e2e", "TestTeardownRevokesWhatWasGranted",
		},
		{
			"old uncounted writes kept for ever", "checkpoint/store.go", "s.noted > maxUncountedKept {", "false && s.noted > maxUncountedKept {",
			"./e2e", "TestUncountedWritesAreForgotten",
		},
		{
			"Amazon's role for replication not known", "internal/pg/role.go", "g.rolname = 'rds_replication'", "g.rolname = 'rds_replication' and false",
			"./e2e", "TestStreamRightOnRDS",
		},
		{
			"a question for fresh figures not answered", "applier/persist.go", "\tif c.canAnswerRequest() {\n\t\treturn true\n\t}\n", "",
			"./e2e", "TestStatusIsFresh",
		},
		{
			"old figures taken for evidence", "internal/status/next_step.go", "if !s.Fresh {", "if false {",
			"./internal/status", "TestOldFiguresDecideNothing",
		},
		{
			"another version's tables dropped under its daemon", "checkpoint/schema.go", "err := refuseIfInUse(ctx, c, awaSchema); err != nil {", "err := refuseIfInUse(ctx, c, awaSchema); false {",
			"./e2e", "TestTablesOfAnotherVersionInUse",
		},
		{
			"patience with every locked row", "applier/patience.go", "alone[i].Patient = i < few", "alone[i].Patient = true",
			"./applier", "TestPatienceIsRationed",
		},
		{
			"a locked row never has its turn again", "applier/patience.go", "l.next = l.nextWithPatience(deferred)", "_ = deferred",
			"./applier", "TestPatienceIsRationed",
		},
		{
			"the heartbeat waits behind corrections", "internal/daemon/monitor.go", "leader.Heartbeat > s.d.opts.MaxStaleness/2", "false",
			"./e2e", "TestHeartbeatDoesNotWait",
		},
		{
			"the journal without a bound", "applier/journal.go", "for j.bytes > j.size && len(j.entries) > 1 {", "for false {",
			"./applier", "TestScanThatOutlastsTheJournal",
		},
		{
			"a scan's journal cut to what the newest snapshot does not see", "applier/fence.go", "j.unseen(s.Snapshot)", "j.after(s.Snapshot)",
			"./applier", "TestScanOutlastsManyTransactions",
		},
		{
			"a scan without an end", "reconcile/scanner.go", "LockTimeout: scanLockWait, StatementTimeout: within", "LockTimeout: 0, StatementTimeout: 0",
			"./e2e", "TestScansAreBounded",
		},
		{
			"a checkpoint acknowledged that is not on disk", "checkpoint/store.go", "'synchronous_commit', 'local'", "'synchronous_commit', 'off'",
			"./e2e", "TestCheckpointIsDurable",
		},
		{
			"queues that came and went kept for ever", "applier/uncounted.go", "if len(u.sources) <= mostSources {", "if true {",
			"./applier", "TestMapsShrink",
		},
		{
			"what a savepoint took back is kept", "decoder/stream.go", "if s.gone > 64 && s.gone > len(s.parts)/4 {", "if s.gone < 0 {",
			"./decoder", "TestManySavepoints",
		},
		{
			"other users' SQL in the log", "replication/create_slot.go", "coalesce(a.usename::text, '')", "left(a.query, 80)",
			"./e2e", "TestSlotCreationWaits",
		},
		{
			"a lowered wal_level overlooked", "internal/status/doctor_server.go", `*next != "logical"`, `*next == "nothing"`,
			"./e2e", "TestLoweredLevelIsSaid",
		},
		{
			"a publication that is too wide overlooked", "internal/status/doctor_server.go", "d.check(\"other publications\", err, len(found) == 0,", "d.check(\"other publications\", err, true,",
			"./e2e", "TestWidePublicationsAreNamed",
		},
		{
			"triggers overlooked by doctor", "internal/status/doctor_tables.go", "d.check(\"triggers and rules\", err, len(found) == 0,", "d.check(\"triggers and rules\", err, true,",
			"./e2e", "TestCorrectionsWithoutEffect",
		},
		{
			"row level security overlooked by doctor", "internal/status/doctor_tables.go", "d.check(\"row level security\", err, len(tables) == 0,", "d.check(\"row level security\", err, true,",
			"./e2e", "TestRowLevelSecurity",
		},
		{
			"the same thing said over and over", "internal/daemon/throttle.go", "s.times++; s.times > sayMost", "s.times++; false",
			"./internal/daemon", "TestNoticesAreCounted",
		},
		{
			"the watchdog fed by whatever lives", "internal/daemon/daemon.go", "	defer context.AfterFunc(ctx, d.super.Stopping)()\n",
			"	go func() {\n		for ctx.Err() == nil {\n			d.super.Alive()\n			<-time.After(time.Second)\n		}\n	}()\n", "./e2e", "TestWatchdogOfAHungLoop",
		},
		{
			"no marker without its history", "applier/writer.go", "		w.apart = true\n		if !pg.IsBusy(err) {", "		if false {",
			"./e2e", "TestMarkerDoesNotDependOnItsHistory",
		},
		{
			"a dry run lets corrections go", "applier/core.go", "c.holding = on || c.cfg.DryRun", "c.holding = on", "./applier", "TestDryRunAsksForNothing",
		},
		{
			"a dry run touches the marker", "applier/trust.go", "c.cfg.Trust != TrustOff && !c.cfg.DryRun", "c.cfg.Trust != TrustOff",
			"./applier", "TestDryRunAsksForNothing",
		},
	}
}
