// Package counter holds the words that every other package shares: the group that awa counts
// terminal jobs by, and the pair of numbers kept for it (docs/design.md §1).
//
// Invariants: values only, no I/O, no clock, no state. Any package may import it; it imports no
// other package of the module.
package counter
