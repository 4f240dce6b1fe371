package mutants

// ofOutside are the mutants of what the catalog, the role, the server and other sessions do to a daemon (docs/inputs.md). Most take a
// test with a real server.
func ofOutside() []Mutant {
	return []Mutant{
		{
			"a session may be ended by the role's settings", "internal/base/pg/connect.go", "c.AfterConnect = pinNewer", "_ = pinNewer",
			"./e2e", "TestHostileRoleSettings/idle_session_timeout",
		},
		{
			"the same surprise in the stream read for ever", "internal/daemon/daemon.go", "\t\terrors.Is(err, awa.ErrLayoutChanged) ||\n", "",
			"./internal/daemon", "TestTablesThatMovedEndTheSlot",
		},
		{
			"the first error ends a session", "internal/base/pg/connect.go", `"exit_on_error": off,`, "",
			"./e2e", "TestEverySettingOfARole",
		},
		{
			"a replication slot of another name unknown before the first checkpoint", "checkpoint/store.go", "return s.announce(ctx, tx)", "return nil",
			"./e2e", "TestSlotBeforeTheFirstCheckpoint",
		},
		{
			"the slot of the original dropped in a copy of the database", "checkpoint/made.go", "r.database <> current_database()", "r.database is null",
			"./e2e", "TestTeardownInACopyOfTheDatabase",
		},
		{
			"counters of a leaf that has come since taken away", "internal/awa/scan.go", "inhparent = %d) = array[%s]::oid[]", "inhparent = %d) is not null or array[%s]::oid[] is null",
			"./e2e", "TestRingGrowsBesideACommand/reconcile",
		},
		{
			"somebody else's tables taken out of a publication", "replication/publication.go", "ADD TABLE %s\", pgx.Identifier{p.Name}.Sanitize(), strings.Join(seen.Lacks", "SET TABLE %s\", pgx.Identifier{p.Name}.Sanitize(), strings.Join(seen.Lacks",
			"./e2e", "TestPublicationOfOthersInAwasSchema/setup",
		},
		{
			"a row filter on somebody else's table refused", "replication/publication.go", "where r.prrelid = o or", "where true or",
			"./e2e", "TestRowFilterInASharedPublication",
		},
		{
			"policies may hide rows", "internal/base/pg/connect.go", "\"row_security\": off, ", "",
			"./e2e", "TestRowLevelSecurity",
		},
		{
			"row level security overlooked", "internal/preflight/tables.go", "out[0].Refusal = hidesRows(v.Role, ", "_ = hidesRows(v.Role, ",
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
			"marker sought under its old name", "internal/daemon/standby.go", "\t\tname = now\n", "",
			"./e2e", "TestSchemaIsRenamed",
		},
		{
			"the active schema asked for once only", "internal/daemon/monitor.go", "} else if schema != s.layout.Schema {", "} else if false {",
			"./e2e", "TestActiveSchemaSwitches",
		},
		{
			"what was left stays", "internal/daemon/monitor.go", "err = s.removeOrphans(ctx)", "",
			"./e2e", "TestActiveSchemaSwitches",
		},
		{
			"numbers of another cluster taken for tables of this one", "checkpoint/orphans.go", "case when system_identifier = (select system_identifier::text from pg_control_system())", "case when true",
			"./e2e", "TestRestoredDumpOfTwo",
		},
		{
			"another awa under a former name taken for the renamed one", "checkpoint/orphans.go", "t.relname = any($3)) as another", "t.relname = any($3) and false) as another",
			"./e2e", "TestNameOfARenamedSchemaIsUsedAgain",
		},
		{
			"a publication of somebody's tables swept away", "internal/daemon/orphans.go", "if !alone || ", "if !alone && false || ",
			"./e2e", "TestSweepLeavesASharedPublication",
		},
		{
			"a publication that may be somebody's added to without a warning", "internal/daemon/publish.go", "slices.Contains(known.Publications, oid) || ", "!slices.Contains(known.Publications, oid) || ",
			"./e2e", "TestAddingToAPublicationOfOthersIsSaid",
		},
		{
			"the publication that the daemon works with swept away", "internal/daemon/orphans.go", " || len(used) > 0 || slices.Contains(names(s.pubs), name)", " || len(used) < 0",
			"./e2e", "TestSweepLeavesThePublicationInUse",
		},
		{
			"what a publication publishes with a whole schema overlooked", "replication/publication.go", "c.relname = t.tablename where t.pubname = p.pubname) has", "c.relname = t.tablename where false) has",
			"./e2e", "TestSweepLeavesASchemaOfOthers",
		},
		{
			"publications of a schema that was renamed after awa had left it stay for good", "internal/daemon/orphans.go", "awa.ParseSchema(o.Now); err == nil {", "awa.ParseSchema(o.Now); err == nil && false {",
			"./e2e", "TestSweepOfARenamedSchemaThatAwaHasLeft",
		},
		{
			"a slot under another name kept", "internal/daemon/resume.go", "err != nil || made.Slot == \"\" || made.Slot == s.slot {", "err != nil || made.Slot != \"\" {",
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
			"somebody else's schema used", "internal/preflight/grants.go", "err := checkpoint.CheckOwner(ctx, v.Conn, v.Role, v.Layout.Rows)", "err := error(nil)",
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
			"marker left standing by a refusal", "internal/daemon/session.go", "d.left.layout = d.findUnknownMarker(context.Background(), control)", "",
			"./e2e", "TestEveryRefusalClearsTheMarker",
		},
		{
			"a refusal does not wait for the marker's row", "internal/daemon/between.go", "&& !d.started && ctx.Err() == nil", "&& false",
			"./e2e", "TestRefusalWaitsForTheMarkersRow",
		},
		{
			"a dead daemon's fresh heartbeat taken for its life", "internal/daemon/standby.go", "leader.Leads && leader.Vouches()", "leader.Vouches()",
			"./e2e", "TestRoleLosesReplicationWhileRunning",
		},
		{
			"marker left when our schema is dropped", "internal/daemon/session.go", "if err != nil && (!errors.Is(err, corrections.ErrNotLeading) || s.unclaimed()) {", "if errors.Is(err, corrections.ErrNotLeading) && false {",
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
			"./internal/testonly/sim", "TestSimulation",
		},
		{
			"the term of a command to set the marker is not sent", "internal/corrections/writer.go", "append(args, pg.OrNull(cmd.Until))", "append(args, pg.OrNull(time.Time{}))",
			"./internal/testonly/sim", "TestWorlds/a_marker_that_comes_late",
		},
		{
			"a command to set the marker is good for the whole bound", "applier/trust.go", "c.serverNow(c.tokens.provenAt).Add(c.cfg.doubtAfter())", "c.serverNow(c.tokens.provenAt).Add(c.cfg.MaxStaleness)",
			"./internal/testonly/sim", "TestWorlds/a_marker_that_comes_late",
		},
		{
			"a deposed leader may set the marker", "internal/awa/sql.go", `l.SetMarker(true, guard+" and (`, `l.SetMarker(true, "true and (`,
			"./internal/testonly/sim", "TestWorlds/a_marker_that_comes_late",
		},
		{
			"a deposed leader may correct", "internal/awa/shape.go", "l.Shape.ownKey(), corrections, guard)", `l.Shape.ownKey(), corrections, "true")`,
			"./internal/testonly/sim", "TestWorlds/a_flush_that_comes_late",
		},
		{
			"patience with the marker's connection", "internal/corrections/writer.go", "time.Second, 500 * time.Millisecond}", "time.Second, patience}",
			"./e2e", "TestMarkerConnectionHangs",
		},
		{
			"a leader judged by the standby's own bound", "internal/daemon/standby.go", "!leader.Vouches() //", "leader.Heartbeat > 2*w.opts.MaxStaleness //",
			"./e2e", "TestStandbyGoesByTheLeadersBound",
		},
		{
			"a standby leads with the tables of when it began", "internal/daemon/standby.go", "!now.Equivalent(l)", "!now.Equivalent(now)",
			"./e2e", "TestStandbyLooksAtTheTablesAnew",
		},
		{
			"old uncounted writes kept for ever", "checkpoint/store.go", "s.noted <= maxUncountedKept {", "true {",
			"./e2e", "TestUncountedWritesAreForgotten",
		},
		{
			"Amazon's role for replication not known", "internal/base/pg/role.go", "g.rolname = 'rds_replication'", "g.rolname = 'rds_replication' and false",
			"./e2e", "TestStreamRightOnRDS",
		},
		{
			"another version's tables dropped under its daemon", "checkpoint/schema.go", "err := refuseIfInUse(ctx, c, awaSchema); err != nil {", "err := refuseIfInUse(ctx, c, awaSchema); false {",
			"./e2e", "TestTablesOfAnotherVersionInUse",
		},
		{
			"what daemons have made forgotten with the former tables", "checkpoint/schema.go", "return keepMade + drop + DDL + restoreMade, nil", "return drop + DDL, nil",
			"./e2e", "TestFormerFormIsNotForgotten/a_daemon_under_other_names",
		},
		{
			"what was granted forgotten with the former tables", "checkpoint/schema.go", "if t != grantsTable {", "if true {",
			"./e2e", "TestFormerFormIsNotForgotten/rights",
		},
		{
			"a finish of another version overlooked", "checkpoint/another_build.go", "held.finishing, leaving and held.finishing", "false, false",
			"./e2e", "TestFinishOfAnotherBuild",
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
			"a publication is made with locks in hand, however long it takes", "replication/publication.go", "range publishTries", "range 0",
			"./e2e", "TestPublishingIsInNoDeadlock",
		},
		{
			"a marker set while the slot is made left alone", "internal/daemon/create_slot.go", "if err := s.clearMarker(ctx); err != nil {", "if err := error(nil); err != nil {",
			"./e2e", "TestMarkerSetWhileTheSlotIsMade",
		},
		{
			"long pauses between sessions that fail", "internal/daemon/daemon.go", "return min(longestRetryPause, max(firstRetryPause, bound/2))", "return longestRetryPause + 0*bound",
			"./e2e", "TestMarkerSetWhileSessionsAreRefused",
		},
		{
			"no marker without its history", "internal/corrections/writer.go", "		w.apart = true\n		if !pg.IsBusy(err) {", "		if false {",
			"./e2e", "TestMarkerDoesNotDependOnItsHistory",
		},
		{
			"a new leader deposed by a dead one's row", "checkpoint/leader.go", "and (a.state_change < clock_timestamp()", "and (true or a.state_change < clock_timestamp()",
			"./e2e", "TestDeposeSparesWhoHasJustTakenTheLock",
		},
		{
			"statements without a deadline of the process", "internal/base/pg/connect.go", "c.Tracer = deadlines{", "_ = deadlines{",
			"./e2e", "TestFrozenServerIsGivenUp",
		},
		{
			"a standby waits for a frozen server", "internal/daemon/standby.go", "look, end := context.WithTimeout(ctx, answerWithin)", "look, end := context.WithCancel(ctx)",
			"./e2e", "TestStandbyOutlivesAFrozenServer",
		},
		{
			"a silent daemon of another schema sent away for good", "internal/daemon/orphans.go", "silent\", checkpoint.ForgetSchema", "silent\", checkpoint.RemoveSchema",
			"./e2e", "TestSilentDaemonOfAnotherSchemaComesBack",
		},
		{
			"a hole in the network waited for", "internal/base/pg/connect.go", ", Control: giveUp}", "}; _ = giveUp",
			"./internal/base/pg", "TestUnacknowledgedIsGivenUp",
		},
		{
			"one replication slot for two schemas", "internal/daemon/publish.go", "	if !taken {", "	if false && !taken {",
			"./e2e", "TestOneSlotForTwo",
		},
		{
			"a dry run called silent", "internal/daemon/standby.go", "		if leader.DryRun {\n			reason", "		if false {\n			reason",
			"./e2e", "TestDryRunVouchesForNothing",
		},
		{
			"two schemas share a publication", "replication/publication.go", " || strings.HasSuffix(name, ledgerSuffix) {", " {",
			"./replication", "TestLedgersPublicationIsNobodyElses",
		},
		{
			"functions that the role may not call overlooked", "internal/preflight/functions.go", "err != nil || len(lacks) == 0", "true",
			"./e2e", "TestFunctionsOfTheServer/tokens",
		},
		{
			"a VACUUM taken for a forgotten transaction", "internal/base/pg/forgotten.go", "where v.pid = a.pid)", "where false)",
			"./e2e", "TestForgottenTransactionIsNamed",
		},
		{
			"publications under another name kept", "internal/daemon/resume.go", "s.dropUnused(ctx, made.Publications)", "s.dropUnused(ctx, nil)",
			"./e2e", "TestPublicationIsRenamed",
		},
		{
			"a publication that another schema's daemon uses dropped", "internal/daemon/orphans.go", "return slices.Contains(used, oid)", "return false && slices.Contains(used, oid)",
			"./e2e", "TestPublicationIsRenamed",
		},
		{
			"a publication of somebody else's tables dropped", "replication/publication.go", "o.schemaname = t.schemaname and o.tablename = t.tablename)) order", "true)) order",
			"./e2e", "TestPublicationIsRenamed",
		},
		{
			"a transaction that waits for its daemon stands for ever", "internal/base/pg/connect.go", `["idle_in_transaction_session_timeout"] = millis(10 * time.Second)`,
			`["idle_in_transaction_session_timeout"] = millis(0)`, "./e2e", "TestStoppedInItsCheckpoint",
		},
		{
			"corrections look at the heartbeats", "checkpoint/leader.go", "select 1 from awa_counterd.lead g", "select 1 from awa_counterd.leader g",
			"./e2e", "TestHeartbeatsUnderAnOldSnapshot",
		},
		{
			"each heartbeat is a version of one row", "checkpoint/leader.go", "set beat = beat + 1, heartbeat_at", "set heartbeat_at",
			"./e2e", "TestHeartbeatsUnderAnOldSnapshot",
		},
		{
			"a plan of an empty table reads a full one", "internal/base/pg/connect.go", `c.RuntimeParams["enable_seqscan"], c.RuntimeParams["enable_indexscan"] = off, "on"`, "_ = off",
			"./e2e", "TestHeartbeatsUnderAnOldSnapshot",
		},
	}
}
