package mutants

// ofRooms are the mutants of the rules of single rooms: the stream against a scripted server, and what is pure in the
// rooms around it. A unit test of that room kills most.
func ofRooms() []Mutant {
	return []Mutant{
		{
			"a start past the server's end", "replication/stream.go", "if position > s.end {",
			"if false {", "./replication", "TestStartIsNeverPastTheEnd",
		},
		{
			"names of publications break out of their quotes", "replication/stream.go", `escape(strings.Join(names, ","))`,
			`strings.Join(names, ",")`, "./replication", "TestStartSaysWhatItWants",
		},
		{
			"a lock timeout ends the making of a slot", "replication/create_slot.go", "case pg.IsLockTimeout(err):",
			"case false:", "./replication", "TestSlotIsMadeInTheEnd",
		},
		{
			"a keepalive inside a transaction taken for a position", "replication/stream.go", "if !s.decoder.InTransaction() {",
			"if true {", "./replication", "TestKeepaliveInsideATransaction",
		},
		{
			"a keepalive before a transaction taken for one after it", "replication/stream.go", "\t\t\tbatch.Idle = 0\n",
			"", "./replication", "TestKeepaliveBetweenTransactions",
		},
		{
			"a server that asks waits for the next status", "replication/stream.go", "if k.ReplyRequested {",
			"if false {", "./replication", "TestAnswersAtOnceWhenAsked",
		},
		{
			"what was read acknowledged as if it were stored", "replication/stream.go", "at := min(pglogrepl.LSN(s.acked.Load()), s.end)",
			"at := s.end", "./replication", "TestOnlyWhatIsSaidIsAcknowledged",
		},
		{
			"a position past the server's end acknowledged", "replication/stream.go", "at := min(pglogrepl.LSN(s.acked.Load()), s.end)",
			"at := pglogrepl.LSN(s.acked.Load())", "./replication", "TestNothingPastTheEndIsAcknowledged",
		},
		{
			"an acknowledgement taken back", "replication/stream.go", "if uint64(position) <= old || ",
			"if uint64(position) == old || ", "./replication", "TestOnlyWhatIsSaidIsAcknowledged",
		},
		{
			"what a read brought beyond the first message lost", "replication/coalesce.go", "c.rest = c.rest[n:]",
			"c.rest = nil", "./replication", "TestManyMessagesInOneRead",
		},
		{
			"batches without a bound", "replication/stream.go", " || len(batch.Txs) >= batchSize {",
			" {", "./replication", "TestManyMessagesInOneRead",
		},
		{
			"a server's error taken for a lost line", "replication/stream.go", `fmt.Errorf("%w of replication slot %s: %w", ErrStream, s.slot, pgconn.ErrorResponseToPgError(m))`,
			`fmt.Errorf("stream of replication slot %s: %s", s.slot, m.Message)`, "./replication", "TestServerFailsInTheMiddle",
		},
		{
			"a stream that the server ended waited for", "replication/stream.go", `return fmt.Errorf("stream of replication slot %s: %w", s.slot, errEnded)`,
			"_ = errEnded", "./replication", "TestServerEndsTheCopy",
		},
		{
			"what cannot be understood read again", "replication/stream.go", `fmt.Errorf("%w: stream of replication slot %s: %w", ErrUnreadable, s.slot, err)`,
			`fmt.Errorf("stream of replication slot %s: %w", s.slot, err)`, "./replication", "TestWhatCannotBeUnderstood",
		},
		{
			"a skipped publication overlooked", "replication/stream.go", `m.SeverityUnlocalized != "WARNING" ||`,
			"true ||", "./replication", "TestPublicationSkippedIsNoNotice",
		},
		{
			"a stop does not say what is stored", "replication/stream.go", "if s.send(time.Now()) != nil {",
			"if false {", "./replication", "TestFarewell",
		},
		{
			"a stop leaves the slot in use", "replication/stream.go", "\ts.front.Send(&pgproto3.CopyDone{})\n",
			"", "./replication", "TestFarewell",
		},
		{
			"an end of the stream without a bound", "replication/stream.go", "if s.front.Flush() != nil {\n\t\treturn\n\t}\n\t_ = s.net.SetDeadline(time.Now().Add(endWithin))",
			"if s.front.Flush() != nil {\n\t\treturn\n\t}\n\t_ = s.net.SetDeadline(time.Time{})", "./replication", "TestFarewellIsBounded",
		},
		{
			"a silent server not asked for a word", "replication/stream.go", "if now.Sub(s.wire.heard) > askAfter {",
			"if false {", "./replication", "TestSilentStreamIsGivenUp",
		},
		{
			"time in which nobody reads taken for silence", "replication/stream.go", "s.wire.heard = time.Now() // nobody",
			"// nobody", "./replication", "TestNotListeningIsNoSilence",
		},
		{
			"a slow server given up, though it answers", "replication/coalesce.go", "n < little, time.Now()",
			"n < little, c.heard", "./replication", "TestSlowServerIsWaitedFor",
		},
		{
			"slow books leave the server without a word", "replication/stream.go", "case now := <-tick.C:",
			"case now := <-make(chan time.Time):", "./replication", "TestSlowBooksAreWaitedFor",
		},
		{
			"a column that does not come overlooked", "internal/awa/catalog.go", "if *w.at = slices.Index(columns, w.column); *w.at < 0 {",
			"if *w.at = slices.Index(columns, w.column); false {", "./internal/awa", "TestCatalogMissesNothing",
		},
		{
			"tables created again under their old names ignored", "internal/awa/catalog.go", "case name == countersTable, name == ringTable,",
			"case name == ringTable,", "./internal/awa", "TestCatalogTellsStrangersFromNewTables",
		},
		{
			"an unknown shape taken for #306", "internal/awa/shape.go", "slices.Equal(key, four) && !hasLedger:",
			"slices.Equal(key, four):", "./internal/awa", "TestShapeIsKnownOrRefused",
		},
		{
			"deletes without their key accepted", "internal/awa/layout.go", `if leaf.Identity == "n" || leaf.Identity == "i" {`,
			"if false {", "./internal/awa", "TestLeavesThatCannotBeFollowed",
		},
		{
			"the first beta taken for one that counts", "internal/awa/runtimes.go", "|| n < 2",
			"|| n < 1", "./internal/awa", "TestVersionsBefore290",
		},
		{
			"a leader with a long bound deposed while it works", "checkpoint/leader.go", "l.Heartbeat >= max(hungAfter, 5*l.Bound)",
			"l.Heartbeat >= hungAfter", "./checkpoint", "TestSilenceIsMeasuredByTheLeadersBound",
		},
		{
			"a statement that was canceled ends the session", "internal/base/pg/errors.go", "codeSerialization, codeQueryCanceled:",
			"codeSerialization:", "./internal/base/pg", "TestErrorsAreToldApart",
		},
		{
			"the drifts of two queues cancel out at a finish", "internal/status/next_step.go", "drift += max(q.Drift, -q.Drift)",
			"drift += q.Drift", "./internal/status", "TestNextStep",
		},
		{
			"a role's name not quoted", "internal/preflight/preflight.go", `fmt.Sprintf("GRANT %s TO %s", grant, quote(role))`,
			`fmt.Sprintf("GRANT %s TO %s", grant, role)`, "./internal/preflight", "TestHostileRolesAreQuoted",
		},
		{
			"a marker set behind the last look kept", "cmd/awa-counterd/reconcile.go", "again, err = one.Look(ctx, nil)",
			"_ = again", "./e2e", "TestTrustLooksAgainBehindItself",
		},
		{
			"a dead daemon of another build taken for a finished upgrade", "cmd/awa-counterd/distrust.go", "err != nil || others {",
			"err != nil || others && false {", "./e2e", "TestHookOfAnotherBuild",
		},
		{
			"a marker kept while somebody holds the leader's row", "internal/corrections/writer.go", "if pg.IsBusy(err) && !cmd.Set &&",
			"if false && !cmd.Set &&", "./internal/corrections", "TestMarkerIsClearedWhoeverHoldsTheLeadersRow",
		},
		{
			"a marker kept that may be written and not read", "internal/corrections/clear.go", "unread := pg.IsDenied(err)",
			"unread := false", "./e2e", "TestMarkerMayNotBeRead",
		},
		{
			"a heartbeat that is yet to come believed", "checkpoint/leader.go", " && l.Heartbeat > -l.Bound",
			"", "./checkpoint", "TestHeartbeatsThatAreYetToCome",
		},
		{
			"corrections wait for the marker's table", "internal/corrections/writer.go", `if pg.IsBusy(err) && w.sql.BlindBeat != "" {`,
			"if false {", "./internal/corrections", "TestTokensDoNotWaitForTheMarkersTable",
		},
		{
			"tables that inherit from awa's overlooked", "internal/awa/discover.go", "if err := l.refuseChildren(ctx, q); err != nil {",
			"if err := l.refuseChildren(ctx, q); false {", "./e2e", "TestCountersHaveAChild",
		},
		{
			"a teardown forgets what was granted for another schema", "internal/provision/plan.go", "checkpoint.PlanRemoval(ctx, c, mine, known.there())",
			"checkpoint.PlanRemoval(ctx, c, mine, nil)", "./e2e", "TestTeardownOfAnotherSchema",
		},
		{
			"a marker without an end has an age", "internal/awa/sql.go", "case when isfinite(%[1]s) then extract",
			"case when true then extract", "./e2e", "TestMarkerIsSetForEver",
		},
		{
			"what doctor may not see taken for nothing", "internal/preflight/slots.go", "if err == nil && hidden > 0 {",
			"if false {", "./e2e", "TestDoctorSaysWhatItCannotSee",
		},
		{
			"a refusal names the role of the URL", "internal/daemon/connect.go", "Scan(&user) != nil {",
			"Scan(&user) == nil {", "./e2e", "TestRefusalNamesTheRoleThatIsSet",
		},
		{
			"a hidden active schema taken for none", "internal/awa/layout.go", "case len(hidden) > 0:",
			"case false:", "./e2e", "TestRowSecurityOnBackends",
		},
		{
			"a prepared transaction goes unnamed", "replication/create_slot.go", "where 0 = any(pg_blocking_pids($1))",
			"where false", "./e2e", "TestPreparedTransactionIsNamed",
		},
		{
			"the catalog not looked at though somebody has committed", "internal/daemon/look.go", "!snapshot.SeesNoMore(o.snapshot, o.own.has)",
			"o.snapshot.IsZero()", "./internal/daemon", "TestQuietLooks",
		},
		{
			"a row that costs an allocation", "decoder/fold.go", "s.rest = make([]T, slabSize)", "s.rest = make([]T, n)",
			"./applier", "TestNothingIsAllocatedForARow",
		},
		{
			"a replication slot left for good", "internal/daemon/removed.go", "failed := dropUnread(ctx, c, d.log, was.slot, string(l.Schema))",
			"failed := ctx.Err()", "./e2e", "TestSchemaIsDroppedByHand",
		},
		{
			"a status line at every tick of a calm day", "internal/daemon/status.go", "return !calm || !was ||",
			"return was || !was ||", "./internal/daemon", "TestStatusLinesAreDue",
		},
		{
			"an uncounted write passes for calm", "internal/daemon/status.go", "st.UncountedRows == before.UncountedRows && ",
			"", "./internal/daemon", "TestIsCalm",
		},
		{
			"the page looks back past what has just happened", "internal/listener/status.go", "r.overlayChange(out, age)",
			"_ = age", "./internal/listener", "TestPageLooksBack",
		},
		{
			"a leader of another version taken for none", "checkpoint/leader.go", "if err != nil || !there && !others {",
			"if err != nil || !there {", "./e2e", "TestLeaderOfAnotherBuild",
		},
		{
			"looks that are missed again and again overlooked", "internal/daemon/loop.go", "		l.checkLooks(now)\n",
			"", "./e2e", "TestNobodyLooks/the_active_schema",
		},
		{
			"one look that is missed ends trust", "internal/daemon/looks.go", "if now.Before(l.until()) {",
			"if l.reason == nil {", "./internal/daemon", "TestLooksThatAreMissed",
		},
		{
			"one of the daemon's doubts takes back another", "applier/doubt.go", "return d.Kind == kind",
			"return true", "./applier", "TestDoubtsHaveKinds",
		},
		{
			"columns under the names of others overlooked", "internal/awa/catalog.go", "if !slices.Equal(had[:n], columns[:n]) {",
			"if n < 0 && !slices.Equal(had, columns) {", "./internal/awa", "TestCatalogKnowsWhereNamesStood",
		},
		{
			"a marker that a trigger keeps said to be cleared", "internal/corrections/writer.go", "if err == nil && set {",
			"if err == nil && set && false {", "./internal/corrections", "TestMarkerIsSetAlthoughItWasCleared",
		},
		{
			"a stop that leaves the marker set taken for a good one", "internal/daemon/daemon.go", "return errMarkerLeft",
			"return nil", "./e2e", "TestStopsWhileTheMarkerIsLocked",
		},
		{
			"a stop between two sessions leaves the marker", "internal/daemon/daemon.go", "d.clearAtEnd(within)",
			"_ = within", "./e2e", "TestStopsBetweenSessions",
		},
		{
			"the marker waits for whoever holds the leader's table at a start", "internal/daemon/standby.go", "case pg.IsBusy(err): // somebody holds the leader's table",
			"case false: // somebody holds the leader's table", "./e2e", "TestLeadersRowIsLockedAtAStart/table",
		},
		{
			"the daemon's slot taken for one that nobody reads", "internal/daemon/orphans.go", "if o.Slot != s.slot {",
			"if true {", "./e2e", "TestOneSlotForASchemaThatSwitches",
		},
		{
			"awa in the schema that goes at the end", "internal/awa/schema.go", " || name == taken {", " {",
			"./internal/awa", "TestSchemaNames",
		},
		{
			"what others put into our schema overlooked", "checkpoint/removal.go", "= to_regnamespace('awa_counterd')::oid and d.deptype = 'n'),", "= 0),",
			"./e2e", "TestRemovalLeavesWhatOthersMade/in_the_schema",
		},
		{
			"what others made of our tables overlooked", "checkpoint/removal.go", "d.refobjid = g.objid where d.deptype = 'n'\n", "d.refobjid = g.objid where false\n",
			"./e2e", "TestRemovalLeavesWhatOthersMade/made_of_its_tables",
		},
		{
			"people told to drop what goes only with its extension", "checkpoint/removal.go", "e.deptype = 'e',", "e.deptype = 'e' and false,",
			"./e2e", "TestRemovalLeavesAnExtension",
		},
		{
			"any table beside ours taken for ours", "checkpoint/another_build.go", " and c.relname = any($1))", " and ($1::text[] is not null))",
			"./e2e", "TestRemovalLeavesWhatOthersMade/in_the_schema",
		},
		{
			"what is in the way dropped as well", "checkpoint/removal.go", "DROP SCHEMA \" + SchemaName, true", "DROP SCHEMA \" + SchemaName + \" CASCADE\", true",
			"./e2e", "TestSetupAndTeardown",
		},
		{
			"tables of another form dropped under what others made of them", "checkpoint/schema.go", "return !o.Needs })", "return !o.Needs || o.Needs })",
			"./e2e", "TestFormerFormThatOthersNeed",
		},
		{
			"a row that a sweep has left keeps awa_counterd", "checkpoint/removal.go", "others || !swept",
			"true", "./e2e", "TestTeardownAfterASweep",
		},
	}
}
