// Package sim drives the whole protocol through a seeded, single-threaded world: a fake database that
// lets transactions run, commit to its WAL and become visible in another order, a fake server for the
// statements of applier.Writer, and its WAL as pgoutput bytes for decoder. Decoder, Core, Writer, the
// publication's verdict and the decision to resume are the real ones. It crashes them between any two
// steps, and finds each mutant of the rules of docs/design.md by itself (internal/mutants).
//
// Every scenario is played for every shape of awa's counters that it makes sense for (docs/design.md §12), and
// beside a ledger for what prunes of different releases fold.
//
// Invariants: nothing here reads a clock or waits; a seed is the whole of a run. All of it is tests.
package sim
