// Package sim drives the whole protocol through a seeded, single-threaded world: a fake database that
// lets transactions run, commit to its WAL and become visible in another order, a fake server for the
// statements of corrections.Writer, and its WAL as pgoutput bytes for decoder. Decoder, Core, Writer, the
// publication's verdict and the decision to resume are the real ones. It crashes them between any two
// steps, and finds each mutant of the rules of docs/design.md by itself (internal/testonly/mutants).
//
// Every scenario runs for every shape of awa's counters that it makes sense for (docs/design.md §12), and
// beside a ledger for what prunes of different releases fold.
//
// Beside the seeds there are small worlds (worlds_test.go), of which every interleaving is visited (explore_test.go): the same
// database, decoder, Core, Writer and checks, with a choice (choices_test.go) wherever the seeds have dice. Time passes in one
// step, of a length after which one more of the Core's bounds has gone by. States are told apart by what may still come of
// them (canon_test.go, canon_rules_test.go). What a dead session had sent may come late (late_test.go), and the server judges it
// by the conditions that stand in the daemon's own SQL (dialect_test.go).
//
// Invariants: nothing here reads a clock or waits; a seed, or a path of choices, is the whole of a run. A state of a small
// world is never changed once it was reached: steps are made on clones (clone_test.go). All of it is tests.
package sim
