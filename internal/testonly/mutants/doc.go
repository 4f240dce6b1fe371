// Package mutants holds the product's invariants against its tests: each mutant breaks one of them in
// the source, and a named test has to fail for it (docs/testing.md). Nothing of it is built into
// the product; `make mutants` runs it.
package mutants
