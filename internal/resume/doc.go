// Package resume decides whether a session goes on from the checkpoint or scans afresh
// (docs/design.md §8).
//
// Invariants: pure; whatever it is not sure of is scanned afresh, which is always right.
package resume
