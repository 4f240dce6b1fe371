// Package daemon runs `awa-counterd run`: it connects the protocol core (applier) with the stream
// (replication), the scans (reconcile) and the checkpoint, and starts over when one of them fails.
//
// It is built crash-only. A session is one lead, one instance id, one stream and one Core. Whatever
// goes wrong ends the session, and the next one resumes from the checkpoint, exactly as after a
// SIGKILL: one way to recover, which every test exercises.
//
// A session starts in phases, each of which takes what the one before it returned (docs/architecture.md): connected, leading,
// claimed, prepared, positioned, streaming; then it runs. What is made on the server is made by claim (schema awa_counterd, the lead), prepare
// (publications) and resumeOrRecreate (the replication slot); inspect, in between, reads only. What a phase opened is closed when the
// session ends, the leader lock last.
//
// Invariants:
//   - Nothing that can wait runs on the loop's goroutine; it owns the Core and does nothing else.
//   - A session's first write clears a marker that it finds set: nobody vouches for it yet.
//   - A dry run (Options.DryRun) has no statement that writes anything of awa's, the marker included; it leads alone or not at
//     all, so that nobody takes it for a standby.
//   - Whoever takes the lead may end the sessions of who had it: each write is fenced by instance
//     (checkpoint.Guard), so a leader that comes back to life finds that it does not lead, and does no harm.
//   - Nothing waits for an answer without a bound by the daemon's own clock.
//   - What has to work when something goes wrong (control, stream, corrections, marker) has a connection that is open for as long as the
//     session, each its own. Checkpoints and scans open theirs when they need one.
//   - A look leaves the catalog alone only where a snapshot says that nobody but this session has committed anything since the last one.
//     So it vouches for awa's tables as a whole one does; where no look has succeeded within the staleness bound, nobody does.
//   - Whatever keeps a session from beginning, a marker that nobody vouches for is cleared, as far as SQL reaches.
//   - The process ends by itself when what awa-counterd made was removed where a lead was seen before, and for nothing else:
//     who is asked to leave gives up the lead, and goes on if the one who asked dies.
//   - Whoever looks on reads a View, which is never changed once it is published: nothing here waits for a reader, and without
//     one (Options.Meter) none is made.
//   - A refusal at the first start ends the process; after that it is logged and tried again, since
//     an operator's mistake on the server must not need a restart here.
package daemon
