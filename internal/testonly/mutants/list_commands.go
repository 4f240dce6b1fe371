package mutants

// ofCommands are the mutants of what people type, of what doctor, status and the log tell them, and of supervisors: hooks, signals, the
// watchdog.
func ofCommands() []Mutant {
	return []Mutant{
		{
			"a command goes by tables that have changed", "reconcile/oneshot.go", "case err == nil && now.Equivalent(o.layout):", "case err == nil && now != nil:",
			"./e2e", "TestRingGrowsBesideACommand/finish",
		},
		{
			"finish removes a replication slot by its default name", "cmd/awa-counterd/database.go", "n.Slot = m.Slot\n", "_ = m.Slot\n",
			"./e2e", "TestSlotIsRenamedWhileFinishWaits",
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
			"what the role had before is granted again, and revoked", "internal/preflight/grants.go", "if len(out) == len(need.Parts) {", "if true {",
			"./e2e", "TestTeardownRevokesWhatWasGranted",
		},
		{
			"grants of no role in particular kept", "checkpoint/grants.go", "$2 in ('', g.role_name)", "$2 = g.role_name",
			"./e2e", "TestTeardownRevokesWhatWasGranted",
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
			"a lowered wal_level overlooked", "internal/preflight/server.go", `*next != "logical"`, `*next == "nothing"`,
			"./e2e", "TestLoweredLevelIsSaid",
		},
		{
			"a publication that is too wide overlooked", "internal/preflight/publications.go", "found(\"other publications\", err, len(wide) == 0,", "found(\"other publications\", err, true,",
			"./e2e", "TestWidePublicationsAreNamed",
		},
		{
			"awa said to delete from its ledger", "internal/preflight/publications.go", "ledger = append(ledger, leaf.Ledger.OID)", "_ = leaf",
			"./e2e", "TestWidePublicationsByTable",
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
			"a function of an old release that counts no deletes overlooked", "internal/status/next_step.go", "	if s.Deletes {\n", "	if false {\n",
			"./internal/status", "TestDeletesThatDoNotCount",
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
			"the watchdog fed by whatever lives", "internal/daemon/daemon.go", "	defer context.AfterFunc(ctx, d.super.Stopping)()\n",
			"	go func() {\n		for ctx.Err() == nil {\n			d.super.Alive()\n			<-time.After(time.Second)\n		}\n	}()\n", "./e2e", "TestWatchdogOfAHungLoop",
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
			"a stopped reconcile keeps counter rows", "reconcile/redistribute.go", "idleWithLocks.Milliseconds()", "0*idleWithLocks.Milliseconds()",
			"./e2e", "TestStoppedReconcileLetsGo/ledger",
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
			"publications that the checkpoint names left behind", "internal/provision/publications.go", "(p.Named || p.Used) && p.Only && !", "p.Named && p.Only && !",
			"./e2e", "TestPublicationsOfAnotherName/teardown",
		},
		{
			"a publication that others need dropped", "internal/provision/publications.go", "(p.Named || p.Used) && p.Only && !", "(p.Named || p.Used) && !",
			"./e2e", "TestPublicationsOfAnotherName/shared",
		},
		{
			"what the environment names taken for consent", "internal/provision/publications.go", "(p.Named || p.Used) && p.Only && !", "(p.Named || p.Used && p.Only) && !",
			"./e2e", "TestSharedPublicationIsLeft",
		},
		{
			"a publication that another schema's daemon works with torn down", "internal/provision/publications.go", "&& !p.Others }", "}",
			"./e2e", "TestSharedPublicationIsLeft",
		},
		{
			"what a checkpoint names taken for nobody's by who may not tell its cluster", "internal/provision/publications.go", "CheckTells(ctx, c); err != nil {", "CheckTells(ctx, c); err != nil && false {",
			"./e2e", "TestRemovalWithoutControlSystem",
		},
		{
			"a publication of a schema that was renamed taken for others'", "internal/provision/publications.go", "if now != \"\" && now != n.Schema {", "if false {",
			"./e2e", "TestTeardownWithoutAwa",
		},
		{
			"a lock that is just being let go of taken for a daemon", "cmd/awa-counterd/setup.go", "backoff.WithMaxElapsedTime(2*time.Second)", "backoff.WithMaxTries(1)",
			"./e2e", "TestTeardownRightAfterAStop",
		},
		{
			"the names in a checkpoint not looked for", "cmd/awa-counterd/database.go", `if asked.Slot == "" && m.Slot != "" {`, "if false {",
			"./e2e", "TestLooksFindTheNamesOfTheDaemon",
		},
		{
			"a migration that is at work taken for a lock that was left behind", "internal/daemon/migration.go", `case "active", `, `case `,
			"./internal/daemon", "TestNobodyIsToldToEndAMigration",
		},
		{
			"a pause between two statements taken for a lock that was left behind", "internal/daemon/migration.go", "case rests >= pauseTakes:", "case true:",
			"./internal/daemon", "TestNobodyIsToldToEndAMigration",
		},
		{
			"a lock in a pool at work taken for a pause", "internal/daemon/migration.go", "case rests >= pauseTakes:", "case false:",
			"./internal/daemon", "TestALockInAPoolAtWorkIsNamed",
		},
		{
			"pauses of a migration added up", "internal/daemon/migration.go", "h.idle = time.Time{}", "_ = now",
			"./internal/daemon", "TestALockInAPoolAtWorkIsNamed",
		},
		{
			"a transaction that stands taken for a migration", "internal/daemon/migration.go", "		if s.Idle >= migrationTakes {", "		if false {",
			"./internal/daemon", "TestNobodyIsToldToEndAMigration",
		},
		{
			"a long migration is said once", "internal/daemon/migration.go", "what == works && now.Sub(last) >= stillEvery", "false",
			"./internal/daemon", "TestALongMigrationIsSaidAgain",
		},
		{
			"a session that this role is not shown taken for one that does nothing", "internal/base/pg/session.go", "coalesce(a.state, '')", "coalesce(a.state, 'idle')",
			"./e2e", "TestWhoHoldsTheMigrationLockIsSeen",
		},
		{
			"no right on the marker before its column is there", "internal/preflight/grants.go", "\tneeds = append(needs, awa.MarkerToCome(v.Schema, asked)...)\n", "",
			"./e2e", "TestLeastRightsWaitForSetup/no_counter_to_the_ledger",
		},
		{
			"the right on the marker's table stays when its column is there", "internal/preflight/grants.go", "return v.granted(wide).Remembered(ctx, v.Conn)", "return false, nil",
			"./e2e", "TestMarkersRightBeforeItsColumn",
		},
		{
			"a missing counter table is named without what brings it", "cmd/awa-counterd/database.go", "r.Remedy = preflight.BringTables", "_ = preflight.BringTables",
			"./e2e", "TestCommandsBeforeTheMigration",
		},
	}
}
