// Package counter holds the words that every other package shares: the group that awa counts
// terminal jobs by, and the pair of numbers kept for it (docs/design.md §1); and the two forms in which many
// of these are held: a Table to work in, and a Packed list to hand on.
//
// Invariants: no I/O, no clock, and no pointer by the group, of which there may be a million. Any package may
// import it; it imports no other package of the module.
package counter
