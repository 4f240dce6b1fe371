// Package status reads the state of everything that concerns awa-counterd, without changing anything.
//
// Invariants: reads only, in short statements; what this role may not look at is reported as such
// and never taken for good or bad news.
package status
