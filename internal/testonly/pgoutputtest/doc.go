// Package pgoutputtest builds the messages that a server sends to a logical replication client
// (PostgreSQL manual, 55.9).
//
// Invariants: it only appends bytes, and checks nothing, so that what is wrong can be built as well.
package pgoutputtest
