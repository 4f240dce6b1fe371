// Package status reads the state of everything that concerns the sidecar, without changing anything:
// for people (status) and before trouble (doctor).
//
// Invariants: reads only, in short statements; what this role may not look at is reported as such
// and never taken for good or bad news.
//
// Called by cmd's status, doctor and finish.
package status
