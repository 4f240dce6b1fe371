package mutants

// ofLeaving are those of the end of an upgrade (docs/design.md §12, Leaving): whom finish and reconcile --trust overlook, what they wait for,
// and what they find out too late.
func ofLeaving() []Mutant {
	return []Mutant{
		{
			"what adds up taken for right when the daemons have left", "reconcile/redistribute.go", "} else if uneven > 0 {", "} else if false {",
			"./e2e", "TestFinishSeesWhoWritesWhenDaemonsHaveLeft",
		},
		{
			"the last looks of finish go by sums", "cmd/awa-counterd/handover.go", "r, err := h.one.Look(ctx, nil)", "r, err := h.one.Run(ctx, false, nil)",
			"./e2e", "TestFinishLooksAtEachCounterRow",
		},
		{
			"the last look of reconcile goes by sums", "cmd/awa-counterd/reconcile.go", "again, err = one.Look(ctx, nil)", "again, err = one.Run(ctx, false, nil)",
			"./e2e", "TestTrustLooksAtEachCounterRow",
		},
		{
			"a checkpoint of another build taken for none", "checkpoint/store.go", "has(ctx, c, checkpointTable)", "Exists(ctx, c)",
			"./e2e", "TestReconcileLeavesTheLedgerOfAnotherBuild",
		},
		{
			"--check goes by sums where no daemon leads", "cmd/awa-counterd/reconcile_check.go", "one.Look(ctx, progress)", "one.Run(ctx, false, progress)",
			"./e2e", "TestCheckFindsWhatADaemonLeft",
		},
		{
			"--check finds what a daemon works with", "cmd/awa-counterd/reconcile_check.go", "if kept {", "if kept && false {",
			"./e2e", "TestCheckFindsWhatADaemonLeft",
		},
		{
			"--check finds what a daemon goes on from", "cmd/awa-counterd/reconcile_check.go", "if err == nil && !kept {", "if false {",
			"./e2e", "TestCheckWhileADaemonIsRestarted",
		},
		{
			"--check passes by a set marker where a checkpoint is left", "cmd/awa-counterd/reconcile_check.go", "if err != nil || set {", "if err != nil || set && false {",
			"./e2e", "TestCheckFindsWhatADaemonLeft",
		},
		{
			"counter rows moved without a word", "cmd/awa-counterd/reconcile_report.go", "if r.Moved > 0 {", "if false {",
			"./e2e", "TestCheckFindsWhatADaemonLeft",
		},
		{
			"what is wrong for want of what was dropped taken for somebody's doing", "reconcile/redistribute.go", "if off[i] != left[bucket] {", "if off[i] != 0 {",
			"./reconcile", "TestUneven",
		},
		{
			"what is right for want of what was dropped not looked at", "reconcile/redistribute.go", "if one != 0 {", "if one != 0 && n < 0 {",
			"./reconcile", "TestUneven",
		},
		{
			"finish waits for a ledger without a bound of the server's", "reconcile/oneshot.go", "Holds: true, LockTimeout: scanLockWait, ", "Holds: true, ",
			"./e2e", "TestFinishWaitsForALedgerNoLongerThanItWasTold",
		},
		{
			"finish waits for a lock for ever", "reconcile/waits.go", "o.bounded && o.left <= 0", "o.bounded && o.left <= -time.Hour",
			"./e2e", "TestFinishWaitsForALedgerNoLongerThanItWasTold",
		},
		{
			"a lock that passes ends finish", "cmd/awa-counterd/finish_wait.go", "(err); locked {", "(err); locked && err == nil {",
			"./e2e", "TestCountersAreLockedForAWhile",
		},
		{
			"a lock that passes ends status --watch", "cmd/awa-counterd/status.go", "case passes && c.Watch:", "case passes && c.Watch && false:",
			"./e2e", "TestCountersAreLockedForAWhile",
		},
		{
			"a lock that passes costs the marker", "cmd/awa-counterd/poll.go", "case pg.IsBusy(err) && ctx.Err() == nil:", "case false:",
			"./cmd/awa-counterd", "TestPoll",
		},
		{
			"finish finds out on its way what its role may not do", "internal/provision/operator.go", "if !has {", "if false {",
			"./e2e", "TestFinishSaysAtOnceWhatItLacks",
		},
		{
			"finish finds out at its end what its role does not own", "internal/provision/operator.go", "where not pg_has_role(current_user, o.owner, 'usage')", "where false",
			"./e2e", "TestFinishSaysAtOnceWhatItLacks",
		},
		{
			"finish finds out at its end that its role may not delete what is stored", "internal/provision/operator.go", "if !stay && !forgets {", "if true {",
			"./e2e", "TestFinishOfWhoMayNotEmpty",
		},
		{
			"finish asks for rights that come with an ownership that it asks for", "internal/provision/operator.go", "needed(rights, k.owners)", "needed(rights, nil)",
			"./e2e", "TestFinishSaysAtOnceWhatItLacks",
		},
		{
			"reconcile asks for more than it takes", "internal/awa/operator.go", "each(jobColumn)", "each(jobColumn, \"finalized_at\")",
			"./e2e", "TestReconcileNeedsNoMore",
		},
		{
			"finish asks for what drops a replication slot that goes by itself", "internal/provision/operator.go", "and not temporary)", "or temporary)",
			"./e2e", "TestFinishNeedsNoMore",
		},
		{
			"finish waits for trust that is off", "internal/status/next_step.go", "case s.trustIsOff():", "case s.trustIsOff() && s.MarkerSet:",
			"./internal/status", "TestNever",
		},
		{
			"what ends an upgrade without a daemon said in the order that does not", "internal/status/next_step.go",
			`"run awa-counterd teardown; after that " + alone`, `alone + "; after that run awa-counterd teardown"`,
			"./e2e", "TestUpgradeEndsWithoutADaemon",
		},
		{
			"what finish says of the schema that is left clears the marker", "internal/provision/plan.go", "rest.Note(n.KeepMarker)", "rest.Note(false)",
			"./e2e", "TestNotesOfFinishKeepTheMarker",
		},
		{
			"what finish says of a publication that is left clears the marker", "internal/provision/plan.go", "p.leave(n.KeepMarker)", "p.leave(false)",
			"./e2e", "TestNotesOfFinishKeepTheMarker",
		},
		{
			"nothing to do beside what a dead daemon has left", "cmd/awa-counterd/reconcile.go", "return err == nil && known && !leader.Leads", "return err == nil && known && leader.Leads",
			"./e2e", "TestUpgradeEndsWithoutADaemon",
		},
		{
			"people sent to a reconcile --trust that old binaries make refuse", "internal/status/next_step.go", "case old != \"\":", "case old != \"\" && false:",
			"./internal/status", "TestNobodyIsSentToARefusal",
		},
		{
			"a daemon asked for where an upgrade has ended", "internal/status/next_step.go", "case s.Leader == nil && !s.MarkerSet:", "case s.Leader == nil:",
			"./internal/status", "TestNextStep",
		},
		{
			"reconcile does not move what a daemon with --trust off has left", "reconcile/oneshot.go", "case o.layout.Shape.HasBuckets():", "case o.layout.Shape.HasBuckets() && o.Alone:",
			"./e2e", "TestReconcileMovesWhatTrustOffHasLeft",
		},
		{
			"a right on one ledger of several asked for", "reconcile/stale.go", "u.Denied = append(u.Denied, table)", "u.Denied = []string{table}",
			"./reconcile", "TestStaleLedgersAreFound",
		},
		{
			"teardown keeps quiet about corrections that stay", "cmd/awa-counterd/setup.go", "err != nil || n == 0 {", "err != nil || n >= 0 {",
			"./e2e", "TestTeardownNamesTheCorrectionsThatStay",
		},
		{
			"who publishes deletes of the ledger is not asked", "internal/awa/barred.go", "%[2]s::regclass and deletes", "%[2]s::regclass and false",
			"./e2e", "TestOthersPublishDeletesOfTheLedger/finish",
		},
		{
			"who publishes a ledger that nobody deletes from is refused", "internal/awa/barred.go", "%[2]s::regclass and deletes", "%[2]s::regclass",
			"./e2e", "TestOthersPublishDeletesOfTheLedger/reconcile/with_inserts",
		},
		{
			"finish finds out that it may not delete when the replication slot is gone", "cmd/awa-counterd/handover.go", `if barred(stale) != "" { // since finish began`, "if false {",
			"./e2e", "TestOthersPublishDeletesWhileFinishWorks",
		},
		{
			"finish asks for a right when all else has passed", "cmd/awa-counterd/finish_wait.go", `if last == "" && reason != "" && w.one == nil {`, "if false {",
			"./e2e", "TestGrantOnLedgersCanBeRun/finish",
		},
		{
			"who comes when the daemons have left is not seen", "cmd/awa-counterd/handover.go", "return h.nobodyOld(ctx)", "return nil",
			"./e2e", "TestFinishSeesWhoComesWhenDaemonsHaveLeft",
		},
		{
			"a migrate of an old release when the daemons have left is not seen", "cmd/awa-counterd/handover.go", "case old.uncounted:", "case old.uncounted && err != nil:",
			"./e2e", "TestFinishSeesWhoComesWhenDaemonsHaveLeft",
		},
		{
			"who comes while reconcile sets the marker is not seen", "cmd/awa-counterd/reconcile.go", "who, _, err = whoIsOld(ctx, conn, l)", "_, _, err = whoIsOld(ctx, conn, l)",
			"./e2e", "TestTrustSeesWhoComes",
		},
		{
			"finish calls all removed beside what it has left", "cmd/awa-counterd/finish.go", "if h.left {", "if h.left && false {",
			"./e2e", "TestNotesOfFinishKeepTheMarker",
		},
		{
			"old workers of another awa taken for this one's", "internal/awa/runtimes.go", "select count(*) > 1 from pg_class where relname = $1", "select count(*) > 9 from pg_class where relname = $1",
			"./e2e", "TestOldWorkersOfAnotherSubstrate",
		},
		{
			"a daemon that waits for awa's migration called dead", "internal/status/next_step.go", "if s.Migrator != 0 {\n\t\treturn s.migrating()", "if s.Migrator != 0 && s.Led() {\n\t\treturn s.migrating()",
			"./e2e", "TestWhoWaitsForAwasMigration",
		},
		{
			"finish waits for no migration of awa's", "internal/status/next_step.go", "return s.Migrator != 0 && (s.Leader != nil || s.Installed)", "return false",
			"./e2e", "TestWhoWaitsForAwasMigration",
		},
		{
			"no time to lead again when awa's migration has ended", "cmd/awa-counterd/finish_wait.go", "time.Since(w.migrated) < checkpoint.AliveWithin", "time.Since(w.migrated) < 0*checkpoint.AliveWithin",
			"./e2e", "TestWhoWaitsForAwasMigration",
		},
		{
			"finish waits for a migration where no daemon was ever", "internal/status/next_step.go", "return s.Migrator != 0 && (s.Leader != nil || s.Installed)", "return s.Migrator != 0",
			"./internal/status", "TestNever",
		},
		{
			"tables in the middle of awa's migration taken for good", "cmd/awa-counterd/database.go", "e == nil && pid != 0 {", "e == nil && pid < 0 {",
			"./e2e", "TestTablesInTheMiddleOfAMigration",
		},
		{
			"finish moves counters while awa migrates", "internal/status/next_step.go", "if s.Migrator != 0 { // whatever", "if false { // whatever",
			"./internal/status", "TestWhatPasses",
		},
		{
			"a daemon that has yet to lead called removed", "internal/status/status.go", "s.Installed = there", "s.Installed = false",
			"./e2e", "TestLeastRightsWaitForSetup/no_counter_to_the_ledger",
		},
	}
}
