package mutants

// ofOutside are the mutants of what the catalog, the role, other sessions and people do to a daemon (docs/inputs.md), and of its
// supervisor and its reports. Most take a test with a real server.
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
			"a command goes by tables that have changed", "reconcile/oneshot.go", "case err == nil && now.Equivalent(o.layout):", "case err == nil && now != nil:",
			"./e2e", "TestRingGrowsBesideACommand/finish",
		},
		{
			"finish removes a replication slot by its default name", "cmd/awa-counterd/database.go", "n.Slot = made.Slot\n", "_ = made.Slot\n",
			"./e2e", "TestSlotIsRenamedWhileFinishWaits",
		},
		{
			"somebody else's tables taken out of a publication", "replication/publication.go", "if !seen.Shared || len(seen.Lacks) == 0 {", "if true {",
			"./e2e", "TestSharedPublicationKeepsItsTables",
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
			"a post-stop hook undoes a finish", "cmd/awa-counterd/distrust.go", "if l.HasMarker && !r.Finished && !r.Vouched {", "if l.HasMarker && !r.Vouched {",
			"./e2e", "TestPostStopHookKnowsAFinish",
		},
		{
			"a daemon ends when finish asks, not when it has finished", "internal/daemon/loop.go", "return errLeadRequested", "return errRemoved",
			"./e2e", "TestFinishDies",
		},
		{
			"a request to leave outlives the finish that asked", "checkpoint/leader.go", "coalesce(leaving, false) and held.finishing", "coalesce(leaving, false)",
			"./e2e", "TestFinishDies",
		},
		{
			"SIGHUP ends it without a stop", "cmd/awa-counterd/main.go", "if !signal.Ignored(syscall.SIGHUP) {", "if false {",
			"./e2e", "TestHangUpIsAStop",
		},
		{
			"a daemon that wakes after a teardown creates all again", "internal/daemon/removed.go", "return err == nil && d.seen.since(now), err", "return err == nil && now.at == 0, err",
			"./e2e", "TestTeardownWhileADaemonWaits",
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
			"what the role had before is granted again, and revoked", "internal/preflight/grants.go", "if len(out) == len(need.Parts) {", "if true {",
			"./e2e", "TestTeardownRevokesWhatWasGranted",
		},
		{
			"grants of no role in particular kept", "checkpoint/grants.go", "$2 in ('', g.role_name)", "$2 = g.role_name",
			"./e2e", "TestTeardownRevokesWhatWasGranted",
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
			"a question for fresh figures not answered", "applier/persist.go", "\tif c.canAnswerRequest() {\n\t\treturn true\n\t}\n", "",
			"./e2e", "TestStatusIsFresh",
		},
		{
			"a strip that ends with what was", "internal/listener/plot.go", "if i == 2*buckets-1 && len(samples) > 0 {", "if false {",
			"./internal/listener", "TestStrip",
		},
		{
			"a young history taken for seven days", "internal/status/changes.go", "first < checkpoint.ToldFor*24*60*60", "first < 0",
			"./internal/status", "TestCleared",
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
			"a lowered wal_level overlooked", "internal/preflight/server.go", `*next != "logical"`, `*next == "nothing"`,
			"./e2e", "TestLoweredLevelIsSaid",
		},
		{
			"a publication that is too wide overlooked", "internal/preflight/publications.go", "found(\"other publications\", err, len(wide) == 0,", "found(\"other publications\", err, true,",
			"./e2e", "TestWidePublicationsAreNamed",
		},
		{
			"triggers overlooked by doctor", "internal/preflight/tables.go", "found(\"triggers and rules\", err, len(there) == 0,", "found(\"triggers and rules\", err, true,",
			"./e2e", "TestCorrectionsWithoutEffect",
		},
		{
			"rights on schema awa_counterd overlooked by doctor", "internal/preflight/grants.go", "if err != nil || !r.Needed {", "if true {",
			"./e2e", "TestRequirementsAreTheRoles",
		},
		{
			"row level security overlooked by doctor", "internal/preflight/tables.go", "out := found(\"row level security\", err, false,", "out := found(\"row level security\", err, true,",
			"./e2e", "TestRowLevelSecurity",
		},
		{
			"the same thing said over and over", "internal/daemon/throttle.go", "s.times++; s.times > sayMost", "s.times++; false",
			"./internal/daemon", "TestNoticesAreCounted",
		},
		{
			"a publication is made with locks in hand, however long it takes", "replication/publication.go", "range publishTries", "range 0",
			"./e2e", "TestPublishingIsInNoDeadlock",
		},
		{
			"a function of an old release that counts no deletes overlooked", "internal/status/next_step.go", "	if s.Deletes {\n", "	if false {\n",
			"./internal/status", "TestDeletesThatDoNotCount",
		},
		{
			"a marker set while the slot is made left alone", "internal/daemon/create_slot.go", "if err := s.clearMarker(ctx); err != nil {", "if err := error(nil); err != nil {",
			"./e2e", "TestMarkerSetWhileTheSlotIsMade",
		},
		{
			"a refusal leaves the marker of somebody else", "cmd/awa-counterd/reconcile.go", "if err := c.distrust(ctx, conn, l, r); err != nil {", "if err := error(nil); err != nil {",
			"./e2e", "TestMarkerSetOnceMoreReconcileRefuses",
		},
		{
			"trust in sums of counter rows", "cmd/awa-counterd/reconcile.go", "	if moved > 0 {\n", "	if moved > 1<<30 {\n",
			"./e2e", "TestMarkerByBucketReconcile",
		},
		{
			"long pauses between sessions that fail", "internal/daemon/daemon.go", "return min(longestRetryPause, max(firstRetryPause, bound/2))", "return longestRetryPause + 0*bound",
			"./e2e", "TestMarkerSetWhileSessionsAreRefused",
		},
		{
			"the watchdog fed by whatever lives", "internal/daemon/daemon.go", "	defer context.AfterFunc(ctx, d.super.Stopping)()\n",
			"	go func() {\n		for ctx.Err() == nil {\n			d.super.Alive()\n			<-time.After(time.Second)\n		}\n	}()\n", "./e2e", "TestWatchdogOfAHungLoop",
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
			"a silent daemon of another schema sent away for good", "internal/daemon/orphans.go", "checkpoint.ForgetSchema(ctx,", "checkpoint.RemoveSchema(ctx,",
			"./e2e", "TestSilentDaemonOfAnotherSchemaComesBack",
		},
		{
			"a stopped finish asks for ever", "cmd/awa-counterd/lease.go", "leaseFor.Milliseconds()", "0*leaseFor.Milliseconds()",
			"./e2e", "TestStoppedFinishAsksForNothing",
		},
		{
			"a second finish takes back the first one's request", "checkpoint/finish.go", "k.key = hashtextextended($2, 0) and k.pid <> $3)", "k.key = hashtextextended($2, 0) and k.pid <> $3 and false)",
			"./e2e", "TestSecondFinishTakesNothingBack",
		},
		{
			"a stopped reconcile keeps a leaf", "reconcile/held.go", "timeout = %d`, idleWithLocks.", "timeout = %d`, 0*idleWithLocks.",
			"./e2e", "TestStoppedReconcileLetsGo/306",
		},
		{
			"a stopped reconcile keeps counter rows", "reconcile/redistribute.go", "fmt.Sprint(idleWithLocks.", "fmt.Sprint(0*idleWithLocks.",
			"./e2e", "TestStoppedReconcileLetsGo/ledger",
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
			"a standby's hook clears the leader's marker", "cmd/awa-counterd/distrust.go", "if l.HasMarker && !r.Finished && !r.Vouched {", "if l.HasMarker && !r.Finished {",
			"./e2e", "TestPostStopHookOfAStandby",
		},
		{
			"an old sign of life taken for a new one", "cmd/awa-counterd/distrust.go", "case leader.Heartbeat+lateToken < waited:", "case leader.Vouches():",
			"./e2e", "TestPostStopHookOfAStandby",
		},
		{
			"a dry run called silent", "internal/daemon/standby.go", "		if leader.DryRun {\n			reason", "		if false {\n			reason",
			"./e2e", "TestDryRunVouchesForNothing",
		},
		{
			"no status without the history of the marker", "internal/status/status.go", "case pg.IsBusy(err):", "case false:",
			"./e2e", "TestLockedHistoryDelaysNothing",
		},
		{
			"clearings outside of the Core not counted", "internal/daemon/remember.go", "d.views.cleared.Add(1)", "d.views.cleared.Add(0)",
			"./e2e", "TestEveryClearingIsCounted",
		},
		{
			"a lowered wal_level not told to a role without rights", "internal/preflight/server.go", "case !may && logical && pending:", "case false:",
			"./e2e", "TestLoweredLevelIsSaid",
		},
		{
			"a dry run lets corrections go", "applier/core.go", "c.holding = on || c.cfg.DryRun", "c.holding = on", "./applier", "TestDryRunAsksForNothing",
		},
		{
			"a dry run touches the marker", "applier/trust.go", "c.cfg.Trust != TrustOff && !c.cfg.DryRun", "c.cfg.Trust != TrustOff",
			"./applier", "TestDryRunAsksForNothing",
		},
		{
			"old versions but the first not named", "internal/status/next_step.go", "range old[1:] {", "range old[:0] {",
			"./internal/status", "TestOldVersionsAreAllNamed",
		},
		{
			"a set marker not told by reconcile", "cmd/awa-counterd/reconcile_report.go", "case r.marked:", "case false:",
			"./cmd/awa-counterd", "TestReconcileSaysWhatIsNext",
		},
		{
			"publications that the checkpoint names left behind", "internal/provision/publications.go", "p.Named || p.Used && p.Only", "p.Named",
			"./e2e", "TestPublicationsOfAnotherName/teardown",
		},
		{
			"a publication that others need dropped", "internal/provision/publications.go", "p.Named || p.Used && p.Only", "p.Named || p.Used",
			"./e2e", "TestPublicationsOfAnotherName/shared",
		},
		{
			"a lock that is just being let go of taken for a daemon", "cmd/awa-counterd/setup.go", "backoff.WithMaxElapsedTime(2*time.Second)", "backoff.WithMaxTries(1)",
			"./e2e", "TestTeardownRightAfterAStop",
		},
		{
			"the names in a checkpoint not looked for", "cmd/awa-counterd/database.go", `if asked.Slot == "" && made.Slot != "" {`, "if false {",
			"./e2e", "TestLooksFindTheNamesOfTheDaemon",
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
		{
			"two schemas share a publication", "replication/publication.go", " || strings.HasSuffix(name, ledgerSuffix) {", " {",
			"./replication", "TestLedgersPublicationIsNobodyElses",
		},
	}
}
